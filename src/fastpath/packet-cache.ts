// Ready replies by question octets, in memory that threads share: one writer (the main thread), any number of readers,
// no locks. A hit copies octets and patches id, letter case and TTLs; it allocates nothing and waits for nobody.
//
//   control   `reserved`, how far the log has been written, ever (in units of 8 octets), the number of buckets in use, and
//             from when and until when all entries may be given (seconds since 1970; 0: always)
//   index     buckets of WAYS slots, each a hash and a position in the log; few are used at first, since a sparse table
//             touches a page of memory for each entry, and one more whenever they fill (linear hashing, Litwin 1980), so
//             that no reply waits until all of them are arranged anew
//   marks     an octet per slot: its entry expires soon, and a query for it was handed over, so that it is refreshed
//   log       entries one behind the other, round and round; the oldest are overwritten
//
// An entry at position p is whole as long as `reserved - p` has not passed the log's size: the writer moves `reserved`
// before it writes, so a reader that finds it unmoved after copying has copied what it meant to.
//
//   entry     key octets u16 · reply octets u16 · TTL count u16 · kind u16 · stored f64 · expires f64
//             then reply, the offsets of its TTLs (u16 each), and key, each starting at a multiple of 4

import { copyOctets, putU16, putU32, u16At, u32At } from '../base/octets.js';
import { refreshedFrom } from '../base/refresh.js';
import type { AgeSec } from '../base/time.js';
import type { ReadyReply } from '../front/ready-replies.js';
import { classOfKey, type FastQuery } from './fast-query.js';

const UNIT = 8;
/**
 * A cache line of slots. With fewer, names in a full bucket evict each other again and again: with four per bucket, 3 %
 * of the queries for 10,000 names missed.
 */
const WAYS = 8;
/** Octets of log for each slot of the index: about what a short entry takes. */
const LOG_BYTES_PER_SLOT = 128;
const LEAST_LOG_BYTES = 1 << 14;
/** How much of the log is looked at when entries are picked that stay: a few thousand short ones, in some milliseconds. */
const LOOKED_UNITS = 2 ** 19 / UNIT;
const CONTROL_BYTES = 64;
const RESERVED = 0;
const BUCKETS = 1;
const PERIOD_AT = 8;
const FROM = 0;
const UNTIL = 1;
/** In place of the end of a period: it is over. */
const OVER = 1;
const FIRST_BUCKETS = 32;
/** There are this many slots for each that was written. Those of buckets that are not split yet are twice as full as others. */
const SLOTS_PER_ENTRY = 5;

const KEY_AT = 0;
const REPLY_AT = 2;
const TTLS_AT = 4;
const KIND_AT = 6;
const STORED_AT = 8;
const EXPIRES_AT = 16;
const ENTRY_HEAD_BYTES = 24;

/** Bits of the kind of an entry: it is negative, for counting; it ends with an OPT without options. */
const KIND = { negative: 1, canBePadded: 2 } as const;

/**
 * Memory for a packet cache with a log of at most `bytes` (rounded down to a power of two), for all threads that share
 * it.
 */
export function packetCacheMemory(bytes: number): SharedArrayBuffer {
  const logBytes = Math.max(LEAST_LOG_BYTES, 2 ** Math.floor(Math.log2(bytes)));
  return new SharedArrayBuffer(CONTROL_BYTES + (logBytes / LOG_BYTES_PER_SLOT) * (UNIT + 1) + logBytes);
}

/**
 * Whether an entry stays when others are forgotten.
 * @param clientClass the group of the clients that it is for
 * @param reply as it was stored; only lent
 */
export type Stays = (clientClass: number, reply: Buffer) => boolean;

/** Room for a reply: the same memory as octets and as words. */
export interface Room {
  readonly octets: Buffer;
  readonly words: Int32Array;
}

/** Makes room of `bytes`, a multiple of 4. */
export function room(bytes: number): Room {
  const memory = new ArrayBuffer(bytes);
  return { octets: Buffer.from(memory), words: new Int32Array(memory) };
}

/** A view of the shared memory. Every thread makes its own. Only one thread may call `put` and `clear`. */
export class PacketCache {
  private readonly control: Int32Array;
  private readonly period: Uint32Array;
  private readonly index: Int32Array;
  private readonly maxBuckets: number;
  /** How often all was forgotten; only the writer counts. */
  private cleared = 0;
  /** How many slots were ever written; only the writer counts. */
  private filled = 0;
  private readonly log: Buffer;
  private readonly words: Int32Array;
  private readonly doubles: Float64Array;
  private readonly logUnits: number;
  private readonly marks: Uint8Array;
  /** The entry that `find` found: offset in the log, and its position. */
  private entry = 0;
  private position = 0;

  constructor(memory: SharedArrayBuffer) {
    // As packetCacheMemory has divided it: the log is a power of two, and the rest is a little more than a sixteenth of
    // it.
    const logBytes = 2 ** Math.floor(Math.log2(memory.byteLength));
    const slots = logBytes / LOG_BYTES_PER_SLOT;
    const logAt = CONTROL_BYTES + slots * UNIT;
    this.control = new Int32Array(memory, 0, 2);
    this.period = new Uint32Array(memory, PERIOD_AT, 2);
    this.index = new Int32Array(memory, CONTROL_BYTES, 2 * slots);
    this.maxBuckets = slots / WAYS;
    // The first view initialises the memory; later ones find it done.
    Atomics.compareExchange(this.control, BUCKETS, 0, Math.min(FIRST_BUCKETS, this.maxBuckets));
    this.log = Buffer.from(memory, logAt, logBytes);
    this.words = new Int32Array(memory, logAt, logBytes / 4);
    this.doubles = new Float64Array(memory, logAt, logBytes / 8);
    this.logUnits = logBytes / UNIT;
    this.marks = new Uint8Array(memory, logAt + logBytes, slots);
  }

  /**
   * Looks for a fresh reply. The first time that it is asked for shortly before its end, it counts as missing: the main
   * thread answers, and refreshes the answer. If there is one, `copyTo`, `replyBytes` and `negative` are about it.
   * @param ageNow on the age clock
   */
  find(query: FastQuery, ageNow: AgeSec): boolean {
    const { hash, keyBytes } = query;
    const { control, index, log } = this;
    const bucket = this.bucketOf(hash);
    for (let slot = bucket; slot < bucket + WAYS * 2; slot += 2) {
      if (index[slot] !== hash) continue;
      const position = Atomics.load(index, slot + 1);
      // What was overwritten long ago. `copyTo` finds out about what is overwritten just now.
      if (!this.isWithin(control[RESERVED] ?? 0, position)) continue;
      const entry = this.offsetOf(position);
      const expires = this.doubles[(entry + EXPIRES_AT) >> 3] ?? 0;
      if (u16At(log, entry + KEY_AT) !== keyBytes || expires <= ageNow) continue;
      if (!this.isKey(entry, query)) continue;
      const storedAt = this.doubles[(entry + STORED_AT) >> 3] ?? 0;
      if (ageNow >= refreshedFrom(storedAt, expires - storedAt) && this.marks[slot >> 1] === 0) {
        this.marks[slot >> 1] = 1;
        return false;
      }
      this.entry = entry;
      this.position = position;
      return true;
    }
    return false;
  }

  /** Octets of the found reply. */
  get replyBytes(): number {
    return u16At(this.log, this.entry + REPLY_AT);
  }

  /** Whether the found reply is negative. */
  get negative(): boolean {
    return (u16At(this.log, this.entry + KIND_AT) & KIND.negative) !== 0;
  }

  /** Whether the found reply ends with an OPT without options. */
  get canBePadded(): boolean {
    return (u16At(this.log, this.entry + KIND_AT) & KIND.canBePadded) !== 0;
  }

  /**
   * Copies the found reply to `out` at `outStart` (a multiple of 4) for the query at `start` in `message`, with its id,
   * its letter case, and current TTLs.
   * @returns false: it was overwritten in the meantime, and the copy must not be used
   */
  copyTo(out: Room, outStart: number, message: Buffer, start: number, questionBytes: number, ageNow: AgeSec): boolean {
    const { log, words, entry } = this;
    const { octets } = out;
    const replyBytes = u16At(log, entry + REPLY_AT);
    const offsets = entry + ENTRY_HEAD_BYTES + aligned(replyBytes);
    const ttls = u16At(log, entry + TTLS_AT);
    // Offsets outside the log occur only while the entry is being overwritten.
    if (offsets + 2 * ttls > log.length || outStart + replyBytes > octets.length) return false;
    // Word by word: for so few octets this is faster than any call.
    let to = outStart >> 2;
    for (let from = (entry + ENTRY_HEAD_BYTES) >> 2; from < offsets >> 2; from++) out.words[to++] = words[from] ?? 0;
    octets[outStart] = message[start] ?? 0;
    octets[outStart + 1] = message[start + 1] ?? 0;
    for (let i = 12; i < 12 + questionBytes; i++) octets[outStart + i] = message[start + i] ?? 0;
    const ageSec = Math.floor(ageNow - (this.doubles[(entry + STORED_AT) >> 3] ?? 0));
    if (ageSec > 0) {
      for (let i = 0; i < ttls; i++) {
        const at = outStart + u16At(log, offsets + 2 * i);
        if (at + 4 > octets.length) return false;
        putU32(octets, at, Math.max(0, u32At(octets, at) - ageSec));
      }
    }
    return this.holds(this.position);
  }

  /** Stores a reply under the key of the query that was last read. Writer only. */
  put(query: FastQuery, ready: ReadyReply): void {
    const { key, keyBytes, hash } = query;
    const { reply, ttlOffsets } = ready;
    const offsetsAt = ENTRY_HEAD_BYTES + aligned(reply.length);
    const keyAt = offsetsAt + aligned(2 * ttlOffsets.length);
    const units = Math.ceil((keyAt + keyBytes) / UNIT);
    // An entry that takes a large part of the log would evict too many others.
    if (units > this.logUnits >> 3) return;
    const position = this.reserve(units);
    const entry = this.offsetOf(position);

    const { log } = this;
    putU16(log, entry + KEY_AT, keyBytes);
    putU16(log, entry + REPLY_AT, reply.length);
    putU16(log, entry + TTLS_AT, ttlOffsets.length);
    const kind = (ready.negative ? KIND.negative : 0) | (ready.canBePadded ? KIND.canBePadded : 0);
    putU16(log, entry + KIND_AT, kind);
    this.doubles[(entry + STORED_AT) >> 3] = ready.storedAt;
    this.doubles[(entry + EXPIRES_AT) >> 3] = ready.storedAt + ready.ttlSec;
    copyOctets(reply, 0, reply.length, log, entry + ENTRY_HEAD_BYTES);
    for (let i = 0; i < ttlOffsets.length; i++) {
      const offset = ttlOffsets[i] ?? 0;
      const at = entry + ENTRY_HEAD_BYTES + offset;
      if (ready.elapsedSec > 0) putU32(log, at, u32At(log, at) + ready.elapsedSec);
      putU16(log, entry + offsetsAt + 2 * i, offset);
    }
    copyOctets(key, 0, keyBytes, log, entry + keyAt);

    const slot = this.slotFor(hash, query);
    if (this.index[slot] === 0 && this.index[slot + 1] === 0) this.filled++;
    this.index[slot] = hash;
    this.marks[slot >> 1] = ready.storedAt + ready.elapsedSec >= refreshedFrom(ready.storedAt, ready.ttlSec) ? 1 : 0;
    Atomics.store(this.index, slot + 1, position);
    const buckets = this.control[BUCKETS] ?? 0;
    if (SLOTS_PER_ENTRY * this.filled > buckets * WAYS && buckets < this.maxBuckets) this.split(buckets);
  }

  /**
   * Whether entries may be given at a time: schedules decide what is in them, and these have not begun or ended since they
   * were looked at. After a sleep, or when the clock was set, whoever finds that they may have, hands the query over.
   * @param wallSec seconds since 1970
   */
  holdsAt(wallSec: number): boolean {
    const { period } = this;
    const until = Atomics.load(period, UNTIL);
    return until === 0 || (wallSec < until && wallSec >= Atomics.load(period, FROM));
  }

  /**
   * Says from when and until when entries may be given, in whole seconds since 1970. Writer only.
   * @param untilSec Infinity: for ever
   */
  hold(fromSec: number, untilSec: number): void {
    const { period } = this;
    const until = untilSec === Infinity ? 0 : untilSec;
    if (period[UNTIL] === until && (until === 0 || period[FROM] === fromSec)) return;
    // In the meantime, a reader hands over.
    Atomics.store(period, UNTIL, OVER);
    Atomics.store(period, FROM, fromSec);
    Atomics.store(period, UNTIL, until);
  }

  /** How often all entries were forgotten. Writer only. */
  get epoch(): number {
    return this.cleared;
  }

  /**
   * Forgets all entries, for all threads at once. Writer only.
   * @param stays picks entries that stay, if they are among the newest: a look at all of them would take too long
   */
  clear(stays?: Stays): void {
    this.cleared++;
    if (stays === undefined) Atomics.add(this.control, RESERVED, this.logUnits);
    else this.keepOnly(stays);
  }

  private keepOnly(stays: Stays): void {
    const { index } = this;
    const reserved = this.control[RESERVED] ?? 0;
    const end = (this.control[BUCKETS] ?? 0) * WAYS * 2;
    for (let slot = 0; slot < end; slot += 2) {
      const position = index[slot + 1] ?? 0;
      if (index[slot] === 0 && position === 0) continue;
      const age = (reserved - position) >>> 0;
      if (age > 0 && age <= LOOKED_UNITS && this.holds(position) && this.staysAt(position, stays)) continue;
      index[slot] = 0;
      Atomics.store(index, slot + 1, 0);
      this.filled--;
    }
  }

  private staysAt(position: number, stays: Stays): boolean {
    const { log } = this;
    const entry = this.offsetOf(position);
    const replyAt = entry + ENTRY_HEAD_BYTES;
    const lastOfKey = log[this.keyAt(entry) + u16At(log, entry + KEY_AT) - 1] ?? 0;
    return stays(classOfKey(lastOfKey), log.subarray(replyAt, replyAt + u16At(log, entry + REPLY_AT)));
  }

  /** The first slot of a hash's bucket, in numbers of the index. */
  private bucketOf(hash: number): number {
    const buckets = Atomics.load(this.control, BUCKETS);
    const mask = maskOf(buckets);
    const bucket = hash & mask;
    // Those that there are not yet are still in the one that will be split for them.
    return (bucket < buckets ? bucket : bucket & (mask >> 1)) * WAYS * 2;
  }

  /**
   * Adds bucket number `buckets`, with what belongs there. In the meantime a reader may miss an entry; it compares keys, so it
   * never finds a wrong one.
   */
  private split(buckets: number): void {
    const { index } = this;
    const mask = maskOf(buckets + 1);
    const from = (buckets & (mask >> 1)) * WAYS * 2;
    const to = buckets * WAYS * 2;
    for (let slot = 0; slot < WAYS * 2; slot += 2) {
      const hash = index[from + slot] ?? 0;
      if ((hash & mask) !== buckets) continue;
      index[to + slot] = hash;
      Atomics.store(index, to + slot + 1, index[from + slot + 1] ?? 0);
      index[from + slot] = 0;
      Atomics.store(index, from + slot + 1, 0);
    }
    Atomics.store(this.control, BUCKETS, buckets + 1);
  }

  /** Takes `units` of the log, which ends the entries that were there. Returns the position. */
  private reserve(units: number): number {
    const reserved = this.control[RESERVED] ?? 0;
    const used = reserved & (this.logUnits - 1);
    // An entry does not continue at the start: the end of the log stays empty.
    const skip = used + units > this.logUnits ? this.logUnits - used : 0;
    Atomics.store(this.control, RESERVED, (reserved + skip + units) | 0);
    return (reserved + skip) | 0;
  }

  /** The slot of the bucket for an entry: that of its older version, else of an entry that is gone, else the oldest. */
  private slotFor(hash: number, query: FastQuery): number {
    const bucket = this.bucketOf(hash);
    const reserved = this.control[RESERVED] ?? 0;
    let oldest = bucket;
    let oldestAge = -1;
    for (let slot = bucket; slot < bucket + WAYS * 2; slot += 2) {
      const position = this.index[slot + 1] ?? 0;
      if (this.index[slot] === hash && this.holds(position) && this.isKeyAt(position, query)) return slot;
      const age = (reserved - position) >>> 0;
      if (age > oldestAge) {
        oldest = slot;
        oldestAge = age;
      }
    }
    return oldest;
  }

  private isKeyAt(position: number, query: FastQuery): boolean {
    const entry = this.offsetOf(position);
    return u16At(this.log, entry + KEY_AT) === query.keyBytes && this.isKey(entry, query);
  }

  /** Whether an entry has the key of a query, which is as long. It is compared word by word. */
  private isKey(entry: number, { key, keyWords, keyBytes }: FastQuery): boolean {
    const { log, words } = this;
    const at = this.keyAt(entry);
    const whole = keyBytes >> 2;
    for (let word = 0; word < whole; word++) if (words[(at >> 2) + word] !== keyWords[word]) return false;
    for (let i = whole << 2; i < keyBytes; i++) if (log[at + i] !== key[i]) return false;
    return true;
  }

  /** Whether the entry at `position` is still whole. Position 0 of an unused slot counts as long gone. */
  private holds(position: number): boolean {
    // A read that also orders the reads before it, which a plain atomic load does not on every machine.
    return this.isWithin(Atomics.or(this.control, RESERVED, 0), position);
  }

  /** Whether a position is within the log, which is reserved up to `reserved`. */
  private isWithin(reserved: number, position: number): boolean {
    const age = (reserved - position) >>> 0;
    return age > 0 && age <= this.logUnits;
  }

  private offsetOf(position: number): number {
    return (position & (this.logUnits - 1)) * UNIT;
  }

  private keyAt(entry: number): number {
    return (
      entry +
      ENTRY_HEAD_BYTES +
      aligned(u16At(this.log, entry + REPLY_AT)) +
      aligned(2 * u16At(this.log, entry + TTLS_AT))
    );
  }
}

/** The bits of a hash that say which of so many buckets it is. */
const maskOf = (buckets: number): number => (buckets > 1 ? -1 >>> Math.clz32(buckets - 1) : 0);

const aligned = (bytes: number): number => (bytes + 3) & ~3;
