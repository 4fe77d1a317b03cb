// Answers of a snapshot, in place of those of a server: they are validated again before they count as validated.

import type { AgeSec } from '../../base/time.js';
import type { AnswerCache } from '../../cache/answers.js';
import { Answer } from '../answer.js';
import type { Stage } from '../stage.js';

/** Makes the stage. */
export function restored({ answers, ageNow }: { readonly answers: AnswerCache; readonly ageNow: () => AgeSec }): Stage {
  return next => (query, settle) => {
    // With servers to avoid, this is a second attempt, because the first answer was not proven.
    const entry =
      query.purpose === 'client' && query.avoid.length === 0 ? answers.doubtful(query.key, ageNow()) : undefined;
    if (entry === undefined) next(query, settle);
    else settle(Answer.cached(entry));
  };
}
