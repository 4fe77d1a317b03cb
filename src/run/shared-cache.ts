// The store that replicas share: opened as the plan says, closed, and exchanged by a reload.

import type { Observer } from '../base/observer.js';
import type { SharedCacheOverview } from '../base/overview.js';
import type { Clock, Log, OpenStore, Random } from '../base/ports.js';
import { type AgeSec, type WallSec, wallSec, wallSecOf } from '../base/time.js';
import { SharedAnswers } from '../cache/shared-answers.js';
import { SharedEntries } from '../cache/shared-entry.js';
import { SharedLevel } from '../cache/shared-level.js';
import type { Name } from '../dnssec/name.js';
import type { StoreAddress } from '../os/redis-client.js';
import { type Plan, SHARED_SETTINGS, type SharedPlan } from './plan.js';
import { type Live, type Prepared, ready } from './reload.js';

/** The parts that it uses. */
export interface SharedCacheParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly random: Random;
  readonly observer: Observer;
  readonly ageNow: () => AgeSec;
  readonly openStore: (address: StoreAddress) => OpenStore;
  /** Whether the clock shows a time that cannot be: nobody knows then how old an answer of others is. */
  readonly clockIsWrong: () => boolean;
  /** Names that an operator has declared unsigned for a while, in order. */
  readonly unsigned: () => readonly Name[];
}

/** What is in force. */
interface InForce {
  readonly plan: SharedPlan;
  readonly level: SharedLevel;
  readonly answers: SharedAnswers;
}

/** The store. */
export class SharedCache implements Live {
  static readonly options: readonly string[] = [
    'cache.shared.url',
    'cache.shared.key_file',
    'cache.shared.password_file',
    'cache.shared.timeout',
  ];
  readonly options = SharedCache.options;
  readonly dependsOn = SHARED_SETTINGS;
  /** Undefined: nothing is shared. */
  private now: InForce | undefined;
  /** Answers that were stored up to then are not used. */
  private since: WallSec = wallSec(-Infinity);
  /** Whether the log says that the store is not used. */
  private isToldOff = false;

  constructor(
    private readonly parts: SharedCacheParts,
    { shared }: Plan,
  ) {
    this.now = shared && this.opened(shared);
  }

  /** What is shared at present; undefined: nothing. */
  get answers(): SharedAnswers | undefined {
    return this.now === undefined || this.parts.clockIsWrong() ? undefined : this.now.answers;
  }

  /** Its state; undefined: nothing is shared. */
  get overview(): SharedCacheOverview | undefined {
    return this.now?.level.overview;
  }

  /** Forgets what others have stored up to now: something was forgotten here, and must not come back from there. */
  forget(): void {
    this.since = wallSecOf(this.parts.clock.wallMs());
  }

  prepare({ shared: next }: Plan): Prepared {
    return ready(() => {
      const before = this.now;
      if (before !== undefined && next !== undefined && isSameStore(before.plan, next))
        return void (this.now = this.using(next, before.level));
      before?.level.close();
      this.isToldOff = false;
      this.now = next && this.opened(next);
    });
  }

  /** Closes it. */
  close(): void {
    this.now?.level.close();
    this.now = undefined;
  }

  private opened(plan: SharedPlan): InForce {
    const { clock, openStore } = this.parts;
    const level = new SharedLevel({
      clock,
      open: openStore(plan.store),
      timeoutMs: plan.timeoutMs,
      changed: state => this.tell(state),
    });
    return this.using(plan, level);
  }

  private using(plan: SharedPlan, level: SharedLevel): InForce {
    const { clock, random, observer, ageNow, unsigned } = this.parts;
    const entries = new SharedEntries(plan.key, random);
    const settings = (): string => [plan.settings, ...unsigned()].join('\n');
    const answers = new SharedAnswers({ level, entries, clock, ageNow, observer, settings, since: () => this.since });
    return { plan, level, answers };
  }

  /** Tells the log once that it is not used, and once that it is again. */
  private tell(state: SharedCacheOverview): void {
    const { log } = this.parts;
    const isOff = state.at === 'off';
    if (isOff && !this.isToldOff)
      log.warn({ reason: state.why }, `the store of cache.shared is not used (${state.why}); it is tried again`);
    if (state.at === 'open') log.info({}, 'answers are shared with other replicas (cache.shared)');
    this.isToldOff = isOff;
  }
}

const isSameStore = (one: SharedPlan, other: SharedPlan): boolean =>
  one.timeoutMs === other.timeoutMs && JSON.stringify(one.store) === JSON.stringify(other.store);
