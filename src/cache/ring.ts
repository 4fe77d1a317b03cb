// Records in one piece of memory, found by key. A new record is written behind the last one, over the oldest. An old record
// that was used since it was written is moved to the front instead of being overwritten, once per round: FIFO with a second
// chance, which keeps what is used about as well as LRU does. A record that replaces one of its size takes its place: names
// with short TTLs, written again and again, do not push out those that are seldom asked for. No record is a JavaScript object: a hundred thousand answers
// are no work for the garbage collector, and each takes little more than its own octets.
//
//   record   octets u32 · hash u32 · key octets u16 · state u8 · (u8) · payload octets u32 · payload · key, to a multiple of 8
//   index    per slot: hash, offset / 8 + 1 (0: empty); open addressing, linear probing, no tombstones

import { i32At, putU16, putU32, u16At, u32At } from '../base/octets.js';
import { hashOf } from '../base/hash.js';

const HEADER_BYTES = 16;
const UNIT = 8;
const WORD_BYTES = 4;
const HASH_AT = 4;
const KEY_BYTES_AT = 8;
const STATE_AT = 10;
const PAYLOAD_BYTES_AT = 12;

/** The record is not in the index any more, or only fills the end of the memory. */
const DEAD = 0;
const LIVE = 1;
const ASKED = 2;
/** A mark of the owner's, which stays until the record is replaced. */
const MARKED = 4;

/**
 * The index has one slot for this many octets of records. The smallest answers take more octets, so there are enough
 * slots.
 */
const BYTES_PER_SLOT = 64;
const SLOT_BYTES = 8;
/** The index starts small and doubles when it fills: a sparse table touches a page of memory for each record. */
const FIRST_SLOTS = 1024;
const LIMITS = {
  /** Above this load the index grows. If it cannot grow, records are evicted before the memory is full. */
  load: 0.8,
  /** The most second chances per record written, and one more for so many of its octets, so that no write takes long. */
  chances: 16,
  bytesPerChance: 16,
  /** A record may take this part of the memory: a larger one would evict too many others. */
  largestPart: 1 / 8,
  /** The most octets that a record leaves unused in the place of the one before it. */
  slack: 64,
  /** While less than this part of the memory is live, room is made of dead records only. */
  livePart: 1 / 2,
} as const;

/** The octets of a record. */
const bytesOf = (keyBytes: number, payloadBytes: number): number =>
  Math.ceil((HEADER_BYTES + payloadBytes + keyBytes) / UNIT) * UNIT;

/** A record that is added as it lies in other memory. */
export interface AddedRecord {
  /** The payload is at [payloadAt, keyAt), and the key at [keyAt, end); `payloadAt` is a multiple of 4. */
  readonly octets: Buffer;
  /** The same octets. */
  readonly words: Int32Array;
  readonly payloadAt: number;
  readonly keyAt: number;
  readonly end: number;
  /** `hashOf` the key: with another hash it would not be found. */
  readonly hash: number;
}

/** The records. Keys are strings of characters 0 … 255. */
export class Ring {
  /** All records; an offset is into this. Valid until the next `put` or `clear`. */
  readonly octets: Buffer;
  readonly doubles: Float64Array;
  private readonly words: Int32Array;
  private index: Int32Array;
  private mask: number;
  private readonly mostSlots: number;
  /** Octets written and octets given up since the start; the difference is in use. */
  private head = 0;
  private tail = 0;
  private live = 0;
  /** The octets of those. */
  private liveBytes = 0;
  /** How often everything was forgotten at once. */
  private cleared = 0;

  /**
   * @param bytes for records and index together
   * @param onEvict called for each record that leaves to make room
   */
  constructor(
    bytes: number,
    private readonly onEvict: () => void,
  ) {
    // The kernel allocates pages when they are first written, so an empty cache costs nothing.
    this.mostSlots = 2 ** Math.floor(Math.log2(Math.max(16, bytes / BYTES_PER_SLOT)));
    const recordBytes = Math.max(0, Math.floor((bytes - this.mostSlots * SLOT_BYTES) / UNIT)) * UNIT;
    const memory = new ArrayBuffer(recordBytes);
    this.octets = Buffer.from(memory);
    this.doubles = new Float64Array(memory);
    this.words = new Int32Array(memory);
    const slots = Math.min(FIRST_SLOTS, this.mostSlots);
    this.index = new Int32Array(2 * slots);
    this.mask = slots - 1;
  }

  get entries(): number {
    return this.live;
  }

  /** Octets that records take, dead ones included, with their part of the index. */
  get bytes(): number {
    return this.head - this.tail + this.live * SLOT_BYTES;
  }

  /** Offset of the payload under a key, or -1. */
  find(key: string): number {
    const slot = this.slotOf(key, hashOf(key));
    return slot === -1 ? -1 : this.recordAt(slot) + HEADER_BYTES;
  }

  /** Marks the record with this payload as used. */
  touch(payload: number): void {
    const at = payload - HEADER_BYTES + STATE_AT;
    this.octets[at] = (this.octets[at] ?? LIVE) | ASKED;
  }

  /** Marks the record with this payload. */
  mark(payload: number): void {
    const at = payload - HEADER_BYTES + STATE_AT;
    this.octets[at] = (this.octets[at] ?? LIVE) | MARKED;
  }

  isMarked(payload: number): boolean {
    return ((this.octets[payload - HEADER_BYTES + STATE_AT] ?? 0) & MARKED) !== 0;
  }

  /**
   * Makes room for `payloadBytes` under a key, replacing the old record. Returns the offset to fill, or -1: too large.
   */
  put(key: string, payloadBytes: number): number {
    const hash = hashOf(key);
    const slot = this.slotOf(key, hash);
    if (slot !== -1) {
      const record = this.recordAt(slot);
      const slack = u32At(this.octets, record) - bytesOf(key.length, payloadBytes);
      if (slack >= 0 && slack <= LIMITS.slack) return this.write(record, key, payloadBytes, LIVE | ASKED);
      this.deleteAt(slot);
    }
    const record = this.newRecord(hash, key.length, payloadBytes);
    return record === -1 ? -1 : this.write(record, key, payloadBytes, LIVE);
  }

  /**
   * Copies a record, if there is none under its key. Returns the offset of the copy of the payload, or -1: there is one, or
   * it is too large.
   */
  add({ octets, words, payloadAt, keyAt, end, hash }: AddedRecord): number {
    const keyBytes = end - keyAt;
    if (this.hasKey(octets, keyAt, keyBytes, hash)) return -1;
    const record = this.newRecord(hash, keyBytes, keyAt - payloadAt);
    if (record === -1) return -1;
    this.writeHead(record, keyBytes, keyAt - payloadAt, LIVE);
    const from = payloadAt / WORD_BYTES;
    const to = (record + HEADER_BYTES) / WORD_BYTES;
    // Up to the end of a word: a record ends at one.
    for (let i = (end - payloadAt + WORD_BYTES - 1) >> 2; i-- > 0;) this.words[to + i] = words[from + i] ?? 0;
    return record + HEADER_BYTES;
  }

  /** Makes room for a record under a key that is not in the index. Returns where, or -1: it is too large. */
  private newRecord(hash: number, keyBytes: number, payloadBytes: number): number {
    const bytes = bytesOf(keyBytes, payloadBytes);
    if (bytes > this.octets.length * LIMITS.largestPart || keyBytes > 0xffff) return -1;
    for (let chances: number = LIMITS.chances; this.isIndexFull;) {
      if (this.mask + 1 < this.mostSlots) this.grow();
      else if (this.evict(chances > 0)) chances--;
    }
    const record = this.room(bytes);
    const { octets } = this;
    putU32(octets, record, bytes);
    putU32(octets, record + HASH_AT, hash);
    this.head += bytes;
    this.liveBytes += bytes;
    this.enter(hash, record);
    return record;
  }

  /** Writes all of a record but its size, its hash and its payload. Returns where the payload goes. */
  private write(record: number, key: string, payloadBytes: number, state: number): number {
    const { octets } = this;
    this.writeHead(record, key.length, payloadBytes, state);
    const keyAt = record + HEADER_BYTES + payloadBytes;
    for (let i = 0; i < key.length; i++) octets[keyAt + i] = key.charCodeAt(i);
    return record + HEADER_BYTES;
  }

  private writeHead(record: number, keyBytes: number, payloadBytes: number, state: number): void {
    const { octets } = this;
    putU16(octets, record + KEY_BYTES_AT, keyBytes);
    octets[record + STATE_AT] = state;
    putU32(octets, record + PAYLOAD_BYTES_AT, payloadBytes);
  }

  /** Forgets the record under a key; false: there was none. */
  delete(key: string): boolean {
    return this.deleteHashed(key, hashOf(key));
  }

  /** Removes all records whose keys are meant, and returns how many. It walks over all records. */
  deleteWhere(isMeant: (key: string, payload: number) => boolean): number {
    const { octets } = this;
    const before = this.live;
    for (let at = this.tail; at < this.head;) {
      const record = at % octets.length;
      at += u32At(octets, record);
      if (octets[record + STATE_AT] === DEAD) continue;
      const keyAt = record + HEADER_BYTES + u32At(octets, record + PAYLOAD_BYTES_AT);
      const key = octets.toString('latin1', keyAt, keyAt + u16At(octets, record + KEY_BYTES_AT));
      if (isMeant(key, record + HEADER_BYTES)) this.deleteHashed(key, i32At(octets, record + HASH_AT));
    }
    const deleted = before - this.live;
    // Dead records take up memory until the head reaches them. If all are dead, the memory can be cleared now.
    if (this.live === 0) this.clear();
    return deleted;
  }

  private deleteHashed(key: string, hash: number): boolean {
    const slot = this.slotOf(key, hash);
    if (slot === -1) return false;
    this.deleteAt(slot);
    return true;
  }

  private deleteAt(slot: number): void {
    const record = this.recordAt(slot);
    this.octets[record + STATE_AT] = DEAD;
    this.liveBytes -= u32At(this.octets, record);
    this.leave(slot);
  }

  /** The records at present, oldest first. Others may be put and deleted between two of them. */
  *records(): Iterable<{ readonly key: string; readonly payload: number; readonly bytes: number }> {
    const { octets, cleared } = this;
    const end = this.head;
    for (let at = this.tail; at < end && cleared === this.cleared;) {
      // Those that were given up since.
      if (at < this.tail) at = this.tail;
      if (at >= end) return;
      const record = at % octets.length;
      at += u32At(octets, record);
      if (octets[record + STATE_AT] === DEAD) continue;
      const bytes = u32At(octets, record + PAYLOAD_BYTES_AT);
      const payload = record + HEADER_BYTES;
      const keyAt = payload + bytes;
      const key = octets.toString('latin1', keyAt, keyAt + u16At(octets, record + KEY_BYTES_AT));
      yield { key, payload, bytes };
    }
  }

  clear(): void {
    this.cleared++;
    this.index.fill(0);
    this.head = this.tail = this.live = this.liveBytes = 0;
  }

  /** Finds `bytes` in one piece at the head, giving up the oldest records. Returns the offset. */
  private room(bytes: number): number {
    const size = this.octets.length;
    for (let chances = LIMITS.chances + bytes / LIMITS.bytesPerChance; ;) {
      const at = this.head % size;
      const needed = at + bytes > size ? size - at : bytes;
      if (this.head + needed - this.tail > size) {
        if (this.evict(chances > 0)) chances--;
      } else if (at + bytes <= size) return at;
      else {
        // A record does not continue at the start: the end of the memory stays empty.
        putU32(this.octets, at, needed);
        this.octets[at + STATE_AT] = DEAD;
        this.head += needed;
      }
    }
  }

  /** Gives up the oldest record. True: it was used lately, or others are dead, and it was moved to the head instead. */
  private evict(mayMove: boolean): boolean {
    const { octets } = this;
    const size = octets.length;
    const record = this.tail % size;
    const bytes = u32At(octets, record);
    const state = octets[record + STATE_AT] ?? DEAD;
    if (state === DEAD) {
      this.tail += bytes;
      return false;
    }
    const hash = i32At(octets, record + HASH_AT);
    const slot = this.slotAt(record, hash);
    const to = this.head % size;
    const stays = (state & ASKED) !== 0 || (this.liveBytes < LIMITS.livePart * size && !this.isIndexFull);
    if (mayMove && stays && to + bytes <= size) {
      octets.copyWithin(to, record, record + bytes);
      octets[to + STATE_AT] = state & ~ASKED;
      this.index[2 * slot + 1] = to / UNIT + 1;
      this.head += bytes;
      this.tail += bytes;
      return true;
    }
    this.leave(slot);
    this.liveBytes -= bytes;
    this.tail += bytes;
    this.onEvict();
    return false;
  }

  private get isIndexFull(): boolean {
    return this.live >= LIMITS.load * this.mask;
  }

  private recordAt(slot: number): number {
    return ((this.index[2 * slot + 1] ?? 0) - 1) * UNIT;
  }

  /** The slot of a key, or -1. */
  private slotOf(key: string, hash: number): number {
    const { octets } = this;
    for (
      let slot = this.slotFrom(hash, hash, key.length);
      slot !== -1;
      slot = this.slotFrom(slot + 1, hash, key.length)
    ) {
      const keyAt = this.keyAt(slot);
      let i = 0;
      while (i < key.length && octets[keyAt + i] === key.charCodeAt(i)) i++;
      if (i === key.length) return slot;
    }
    return -1;
  }

  /** Whether there is a record under a key: octets from `start` on. */
  private hasKey(key: Buffer, start: number, bytes: number, hash: number): boolean {
    const { octets } = this;
    for (let slot = this.slotFrom(hash, hash, bytes); slot !== -1; slot = this.slotFrom(slot + 1, hash, bytes)) {
      const keyAt = this.keyAt(slot);
      let i = 0;
      while (i < bytes && octets[keyAt + i] === key[start + i]) i++;
      if (i === bytes) return true;
    }
    return false;
  }

  /** The first slot, from this one on, of a key with this hash and length, or -1. */
  private slotFrom(first: number, hash: number, keyBytes: number): number {
    const { index, mask, octets } = this;
    for (let slot = first & mask; ; slot = (slot + 1) & mask) {
      const unit = index[2 * slot + 1] ?? 0;
      if (unit === 0) return -1;
      if (index[2 * slot] === hash && u16At(octets, (unit - 1) * UNIT + KEY_BYTES_AT) === keyBytes) return slot;
    }
  }

  /** Where the key is of the record in a slot. */
  private keyAt(slot: number): number {
    const record = this.recordAt(slot);
    return record + HEADER_BYTES + u32At(this.octets, record + PAYLOAD_BYTES_AT);
  }

  /** The slot of a record that is in the index. */
  private slotAt(record: number, hash: number): number {
    const unit = record / UNIT + 1;
    let slot = hash & this.mask;
    while (this.index[2 * slot + 1] !== unit) slot = (slot + 1) & this.mask;
    return slot;
  }

  private enter(hash: number, record: number): void {
    let slot = hash & this.mask;
    while (this.index[2 * slot + 1] !== 0) slot = (slot + 1) & this.mask;
    this.index[2 * slot] = hash;
    this.index[2 * slot + 1] = record / UNIT + 1;
    this.live++;
  }

  private grow(): void {
    const { index } = this;
    this.mask = 2 * this.mask + 1;
    this.index = new Int32Array(2 * index.length);
    this.live = 0;
    for (let at = 0; at < index.length; at += 2) {
      const unit = index[at + 1] ?? 0;
      if (unit !== 0) this.enter(index[at] ?? 0, (unit - 1) * UNIT);
    }
  }

  /** Empties a slot, and moves up the slots after it that probing would not find any more (Knuth 6.4, algorithm R). */
  private leave(slot: number): void {
    const { index, mask } = this;
    this.live--;
    let hole = slot;
    for (let next = (hole + 1) & mask; index[2 * next + 1] !== 0; next = (next + 1) & mask) {
      const home = (index[2 * next] ?? 0) & mask;
      // Stays if its home lies cyclically in (hole, next].
      if (((next - home) & mask) < ((next - hole) & mask)) continue;
      index[2 * hole] = index[2 * next] ?? 0;
      index[2 * hole + 1] = index[2 * next + 1] ?? 0;
      hole = next;
    }
    index[2 * hole + 1] = 0;
  }
}
