// The fast path for batches of datagrams: ready replies leave in one sendmmsg, and all other queries are handed over.

import { u16At } from '../base/octets.js';
import type { FrontCounts } from '../base/front-counts.js';
import type { AgeSec, MonoMs } from '../base/time.js';
import { Messages, NAME_BYTES, QUERY_ROOM_BYTES } from '../os/datagrams.js';
import { Egress } from '../os/egress.js';
import { type Libc, LINUX } from '../os/libc.js';
import type { Admission } from '../policy/admission.js';
import type { Ruling } from '../policy/rate-limit.js';
import { BriefQuery } from '../wire/brief-query.js';
import { UDP_PAYLOAD_BYTES } from '../wire/edns.js';
import { FastQuery } from './fast-query.js';
import type { PacketCache, Room } from './packet-cache.js';

/** Longest ready reply, rounded up to whole words. */
const REPLY_ROOM_BYTES = (UDP_PAYLOAD_BYTES + 3) & ~3;

/** The parts that serving uses. */
export interface ServeParts {
  readonly libc: Libc;
  readonly packets: PacketCache;
  readonly admission: Admission;
  readonly counts: FrontCounts;
  /** The age clock, seconds. */
  readonly ageNow: () => AgeSec;
  readonly monotonicMs: () => MonoMs;
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
  const brief = new BriefQuery();
  const egress = new Egress(libc);

  const isSix = (i: number): boolean => queries.names[i * NAME_BYTES] === LINUX.AF_INET6;
  const addressAt = (i: number, six: boolean): number => i * NAME_BYTES + (six ? 8 : 4);

  /** What becomes of the query in slot i. One that is served otherwise only with a cookie is read for it. */
  function rule(i: number, ageNow: AgeSec): Ruling {
    const six = isSix(i);
    const address = addressAt(i, six);
    const bytes = six ? 16 : 4;
    const ruling = admission.rule(queries.names, address, bytes, false, ageNow);
    if (ruling === 'serve' || !admission.isAllowed) return ruling;
    if (!brief.read(queries.data, i * QUERY_ROOM_BYTES, queries.bytes(i))) return 'drop';
    const { cookieAt, cookieBytes } = brief;
    return admission.proves(queries.data, cookieAt, cookieBytes, queries.names.subarray(address, address + bytes))
      ? admission.rule(queries.names, address, bytes, true, ageNow)
      : ruling;
  }

  /** Puts a reply with TC to the query in slot i, which was ruled on last, into slot `to`. */
  function truncate(i: number, to: number): void {
    replies.replyTo(to, queries, i, brief.writeTruncated(replies.data, to * REPLY_ROOM_BYTES));
    counts.limited(true);
  }

  /** Puts the ready reply to the query in slot i into slot `to`; 0: there is none. */
  function answer(i: number, to: number, ageNow: AgeSec): number {
    const start = i * QUERY_ROOM_BYTES;
    const bytes = queries.bytes(i);
    if (!fast.read(queries.data, start, bytes, false)) return 0;
    const six = isSix(i);
    if (u16At(queries.names, i * NAME_BYTES + 2) === 0 || !admission.isAllowed) return 0;
    fast.ofClass(admission.classOf(queries.names, addressAt(i, six), six ? 16 : 4));
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
    admission.look();
    let hits = 0;
    let truncated = 0;
    for (let i = 0; i < received; i++) {
      const ruling = rule(i, ageNow);
      if (ruling === 'serve') {
        if (answer(i, hits + truncated, ageNow) > 0) hits++;
        else parts.missed(socket, queries, i);
      } else if (ruling === 'truncate') truncate(i, hits + truncated++);
      else if (admission.isAllowed) counts.limited(false);
      else counts.foreign();
    }
    if (hits + truncated > 0) counts.unsent(egress.send(fd, replies, hits + truncated));
    if (hits > 0) counts.took((parts.monotonicMs() - startedAtMs) / 1000, hits);
    parts.done();
    return received;
  }

  return { serve, close: () => egress.close() };
}
