// The only way to change a running daemon. Every part prepares for the next plan, and when all have prepared, all
// commit. If a part cannot prepare, nothing changes.

import { OPTIONS } from '../config/options.js';
import { changedOptions, type Plan } from './plan.js';

/** The preparations of a part. None of the functions may fail. */
export interface Prepared {
  /** Brings the plan into force. */
  commit(): void;
  /** Resolved when other threads have done after `commit` what they have to; left out: none has to. */
  settled?(): Promise<void>;
  /** Closes what was opened for the plan. Resolved when the part does what it did before. */
  abandon(): void | Promise<void>;
}

/** A part that a reload can change. */
export interface Live {
  /** The options that it brings into force. */
  readonly options: readonly string[];
  /** Options of other parts that it must know: what it keeps depends on them. */
  readonly dependsOn?: readonly string[];
  /**
   * Reads, checks, builds and opens what the next plan needs; the plan in force is not affected. Called if one of its
   * options, or of those that it depends on, has changed. @throws StartError if the next plan cannot come into force
   */
  prepare(next: Plan): Prepared | Promise<Prepared>;
}

/** Makes a Prepared for which nothing was opened. */
export const ready = (commit: () => void): Prepared => ({ commit, abandon: () => undefined });

/** The result of a reload. */
export interface Reloaded {
  /** Options that this reload has changed. */
  readonly now: readonly string[];
  /** Options that were changed since the start, and wait for a restart. */
  readonly later: readonly string[];
}

const RESTART: ReadonlySet<string> = new Set(
  OPTIONS.filter(({ change }) => change === 'restart').map(({ path }) => path),
);
/** Options without an effect of their own. */
const WITHOUT_EFFECT: ReadonlySet<string> = new Set(
  OPTIONS.filter(({ change }) => change === 'defaults').map(({ path }) => path),
);

/** The plan in force, and reloads of it. */
export class Reload {
  /** The plan in force, except for options that wait for a restart. */
  private current: Plan;
  /** Reloads run one after the other. */
  private last: Promise<unknown> = Promise.resolve();

  /**
   * @param started the plan that the daemon was started with
   * @param parts in the order in which they commit
   */
  constructor(
    private readonly started: Plan,
    private readonly parts: readonly Live[],
    /** Called when a plan did not come into force, and all parts do again what they did before. */
    private readonly refused: () => void = () => undefined,
  ) {
    this.current = started;
  }

  /** Options that were changed and wait for a restart. */
  get waiting(): readonly string[] {
    return changedOptions(this.started, this.current).filter(path => RESTART.has(path));
  }

  /** The plan in force. */
  get plan(): Plan {
    return this.current;
  }

  /**
   * Brings a plan into force. @throws StartError; then nothing has changed
   */
  async take(next: Plan): Promise<Reloaded> {
    return this.inTurn(async () => this.exchange(next));
  }

  /**
   * Brings into force what `change` makes of the plan in force, once no other reload is under way. @throws StartError;
   * then nothing has changed
   */
  async amend(change: (current: Plan) => Plan): Promise<Reloaded> {
    return this.inTurn(async () => this.exchange(change(this.current)));
  }

  /**
   * Lets a part prepare and commit once more for the plan in force: what it opened then would be something else now.
   * @throws StartError; then nothing has changed
   */
  async renew(part: Live): Promise<void> {
    return this.inTurn(async () => {
      const prepared = await part.prepare(this.current);
      prepared.commit();
      await prepared.settled?.();
    });
  }

  private async inTurn<T>(run: () => Promise<T>): Promise<T> {
    const turn = this.last.then(run);
    this.last = turn.catch(() => undefined);
    return turn;
  }

  private async exchange(next: Plan): Promise<Reloaded> {
    const changed = changedOptions(this.current, next).filter(path => !WITHOUT_EFFECT.has(path));
    const now = changed.filter(path => !RESTART.has(path));
    const concerned = this.parts.filter(({ options, dependsOn = [] }) =>
      [...options, ...dependsOn].some(path => now.includes(path)),
    );
    const prepared: Prepared[] = [];
    try {
      for (const part of concerned) prepared.push(await part.prepare(next));
    } catch (error) {
      for (const each of prepared.reverse()) await each.abandon();
      this.refused();
      throw error;
    }
    for (const each of prepared) each.commit();
    this.current = next;
    for (const each of prepared) await each.settled?.();
    return { now, later: this.waiting };
  }
}
