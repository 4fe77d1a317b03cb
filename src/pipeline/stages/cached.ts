// Answers from the cache.

import type { AgeSec } from '../../base/time.js';
import type { AnswerCache } from '../../cache/answers.js';
import { Answer } from '../answer.js';
import type { Stage } from '../stage.js';

/** Makes the stage. A query that refreshes a stored answer passes. */
export function cached({ answers, ageNow }: { readonly answers: AnswerCache; readonly ageNow: () => AgeSec }): Stage {
  return next => (query, settle) => {
    const entry = query.purpose === 'refresh' ? undefined : answers.get(query.key, ageNow());
    if (entry === undefined) next(query, settle);
    else settle(Answer.cached(entry));
  };
}
