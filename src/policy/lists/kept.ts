// Compiled lists as octets, for a file that outlives a restart: to compile a million names takes seconds, in which nobody
// would be answered.
//
//   file   MAGIC · about · head octets u32 · table octets u32 · head · checksum u32 · table · checksum u32
//
//   about  says which sources, as they were, and which program compiled them; any 64 characters
//   head   JSON: what was found in the sources, local data and limits
//
// A checksum is the CRC-32 of all octets up to there. What passes is checked all the same before it is searched.

import { crc32 } from 'node:zlib';

import { putU32, u32At } from '../../base/octets.js';
import { readName } from '../../wire/name.js';
import type { CompiledLists, SkippedLine, SourceReport } from './compile.js';
import { type LocalRecord, type RuleLimit, SKIPPED, type Skipped } from './rule.js';
import { ListTable, MOST_TABLE_BYTES } from './table.js';

const isLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
/** The number is the version of the file, and of the table (policy/lists/table). */
const MAGIC = Buffer.from(`dotstub lists 1 ${isLittleEndian ? 'le' : 'be'}\n`);
/** SHA-256 in hexadecimal. */
const ABOUT_BYTES = 64;
const SIZES_AT = MAGIC.length + ABOUT_BYTES;
const HEAD_AT = SIZES_AT + 8;
const CHECKSUM_BYTES = 4;
/** The longest head: lists with more local data and limits are not kept. */
const MOST_HEAD_BYTES = 1 << 23;
/** How much of a table is written at a time: the checksum of it takes 0.2 ms. */
const PIECE_BYTES = 1 << 18;
const NOTHING = Buffer.alloc(0);

/** Why a file is not used; a sentence without a full stop. */
export class KeptListsError extends Error {}

/** It is about other sources, or about these as they were before. */
export class OtherSources extends KeptListsError {}

const base64 = (octets: Buffer): string => octets.toString('base64');

/** The JSON for all but the table. */
function headOf({ sources, records, limits }: CompiledLists): Buffer {
  const head = {
    sources: sources.map(({ lines, rules, skipped, told, isZone }) => [
      ...[lines, rules, isZone, Object.entries(skipped)],
      told.map(({ line, why, text }) => [line, why, text]),
    ]),
    records: [...records].map(([place, all]) => [
      place,
      all.map(({ type, ttlSec, rdata }) => [type, ttlSec, base64(rdata)]),
    ]),
    limits: [...limits].map(([place, { only, except, exempt }]) => [place, only, except, exempt.map(base64)]),
  };
  return Buffer.from(JSON.stringify(head));
}

/** Writes lists; nothing at all if they are too many to be kept. The table must stay until the last piece was taken. */
export function* keptPieces(lists: CompiledLists, about: string): Iterable<Buffer> {
  const head = headOf(lists);
  const { table } = lists;
  if (head.length > MOST_HEAD_BYTES || table.byteLength > MOST_TABLE_BYTES) return;
  const start = Buffer.alloc(HEAD_AT + head.length + CHECKSUM_BYTES);
  MAGIC.copy(start);
  start.write(about.slice(0, ABOUT_BYTES).padEnd(ABOUT_BYTES), MAGIC.length, 'latin1');
  putU32(start, SIZES_AT, head.length);
  putU32(start, SIZES_AT + 4, table.byteLength);
  head.copy(start, HEAD_AT);
  putU32(start, HEAD_AT + head.length, crc32(start.subarray(0, HEAD_AT + head.length)));
  yield start;
  let checksum = crc32(start);
  for (let at = 0; at < table.byteLength; at += PIECE_BYTES) {
    const piece = Buffer.from(table, at, Math.min(PIECE_BYTES, table.byteLength - at));
    checksum = crc32(piece, checksum);
    yield piece;
  }
  const end = Buffer.alloc(CHECKSUM_BYTES);
  putU32(end, 0, checksum);
  yield end;
}

/** Reads lists from chunks of any size. */
export class KeptListsReader {
  /** What is not part of the table. */
  private rest: Buffer = NOTHING;
  private head: unknown;
  private table = new ArrayBuffer(0);
  /** Whether all before the table was read. */
  private isInTable = false;
  /** How much of the table was read, octets. */
  private filled = 0;
  private checksum = 0;

  /** @param about as for `keptPieces` */
  constructor(private readonly about: string) {}

  /** Takes the next chunk, which is not used after that. @throws KeptListsError */
  take(chunk: Buffer): void {
    let octets = chunk;
    if (!this.isInTable) {
      this.rest = Buffer.concat([this.rest, chunk]);
      const start = this.readStart();
      if (start === undefined) return;
      octets = this.rest.subarray(start);
      this.rest = NOTHING;
    }
    const table = Buffer.from(this.table);
    const bytes = Math.min(octets.length, table.length - this.filled);
    octets.copy(table, this.filled, 0, bytes);
    this.checksum = crc32(octets.subarray(0, bytes), this.checksum);
    this.filled += bytes;
    if (octets.length > bytes) this.rest = Buffer.concat([this.rest, octets.subarray(bytes)]);
    if (this.rest.length > CHECKSUM_BYTES) throw new KeptListsError('it is damaged: it is too long');
  }

  /** There are no more octets. @returns undefined: there were none @throws KeptListsError */
  finish(): CompiledLists | undefined {
    const { table, rest, checksum, filled, isInTable } = this;
    if (!isInTable && rest.length === 0) return undefined;
    if (!isInTable || filled < table.byteLength || rest.length < CHECKSUM_BYTES)
      throw new KeptListsError('it is not whole');
    if (u32At(rest, 0) !== checksum) throw new KeptListsError('it is damaged: a checksum is wrong');
    if (!ListTable.isWhole(table)) throw malformed();
    return { table, ...factsIn(this.head) };
  }

  /** Reads what is before the table. @returns where that begins; undefined: not all of it is there */
  private readStart(): number | undefined {
    const { rest } = this;
    if (rest.length < HEAD_AT) return undefined;
    if (!rest.subarray(0, MAGIC.length).equals(MAGIC))
      throw new KeptListsError('it has no lists that this version can read');
    if (rest.toString('latin1', MAGIC.length, SIZES_AT) !== this.about)
      throw new OtherSources('its lists, or this program, have changed');
    const [headBytes, tableBytes] = [u32At(rest, SIZES_AT), u32At(rest, SIZES_AT + 4)];
    if (headBytes > MOST_HEAD_BYTES || tableBytes > MOST_TABLE_BYTES)
      throw new KeptListsError('it is damaged: it is too long');
    const end = HEAD_AT + headBytes;
    if (rest.length < end + CHECKSUM_BYTES) return undefined;
    if (u32At(rest, end) !== crc32(rest.subarray(0, end)))
      throw new KeptListsError('it is damaged: a checksum is wrong');
    this.head = parsed(rest.toString('utf8', HEAD_AT, end));
    this.table = new ArrayBuffer(tableBytes);
    this.isInTable = true;
    this.checksum = crc32(rest.subarray(0, end + CHECKSUM_BYTES));
    return end + CHECKSUM_BYTES;
  }
}

/** The error for what has the right checksum, and is nothing that was written here. */
const malformed = (): KeptListsError => new KeptListsError('it is damaged: it is malformed');

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw malformed();
  }
}

function all(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw malformed();
  return value;
}

function count(value: unknown, most = Number.MAX_SAFE_INTEGER): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || Math.abs(value) > most) throw malformed();
  return value;
}

function words(value: unknown): string {
  if (typeof value !== 'string') throw malformed();
  return value;
}

const octetsOf = (value: unknown): Buffer => Buffer.from(words(value), 'base64');

function whyOf(value: unknown): Skipped {
  const why = words(value);
  if (!Object.hasOwn(SKIPPED, why)) throw malformed();
  return why as Skipped;
}

/** A name in wire form, and nothing else. */
function nameOf(value: unknown): Buffer {
  const name = octetsOf(value);
  if (readName(name, 0)?.name.equals(name) !== true) throw malformed();
  return name;
}

function reportOf(value: unknown): SourceReport {
  const [lines, rules, isZone, skipped, told] = all(value);
  return {
    ...{ lines: count(lines), rules: count(rules), isZone: isZone === true },
    skipped: Object.fromEntries(
      all(skipped).map(each => {
        const [why, amount] = all(each);
        return [whyOf(why), count(amount)];
      }),
    ),
    told: all(told).map((each): SkippedLine => {
      const [line, why, text] = all(each);
      return { line: count(line), why: whyOf(why), text: words(text) };
    }),
  };
}

function recordOf(value: unknown): LocalRecord {
  const [type, ttlSec, rdata] = all(value);
  return { type: count(type, 0xffff), ttlSec: count(ttlSec, 0xffffffff), rdata: octetsOf(rdata) };
}

/** All but the table. @throws KeptListsError */
function factsIn(head: unknown): Omit<CompiledLists, 'table'> {
  if (typeof head !== 'object' || head === null) throw malformed();
  const { sources, records, limits } = head as Readonly<Record<string, unknown>>;
  return {
    sources: all(sources).map(reportOf),
    records: new Map(
      all(records).map(each => {
        const [place, own] = all(each);
        return [count(place), all(own).map(recordOf)];
      }),
    ),
    limits: new Map(
      all(limits).map((each): [number, RuleLimit] => {
        const [place, only, except, exempt] = all(each);
        const limit = { only: all(only).map(words), except: all(except).map(words), exempt: all(exempt).map(nameOf) };
        return [count(place), limit];
      }),
    ),
  };
}
