// Serve-stale (RFC 8767): when no server answers, or not soon enough, an expired answer is better than none.

import { type Bounded, bounded } from '../../base/bounded.js';
import type { Observer } from '../../base/observer.js';
import { type FailureCode, isAnswerRcode, isDnssecFailure } from '../../base/outcome.js';
import { ageAfter, type AgeSec } from '../../base/time.js';
import { Timed, type Wheel } from '../../base/wheel.js';
import type { AnswerCache } from '../../cache/answers.js';
import type { Entry } from '../../cache/entry.js';
import { leadsTo } from '../../wire/alias-names.js';
import { isAtOrBelow } from '../../wire/name.js';
import { type CachedChain, cachedChain } from '../aliases/cached-chain.js';
import { Answer, isHandedBack, type Outcome } from '../answer.js';
import type { Query } from '../query.js';
import type { Settle, Stage } from '../stage.js';

/** What the configuration says about stale answers. */
export interface StaleSettings {
  /** How long after its end an answer may be served; 0: never. */
  readonly mostSec: number;
  /** The TTL of stale answers. */
  readonly ttlSec: number;
  /** How long a client waits for the servers first; 0: not at all. */
  readonly clientTimeoutMs: number;
  /** Zones whose names get no stale answers; in wire form, lower case. */
  readonly excluded: readonly Buffer[];
}

/** The parts that the stage uses. */
export interface StaleParts {
  readonly answers: AnswerCache;
  readonly settings: () => StaleSettings;
  readonly observer: Observer;
  readonly wheel: Wheel;
  readonly ageNow: () => AgeSec;
}

/** RFC 8767 §5, the failure recheck timer: after a refresh has failed, the servers are not asked for this long. */
const RECHECK_SEC = 30;
/** Stale answers with no longer pauses between them are one trouble. */
const PAUSE_SEC = 60;
/** The most names whose refresh has failed lately. Beyond them, the servers are asked more often. */
const MOST_FAILED = 4096;

const REFUSED: ReadonlySet<FailureCode> = new Set<FailureCode>(['overload', 'client_overload']);

/** A client that waits for an answer, while there is an expired one. */
class Waiting extends Timed {
  constructor(
    private readonly given: StaleAnswers,
    readonly query: Query,
    private take: Settle | undefined,
  ) {
    super();
  }

  /** The client has waited long enough. */
  fire(): void {
    this.given.waitedEnough(this);
  }

  get isOver(): boolean {
    return this.take === undefined;
  }

  settle(outcome: Outcome): void {
    const { take } = this;
    this.take = undefined;
    take?.(outcome);
  }
}

/** Gives stale answers. */
export class StaleAnswers {
  /** Until when the servers are not asked again, by question. */
  private readonly failed: Bounded<{ readonly until: AgeSec }> = bounded(MOST_FAILED, () => undefined);
  /** How often they were forgotten: what was asked before that says nothing any more. */
  private forgotten = 0;

  /** When the first and the last stale answer of one trouble were given because servers had not answered. */
  private trouble: { readonly since: AgeSec; readonly last: AgeSec } | undefined = undefined;

  constructor(private readonly parts: StaleParts) {}

  /** For how many seconds clients have been given stale answers because servers do not answer; undefined: they are not. */
  get troubleSec(): number | undefined {
    const { trouble } = this;
    const ageNow = this.parts.ageNow();
    return trouble === undefined || ageNow - trouble.last > PAUSE_SEC ? undefined : ageNow - trouble.since;
  }

  readonly stage: Stage = next => (query, settle) => {
    const { clientTimeoutMs } = this.parts.settings();
    if (query.purpose !== 'client') return next(query, settle);
    const now = this.answerTo(query);
    const failed = now === undefined || this.failed.entries === 0 ? undefined : this.failed.get(query.key);
    if (now !== undefined && failed !== undefined && this.parts.ageNow() < failed.until) return this.give(now, settle);
    const since = this.forgotten;
    // One that has not expired must only be validated again, which mostly needs no server.
    if (now?.hasExpired === true && clientTimeoutMs === 0) {
      // The servers have not been asked yet.
      this.give(now, settle, false);
      return next(query.derive({ purpose: 'refresh' }), outcome => this.refreshed(query, outcome, since));
    }
    // While it waits, the name may be found to be an alias of one that is known.
    const waiting = new Waiting(this, query, settle);
    if (clientTimeoutMs > 0) this.parts.wheel.start(waiting, clientTimeoutMs);
    next(query, outcome => {
      this.parts.wheel.stop(waiting);
      // Then it begins anew, and may have an answer.
      if (isHandedBack(outcome)) return waiting.settle(outcome);
      const stale = failsWith(outcome) ? this.answerTo(query, outcome) : undefined;
      if (now !== undefined || stale !== undefined) this.refreshed(query, outcome, since);
      if (waiting.isOver) return;
      if (stale === undefined) waiting.settle(outcome);
      else this.give(stale, each => waiting.settle(each), !wasRefused(outcome));
    });
    // The servers have only just been asked.
    if (clientTimeoutMs === 0 && !waiting.isOver) this.waitedEnough(waiting, false);
  };

  /**
   * The stale answer that there is for a query. `isNow`: it would be given before the servers are asked.
   * @param failure why there is no other one
   */
  look(query: Query, failure?: Outcome): { readonly answer: Answer; readonly isNow: boolean } | undefined {
    const answer = this.answerTo(query, failure)?.answer;
    const failed = this.failed.get(query.key);
    const hasFailed = failed !== undefined && this.parts.ageNow() < failed.until;
    return answer && { answer, isNow: hasFailed || this.parts.settings().clientTimeoutMs === 0 };
  }

  /** Forgets that servers have failed: others may be asked now. */
  forgetFailures(): void {
    this.forgotten++;
    this.failed.clear();
  }

  waitedEnough(waiting: Waiting, isTrouble = true): void {
    // Meanwhile it may have been evicted: then the servers are waited for.
    const stale = this.answerTo(waiting.query);
    if (stale !== undefined) this.give(stale, outcome => waiting.settle(outcome), isTrouble);
  }

  private give({ answer, hasExpired: isStale }: CachedChain, settle: Settle, isTrouble = true): void {
    const fresh = answer.entry.negative ? 'hit_negative' : 'hit_positive';
    this.parts.observer.cache(isStale ? 'hit_stale' : fresh);
    const last = this.parts.ageNow();
    if (isStale && isTrouble) this.trouble = { since: ageAfter(last, -(this.troubleSec ?? 0)), last };
    settle(answer);
  }

  private refreshed({ key }: Query, outcome: Outcome, since: number): void {
    if (isHandedBack(outcome)) return;
    if (failsWith(outcome)) {
      // A failure of before, given again, is no attempt.
      if (since === this.forgotten && !isOld(outcome) && !wasRefused(outcome))
        this.failed.set(key, { until: ageAfter(this.parts.ageNow(), RECHECK_SEC) }, 1);
    } else if (this.failed.entries > 0) this.failed.delete(key);
  }

  /** The stale answer to a query. @param failure why there is no other one */
  private answerTo(query: Query, failure?: Outcome): CachedChain | undefined {
    if (query.purpose !== 'client') return undefined;
    const { excluded } = this.parts.settings();
    const ageNow = this.parts.ageNow();
    const found = this.fallbackFor(query, ageNow);
    if (found === undefined) return undefined;
    const { entry } = found.answer;
    if (excluded.length > 0 && found.hasExpired && isExcluded(query, entry, excluded)) return undefined;
    // What a zone says now is wrong. What it said before is still proven as long as its signatures are valid.
    const isBogus = failure?.at === 'failure' && isDnssecFailure(failure.code);
    return isBogus && entry.verdict !== 'secure' ? undefined : found;
  }

  /** What is cached about a query, as one answer or as several. */
  private fallbackFor(query: Query, ageNow: AgeSec): CachedChain | undefined {
    const { answers, settings } = this.parts;
    const { mostSec, ttlSec } = settings();
    const entry = answers.fallback(query.key, ageNow, mostSec);
    if (entry === undefined) return cachedChain(answers, query, { ageNow, mostSec, ttlSec });
    return { answer: Answer.stale(entry, ttlSec, ageNow), hasExpired: hasExpired(entry, ageNow) };
  }
}

const hasExpired = ({ storedAt, ttlSec }: Entry, ageNow: AgeSec): boolean => ageNow - storedAt >= ttlSec;

/** Whether a name of an answer is in one of the zones: the one that was asked for, or one that an alias leads to. */
function isExcluded({ name }: Query, entry: Entry, zones: readonly Buffer[]): boolean {
  const isIn = (each: Buffer): boolean => zones.some(zone => isAtOrBelow(each, zone));
  return isIn(name) || leadsTo(entry, isIn);
}

/** No server was asked: there was no place to wait for one. */
const wasRefused = (outcome: Outcome): boolean => outcome.at === 'failure' && REFUSED.has(outcome.code);
const isOld = (outcome: Outcome): boolean =>
  outcome.at === 'failure' ? outcome.cached === true : outcome.origin === 'cache';
const failsWith = (outcome: Outcome): boolean => outcome.at === 'failure' || !isAnswerRcode(outcome.entry.rcode);
