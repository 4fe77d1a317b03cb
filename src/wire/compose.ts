// Puts messages together from records: answers of our own, and answers in tests.

import { putU16, putU32, u16At } from '../base/octets.js';
import { type Counts, FLAG, HEADER_BYTES, writeHeader } from './header.js';
import { QUESTION_FIXED_BYTES, RECORD_FIXED_BYTES } from './records.js';
import { CLASS_IN, TYPE } from './rrtype.js';

/** One record of class IN, its names written out. */
export interface RecordData {
  /** Wire form. */
  readonly owner: Buffer;
  readonly type: number;
  readonly ttlSec: number;
  readonly rdata: Buffer;
}

/** The records of a message by section; a section that is left out is empty. */
export interface RecordSections {
  readonly answer?: readonly RecordData[];
  readonly authority?: readonly RecordData[];
  readonly additional?: readonly RecordData[];
}

/** A message with the offsets of its TTLs, which wire/reply makes replies of. */
export interface ComposedMessage {
  readonly octets: Buffer;
  readonly rcode: number;
  readonly answers: number;
  readonly authority: number;
  readonly additional: number;
  readonly ttlOffsets: readonly number[];
}

/** How a message is put together. Fields that are left out are 0, and owners are not compressed. */
export interface ComposeOptions {
  readonly id?: number;
  /** Flags beside QR and the RCODE. */
  readonly flags?: number;
  readonly rcode?: number;
  /** An owner that is a name of the question, an owner or the target of an alias before becomes a pointer to it (RFC 1035 §4.1.4). */
  readonly compress?: boolean;
}

const POINTER_BITS = 0xc000;
const MOST_POINTED_AT = 0x3fff;

/** QNAME, QTYPE and QCLASS IN, as they stand in a message. */
export function questionOf(name: Buffer, type: number): Buffer {
  const question = Buffer.allocUnsafe(name.length + QUESTION_FIXED_BYTES);
  name.copy(question);
  putU16(question, name.length, type);
  putU16(question, name.length + 2, CLASS_IN);
  return question;
}

/** QNAME of a question, which it shares the octets with. */
export const questionName = (question: Buffer): Buffer => question.subarray(0, -QUESTION_FIXED_BYTES);

/** QTYPE of a question. */
export const typeOfQuestion = (question: Buffer): number => u16At(question, question.length - QUESTION_FIXED_BYTES);

/** A query: a header and a question, without EDNS. */
export function plainQuery(id: number, flags: number, question: Buffer): Buffer {
  const octets = Buffer.alloc(HEADER_BYTES + question.length);
  writeHeader(octets, id, flags, { questions: 1, answers: 0, authority: 0, additional: 0 });
  question.copy(octets, HEADER_BYTES);
  return octets;
}

/** Writes a record at `at`; returns where it ends. `owner` may be a pointer. */
function writeRecord(out: Buffer, at: number, owner: Buffer, { type, ttlSec, rdata }: RecordData): number {
  const fixed = at + owner.copy(out, at);
  putU16(out, fixed, type);
  putU16(out, fixed + 2, CLASS_IN);
  putU32(out, fixed + 4, ttlSec);
  putU16(out, fixed + 8, rdata.length);
  return fixed + RECORD_FIXED_BYTES + rdata.copy(out, fixed + RECORD_FIXED_BYTES);
}

/** A record as octets of a message. */
export function recordOctets(record: RecordData): Buffer {
  const octets = Buffer.allocUnsafe(record.owner.length + RECORD_FIXED_BYTES + record.rdata.length);
  writeRecord(octets, 0, record.owner, record);
  return octets;
}

/** The owners of records, as names or as pointers to whole names before. @param start where the first record stands */
function compressed(name: Buffer, records: readonly RecordData[], start: number): Buffer[] {
  const places = new Map([[name.toString('latin1'), HEADER_BYTES]]);
  let at = start;
  return records.map(({ owner, type, rdata }) => {
    const place = places.get(owner.toString('latin1'));
    const written = place === undefined ? owner : pointerTo(place);
    const rdataAt = at + written.length + RECORD_FIXED_BYTES;
    if (place === undefined && at <= MOST_POINTED_AT) places.set(owner.toString('latin1'), at);
    const target = rdata.toString('latin1');
    if (type === TYPE.CNAME && rdataAt <= MOST_POINTED_AT && !places.has(target)) places.set(target, rdataAt);
    at = rdataAt + rdata.length;
    return written;
  });
}

function pointerTo(place: number): Buffer {
  const pointer = Buffer.alloc(2);
  putU16(pointer, 0, POINTER_BITS | place);
  return pointer;
}

/** A response with these records, without EDNS. */
export function compose(
  question: Buffer,
  { answer = [], authority = [], additional = [] }: RecordSections,
  { id = 0, flags = 0, rcode = 0, compress = false }: ComposeOptions = {},
): ComposedMessage {
  const records = [...answer, ...authority, ...additional];
  const counts: Counts = {
    questions: 1,
    answers: answer.length,
    authority: authority.length,
    additional: additional.length,
  };
  const start = HEADER_BYTES + question.length;
  const owners = compress ? compressed(questionName(question), records, start) : records.map(({ owner }) => owner);
  const bytes = records.reduce(
    (sum, { rdata }, i) => sum + (owners[i]?.length ?? 0) + RECORD_FIXED_BYTES + rdata.length,
    start,
  );
  const octets = Buffer.allocUnsafe(bytes);
  writeHeader(octets, id, FLAG.QR | flags | (rcode & 15), counts);
  let at = HEADER_BYTES + question.copy(octets, HEADER_BYTES);
  const ttlOffsets = records.map((record, i) => {
    const owner = owners[i] ?? record.owner;
    const ttlOffset = at + owner.length + 4;
    at = writeRecord(octets, at, owner, record);
    return ttlOffset;
  });
  return {
    octets,
    rcode,
    answers: counts.answers,
    authority: counts.authority,
    additional: counts.additional,
    ttlOffsets,
  };
}
