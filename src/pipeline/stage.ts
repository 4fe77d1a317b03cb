// The shape that all stages share.

import type { Outcome } from './answer.js';
import type { Query } from './query.js';

/** Takes the outcome of a query. Octets that the outcome borrows are valid until it returns. */
export type Settle = (outcome: Outcome) => void;

/**
 * Answers a query by calling `settle` once, and at once if possible: a cached answer should not cost a turn of the
 * event loop.
 */
export type Resolve = (query: Query, settle: Settle) => void;

/**
 * A stage does one thing around the rest of the pipeline. Most have nothing to do with most queries, and pass them on
 * without allocating: functions that capture the query are made in functions of their own, since V8 allocates what they
 * capture at the start of the function around them, whether they are made or not.
 */
export type Stage = (next: Resolve) => Resolve;
