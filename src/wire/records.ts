// The records of a message (RFC 1035 §4.1.3), one after the other: the only walk there is.
//
//   owner   the record's name, mostly a pointer to an earlier one
//   fixed   TYPE (2 octets), CLASS (2), TTL (4), RDLENGTH (2), behind the owner
//   RDATA   RDLENGTH octets, behind the fixed part
//
// A walk is one object whose fields move from record to record: it allocates nothing on its way.

import { u16At, u32At } from '../base/octets.js';
import { HEADER_BYTES } from './header.js';
import { skipName } from './name.js';

/** Octets between a record's owner and its RDATA. */
export const RECORD_FIXED_BYTES = 10;
const TTL_OFFSET = 4;
const LENGTH_OFFSET = 8;
/** QTYPE and QCLASS, behind the name of a question. */
export const QUESTION_FIXED_BYTES = 4;

/** Where a record stands. */
export type Section = 'answer' | 'authority' | 'additional';

/** TTLs with the top bit set count as 0 (RFC 2181 §8). */
export function ttlAt(message: Buffer, offset: number): number {
  const ttl = u32At(message, offset);
  return ttl > 0x7fffffff ? 0 : ttl;
}

/** The record that a walk has reached. Offsets are counted from the start of the message. */
abstract class CurrentRecord {
  /** Its number, counted over all sections; -1 before the first `next`. */
  index = -1;
  /** Where its TYPE stands. */
  fixed = 0;
  /** Where its owner starts. */
  owner: number;
  /** Just behind its RDATA; before the first `next`, where the first record starts; -1: the record is malformed. */
  end: number;

  constructor(
    protected readonly message: Buffer,
    start: number,
    protected readonly count: number,
  ) {
    this.owner = start;
    this.end = start;
  }

  get type(): number {
    return u16At(this.message, this.fixed);
  }

  get class(): number {
    return u16At(this.message, this.fixed + 2);
  }

  /** Where its TTL stands. */
  get ttlOffset(): number {
    return this.fixed + TTL_OFFSET;
  }

  get ttlSec(): number {
    return ttlAt(this.message, this.fixed + TTL_OFFSET);
  }

  /** Where its RDATA starts. */
  get rdata(): number {
    return this.fixed + RECORD_FIXED_BYTES;
  }

  get rdataBytes(): number {
    return this.end - this.fixed - RECORD_FIXED_BYTES;
  }
}

const sectionOf = (index: number, answers: number, authority: number): Section =>
  index < answers ? 'answer' : index < answers + authority ? 'authority' : 'additional';

/** Walks the records of a message that was not scanned yet. Each name and length is checked. */
export class Records extends CurrentRecord {
  /**
   * @param message with a whole header
   * @param start where its first record starts, just behind the question
   */
  constructor(message: Buffer, start: number) {
    super(message, start, u16At(message, 6) + u16At(message, 8) + u16At(message, 10));
  }

  /** Moves to the next record; false: there is none, or it is malformed. Must not be called again after that. */
  next(): boolean {
    if (++this.index >= this.count) return false;
    const { message, end: owner } = this;
    const fixed = skipName(message, owner);
    // A truncated fixed part ends after the message, too, because octets after the message count as 0.
    const end = fixed + RECORD_FIXED_BYTES + u16At(message, fixed + LENGTH_OFFSET);
    const fits = fixed !== -1 && end <= message.length;
    this.owner = owner;
    this.fixed = fixed;
    this.end = fits ? end : -1;
    return fits;
  }

  get section(): Section {
    return sectionOf(this.index, u16At(this.message, 6), u16At(this.message, 8));
  }

  /** A name or a length does not fit the octets; the walk has ended there. */
  get isMalformed(): boolean {
    return this.end === -1;
  }

  /** Whether, after the last `next`, all records were well-formed, with no octets after the last one. */
  get endsMessage(): boolean {
    return this.end === this.message.length;
  }
}

/** The facts about a scanned message that a walk needs. */
export interface ScannedMessage {
  readonly octets: Buffer;
  readonly answers: number;
  readonly authority: number;
  /** Offsets of the TTLs of all records, in order. */
  readonly ttlOffsets: ArrayLike<number>;
}

/** Walks the records of a scanned message (wire/scan): nothing needs to be checked, and no name is read. */
export class ScannedRecords extends CurrentRecord {
  constructor(
    private readonly scanned: ScannedMessage,
    questionEnd: number,
  ) {
    super(scanned.octets, questionEnd, scanned.ttlOffsets.length);
  }

  /** Moves to the next record; false: there is none. Must not be called again after that. */
  next(): boolean {
    if (++this.index >= this.count) return false;
    this.owner = this.end;
    this.fixed = (this.scanned.ttlOffsets[this.index] ?? 0) - TTL_OFFSET;
    this.end = this.fixed + RECORD_FIXED_BYTES + u16At(this.message, this.fixed + LENGTH_OFFSET);
    return true;
  }

  get section(): Section {
    return sectionOf(this.index, this.scanned.answers, this.scanned.authority);
  }
}

/** Where the first record of a message starts; -1 if the header is incomplete, or a question before it is malformed. */
export function recordsStart(message: Buffer): number {
  if (message.length < HEADER_BYTES) return -1;
  let at = HEADER_BYTES;
  for (let questions = u16At(message, 4); questions > 0; questions--) {
    const nameEnd = skipName(message, at);
    if (nameEnd === -1 || nameEnd + QUESTION_FIXED_BYTES > message.length) return -1;
    at = nameEnd + QUESTION_FIXED_BYTES;
  }
  return at;
}
