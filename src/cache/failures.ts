// Failed questions, stored for a short time (RFC 9520). Clients repeat a question that failed, and without this table
// each repetition would be sent upstream. The table is separate from answers: a failure must not replace an answer.

import { type Bounded, bounded } from '../base/bounded.js';
import type { FailureCode } from '../base/outcome.js';
import { type AgeSec, ageAfter, ageSec } from '../base/time.js';
import { nameInKey } from '../wire/query.js';

/**
 * How long a failure is stored. `growing`: 1 s, then twice as long after each repetition, up to 30 s. `timeout`: the
 * same if other questions are being answered; else 1 s, because the network may be the reason. `brief`: 1 s. `bogus`:
 * 60 s.
 */
export type Hold = 'growing' | 'timeout' | 'brief' | 'bogus';

/**
 * The hold of each failure. Undefined: it is not stored, because it is about this program or the network, not about the
 * question. A network that comes back must be used at once.
 */
export const HOLDS: Readonly<Record<FailureCode, Hold | undefined>> = {
  form_error: undefined,
  bad_version: undefined,
  opcode: undefined,
  meta_type: undefined,
  nxname: undefined,
  class: undefined,
  not_allowed: undefined,
  rate_limited: undefined,
  not_cached: undefined,
  overload: undefined,
  dropped: undefined,
  client_overload: undefined,
  shutdown: undefined,
  not_ready: undefined,
  no_upstream: undefined,
  bootstrap: undefined,
  connect: undefined,
  connect_timeout: undefined,
  tls_verify: undefined,
  tls_alert: undefined,
  closed: undefined,
  http: undefined,
  slow: undefined,
  handed_back: undefined,
  timeout: 'timeout',
  parse: 'growing',
  alias_loop: 'growing',
  bogus: 'bogus',
  signature_expired: 'bogus',
  signature_early: 'bogus',
  dnskey_missing: 'bogus',
  rrsigs_missing: 'bogus',
  no_zone_key: 'bogus',
  nsec_missing: 'bogus',
  // The next attempt starts with part of the work done.
  dnssec_limit: 'brief',
  // The trusted keys may change at any time.
  sentinel: 'brief',
  // A lookup may have failed because of the network.
  dnssec_indeterminate: 'brief',
};

/** RFC 9520 §3.2: the shortest time. */
const LEAST_HOLD_SEC = 1;
/** RFC 9520 allows up to 5 minutes, but a name that works again should be found sooner. */
const MOST_HOLD_SEC = 30;
/** RFC 4035 §4.7: a bogus answer is not validated again all the time. */
const BOGUS_HOLD_SEC = 60;
/** A failure that comes this long after the hold of the last one is new, not a repetition. */
const REPETITION_SEC = 60;
/**
 * If no question was answered for this long, a timeout is not caused by the name. A question has 4.5 s for its answer.
 */
const SILENCE_SEC = 5;
/** The octets of a failure beside its key and its result, about: objects, and its place in the table. */
const FAILURE_BYTES = 600;

interface StoredFailure<T> {
  readonly result: T;
  readonly holdSec: number;
  readonly until: AgeSec;
}

/** Recent failures by question key. `T` is given to clients that ask again. */
export class FailureCache<T> {
  private readonly table: Bounded<StoredFailure<T>>;
  private repliedAt = ageSec(-Infinity);
  private cleared = 0;
  private evicted = 0;

  /**
   * @param maxBytes for all failures; the least recently used one is removed first
   * @param bytesOf the octets of a result
   */
  constructor(
    maxBytes: number,
    private readonly bytesOf: (result: T) => number,
  ) {
    this.table = bounded<StoredFailure<T>>(maxBytes, () => this.evicted++);
  }

  /** The failure of a question, if it is still valid. */
  get(key: string, ageNow: AgeSec): T | undefined {
    return this.table.entries === 0 ? undefined : this.held(key, ageNow)?.result;
  }

  /** The failure of a question, and for how many seconds more it is valid. */
  held(key: string, ageNow: AgeSec): { readonly result: T; readonly leftSec: number } | undefined {
    const held = this.table.get(key);
    return held !== undefined && ageNow < held.until
      ? { result: held.result, leftSec: held.until - ageNow }
      : undefined;
  }

  /**
   * Stores a failure.
   * @param since the value of `epoch` when the question was asked: after a `clear`, failures of earlier questions are
   * not stored
   */
  put(key: string, result: T, hold: Hold, ageNow: AgeSec, since: number): void {
    if (since !== this.cleared) return;
    const holdSec = this.holdSec(hold, this.table.get(key), ageNow);
    const bytes = FAILURE_BYTES + key.length + this.bytesOf(result);
    this.table.set(key, { result, holdSec, until: ageAfter(ageNow, holdSec) }, bytes);
  }

  private holdSec(hold: Hold, before: StoredFailure<T> | undefined, ageNow: AgeSec): number {
    if (hold === 'bogus') return BOGUS_HOLD_SEC;
    const othersAreAnswered = ageNow - this.repliedAt <= SILENCE_SEC;
    if (hold === 'brief' || (hold === 'timeout' && !othersAreAnswered)) return LEAST_HOLD_SEC;
    const isRepetition =
      before !== undefined && before.holdSec !== BOGUS_HOLD_SEC && ageNow - before.until <= REPETITION_SEC;
    return isRepetition ? Math.min(2 * before.holdSec, MOST_HOLD_SEC) : LEAST_HOLD_SEC;
  }

  /** The question has been answered. */
  succeeded(key: string, ageNow: AgeSec): void {
    this.repliedAt = ageNow;
    if (this.table.entries > 0) this.table.delete(key);
  }

  /** A server has replied, although with a failure. */
  replied(ageNow: AgeSec): void {
    this.repliedAt = ageNow;
  }

  /** Changes with every `clear`. */
  get epoch(): number {
    return this.cleared;
  }

  /**
   * Forgets the failures of some names.
   * @param isMeant called with each name in wire form, lower case, one character per octet
   */
  forget(isMeant: (name: string) => boolean): void {
    for (const key of this.table.keys()) if (isMeant(nameInKey(key))) this.table.delete(key);
  }

  /** Forgets the failures that are meant. */
  forgetWhere(isMeant: (result: T) => boolean): void {
    for (const key of this.table.keys()) {
      const held = this.table.get(key);
      if (held !== undefined && isMeant(held.result)) this.table.delete(key);
    }
  }

  /**
   * Forgets all failures, because the network or the servers have changed. Failures of questions in flight will not be
   * stored either.
   */
  clear(): void {
    this.cleared++;
    this.repliedAt = ageSec(-Infinity);
    this.table.clear();
  }

  /** How many entries there are, including those that only serve to recognise a repetition. */
  get entries(): number {
    return this.table.entries;
  }

  /** How many entries were removed to make room. */
  get evictions(): number {
    return this.evicted;
  }
}
