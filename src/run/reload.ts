// The one way in which a running daemon changes: every part prepares for the next plan, and only when all have done so they all
// commit. A part that cannot prepare leaves everything as it was.

import { OPTIONS } from '../config/options.js';
import { changedOptions, type Plan } from './plan.js';

/** What a part has prepared. Neither may fail. */
export interface Prepared {
  /** Brings it into force. */
  commit(): void;
  /** Gives up what was opened for it. */
  abandon(): void;
}

/** A part that a reload can change. */
export interface Live {
  /** The options that it brings into force. */
  readonly options: readonly string[];
  /**
   * Reads, checks, builds and opens what the next plan needs; what is in force goes on unchanged. Called where one of its
   * options has changed.
   * @throws StartError where the next plan cannot come into force
   */
  prepare(next: Plan): Prepared | Promise<Prepared>;
}

/** Makes Prepared of a commit for which nothing had to be opened. */
export const ready = (commit: () => void): Prepared => ({ commit, abandon: () => undefined });

/** What a reload has brought. */
export interface Reloaded {
  /** Options that are in force now, and were not before. */
  readonly now: readonly string[];
  /** Options that were changed since the start, and wait for a restart. */
  readonly later: readonly string[];
}

const RESTART: ReadonlySet<string> = new Set(
  OPTIONS.filter(({ change }) => change === 'restart').map(({ path }) => path),
);
/** What a change of does nothing by itself. */
const WITHOUT_EFFECT: ReadonlySet<string> = new Set(
  OPTIONS.filter(({ change, built }) => change === 'defaults' || !built).map(({ path }) => path),
);

/** The plan in force, and the way to another one. */
export class Reload {
  /** In force, but for options that wait. */
  private current: Plan;
  /** Reloads come one after the other. */
  private last: Promise<unknown> = Promise.resolve();

  /**
   * @param started the plan that the daemon was started with
   * @param parts in the order in which they commit
   */
  constructor(
    private readonly started: Plan,
    private readonly parts: readonly Live[],
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
   * Takes a plan over.
   * @throws StartError; nothing has changed then
   */
  async take(next: Plan): Promise<Reloaded> {
    const turn = this.last.then(async () => this.exchange(next));
    this.last = turn.catch(() => undefined);
    return turn;
  }

  private async exchange(next: Plan): Promise<Reloaded> {
    const changed = changedOptions(this.current, next).filter(path => !WITHOUT_EFFECT.has(path));
    const now = changed.filter(path => !RESTART.has(path));
    const concerned = this.parts.filter(({ options }) => options.some(path => now.includes(path)));
    const prepared: Prepared[] = [];
    try {
      for (const part of concerned) prepared.push(await part.prepare(next));
    } catch (error) {
      for (const each of prepared.reverse()) each.abandon();
      throw error;
    }
    for (const each of prepared) each.commit();
    this.current = next;
    return { now, later: this.waiting };
  }
}
