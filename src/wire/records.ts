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
  /** Where its owner starts. */
  owner: number;
  /** Where its TYPE stands. */
  fixed = 0;
  /** Just behind its RDATA; before the first `next`, where the first record starts. */
  end: number;

  constructor(
    protected readonly message: Buffer,
    start: number,
    /** Records in the answer section. */
    protected readonly answers: number,
    /** Records in answer and authority section. */
    protected readonly authorityEnd: number,
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

  get section(): Section {
    return this.index < this.answers ? 'answer' : this.index < this.authorityEnd ? 'authority' : 'additional';
  }
}

/** Walks the records of a message that nobody has looked at. Each name and length is checked. */
export class Records extends CurrentRecord {
  /** A name or a length does not fit the octets; the walk has ended there. */
  isMalformed = false;
  private readonly count: number;

  /**
   * @param message with a whole header
   * @param start where its first record starts, just behind the question
   */
  constructor(message: Buffer, start: number) {
    const answers = u16At(message, 6);
    const authorityEnd = answers + u16At(message, 8);
    super(message, start, answers, authorityEnd);
    this.count = authorityEnd + u16At(message, 10);
  }

  /** Goes on to the next record; false: there is none, or it is malformed. */
  next(): boolean {
    if (this.index + 1 >= this.count) return false;
    const { message } = this;
    const owner = this.end;
    const fixed = skipName(message, owner);
    const end = fixed + RECORD_FIXED_BYTES + u16At(message, fixed + LENGTH_OFFSET);
    // What is cut off in the fixed part ends beyond the message, too: octets that are missing count as 0.
    if (fixed === -1 || end > message.length) {
      this.isMalformed = true;
      return false;
    }
    this.index++;
    this.owner = owner;
    this.fixed = fixed;
    this.end = end;
    return true;
  }

  /** The walk is over, all was well, and behind the last record there is nothing more. */
  get endsMessage(): boolean {
    return !this.isMalformed && this.index + 1 >= this.count && this.end === this.message.length;
  }
}

/** What a walk over a message that was scanned needs to know of it. */
export interface ScannedMessage {
  readonly octets: Buffer;
  readonly answers: number;
  readonly authority: number;
  /** Offsets of the TTLs of all records, in order. */
  readonly ttlOffsets: ArrayLike<number>;
}

/** Walks the records of a message that was scanned (wire/scan): nothing has to be checked, and no name is read. */
export class ScannedRecords extends CurrentRecord {
  private readonly ttlOffsets: ArrayLike<number>;

  constructor({ octets, answers, authority, ttlOffsets }: ScannedMessage, questionEnd: number) {
    super(octets, questionEnd, answers, answers + authority);
    this.ttlOffsets = ttlOffsets;
  }

  /** Goes on to the next record; false: there is none. */
  next(): boolean {
    if (this.index + 1 >= this.ttlOffsets.length) return false;
    this.index++;
    this.owner = this.end;
    this.fixed = (this.ttlOffsets[this.index] ?? 0) - TTL_OFFSET;
    this.end = this.fixed + RECORD_FIXED_BYTES + u16At(this.message, this.fixed + LENGTH_OFFSET);
    return true;
  }
}

/** Where the first record of a message starts; -1 if a question before it is malformed, or not even the header is whole. */
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
