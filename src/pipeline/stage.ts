// The shape that all stages share.

import type { Outcome } from './answer.js';
import type { Query } from './query.js';

/** Takes the outcome of a query. What the outcome borrows is good until it returns. */
export type Settle = (outcome: Outcome) => void;

/** Answers a query: calls `settle` once. At once where it can: a cached answer should not cost a turn of the event loop. */
export type Resolve = (query: Query, settle: Settle) => void;

/** Does one thing around the rest of the pipeline. */
export type Stage = (next: Resolve) => Resolve;
