// Validation is written as generators: they say what they need next, and whoever drives them fetches it, and goes on. No
// sockets, no timers, no promises; what is at hand costs no turn of the event loop.

import type { Failure } from '../base/outcome.js';
import type { Name } from './name.js';
import type { Sets } from './rrset.js';

/** A question to upstream. */
export interface Lookup {
  readonly name: Name;
  readonly type: number;
}

/** What is needed to go on. */
export type Need =
  /** All of these, asked together. */
  | { readonly at: 'lookups'; readonly lookups: readonly Lookup[] }
  /** A turn for others: much was computed. Whoever drives this goes on in another turn (budget.ts). */
  | { readonly at: 'pause' };

/** A computation with needs. */
export type Steps<T> = Generator<Need, T, undefined>;

/** What came of a lookup. */
export type Found =
  | { readonly at: 'answer'; readonly sets: Sets; readonly rcode: number; readonly upstream: string }
  | { readonly at: 'failure'; readonly failure: Failure };

/** The key of a lookup in tables. */
export const lookupKey = ({ name, type }: Lookup): string => `${type} ${name}`;
