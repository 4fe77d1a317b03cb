// A message with some of its records left out. What was in front of the first gap stays where it is; behind it names are
// written out wherever they point into what has moved (RFC 1035 §4.1.4).

import { putU16, u16At } from '../base/octets.js';
import { MAX_MESSAGE_BYTES } from './header.js';
import { MAX_NAME_BYTES } from './name.js';
import { type NameRead, rdataWith } from './rdata.js';
import type { StoredMessage } from './reply.js';
import { TYPE } from './rrtype.js';

const RECORD_FIXED_BYTES = 10;
const POINTER_BITS = 0xc0;

/** Which records stay: by number and type. */
export type Keeps = (record: number, type: number) => boolean;

/**
 * Leaves out the records that `keeps` says no to.
 * @param message one that was walked (wire/scan)
 * @returns the message itself where all stay; undefined if it would become longer than a message can be, or a name in it
 * is malformed
 */
export function select<M extends StoredMessage>(message: M, questionEnd: number, keeps: Keeps): M | undefined {
  const { octets, ttlOffsets, answers, authority } = message;
  let first = 0;
  while (first < ttlOffsets.length && keeps(first, typeAt(message, first))) first++;
  if (first === ttlOffsets.length) return message;

  const cut = first === 0 ? questionEnd : endOf(message, first - 1);
  const counts = [
    Math.min(first, answers),
    Math.max(0, Math.min(first - answers, authority)),
    Math.max(0, first - answers - authority),
  ];
  const offsets = Array.from(ttlOffsets).slice(0, first);
  const pieces: Buffer[] = [octets.subarray(0, cut)];
  let length = cut;
  const add = (piece: Buffer): void => {
    pieces.push(piece);
    length += piece.length;
  };
  for (let i = first + 1; i < ttlOffsets.length; i++) {
    const type = typeAt(message, i);
    if (!keeps(i, type)) continue;
    const owner = portableName(octets, endOf(message, i - 1), cut);
    const rdata = rdataWith(octets, (ttlOffsets[i] ?? 0) + 6, endOf(message, i), type, at =>
      portableName(octets, at, cut),
    );
    if (owner === undefined || rdata === undefined) return undefined;
    add(owner.octets);
    offsets.push(length + 4);
    const fixed = Buffer.from(octets.subarray(owner.end, owner.end + RECORD_FIXED_BYTES));
    putU16(fixed, RECORD_FIXED_BYTES - 2, rdata.length);
    add(fixed);
    add(rdata);
    const section = i < answers ? 0 : i < answers + authority ? 1 : 2;
    counts[section] = (counts[section] ?? 0) + 1;
    if (length > MAX_MESSAGE_BYTES) return undefined;
  }
  return {
    ...message,
    octets: pieces.length === 1 ? octets.subarray(0, cut) : Buffer.concat(pieces, length),
    answers: counts[0] ?? 0,
    authority: counts[1] ?? 0,
    additional: counts[2] ?? 0,
    ttlOffsets: offsets,
  };
}

const AUTHENTICATING = new Set<number>([TYPE.RRSIG, TYPE.NSEC, TYPE.NSEC3]);

/** RFC 4035 §3.2.1: who did not set DO gets no records of DNSSEC, but those of the type that was asked for. */
export function withoutDnssec<M extends StoredMessage>(message: M, questionEnd: number, type: number): M {
  return select(message, questionEnd, (_, each) => each === type || !AUTHENTICATING.has(each)) ?? message;
}

const typeAt = ({ octets, ttlOffsets }: StoredMessage, record: number): number =>
  u16At(octets, (ttlOffsets[record] ?? 4) - 4);

function endOf({ octets, ttlOffsets }: StoredMessage, record: number): number {
  const ttlAt = ttlOffsets[record] ?? 0;
  return ttlAt + 6 + u16At(octets, ttlAt + 4);
}

/** The name at `at`, pointing only to what is in front of `cut`; and where it ended. */
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
