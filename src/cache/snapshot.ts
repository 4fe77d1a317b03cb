// A snapshot of what is cached, as octets: for a file that outlives a restart. It is written and read in pieces, each with
// a checksum, so that neither holds up the event loop and damage is found before anything of a piece is used.
//
//   file    MAGIC · settings · clocks f64 · piece, piece, …, END u32 · checksum u32
//   piece   octets u32 · checksum u32 · kind u8 · (u8) · labels u16 · the contents, so many octets from the kind on
//
//   RECORDS record, record, …
//   record  kind u8 · (u8) · key octets u16 · label octets u16 · (u16) · payload octets u32 · stored at f64 · payload · key ·
//           label
//   BLOCK   answers u32 · label, label, … · records of a ring as they lie in memory (cache/ring), with entries (cache/codec)
//   label   number u16 · octets u16 · text
//
// A checksum is the CRC-32 of all contents up to there, MAGIC included: pieces that are missing, or exchanged, are found, too.
// Times are those of the age clock of the process that wrote the file. `clocks` is how far the wall clock was ahead of it.

import { crc32 } from 'node:zlib';

import { putU16, putU32, u16At, u32At } from '../base/octets.js';
import { type AgeSec, ageSec, type WallMs } from '../base/time.js';
import { BLOCK_BYTES, FIRST_BLOCK_BYTES, nextBlockBytes } from './ring.js';

const NOTHING = Buffer.alloc(0);

/** Something that is cached under a key. */
export interface SnapshotRecord {
  readonly kind: 'lookup' | 'denial';
  /** Characters 0 … 255. */
  readonly key: string;
  /** The label of the server that it came from. */
  readonly label: string;
  readonly storedAt: AgeSec;
  readonly payload: Buffer;
}

/** Answers, as octets that are in memory one after the other. There may be a hundred thousand: none is an object. */
export interface SnapshotBlock {
  readonly kind: 'block';
  /** How many answers there are in all blocks, about. */
  readonly answers: number;
  /** The labels of servers by the numbers that stand for them in the octets. */
  readonly labels: ReadonlyMap<number, string>;
  /** Records of a ring (cache/ring), in as many parts as it has them. Valid until the next block is asked for. */
  readonly octets: readonly Buffer[];
}

/** A block that was read. Whether its octets are records is not known yet. */
export interface StoredBlock extends SnapshotBlock {
  /** What to add to times in the octets. */
  readonly shiftSec: number;
}

/** One moment on both clocks. */
export interface Moment {
  readonly ageNow: AgeSec;
  readonly wallNow: WallMs;
}

const isLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
/**
 * The first octets of a file. The number is the version: a file of another one is not read. It changes with what the ring and
 * the codec write, too. Their numbers have the order of octets of the processor.
 */
const MAGIC = Buffer.from(`dotstub cache 3 ${isLittleEndian ? 'le' : 'be'}\n`);
const KINDS = ['lookup', 'denial'] as const;
const RECORDS = 0;
const BLOCK = 1;
/** SHA-256 in hexadecimal. */
const SETTINGS_BYTES = 64;
const NO_SETTINGS = '-'.repeat(SETTINGS_BYTES);
const CLOCKS_AT = MAGIC.length + SETTINGS_BYTES;
const HEAD_BYTES = CLOCKS_AT + 8;
const PIECE_HEAD_BYTES = 8;
/** Kind and number of labels. */
const CONTENTS_AT = 4;
const RECORD_HEAD_BYTES = 20;
const LABEL_HEAD_BYTES = 4;
const END = 0xffffffff;
/** The longest piece: one record more, and labels. */
const MOST_PIECE_BYTES = BLOCK_BYTES + (1 << 18);

/** How far the wall clock is ahead of the age clock, in seconds. */
const clocksOf = ({ ageNow, wallNow }: Moment): number => wallNow / 1000 - ageNow;

/** The first octets of a file that was written under these settings. */
function headOf(settings: string, clocks: number): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  MAGIC.copy(head);
  head.fill(0, MAGIC.length, CLOCKS_AT).write(settings.slice(0, SETTINGS_BYTES), MAGIC.length, 'latin1');
  head.writeDoubleBE(clocks, CLOCKS_AT);
  return head;
}

/**
 * Writes what is cached. It may change between two pieces.
 * @param settings a digest of the options that answers and verdicts depend on: under others, they are not used
 */
export function* snapshotPieces(
  parts: Iterable<SnapshotRecord | SnapshotBlock>,
  now: Moment,
  settings: string = NO_SETTINGS,
): Iterable<Buffer> {
  const head = headOf(settings, clocksOf(now));
  yield head;
  let checksum = crc32(head);
  const piece = (kind: number, labels: number, contents: readonly Buffer[]): Buffer => {
    const octets = Buffer.concat([Buffer.alloc(PIECE_HEAD_BYTES + CONTENTS_AT), ...contents]);
    octets[PIECE_HEAD_BYTES] = kind;
    putU16(octets, PIECE_HEAD_BYTES + 2, labels);
    checksum = crc32(octets.subarray(PIECE_HEAD_BYTES), checksum);
    putU32(octets, 0, octets.length - PIECE_HEAD_BYTES);
    putU32(octets, 4, checksum);
    return octets;
  };
  let records: Buffer[] = [];
  let bytes = 0;
  let pieceBytes = FIRST_BLOCK_BYTES;
  for (const part of parts) {
    const octets = part.kind === 'block' ? undefined : written(part);
    if (octets !== undefined) bytes += records.push(octets) && octets.length;
    if (part.kind === 'block' ? records.length > 0 : bytes >= pieceBytes) {
      yield piece(RECORDS, 0, records);
      pieceBytes = nextBlockBytes(pieceBytes);
      records = [];
      bytes = 0;
    }
    if (part.kind === 'block') yield piece(BLOCK, part.labels.size, [...blockHead(part), ...part.octets]);
  }
  if (records.length > 0) yield piece(RECORDS, 0, records);
  const end = Buffer.alloc(PIECE_HEAD_BYTES);
  putU32(end, 0, END);
  putU32(end, 4, checksum);
  yield end;
}

function* blockHead({ answers, labels }: SnapshotBlock): Iterable<Buffer> {
  const count = Buffer.alloc(4);
  putU32(count, 0, answers);
  yield count;
  for (const [number, label] of labels) {
    const octets = Buffer.alloc(LABEL_HEAD_BYTES + Buffer.byteLength(label));
    putU16(octets, 0, number);
    putU16(octets, 2, octets.write(label, LABEL_HEAD_BYTES));
    yield octets;
  }
}

function written({ kind, key, label, storedAt, payload }: SnapshotRecord): Buffer | undefined {
  const labelBytes = Buffer.byteLength(label);
  if (key.length > 0xffff || labelBytes > 0xffff || payload.length > 0xffff) return undefined;
  const keyAt = RECORD_HEAD_BYTES + payload.length;
  const labelAt = keyAt + key.length;
  const octets = Buffer.alloc(labelAt + labelBytes);
  octets[0] = KINDS.indexOf(kind);
  putU16(octets, 2, key.length);
  putU16(octets, 4, labelBytes);
  putU32(octets, 8, payload.length);
  octets.writeDoubleBE(storedAt, 12);
  octets.set(payload, RECORD_HEAD_BYTES);
  octets.write(key, keyAt, 'latin1');
  octets.write(label, labelAt);
  return octets;
}

/** Why a file is not read, or not further; a sentence without a full stop. */
export class SnapshotError extends Error {}

/** It was written under other settings: what it says may not hold under these. */
export class OtherSettings extends SnapshotError {}

/** The error for a piece whose checksum is right, and which is not one. Made when it is thrown: that takes long. */
export const malformed = (): SnapshotError => new SnapshotError('it is damaged: a record is malformed');

/** Reads a snapshot from chunks of any size: `take` one, then ask for what is `next` until there is nothing. */
export class SnapshotReader {
  /** Octets that were not read yet, and the memory that they are in. */
  private rest: Buffer = NOTHING;
  private memory: Buffer = NOTHING;
  private at: 'head' | 'pieces' | 'end' = 'head';
  private checksum = 0;
  /** The records of a piece, and where the next is. */
  private records: Buffer = NOTHING;
  private recordAt = 0;
  /** What to add to times. */
  private shiftSec = 0;
  private readonly now: AgeSec;
  private readonly clocks: number;
  /** The first octets that the file must have. */
  private readonly head: Buffer;

  /** @param settings as for `snapshotPieces` */
  constructor(now: Moment, settings: string = NO_SETTINGS) {
    this.now = now.ageNow;
    this.clocks = clocksOf(now);
    this.head = headOf(settings, 0).subarray(0, CLOCKS_AT);
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
   * What comes next, of those pieces that are complete. It borrows memory until the next call. Records of the future are left
   * out: the clock was set back, and nobody knows how old they are.
   * @returns undefined: another chunk is needed, or that was all @throws SnapshotError
   */
  next(): SnapshotRecord | StoredBlock | undefined {
    for (;;) {
      while (this.recordAt < this.records.length) {
        const record = this.record();
        if (record.storedAt <= this.now) return record;
      }
      if (this.at === 'head' && !this.readHead()) return undefined;
      const contents = this.contents();
      if (contents === undefined) return undefined;
      if (contents[0] === BLOCK) return this.block(contents);
      if (contents[0] !== RECORDS) throw malformed();
      this.records = contents;
      this.recordAt = CONTENTS_AT;
    }
  }

  /** Whether there was nothing to read. */
  get isEmpty(): boolean {
    return this.at === 'head' && this.rest.length === 0;
  }

  /** There are no more octets. @throws SnapshotError */
  finish(): void {
    if (this.at !== 'end' || this.rest.length > 0) throw new SnapshotError('it is not whole');
  }

  /** False: it is not complete. */
  private readHead(): boolean {
    const { rest } = this;
    if (rest.length < HEAD_BYTES) return false;
    if (!rest.subarray(0, MAGIC.length).equals(MAGIC))
      throw new SnapshotError('it is not a snapshot that this version can read');
    if (!rest.subarray(0, CLOCKS_AT).equals(this.head)) throw new OtherSettings('it was written under other settings');
    this.shiftSec = rest.readDoubleBE(CLOCKS_AT) - this.clocks;
    this.checksum = crc32(rest.subarray(0, HEAD_BYTES));
    this.rest = rest.subarray(HEAD_BYTES);
    this.at = 'pieces';
    return true;
  }

  /** The contents of the next piece, if it is complete. */
  private contents(): Buffer | undefined {
    const { rest } = this;
    if (this.at === 'end' || rest.length < PIECE_HEAD_BYTES) return undefined;
    const bytes = u32At(rest, 0);
    if (bytes !== END && bytes > MOST_PIECE_BYTES) throw new SnapshotError('it is damaged: a piece is too long');
    const end = PIECE_HEAD_BYTES + (bytes === END ? 0 : bytes);
    if (rest.length < end) return undefined;
    const contents = rest.subarray(PIECE_HEAD_BYTES, end);
    this.checksum = crc32(contents, this.checksum);
    if (this.checksum !== u32At(rest, 4)) throw new SnapshotError('it is damaged: a checksum is wrong');
    this.rest = rest.subarray(end);
    if (bytes !== END) return contents;
    this.at = 'end';
    return undefined;
  }

  private block(contents: Buffer): StoredBlock {
    const labels = new Map<number, string>();
    let at = CONTENTS_AT + 4;
    for (let left = u16At(contents, 2); left > 0; left--) {
      const text = at + LABEL_HEAD_BYTES;
      const end = text + u16At(contents, at + 2);
      if (end > contents.length) throw malformed();
      labels.set(u16At(contents, at), contents.toString('utf8', text, end));
      at = end;
    }
    const answers = u32At(contents, CONTENTS_AT);
    return { kind: 'block', answers, labels, octets: [contents.subarray(at)], shiftSec: this.shiftSec };
  }

  /** Reads the record that is next. */
  private record(): SnapshotRecord {
    const { records, recordAt: at } = this;
    if (at + RECORD_HEAD_BYTES > records.length) throw malformed();
    const kind = KINDS[records[at] ?? 0xff];
    const payloadAt = at + RECORD_HEAD_BYTES;
    const keyAt = payloadAt + u32At(records, at + 8);
    const labelAt = keyAt + u16At(records, at + 2);
    const end = labelAt + u16At(records, at + 4);
    const sec = records.readDoubleBE(at + 12) + this.shiftSec;
    if (kind === undefined || end > records.length || !Number.isFinite(sec)) throw malformed();
    this.recordAt = end;
    return {
      kind,
      key: records.toString('latin1', keyAt, labelAt),
      label: records.toString('utf8', labelAt, end),
      storedAt: ageSec(sec),
      payload: records.subarray(payloadAt, keyAt),
    };
  }
}
