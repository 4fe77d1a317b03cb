// Removes some records of a message. Octets before the first removed record stay where they are. After it, names are
// decompressed if they point at octets that have moved (RFC 1035 §4.1.4).

import { putU16 } from '../base/octets.js';
import { MAX_MESSAGE_BYTES } from './header.js';
import { MAX_NAME_BYTES } from './name.js';
import { type NameRead, rdataWith } from './rdata.js';
import { RECORD_FIXED_BYTES, ScannedRecords } from './records.js';
import type { StoredMessage } from './reply.js';
import { TYPE } from './rrtype.js';

const POINTER_BITS = 0xc0;

/** Which records are kept, by number and type. */
export type Keeps = (record: number, type: number) => boolean;

/**
 * Removes the records that `keeps` is false for.
 * @param message one that was scanned (wire/scan)
 * @returns the message itself if all are kept; undefined if the result would be too long, or a name is malformed
 */
export function select<M extends StoredMessage>(message: M, questionEnd: number, keeps: Keeps): M | undefined {
  const { octets, ttlOffsets } = message;
  const record = new ScannedRecords(message, questionEnd);
  do if (!record.next()) return message;
  while (keeps(record.index, record.type));

  // All octets before the first removed record stay where they are.
  const first = record.index;
  const cut = record.owner;
  const counts = {
    answer: Math.min(first, message.answers),
    authority: Math.max(0, Math.min(first - message.answers, message.authority)),
    additional: Math.max(0, first - message.answers - message.authority),
  };
  const offsets = Array.from(ttlOffsets).slice(0, first);
  const pieces: Buffer[] = [octets.subarray(0, cut)];
  let length = cut;
  while (record.next()) {
    const { index, type } = record;
    if (!keeps(index, type)) continue;
    const owner = portableName(octets, record.owner, cut);
    const rdata = rdataWith(octets, record.rdata, record.end, type, at => portableName(octets, at, cut));
    if (owner === undefined || rdata === undefined) return undefined;
    const fixed = Buffer.from(octets.subarray(record.fixed, record.rdata));
    putU16(fixed, RECORD_FIXED_BYTES - 2, rdata.length);
    pieces.push(owner.octets, fixed, rdata);
    offsets.push(length + owner.octets.length + 4);
    length += owner.octets.length + RECORD_FIXED_BYTES + rdata.length;
    counts[record.section]++;
    if (length > MAX_MESSAGE_BYTES) return undefined;
  }
  return {
    ...message,
    octets: pieces.length === 1 ? octets.subarray(0, cut) : Buffer.concat(pieces, length),
    answers: counts.answer,
    authority: counts.authority,
    additional: counts.additional,
    ttlOffsets: offsets,
  };
}

const AUTHENTICATING = new Set<number>([TYPE.RRSIG, TYPE.NSEC, TYPE.NSEC3]);

/** Without DO, a client gets no DNSSEC records, except those of the type that it asks for (RFC 4035 §3.2.1). */
export function withoutDnssec<M extends StoredMessage>(message: M, questionEnd: number, type: number): M {
  return select(message, questionEnd, (_, each) => each === type || !AUTHENTICATING.has(each)) ?? message;
}

/** The name at `at`, written so that it points only to octets before `cut`, and the offset after it. */
function portableName(message: Buffer, at: number, cut: number): NameRead | undefined {
  const out = Buffer.allocUnsafe(MAX_NAME_BYTES + 2);
  let length = 0;
  let end = -1;
  let position = at;
  let pieceStart = at;
  for (;;) {
    const octet = message[position];
    if (octet === undefined) return undefined;
    if (octet >= POINTER_BITS) {
      if (end === -1) end = position + 2;
      const target = ((octet & 0x3f) << 8) | (message[position + 1] ?? 0);
      if (target >= pieceStart) return undefined;
      if (target < cut) {
        putU16(out, length, (POINTER_BITS << 8) | target);
        length += 2;
        break;
      }
      position = pieceStart = target;
      continue;
    }
    if (length + octet + 1 > MAX_NAME_BYTES || position + octet + 1 > message.length) return undefined;
    length += message.copy(out, length, position, position + octet + 1);
    position += octet + 1;
    if (octet === 0) break;
  }
  return { octets: out.subarray(0, length), end: end === -1 ? position : end };
}
