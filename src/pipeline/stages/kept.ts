// Stores outcomes: answers in one table, failures in another.

import { ownCopy } from '../../base/octets.js';
import { isAnswerRcode } from '../../base/outcome.js';
import type { AgeSec } from '../../base/time.js';
import type { AnswerCache } from '../../cache/answers.js';
import { type FailureCache, HOLDS } from '../../cache/failures.js';
import { Answer, type Outcome } from '../answer.js';
import type { Stage } from '../stage.js';

/** The parts that the stage uses. */
export interface KeptParts {
  readonly answers: AnswerCache;
  readonly failures: FailureCache<Outcome>;
  readonly ageNow: () => AgeSec;
}

/** Makes the stage. */
export function kept(parts: KeptParts): Stage {
  const { answers, failures } = parts;
  return next => (query, settle) => {
    const { epoch } = failures;
    const since = answers.epoch;
    next(query, outcome => {
      // Asked under other rules, or of servers that are not asked any more: it is given, and kept nowhere.
      if (since !== answers.epoch && outcome.at === 'answer')
        return settle(outcome.withEntry({ ...outcome.entry, ttlSec: 0 }));
      keep(parts, query.key, outcome, epoch);
      settle(outcome);
    });
  };
}

function keep({ answers, failures, ageNow }: KeptParts, key: string, outcome: Outcome, epoch: number): void {
  if (outcome.at === 'failure') {
    const hold = HOLDS[outcome.code];
    if (hold !== undefined) failures.put(key, { ...outcome, cached: true }, hold, ageNow(), epoch);
    return;
  }
  const { entry, origin } = outcome;
  if (origin === 'local') return;
  if (isAnswerRcode(entry.rcode)) {
    failures.succeeded(key, entry.storedAt);
    // Validation had no result; the next attempt may have one.
    if (entry.verdict !== 'indeterminate') answers.put(key, entry);
    return;
  }
  failures.replied(entry.storedAt);
  const copy = Answer.cached({ ...entry, octets: ownCopy(entry.octets) });
  failures.put(key, copy, 'growing', entry.storedAt, epoch);
}
