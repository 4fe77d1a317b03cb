// Validation is written as generators. They yield what they need next; the caller fetches it and continues them. So
// validation uses no sockets, timers or promises, and known facts cost no turn of the event loop.

import type { Failure } from '../base/outcome.js';
import type { Name } from './name.js';
import type { Sets } from './rrset.js';

/** A question to upstream. */
export interface Lookup {
  readonly name: Name;
  readonly type: number;
}

/** What a generator needs to continue. */
export type Need =
  /**
   * The result of the first lookup. The others are sent together with it, because they will probably be needed next, and
   * are not waited for: servers exist that never answer some of them.
   */
  | { readonly at: 'lookups'; readonly lookups: readonly [Lookup, ...Lookup[]] }
  /** A pause after much computing: the caller serves other questions first (budget.ts). */
  | { readonly at: 'pause' };

/** The need for a pause. */
export const PAUSE: Need = { at: 'pause' };

/** A computation that yields what it needs. */
export type Steps<T> = Generator<Need, T, undefined>;

/** The result of a lookup. */
export type LookupResult =
  | {
      readonly at: 'answer';
      readonly sets: Sets;
      readonly rcode: number;
      readonly upstream: string;
      /** The response, if it was asked for only for validation. */
      readonly message?: Buffer;
    }
  | { readonly at: 'failure'; readonly failure: Failure };

/** The key of a lookup in tables. */
export const lookupKey = ({ name, type }: Lookup): string => `${type} ${name}`;
/** The name in such a key. */
export const nameInLookupKey = (key: string): Name => key.slice(key.indexOf(' ') + 1);
