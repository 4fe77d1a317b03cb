// Responses put together anew, from the records that belong to the answer.

import { compose, type RecordData, type RecordSections } from '../../wire/compose.js';
import { MAX_MESSAGE_BYTES } from '../../wire/header.js';
import { rdataWith } from '../../wire/rdata.js';
import { readName } from '../../wire/name.js';
import { type ScannedMessage, ScannedRecords } from '../../wire/records.js';
import { type Scan, scanResponse } from '../../wire/scan.js';
import { CLASS_IN } from '../../wire/rrtype.js';
import type { MadeRecord } from './shape.js';

/** Records of the answer and authority sections, their names written out, in memory of their own. */
export type OwnRecords = Required<Pick<RecordSections, 'answer' | 'authority'>>;

/**
 * Copies the records of a scanned message.
 * @param kept which, by number; undefined: all
 * @param made records that are added, each behind its DNAME
 * @returns undefined: a name is malformed
 */
export function recordsOf(
  message: ScannedMessage,
  questionEnd: number,
  kept: readonly boolean[] | undefined,
  made: readonly MadeRecord[] = [],
): OwnRecords | undefined {
  const { octets } = message;
  const all = { answer: [] as RecordData[], authority: [] as RecordData[] };
  const record = new ScannedRecords(message, questionEnd);
  while (record.next()) {
    const { section, type, ttlSec } = record;
    if (section === 'additional') break;
    if (record.class !== CLASS_IN || (kept !== undefined && kept[record.index] !== true)) continue;
    const owner = readName(octets, record.owner)?.name;
    const rdata = rdataWith(octets, record.rdata, record.end, type, at => {
      const read = readName(octets, at);
      return read && { octets: read.name, end: read.end };
    });
    if (owner === undefined || rdata === undefined) return undefined;
    all[section].push({ owner, type, ttlSec, rdata: Buffer.from(rdata) });
    for (const each of made) if (each.after === record.index) all[section].push(each);
  }
  return all;
}

/** A message that was put together, and its scan. */
export interface Rebuilt {
  readonly message: Buffer;
  readonly scan: Scan;
}

/**
 * Puts a response together.
 * @param scan of the response that it replaces: its RCODE and its extended errors
 * @returns undefined: it would be too long
 */
export function rebuilt(
  question: Buffer,
  records: OwnRecords,
  { rcode, extendedErrors }: Pick<Scan, 'rcode' | 'extendedErrors'>,
  type: number,
): Rebuilt | undefined {
  const { octets } = compose(question, records, { rcode, compress: true });
  const scan = octets.length > MAX_MESSAGE_BYTES ? undefined : scanResponse(octets, type);
  return scan && { message: octets, scan: { ...scan, rcode, extendedErrors } };
}
