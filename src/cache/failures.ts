// Failures of resolution, kept for a moment (RFC 9520): clients repeat a question that failed, and without this table each
// repetition would be asked of upstream again. They are kept apart from answers: a failure must not replace an answer.

import { type Bounded, bounded } from '../base/bounded.js';
import type { FailureCode } from '../base/outcome.js';
import { type AgeSec, ageAfter, ageSec } from '../base/time.js';
import { nameInKey } from '../wire/query.js';

/**
 * How long a failure is kept:
 * `growing`: 1 s, and twice as long after each repetition, up to 30 s;
 * `timeout`: the same if other questions are being answered, else 1 s, since then the network may be to blame;
 * `brief`: 1 s;
 * `bogus`: 60 s.
 */
export type Hold = 'growing' | 'timeout' | 'brief' | 'bogus';

/**
 * What is kept of the failures of a question. Undefined: never, because it says something about this program or about the
 * network, and not about the question. A network that comes back must be used at once.
 */
export const HOLDS: Readonly<Record<FailureCode, Hold | undefined>> = {
  form_error: undefined,
  bad_version: undefined,
  opcode: undefined,
  meta_type: undefined,
  nxname: undefined,
  class: undefined,
  not_allowed: undefined,
  not_cached: undefined,
  overload: undefined,
  shutdown: undefined,
  not_ready: undefined,
  no_upstream: undefined,
  bootstrap: undefined,
  connect: undefined,
  connect_timeout: undefined,
  tls_verify: undefined,
  tls_alert: undefined,
  closed: undefined,
  slow: undefined,
  handed_back: undefined,
  timeout: 'timeout',
  parse: 'growing',
  bogus: 'bogus',
  signature_expired: 'bogus',
  signature_early: 'bogus',
  dnskey_missing: 'bogus',
  rrsigs_missing: 'bogus',
  no_zone_key: 'bogus',
  nsec_missing: 'bogus',
  // The next attempt finds part of the work done.
  dnssec_limit: 'brief',
  // Which keys are believed may change at any time.
  sentinel: 'brief',
  // A lookup may have failed because of the network.
  dnssec_indeterminate: 'brief',
};

/** RFC 9520 §3.2: at least so long. */
const LEAST_HOLD_SEC = 1;
/** The RFC allows up to 5 minutes; a name that works again should not stay away that long. */
const MOST_HOLD_SEC = 30;
/** RFC 4035 §4.7: what is bogus is not validated again all the time. */
const BOGUS_HOLD_SEC = 60;
/** A failure that comes so long after the hold of the one before is a new failure, and not a repetition. */
const REPETITION_SEC = 60;
/** If no question was answered for so long, a timeout says nothing about the name. A question has 4.5 s for its answer. */
const SILENCE_SEC = 5;
/** Least recently used ones leave first. */
const MOST_FAILURES = 4096;

interface Held<T> {
  readonly result: T;
  readonly holdSec: number;
  readonly until: AgeSec;
}

/** What failed lately, by question key. `T` is what those who ask again are given. */
export class FailureCache<T> {
  private readonly table: Bounded<Held<T>>;
  private repliedAt = ageSec(-Infinity);
  private cleared = 0;
  private evicted = 0;

  /** @param most how many failures are kept */
  constructor(most = MOST_FAILURES) {
    this.table = bounded<Held<T>>(most, () => this.evicted++);
  }

  /** What the question failed with, if that still holds. */
  get(key: string, ageNow: AgeSec): T | undefined {
    if (this.table.entries === 0) return undefined;
    const held = this.table.get(key);
    return held !== undefined && ageNow < held.until ? held.result : undefined;
  }

  /**
   * Keeps a failure.
   * @param since what `epoch` was when the question was asked: what was asked before everything was forgotten is not kept
   */
  put(key: string, result: T, hold: Hold, ageNow: AgeSec, since: number): void {
    if (since !== this.cleared) return;
    const holdSec = this.holdSec(hold, this.table.get(key), ageNow);
    this.table.set(key, { result, holdSec, until: ageAfter(ageNow, holdSec) }, 1);
  }

  private holdSec(hold: Hold, before: Held<T> | undefined, ageNow: AgeSec): number {
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

  /** A server has answered, though with a failure. */
  replied(ageNow: AgeSec): void {
    this.repliedAt = ageNow;
  }

  /** Changes with every `clear`. */
  get epoch(): number {
    return this.cleared;
  }

  /**
   * Forgets the failures of names that are meant.
   * @param isMeant of a name in wire form, lower case, an octet per character
   */
  forget(isMeant: (name: string) => boolean): void {
    for (const key of this.table.keys()) if (isMeant(nameInKey(key))) this.table.delete(key);
  }

  /** Forgets all: the network or the servers are others now. What is being asked at the moment will not be kept either. */
  clear(): void {
    this.cleared++;
    this.repliedAt = ageSec(-Infinity);
    this.table.clear();
  }

  /** How many are kept, those included whose time is over and that are kept to know a repetition. */
  get entries(): number {
    return this.table.entries;
  }

  /** How many left because there were too many. */
  get evictions(): number {
    return this.evicted;
  }
}
