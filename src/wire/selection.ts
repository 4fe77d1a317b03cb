// Removes some records of a message. Octets before the first removed record stay where they are. After it, records move,
// and names that point at octets that have moved are written anew (RFC 1035 §4.1.4). A name whose octets were removed is
// written out where it is first needed, and pointed at from there on, so the result is not longer than the message.

import { putU16 } from '../base/octets.js';
import { HEADER_BYTES, MAX_MESSAGE_BYTES } from './header.js';
import { MAX_POINTERS } from './name.js';
import { partsOf } from './rdata.js';
import { RECORD_FIXED_BYTES, ScannedRecords } from './records.js';
import type { StoredMessage } from './reply.js';
import { TYPE } from './rrtype.js';

const POINTER_BITS = 0xc0;
const MOST_POINTED_AT = 0x3fff;
/** For names that would have to be pointed at behind that offset. */
const SPARE_BYTES = 4096;

/** Which records are kept, by number and type. */
export type Keeps = (record: number, type: number) => boolean;

/**
 * Removes the records that `keeps` is false for.
 * @param message one that was scanned (wire/scan)
 * @returns the message itself if all are kept; undefined if a name is malformed
 */
export function select<M extends StoredMessage>(message: M, questionEnd: number, keeps: Keeps): M | undefined {
  const { octets, ttlOffsets } = message;
  const record = new ScannedRecords(message, questionEnd);
  do if (!record.next()) return message;
  while (keeps(record.index, record.type));

  const first = record.index;
  const counts = {
    answer: Math.min(first, message.answers),
    authority: Math.max(0, Math.min(first - message.answers, message.authority)),
    additional: Math.max(0, first - message.answers - message.authority),
  };
  const offsets = Array.from(ttlOffsets).slice(0, first);
  const moved = new Moved(octets, record.owner);
  while (record.next()) {
    if (!keeps(record.index, record.type)) continue;
    const ttlOffset = moved.add(record);
    if (ttlOffset === undefined) return undefined;
    offsets.push(ttlOffset);
    counts[record.section]++;
  }
  return {
    ...message,
    octets: moved.result,
    answers: counts.answer,
    authority: counts.authority,
    additional: counts.additional,
    ttlOffsets: offsets,
  };
}

/** A record becomes shorter by an octet for each name that was a pointer to the root. */
const MOST_NAMES = 3;

/** Whether what `select` returns is certainly longer than this. It takes much less time to find that out. */
export function exceeds(message: StoredMessage, questionEnd: number, keeps: Keeps, limitBytes: number): boolean {
  if (message.octets.length <= limitBytes) return false;
  const record = new ScannedRecords(message, questionEnd);
  let bytes = questionEnd;
  while (record.next()) {
    if (keeps(record.index, record.type)) bytes += record.end - record.owner - MOST_NAMES;
    if (bytes > limitBytes) return true;
  }
  return false;
}

/** Octets of a message up to some record, and the records that were added behind. */
class Moved {
  private readonly out: Buffer;
  private length: number;
  /** Where labels behind `cut` went, by their old offsets; -1: too far behind to be pointed at. Made when needed. */
  private places: Map<number, number> | undefined = undefined;

  /** @param cut octets before it stay where they are */
  constructor(
    private readonly octets: Buffer,
    private readonly cut: number,
  ) {
    this.out = Buffer.allocUnsafe(Math.min(MAX_MESSAGE_BYTES, octets.length + SPARE_BYTES));
    this.length = octets.copy(this.out, 0, 0, cut);
  }

  get result(): Buffer {
    return this.out.subarray(0, this.length);
  }

  /** Adds a record; returns where its TTL is now, or undefined if one of its names is malformed. */
  add({ owner, fixed, rdata, end, type }: ScannedRecords): number | undefined {
    const { octets, out } = this;
    if (this.addName(owner) === -1) return undefined;
    // Names that are written out may need more room than there is.
    const fits = (bytes: number): boolean => this.length + bytes <= out.length;
    if (!fits(rdata - fixed)) return undefined;
    const movedFixed = this.length;
    this.length += octets.copy(out, this.length, fixed, rdata);
    const movedRdata = this.length;
    let at = rdata;
    for (const part of partsOf(type)) {
      if (part === 'name') {
        at = this.addName(at);
        if (at === -1 || at > end) return undefined;
        continue;
      }
      const bytes = part === 'string' ? (octets[at] ?? 0) + 1 : part;
      if (at + bytes > end || !fits(bytes)) return undefined;
      this.length += octets.copy(out, this.length, at, at + bytes);
      at += bytes;
    }
    if (!fits(end - at)) return undefined;
    this.length += octets.copy(out, this.length, at, end);
    putU16(out, movedFixed + RECORD_FIXED_BYTES - 2, this.length - movedRdata);
    return movedFixed + 4;
  }

  /** Adds the name at `at`; returns the offset after it in the message, -1: malformed. */
  private addName(at: number): number {
    const { octets, out, cut, length: start } = this;
    let end = -1;
    let position = at;
    let pieceStart = at;
    let pointers = 0;
    for (;;) {
      const octet = octets[position];
      if (octet === undefined) return -1;
      if (octet >= POINTER_BITS) {
        if (end === -1) end = position + 2;
        const target = ((octet & 0x3f) << 8) | (octets[position + 1] ?? 0);
        if (target >= pieceStart || target < HEADER_BYTES || ++pointers > MAX_POINTERS) return -1;
        if (target < cut) return this.point(target) ? end : -1;
        position = pieceStart = target;
        continue;
      }
      // A longer name may lead to labels that were needed before, but not to its own: then it is malformed.
      const place = end === -1 || octet === 0 ? undefined : this.places?.get(position);
      if (place !== undefined && place < start) return this.point(place) ? end : -1;
      const labelEnd = position + octet + 1;
      if (labelEnd > octets.length || this.length + octet + 1 > out.length) return -1;
      if (octet > 0) this.note(position);
      this.length += octets.copy(out, this.length, position, labelEnd);
      position = labelEnd;
      if (octet === 0) return end === -1 ? position : end;
    }
  }

  /** Adds a pointer; false: there is no room for it. */
  private point(place: number): boolean {
    if (this.length + 2 > this.out.length) return false;
    putU16(this.out, this.length, (POINTER_BITS << 8) | place);
    this.length += 2;
    return true;
  }

  private note(label: number): void {
    if (this.length <= MOST_POINTED_AT) (this.places ??= new Map<number, number>()).set(label, this.length);
  }
}

const AUTHENTICATING = new Set<number>([TYPE.RRSIG, TYPE.NSEC, TYPE.NSEC3]);

/** Without DO, a client gets no DNSSEC records, except those of the type that it asks for (RFC 4035 §3.2.1). */
export const plainRecords =
  (type: number): Keeps =>
  (_, each) =>
    each === type || !AUTHENTICATING.has(each);

/** The message that a client without DO gets. */
export const withoutDnssec = <M extends StoredMessage>(message: M, questionEnd: number, type: number): M =>
  select(message, questionEnd, plainRecords(type)) ?? message;
