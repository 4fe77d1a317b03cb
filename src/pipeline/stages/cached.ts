// Answers from the cache. An answer that is asked for again shortly before its end is refreshed, so that nobody waits for it.

import type { Observer } from '../../base/observer.js';
import { isAnswerRcode } from '../../base/outcome.js';
import { refreshedFrom } from '../../base/refresh.js';
import type { AgeSec } from '../../base/time.js';
import type { AnswerCache } from '../../cache/answers.js';
import type { Entry } from '../../cache/entry.js';
import { Answer } from '../answer.js';
import type { Query } from '../query.js';
import type { Resolve, Stage } from '../stage.js';

/** The parts that the stage uses. */
export interface CachedParts {
  readonly answers: AnswerCache;
  /** Whether answers are refreshed before they expire. */
  readonly prefetches: () => boolean;
  readonly observer: Observer;
  readonly ageNow: () => AgeSec;
}

/** The most answers that are refreshed at once, so that clients who wait for an answer come first. */
const MOST_REFRESHES = 32;

/** Makes the stage. A query that refreshes a stored answer passes. */
export function cached({ answers, prefetches, observer, ageNow }: CachedParts): Stage {
  /** The keys of answers that are being refreshed. */
  const refreshing = new Set<string>();
  const refresh = (next: Resolve, query: Query): void => {
    const { key } = query;
    if (refreshing.has(key)) return;
    refreshing.add(key);
    next(query.derive({ purpose: 'refresh' }), outcome => {
      refreshing.delete(key);
      const isAnswer = outcome.at === 'answer' && isAnswerRcode(outcome.entry.rcode);
      observer.cache(isAnswer ? 'prefetch_answered' : 'prefetch_failed');
    });
  };
  return next => (query, settle) => {
    const now = ageNow();
    const entry: Entry | undefined = query.purpose === 'refresh' ? undefined : answers.get(query.key, now);
    if (entry === undefined) return next(query, settle);
    // Without RD, nothing may be fetched.
    const isDue = now >= refreshedFrom(entry.storedAt, entry.ttlSec);
    const refreshes = isDue && query.recurse && refreshing.size < MOST_REFRESHES && prefetches();
    settle(Answer.cached(entry));
    if (refreshes) refresh(next, query);
  };
}
