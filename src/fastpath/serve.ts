// The fast path for batches of datagrams: ready replies leave in one sendmmsg, and all other queries are handed over.

import { isAnyAddress, type OwnPlace } from '../base/address.js';
import { u16At } from '../base/octets.js';
import type { FrontCounts } from '../base/front-counts.js';
import type { AgeSec, MonoMs } from '../base/time.js';
import { Messages, NAME_BYTES, QUERY_ROOM_BYTES } from '../os/datagrams.js';
import { Egress } from '../os/egress.js';
import type { Libc } from '../os/libc.js';
import type { Admission } from '../policy/admission.js';
import { FastQuery } from './fast-query.js';
import type { PacketCache, Room } from './packet-cache.js';
import { addressAt, isSix, REPLY_ROOM_BYTES, Rulings } from './rulings.js';

/** The parts that serving uses. */
export interface ServeParts {
  readonly libc: Libc;
  readonly packets: PacketCache;
  readonly admission: Admission;
  readonly counts: FrontCounts;
  /** The age clock, seconds. */
  readonly ageNow: () => AgeSec;
  /** Seconds since 1970, as of the last call of `ageNow`. */
  readonly wallSec: () => number;
  readonly monotonicMs: () => MonoMs;
  /** Seconds on a clock that all threads share. */
  readonly nowSec: () => number;
  /** Where a socket is bound. */
  readonly placeOf: (socket: number) => OwnPlace;
  /** Takes the datagram in slot i of a batch from a socket, which no ready reply answers. */
  readonly missed: (socket: number, queries: Messages, i: number) => void;
  /** Called after each batch. */
  readonly done: () => void;
}

/** Serves sockets in batches. */
export interface BatchServer {
  /** Serves one batch of a socket, and returns how many datagrams there were. It never waits. */
  serve(fd: number, socket: number): number;
  /** Closes what it has opened. */
  close(): void;
}

/** Makes a BatchServer. */
export function batchServer(parts: ServeParts): BatchServer {
  const { libc, packets, counts, admission } = parts;
  const queries = new Messages(libc, QUERY_ROOM_BYTES);
  const replies = new Messages(libc, REPLY_ROOM_BYTES);
  const out: Room = { octets: replies.data, words: replies.words };
  const fast = new FastQuery();
  const rulings = new Rulings(admission, queries, replies);
  const egress = new Egress(libc);

  /** The group by the address of ours that the datagram in slot i was sent to. */
  const placeClass = (i: number, { address, port }: OwnPlace): number =>
    admission.classOfPlace?.({
      address: isAnyAddress(address) ? (queries.destination(i) ?? address) : address,
      port,
    }) ?? 0;

  /** Puts the ready reply to the query in slot i into slot `to`; 0: there is none. */
  function answer(i: number, to: number, ageNow: AgeSec, place: OwnPlace): number {
    const start = i * QUERY_ROOM_BYTES;
    const bytes = queries.bytes(i);
    if (!fast.read(queries.data, start, bytes, false)) return 0;
    const six = isSix(queries, i);
    if (u16At(queries.names, i * NAME_BYTES + 2) === 0 || !admission.isAllowed) return 0;
    fast.ofClass(admission.classOf(queries.names, addressAt(i, six), six ? 16 : 4) || placeClass(i, place));
    if (!packets.find(fast, ageNow)) return 0;
    const { replyBytes, negative } = packets;
    const at = to * REPLY_ROOM_BYTES;
    if (replyBytes > fast.udpLimitBytes || !packets.copyTo(out, at, queries.data, start, fast.questionBytes, ageNow))
      return 0;
    replies.replyTo(to, queries, i, replyBytes);
    counts.hit(six, fast.type, (out.octets[at + 3] ?? 0) & 15, negative, bytes, replyBytes);
    return replyBytes;
  }

  function serve(fd: number, socket: number): number {
    const received = queries.receive(fd);
    if (received <= 0) return 0;
    const startedAtMs = parts.monotonicMs();
    const ageNow = parts.ageNow();
    const holds = packets.holdsAt(parts.wallSec());
    const nowSec = parts.nowSec();
    const place = parts.placeOf(socket);
    admission.look();
    let hits = 0;
    let truncated = 0;
    for (let i = 0; i < received; i++) {
      const ruling = rulings.rule(i, nowSec);
      if (ruling === 'serve') {
        if (holds && answer(i, hits + truncated, ageNow, place) > 0) hits++;
        else parts.missed(socket, queries, i);
        continue;
      }
      if (ruling !== 'drop') rulings.truncate(i, hits + truncated++);
      if (admission.isAllowed) counts.limited(ruling);
      else counts.foreign();
    }
    if (hits + truncated > 0) counts.unsent(egress.send(fd, replies, hits + truncated));
    if (hits > 0) counts.took((parts.monotonicMs() - startedAtMs) / 1000, hits);
    parts.done();
    return received;
  }

  return { serve, close: () => egress.close() };
}
