// The names that an answer is about beside that of its question: those of its aliases (CNAME, RFC 1034 §3.6.2; DNAME, RFC
// 6672), and of the records that they lead to.

import { u16At } from '../base/octets.js';
import { HEADER_BYTES } from './header.js';
import { lowerCased, readName, skipName, type WireName } from './name.js';
import { QUESTION_FIXED_BYTES, type ScannedMessage, ScannedRecords } from './records.js';
import { TYPE } from './rrtype.js';

/** How the name of the question is mostly written. */
const POINTER_TO_QUESTION = 0xc000 | HEADER_BYTES;

/**
 * Whether an answer leads to a name that is meant: the owner of a record of its answer section, or the target of an alias.
 * The name of the question is mostly left out, and no name is read in an answer without aliases.
 * @param message with one question
 * @param isMeant called with names in lower case
 */
export function leadsTo(message: ScannedMessage, isMeant: (name: WireName) => boolean): boolean {
  const { octets } = message;
  const isMeantAt = (at: number): boolean => {
    const read = readName(octets, at);
    return read !== undefined && isMeant(lowerCased(read.name));
  };
  const record = new ScannedRecords(message, skipName(octets, HEADER_BYTES) + QUESTION_FIXED_BYTES);
  while (record.next() && record.section === 'answer') {
    if (u16At(octets, record.owner) !== POINTER_TO_QUESTION && isMeantAt(record.owner)) return true;
    if ((record.type === TYPE.CNAME || record.type === TYPE.DNAME) && isMeantAt(record.rdata)) return true;
  }
  return false;
}
