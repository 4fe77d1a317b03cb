// Records in one piece of memory, found by key. A new record is written behind the last one, over the oldest. An old record
// that was used since it was written is moved to the front instead of being overwritten, once per round: FIFO with a second
// chance, which keeps what is used about as well as LRU does. A record that replaces one of its size takes its place: names
// with short TTLs, written again and again, do not push out those that are seldom asked for. No record is a JavaScript object: a hundred thousand answers
// are no work for the garbage collector, and each takes little more than its own octets.
//
//   record   octets u32 · hash u32 · key octets u16 · state u8 · (u8) · payload octets u32 · payload · key, to a multiple of 8
//   index    per slot: hash, offset / 8 + 1 (0: empty); open addressing, linear probing, no tombstones

import { i32At, putU16, putU32, u16At, u32At } from '../base/octets.js';
import { finishedHash, FNV_OFFSET, hashed, hashOf } from '../base/hash.js';

const HEADER_BYTES = 16;
const UNIT = 8;
const HASH_AT = 4;
const KEY_BYTES_AT = 8;
const STATE_AT = 10;
const PAYLOAD_BYTES_AT = 12;

/** The record is not in the index any more, or only fills the end of the memory. */
const DEAD = 0;
const LIVE = 1;
const ASKED = 2;
/** It comes from a block. This stays until the record is replaced. */
const MARKED = 4;

/**
 * The index has one slot for this many octets of records. The smallest answers take more octets, so there are enough
 * slots.
 */
const BYTES_PER_SLOT = 64;
const SLOT_BYTES = 8;
/** The index starts small and doubles when it fills: a sparse table touches a page of memory for each record. */
const FIRST_SLOTS = 1024;
/**
 * How many slots of the index of before move at each new record, so that no record takes long. Two would do: they have all
 * moved before the index is full again.
 */
const MOVED_SLOTS = 16;
/** In place of an offset in the index of before: the record is in the index of now, or nowhere. Probing goes on there. */
const MOVED = -1;
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

/** About how many octets of records a block is made of: to write or read it takes less than a millisecond. */
export const BLOCK_BYTES = 1 << 15;
/** The first one is shorter: until the code that makes and reads it is compiled, that takes many times as long. */
export const FIRST_BLOCK_BYTES = 1 << 11;
/** That of the block after one of `bytes`. */
export const nextBlockBytes = (bytes: number): number => Math.min(2 * bytes, BLOCK_BYTES);

/** Whether so many records are too many for an index of `mask` + 1 slots. */
const isFull = (mask: number, records: number): boolean => records > LIMITS.load * mask;

/** The octets of a record. */
const bytesOf = (keyBytes: number, payloadBytes: number): number =>
  Math.ceil((HEADER_BYTES + payloadBytes + keyBytes) / UNIT) * UNIT;

/** The octets of the record at `at` of other memory, or -1: there is none. */
function recordBytesAt(octets: Buffer, at: number): number {
  const bytes = u32At(octets, at);
  const needed = HEADER_BYTES + u32At(octets, at + PAYLOAD_BYTES_AT) + u16At(octets, at + KEY_BYTES_AT);
  return bytes % UNIT === 0 && needed <= bytes && at + bytes <= octets.length ? bytes : -1;
}

/** Whether octets are records one after the other, to the end. */
function areRecords(octets: Buffer): boolean {
  for (let at = 0; at < octets.length;) {
    const bytes = recordBytesAt(octets, at);
    if (bytes === -1) return false;
    at += bytes;
  }
  return true;
}

/** The records. Keys are strings of characters 0 … 255. */
export class Ring {
  /** All records; an offset is into this. Valid until the next `put` or `clear`. */
  readonly octets: Buffer;
  readonly doubles: Float64Array;
  private index: Int32Array;
  private mask: number;
  /** The index from before it doubled, until all of its slots have moved. Nothing is entered there. */
  private former: Int32Array | undefined = undefined;
  /** How many of its slots have moved. */
  private moved = 0;
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
    this.mask = Math.min(FIRST_SLOTS, this.mostSlots) - 1;
    this.index = new Int32Array(2 * (this.mask + 1));
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

  /** The key of the record with this payload. */
  keyOf(payload: number): string {
    const { octets } = this;
    const keyAt = payload + u32At(octets, payload - HEADER_BYTES + PAYLOAD_BYTES_AT);
    return octets.toString('latin1', keyAt, keyAt + u16At(octets, payload - HEADER_BYTES + KEY_BYTES_AT));
  }

  /** Marks the record with this payload as used. */
  touch(payload: number): void {
    const at = payload - HEADER_BYTES + STATE_AT;
    this.octets[at] = (this.octets[at] ?? LIVE) | ASKED;
  }

  /** Whether the record with this payload comes from a block. */
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

  /** Makes the index large enough for so many records, as far as it may grow. While it is empty, that takes no time. */
  expect(records: number): void {
    let { mask } = this;
    while (isFull(mask, records) && mask + 1 < this.mostSlots) mask = 2 * mask + 1;
    if (mask !== this.mask) this.grow(mask);
  }

  /**
   * Copies records as `blocks` gave them, but none whose key is here. They are marked. Only such records are given up for
   * them.
   * @param block any octets
   * @param isTaken called with the payload of each, at [payload, end) of this memory; it may change it, but not the ring
   * @returns how many were taken, or -1: these are not records, or not to the end, and none was taken
   */
  addBlock(block: Buffer, isTaken: (payload: number, end: number) => boolean): number {
    if (!areRecords(block)) return -1;
    let added = 0;
    for (let from = 0; from < block.length;) {
      const { end, records } = this.runAt(block, from);
      if (end - from <= this.octets.length * LIMITS.largestPart)
        added += this.addRun(block.subarray(from, end), records, isTaken);
      from = end;
    }
    return added;
  }

  /** Those records from `from` on that may be copied at once, one at least. */
  private runAt(block: Buffer, from: number): { readonly end: number; readonly records: number } {
    const most = from + this.octets.length * LIMITS.largestPart;
    let end = from;
    let records = 0;
    while (end < block.length && records < this.mostSlots * LIMITS.largestPart) {
      const bytes = u32At(block, end);
      if (records > 0 && end + bytes > most) break;
      end += bytes;
      records++;
    }
    return { end, records };
  }

  /**
   * Copies so many records, which are an eighth of the memory and of the index at most. It copies none where there is no
   * room for them beside what was put here.
   */
  private addRun(run: Buffer, records: number, isTaken: (payload: number, end: number) => boolean): number {
    const start = this.roomInIndex(records, true) ? this.room(run.length, true) : -1;
    if (start === -1) return 0;
    this.move(MOVED_SLOTS * records);
    const { octets, live } = this;
    octets.set(run, start);
    this.head += run.length;
    for (let record = start; record < start + run.length;) {
      const bytes = u32At(octets, record);
      const payload = record + HEADER_BYTES;
      const keyAt = payload + u32At(octets, record + PAYLOAD_BYTES_AT);
      const keyBytes = u16At(octets, record + KEY_BYTES_AT);
      const hash = i32At(octets, record + HASH_AT);
      octets[record + STATE_AT] = DEAD;
      // Octets that are taken for a record by mistake do not have the hash of what is taken for their key.
      if (hash === this.hashAt(keyAt, keyBytes) && !this.hasKey(keyAt, keyBytes, hash) && isTaken(payload, keyAt)) {
        octets[record + STATE_AT] = LIVE | MARKED;
        this.liveBytes += bytes;
        this.enter(hash, record);
      }
      record += bytes;
    }
    return this.live - live;
  }

  /** Makes room for a record under a key that is not in the index. Returns where, or -1: it is too large. */
  private newRecord(hash: number, keyBytes: number, payloadBytes: number): number {
    const bytes = bytesOf(keyBytes, payloadBytes);
    if (bytes > this.octets.length * LIMITS.largestPart || keyBytes > 0xffff) return -1;
    this.roomInIndex(1);
    this.move(MOVED_SLOTS);
    const record = this.room(bytes);
    const { octets } = this;
    putU32(octets, record, bytes);
    putU32(octets, record + HASH_AT, hash);
    this.head += bytes;
    this.liveBytes += bytes;
    this.enter(hash, record);
    return record;
  }

  /** Makes room in the index for so many records. False: only marked ones may go, and they are not the oldest. */
  private roomInIndex(records: number, onlyMarked = false): boolean {
    this.expect(this.live + records);
    for (let chances: number = LIMITS.chances; isFull(this.mask, this.live + records);) {
      if (onlyMarked && this.isOldestPut) return false;
      if (this.evict(chances > 0, 'index')) chances--;
    }
    return true;
  }

  /** Writes all of a record but its size, its hash and its payload. Returns where the payload goes. */
  private write(record: number, key: string, payloadBytes: number, state: number): number {
    const { octets } = this;
    putU16(octets, record + KEY_BYTES_AT, key.length);
    octets[record + STATE_AT] = state;
    putU32(octets, record + PAYLOAD_BYTES_AT, payloadBytes);
    const keyAt = record + HEADER_BYTES + payloadBytes;
    for (let i = 0; i < key.length; i++) octets[keyAt + i] = key.charCodeAt(i);
    return record + HEADER_BYTES;
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
      if (this.stateAt(record) === DEAD) continue;
      const key = this.keyOf(record + HEADER_BYTES);
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

  /**
   * The records at present, oldest first, as they lie in memory: in each block those of the next few octets. Others may be put
   * and deleted between two blocks. A block is valid until then.
   * @param isKept called with the payload of each
   */
  *blocks(isKept: (payload: number) => boolean): Iterable<readonly Buffer[]> {
    const { octets, cleared } = this;
    const end = this.head;
    let bytes = FIRST_BLOCK_BYTES;
    for (let at = this.tail; at < end && cleared === this.cleared; bytes = nextBlockBytes(bytes)) {
      // Those before the tail were given up since.
      at = Math.max(at, this.tail);
      const until = Math.min(at + bytes, end);
      const runs: Buffer[] = [];
      let [first, next] = [0, 0];
      while (at < until) {
        const record = at % octets.length;
        at += u32At(octets, record);
        if (this.stateAt(record) === DEAD || !isKept(record + HEADER_BYTES)) continue;
        if (record !== next) {
          if (next > first) runs.push(octets.subarray(first, next));
          first = record;
        }
        next = record + u32At(octets, record);
      }
      if (next > first) runs.push(octets.subarray(first, next));
      yield runs;
    }
  }

  clear(): void {
    this.cleared++;
    // To empty a large one would take long.
    this.mask = Math.min(FIRST_SLOTS, this.mostSlots) - 1;
    this.index = new Int32Array(2 * (this.mask + 1));
    this.former = undefined;
    this.head = this.tail = this.live = this.liveBytes = 0;
  }

  /**
   * Finds `bytes` in one piece at the head, giving up the oldest records. Returns the offset, or -1: only marked ones may go,
   * and too many others are older. Those that were met are at the head now.
   */
  private room(bytes: number, onlyMarked = false): number {
    const size = this.octets.length;
    for (let chances = LIMITS.chances + bytes / LIMITS.bytesPerChance; ;) {
      const at = this.head % size;
      const needed = at + bytes > size ? size - at : bytes;
      if (this.head + needed - this.tail > size) {
        if (onlyMarked && this.isOldestPut) {
          if (chances <= 0) return -1;
          this.touch((this.tail % size) + HEADER_BYTES);
        }
        if (this.evict(chances > 0, 'memory')) chances--;
      } else if (at + bytes <= size) return at;
      else {
        // A record does not continue at the start: the end of the memory stays empty.
        putU32(this.octets, at, needed);
        this.octets[at + STATE_AT] = DEAD;
        this.head += needed;
      }
    }
  }

  /** Gives up the oldest record, to make room in what is full. True: it was used lately, or others are dead, and it was moved to the head instead. */
  private evict(mayMove: boolean, full: 'memory' | 'index'): boolean {
    const { octets } = this;
    const size = octets.length;
    const record = this.tail % size;
    const bytes = u32At(octets, record);
    const state = this.stateAt(record);
    if (state === DEAD) {
      this.tail += bytes;
      return false;
    }
    const hash = i32At(octets, record + HASH_AT);
    const slot = this.slotAt(record, hash);
    const to = this.head % size;
    const stays = (state & ASKED) !== 0 || (full === 'memory' && this.liveBytes < LIMITS.livePart * size);
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

  /** Whether the oldest record was put here, and is live. */
  private get isOldestPut(): boolean {
    const state = this.stateAt(this.tail % this.octets.length);
    return state !== DEAD && (state & MARKED) === 0;
  }

  /** The state of a record. What fills the end of the memory may be too short to have one. */
  private stateAt(record: number): number {
    return this.octets[record + STATE_AT] ?? DEAD;
  }

  private recordAt(slot: number): number {
    return ((this.index[2 * slot + 1] ?? 0) - 1) * UNIT;
  }

  /** The slot of a key, or -1. */
  private slotOf(key: string, hash: number): number {
    if (this.former !== undefined) this.bring(hash);
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

  /** The hash of a key that is in this memory. */
  private hashAt(start: number, bytes: number): number {
    const { octets } = this;
    let hash = FNV_OFFSET;
    for (let at = start; at < start + bytes; at++) hash = hashed(hash, octets[at] ?? 0);
    return finishedHash(hash);
  }

  /** Whether there is a record under a key that is in this memory. */
  private hasKey(start: number, bytes: number, hash: number): boolean {
    if (this.former !== undefined) this.bring(hash);
    const { octets } = this;
    for (let slot = this.slotFrom(hash, hash, bytes); slot !== -1; slot = this.slotFrom(slot + 1, hash, bytes)) {
      const keyAt = this.keyAt(slot);
      let i = 0;
      while (i < bytes && octets[keyAt + i] === octets[start + i]) i++;
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
    if (this.former !== undefined) this.bring(hash);
    const unit = record / UNIT + 1;
    let slot = hash & this.mask;
    while (this.index[2 * slot + 1] !== unit) slot = (slot + 1) & this.mask;
    return slot;
  }

  private enter(hash: number, record: number): void {
    this.place(hash, record / UNIT + 1);
    this.live++;
  }

  private place(hash: number, unit: number): void {
    let slot = hash & this.mask;
    while (this.index[2 * slot + 1] !== 0) slot = (slot + 1) & this.mask;
    this.index[2 * slot] = hash;
    this.index[2 * slot + 1] = unit;
  }

  /** Another index takes the place of this one, whose slots move to it by and by. */
  private grow(mask: number): void {
    if (this.former !== undefined) this.move(Infinity);
    this.former = this.live > 0 ? this.index : undefined;
    this.moved = 0;
    this.mask = mask;
    // The kernel gives its pages when they are first written.
    this.index = new Int32Array(2 * (mask + 1));
  }

  /** Moves so many slots, or those that are left. */
  private move(slots: number): void {
    const { former } = this;
    if (former === undefined) return;
    const end = Math.min(former.length / 2, this.moved + slots);
    for (let slot = this.moved; slot < end; slot++) this.moveAt(former, slot);
    this.moved = end;
    if (2 * end === former.length) this.former = undefined;
  }

  private moveAt(former: Int32Array, slot: number): void {
    const unit = former[2 * slot + 1] ?? 0;
    if (unit === 0 || unit === MOVED) return;
    former[2 * slot + 1] = MOVED;
    this.place(former[2 * slot] ?? 0, unit);
  }

  /** Moves the slots of this hash, so that what is looked for is in the index of now, if it is anywhere. */
  private bring(hash: number): void {
    const { former } = this;
    if (former === undefined) return;
    const mask = former.length / 2 - 1;
    for (let slot = hash & mask; former[2 * slot + 1] !== 0; slot = (slot + 1) & mask)
      if (former[2 * slot] === hash) this.moveAt(former, slot);
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
