// The secure part of an answer, and whether there could be one.

import { putU32 } from '../../base/octets.js';
import type { Entry } from '../../cache/entry.js';
import type { Finding } from '../../dnssec/validate.js';
import { ScannedRecords } from '../../wire/records.js';
import { TYPE } from '../../wire/rrtype.js';
import { select } from '../../wire/selection.js';

/**
 * An entry with only the records that were validated: AD must not cover others (RFC 4035 §3.2.3).
 * @returns undefined: the message is malformed
 */
export function soundPart(
  entry: Entry,
  finding: Extract<Finding, { at: 'secure' }>,
  questionEnd: number,
): Entry | undefined {
  for (const [record, ttlSec] of finding.shorter ?? []) putU32(entry.octets, entry.ttlOffsets[record] ?? 0, ttlSec);
  const sound = select(entry, questionEnd, record => finding.kept[record] === true);
  return (
    sound && {
      ...sound,
      rcode: finding.rcode,
      ttlSec: Math.min(entry.ttlSec, finding.ttlSec),
      verdict: finding.untimely ? 'indeterminate' : 'secure',
    }
  );
}

/** Whether an entry has a signature. */
export function hasSignatures(entry: Entry, questionEnd: number): boolean {
  const record = new ScannedRecords(entry, questionEnd);
  while (record.next()) if (record.type === TYPE.RRSIG) return true;
  return false;
}
