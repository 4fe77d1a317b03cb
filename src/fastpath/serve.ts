// The fast path for batches of datagrams: ready replies leave in one sendmmsg, and all other queries are handed over.

import { u16At } from '../base/octets.js';
import type { FrontCounts } from '../base/front-counts.js';
import type { AgeSec, MonoMs } from '../base/time.js';
import { Messages, NAME_BYTES, QUERY_ROOM_BYTES } from '../os/datagrams.js';
import { Egress } from '../os/egress.js';
import { type Libc, LINUX } from '../os/libc.js';
import type { OctetClasses, OctetMatcher } from '../policy/networks.js';
import { UDP_PAYLOAD_BYTES } from '../wire/edns.js';
import { FastQuery } from './fast-query.js';
import type { PacketCache, Room } from './packet-cache.js';

/** Longest ready reply, rounded up to whole words. */
const REPLY_ROOM_BYTES = (UDP_PAYLOAD_BYTES + 3) & ~3;

/** The parts that serving uses. */
export interface ServeParts {
  readonly libc: Libc;
  readonly packets: PacketCache;
  /** The test of clients that may ask, fetched once per batch. */
  readonly allowed: () => OctetMatcher;
  /** The groups of clients, fetched once per batch. */
  readonly classes: () => OctetClasses;
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
  const { libc, packets, counts } = parts;
  let allowed = parts.allowed();
  let classOf = parts.classes();
  const queries = new Messages(libc, QUERY_ROOM_BYTES);
  const replies = new Messages(libc, REPLY_ROOM_BYTES);
  const out: Room = { octets: replies.data, words: replies.words };
  const fast = new FastQuery();
  const egress = new Egress(libc);

  /** Puts the ready reply to the query in slot i into slot `to`; 0: there is none. */
  function answer(i: number, to: number, ageNow: AgeSec): number {
    const start = i * QUERY_ROOM_BYTES;
    const bytes = queries.bytes(i);
    if (!fast.read(queries.data, start, bytes, false)) return 0;
    const name = i * NAME_BYTES;
    const six = queries.names[name] === LINUX.AF_INET6;
    const address = name + (six ? 8 : 4);
    if (u16At(queries.names, name + 2) === 0 || !allowed(queries.names, address, six ? 16 : 4)) return 0;
    fast.ofClass(classOf(queries.names, address, six ? 16 : 4));
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
    allowed = parts.allowed();
    classOf = parts.classes();
    let hits = 0;
    for (let i = 0; i < received; i++) {
      if (answer(i, hits, ageNow) > 0) hits++;
      else parts.missed(socket, queries, i);
    }
    if (hits > 0) {
      counts.unsent(egress.send(fd, replies, hits));
      counts.took((parts.monotonicMs() - startedAtMs) / 1000, hits);
    }
    parts.done();
    return received;
  }

  return { serve, close: () => egress.close() };
}
