// A snapshot of what is cached, as octets: for a file that outlives a restart. It is written and read in pieces, each with
// a checksum, so that neither holds up the event loop and damage is found before anything of a piece is used.
//
//   file    MAGIC · settings · piece, piece, …, end
//   piece   octets u32 · CRC-32 u32 · records
//   record  kind u8 · (u8) · key octets u16 · label octets u16 · (u16) · payload octets u32 · stored at f64 · hash of the key u32 ·
//           payload · key · label, to a multiple of 4
//   end     END u32 · number of records u32
//
// Times are those of the wall clock: the clock that ages are measured with begins anew with each start.

import { crc32 } from 'node:zlib';

import { hashOf } from '../base/hash.js';
import { i32At, putU16, putU32, u16At, u32At } from '../base/octets.js';
import { type AgeSec, ageSec, type WallMs } from '../base/time.js';

const NOTHING = Buffer.alloc(0);
const NO_WORDS = new Int32Array(0);

/** What is cached under a key. */
export interface SnapshotRecord {
  readonly kind: 'answer' | 'lookup' | 'denial';
  /** Characters 0 … 255. */
  readonly key: string;
  /** The label of the server that it came from. */
  readonly label: string;
  readonly storedAt: AgeSec;
  readonly payload: Buffer;
}

/**
 * A record that is read, as octets of its piece. There may be a hundred thousand, and the daemon answers meanwhile: what is
 * needed of them is read where they lie.
 */
export class StoredRecord implements SnapshotRecord {
  kind: SnapshotRecord['kind'] = 'answer';
  label = '';
  storedAt = ageSec(0);
  /** The payload is at [payloadAt, keyAt), and the key at [keyAt, end). `payloadAt` is a multiple of 4. */
  octets: Buffer = NOTHING;
  /** The same octets. Many are copied fastest in words: a view of each piece would have to be made, and collected. */
  words: Int32Array = NO_WORDS;
  payloadAt = 0;
  keyAt = 0;
  end = 0;
  /** The hash of the key (base/hash). */
  hash = 0;

  get key(): string {
    return this.octets.toString('latin1', this.keyAt, this.end);
  }

  get payload(): Buffer {
    return this.octets.subarray(this.payloadAt, this.keyAt);
  }
}

/** One moment on both clocks. */
export interface Moment {
  readonly ageNow: AgeSec;
  readonly wallNow: WallMs;
}

/** The first octets of a file. The number is the version: a file of another one is not read. */
const MAGIC = Buffer.from('dotstub cache 2\n');
const KINDS = ['answer', 'lookup', 'denial'] as const;
/** SHA-256 in hexadecimal. */
const SETTINGS_BYTES = 64;
const NO_SETTINGS = '-'.repeat(SETTINGS_BYTES);
const PIECE_HEAD_BYTES = 8;
const RECORD_HEAD_BYTES = 24;
const WORD_BYTES = 4;
const END = 0xffffffff;
/** About the octets of a piece: to read or write it takes about a millisecond. */
const PIECE_BYTES = 1 << 15;
/** The first ones are shorter: until the code that makes them is compiled, that takes many times as long. */
const FIRST_PIECE_BYTES = 1 << 11;
/** The longest piece: one record more. */
const MOST_PIECE_BYTES = PIECE_BYTES + (1 << 18);

/** The difference between the clocks, in seconds. */
const offsetOf = ({ ageNow, wallNow }: Moment): number => wallNow / 1000 - ageNow;

/** The first octets of a file that was written under these settings. */
const headOf = (settings: string): Buffer =>
  Buffer.concat([MAGIC, Buffer.alloc(SETTINGS_BYTES).fill(settings.slice(0, SETTINGS_BYTES), 0, settings.length)]);

/**
 * Writes records. They may change between two pieces.
 * @param settings a digest of the options that answers and verdicts depend on: under others, they are not used
 */
export function* snapshotPieces(
  records: Iterable<SnapshotRecord>,
  now: Moment,
  settings: string = NO_SETTINGS,
): Iterable<Buffer> {
  yield headOf(settings);
  const offset = offsetOf(now);
  let parts: Buffer[] = [];
  let bytes = 0;
  let pieceBytes = FIRST_PIECE_BYTES;
  let count = 0;
  for (const record of records) {
    const octets = written(record, offset);
    if (octets === undefined) continue;
    parts.push(octets);
    bytes += octets.length;
    count++;
    if (bytes < pieceBytes) continue;
    yield piece(parts);
    pieceBytes = Math.min(2 * pieceBytes, PIECE_BYTES);
    parts = [];
    bytes = 0;
  }
  if (parts.length > 0) yield piece(parts);
  const end = Buffer.alloc(PIECE_HEAD_BYTES);
  putU32(end, 0, END);
  putU32(end, 4, count);
  yield end;
}

function written({ kind, key, label, storedAt, payload }: SnapshotRecord, offset: number): Buffer | undefined {
  const labelBytes = Buffer.byteLength(label);
  if (key.length > 0xffff || labelBytes > 0xffff) return undefined;
  const keyAt = RECORD_HEAD_BYTES + payload.length;
  const labelAt = keyAt + key.length;
  const octets = Buffer.allocUnsafe(wholeWords(labelAt + labelBytes)).fill(0);
  octets[0] = KINDS.indexOf(kind);
  putU16(octets, 2, key.length);
  putU16(octets, 4, labelBytes);
  putU32(octets, 8, payload.length);
  octets.writeDoubleBE(storedAt + offset, 12);
  putU32(octets, 20, hashOf(key));
  octets.set(payload, RECORD_HEAD_BYTES);
  octets.write(key, keyAt, 'latin1');
  octets.write(label, labelAt);
  return octets;
}

/** Octets, to a multiple of a word. */
const wholeWords = (bytes: number): number => (bytes + WORD_BYTES - 1) & -WORD_BYTES;

function piece(records: readonly Buffer[]): Buffer {
  const octets = Buffer.concat([Buffer.alloc(PIECE_HEAD_BYTES), ...records]);
  putU32(octets, 0, octets.length - PIECE_HEAD_BYTES);
  putU32(octets, 4, crc32(octets.subarray(PIECE_HEAD_BYTES)));
  return octets;
}

/** Why a file is not read, or not further; a sentence without a full stop. */
export class SnapshotError extends Error {}

/** It was written under other settings: what it says may not hold under these. */
export class OtherSettings extends SnapshotError {}

/** Made when it is thrown: to make an error takes longer than to read a record. */
const malformed = (): SnapshotError => new SnapshotError('it is damaged: a record is malformed');

/** Whether the octets from `start` to `end` are these. A few octets are compared faster here than by the runtime. */
function isAt(octets: Buffer, start: number, end: number, these: Buffer): boolean {
  if (end - start !== these.length) return false;
  for (let i = 0; i < these.length; i++) if (octets[start + i] !== these[i]) return false;
  return true;
}

/** A part of the file: its octets, 0 while it is not complete, and the records in it. */
interface Part {
  readonly taken: number;
  readonly body: Buffer;
}

const INCOMPLETE: Part = { taken: 0, body: NOTHING };

/** Reads a snapshot from chunks of any size: `take` one, then ask for the `next` record until there is none. */
export class SnapshotReader {
  /** Octets that were not read yet, and the memory that they are in. */
  private rest: Buffer = NOTHING;
  private memory: Buffer = NOTHING;
  private at: 'magic' | 'pieces' | 'end' = 'magic';
  private count = 0;
  private lastLabel = { octets: Buffer.alloc(0), text: '' };
  /** The records of a piece, and which comes next. */
  private body: Buffer = NOTHING;
  private words: Int32Array = NO_WORDS;
  private recordAt = 0;
  /** The record that was given last. */
  private readonly record = new StoredRecord();
  private readonly now: AgeSec;
  private readonly offset: number;
  private readonly head: Buffer;

  /** @param settings as for `snapshotPieces` */
  constructor(now: Moment, settings: string = NO_SETTINGS) {
    this.now = now.ageNow;
    this.offset = offsetOf(now);
    this.head = headOf(settings);
  }

  /** Takes a copy of the next chunk, once `next` has nothing. */
  take(chunk: Buffer): void {
    const { rest } = this;
    const bytes = rest.length + chunk.length;
    // The same memory for all chunks: the kernel gives new memory page by page, which takes longer than to copy.
    const memory = bytes <= this.memory.length ? this.memory : Buffer.allocUnsafeSlow(bytes + MOST_PIECE_BYTES);
    rest.copy(memory);
    chunk.copy(memory, rest.length);
    this.memory = memory;
    this.rest = memory.subarray(0, bytes);
  }

  /**
   * The next record, of those pieces that are complete. It is borrowed until the next call.
   * @returns undefined: another chunk is needed, or that was all @throws SnapshotError
   */
  next(): StoredRecord | undefined {
    while (this.recordAt >= this.body.length) {
      const { taken, body } = this.step(this.rest);
      if (taken === 0) return undefined;
      this.rest = this.rest.subarray(taken);
      this.body = body;
      this.words = new Int32Array(body.buffer, body.byteOffset, body.length / WORD_BYTES);
      this.recordAt = 0;
    }
    this.read();
    this.count++;
    return this.record;
  }

  /** Whether the record comes from the future: the clock was set back, and nobody knows how old it is. */
  isOfFuture({ storedAt }: StoredRecord): boolean {
    return storedAt > this.now;
  }

  /** Whether there was nothing to read. */
  get isEmpty(): boolean {
    return this.at === 'magic' && this.rest.length === 0;
  }

  /** There are no more octets. @throws SnapshotError */
  finish(): void {
    if (this.at !== 'end' || this.rest.length > 0) throw new SnapshotError('it is not whole');
  }

  /** Reads one part of the file. */
  private step(octets: Buffer): Part {
    switch (this.at) {
      case 'magic':
        if (octets.length < this.head.length) return INCOMPLETE;
        if (!octets.subarray(0, MAGIC.length).equals(MAGIC))
          throw new SnapshotError('it is not a snapshot that this version can read');
        if (!octets.subarray(0, this.head.length).equals(this.head))
          throw new OtherSettings('it was written under other settings');
        this.at = 'pieces';
        return { taken: this.head.length, body: NOTHING };
      case 'pieces':
        return octets.length < PIECE_HEAD_BYTES ? INCOMPLETE : this.piece(octets);
      case 'end':
        return INCOMPLETE;
    }
  }

  private piece(octets: Buffer): Part {
    const bytes = u32At(octets, 0);
    if (bytes === END) {
      if (u32At(octets, 4) !== this.count) throw new SnapshotError('records are missing');
      this.at = 'end';
      return { taken: PIECE_HEAD_BYTES, body: NOTHING };
    }
    if (bytes > MOST_PIECE_BYTES) throw new SnapshotError('it is damaged: a piece is too long');
    const end = PIECE_HEAD_BYTES + bytes;
    if (octets.length < end) return INCOMPLETE;
    const body = octets.subarray(PIECE_HEAD_BYTES, end);
    if (bytes % WORD_BYTES !== 0 || crc32(body) !== u32At(octets, 4))
      throw new SnapshotError('it is damaged: a checksum is wrong');
    return { taken: end, body };
  }

  /** The label of a server. Mostly it is that of the record before. */
  private label(body: Buffer, start: number, end: number): string {
    if (!isAt(body, start, end, this.lastLabel.octets)) {
      const octets = Buffer.from(body.subarray(start, end));
      this.lastLabel = { octets, text: octets.toString() };
    }
    return this.lastLabel.text;
  }

  /** Reads the record that comes next. */
  private read(): void {
    const { body, recordAt: at, record } = this;
    if (at + RECORD_HEAD_BYTES > body.length) throw malformed();
    const kind = KINDS[body[at] ?? 0xff];
    const payloadAt = at + RECORD_HEAD_BYTES;
    const keyAt = payloadAt + u32At(body, at + 8);
    const labelAt = keyAt + u16At(body, at + 2);
    const end = labelAt + u16At(body, at + 4);
    const storedAt = body.readDoubleBE(at + 12) - this.offset;
    if (kind === undefined || end > body.length || !Number.isFinite(storedAt)) throw malformed();
    record.kind = kind;
    record.label = this.label(body, labelAt, end);
    record.storedAt = ageSec(storedAt);
    record.hash = i32At(body, at + 20);
    record.octets = body;
    record.words = this.words;
    record.payloadAt = payloadAt;
    record.keyAt = keyAt;
    record.end = labelAt;
    this.recordAt = wholeWords(end);
  }
}
