// Answers a repeated question with the failure that it had a moment ago (RFC 9520).

import type { AgeSec } from '../../base/time.js';
import type { FailureCache } from '../../cache/failures.js';
import type { Outcome } from '../answer.js';
import type { Stage } from '../stage.js';

/** Makes the stage. */
export function failedLately({
  failures,
  ageNow,
}: {
  readonly failures: FailureCache<Outcome>;
  readonly ageNow: () => AgeSec;
}): Stage {
  return next => (query, settle) => {
    // Mostly the table is empty, and the clock need not be read.
    const outcome = failures.entries === 0 ? undefined : failures.get(query.key, ageNow());
    if (outcome === undefined) next(query, settle);
    else settle(outcome);
  };
}
