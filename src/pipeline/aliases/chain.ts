// Chains of aliases that are put together from several answers.

import type { TtlLimits } from '../../cache/entry.js';
import { relevant } from '../answer.js';
import type { Query } from '../query.js';
import { type OwnRecords, type Rebuilt, rebuilt } from './rebuilt.js';
import { shapeOf } from './shape.js';

/** The limits were applied to each part already. */
export const AS_IT_IS: TtlLimits = { minSec: 0, maxSec: Infinity, negativeMaxSec: Infinity };

/**
 * One response of the records of several, without those that do not belong to its question.
 * @param said its RCODE, which is that of the last part, and its extended errors
 * @returns undefined: it would be too long, or is malformed
 */
export function chainOf(
  { question, type }: Pick<Query, 'question' | 'type'>,
  parts: readonly OwnRecords[],
  said: Pick<Rebuilt['scan'], 'rcode' | 'extendedErrors'>,
): Rebuilt | 'circle' | undefined {
  const records = { answer: parts.flatMap(each => each.answer), authority: parts.flatMap(each => each.authority) };
  const whole = rebuilt(question, records, said, type);
  // What each server said was without circles and duplicates, which does not hold for all of them together.
  const shape = whole && shapeOf({ octets: whole.message, ...whole.scan }, type);
  if (shape?.end.at === 'circle') return 'circle';
  return shape && relevant(whole, shape, type);
}

/** Records with other TTLs. */
export function retimed({ answer, authority }: OwnRecords, ttlOf: (ttlSec: number) => number): OwnRecords {
  const all = (records: OwnRecords['answer']): OwnRecords['answer'] =>
    records.map(each => ({ ...each, ttlSec: ttlOf(each.ttlSec) }));
  return { answer: all(answer), authority: all(authority) };
}
