// Begins a question anew if its servers were taken away while it was on its way: those of now may be others, and so may be
// all that decides whether anybody is asked at all.

import { isHandedBack } from '../answer.js';
import type { Query } from '../query.js';
import type { Resolve, Stage } from '../stage.js';

/** The parts that the stage uses. */
export interface BegunAnewParts {
  /** A query as if it came now; undefined: nothing has changed since it came. */
  readonly begunAnew: (query: Query) => Query | undefined;
}

/** Makes the stage. A question begins once for each change at most. */
export function begunAnew(parts: BegunAnewParts): Stage {
  return next => {
    const stage: Resolve = (query, settle) =>
      next(query, outcome => {
        const anew = isHandedBack(outcome) ? parts.begunAnew(query) : undefined;
        if (anew === undefined) settle(outcome);
        else stage(anew, settle);
      });
    return stage;
  };
}
