// Answers that are changed here: some records are left out, and with them the signatures over their sets. What is left is
// not what its zone has signed, so it never gets AD.

import { u16At } from '../base/octets.js';
import { failure } from '../base/outcome.js';
import { HEADER_BYTES } from '../wire/header.js';
import { type ScannedMessage, ScannedRecords } from '../wire/records.js';
import { TYPE } from '../wire/rrtype.js';
import { select } from '../wire/selection.js';
import type { Answer, Outcome } from './answer.js';
import type { Query } from './query.js';

/** Where the records of an answer to a query start. */
export const questionEndOf = ({ question }: Pick<Query, 'question'>): number => HEADER_BYTES + question.length;

/** Which records are left, by number, when some are removed, and the signatures over sets of their types. */
export function leftWithout(message: ScannedMessage, questionEnd: number, removed: ReadonlySet<number>): boolean[] {
  const { octets } = message;
  const types = new Set<number>();
  const record = new ScannedRecords(message, questionEnd);
  while (record.next()) if (removed.has(record.index)) types.add(record.type);
  const left: boolean[] = [];
  const again = new ScannedRecords(message, questionEnd);
  while (again.next()) {
    const signs = again.type === TYPE.RRSIG && types.has(u16At(octets, again.rdata));
    left.push(!signs && !removed.has(again.index));
  }
  return left;
}

/** Whether a message has a record of this type in its answer section, among those that are left. */
export function hasAnswer(
  message: ScannedMessage,
  questionEnd: number,
  type: number,
  left?: readonly boolean[],
): boolean {
  const record = new ScannedRecords(message, questionEnd);
  while (record.next() && record.section === 'answer')
    if (record.type === type && (left === undefined || left[record.index] === true)) return true;
  return false;
}

/** The answer with the records that are left. */
export function withRecords(answer: Answer, query: Query, left: readonly boolean[]): Outcome {
  const { entry } = answer;
  const selected = select(entry, questionEndOf(query), index => left[index] === true);
  return selected === undefined
    ? failure('parse', entry.upstream)
    : answer.withEntry({ ...selected, verdict: 'unchecked' });
}
