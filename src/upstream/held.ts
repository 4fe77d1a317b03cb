// Questions that wait for a server: until an address is found, or, for some time after the start and after a network
// change, until a server is reached.

import type { Cancel, Clock } from '../base/ports.js';
import { monoAfter, monoMs, type MonoMs } from '../base/time.js';

/**
 * For this long after the start or a network change, questions wait if no server is reached. Later that counts as an
 * outage, and they fail.
 */
const GRACE_MS = 30_000;
/** While questions wait, servers that may be tried again are tried this often. */
const RETRY_MS = 250;
/** The most questions that may wait: more than clients may have in flight (`MOST_LATE` in run/entrance-parts). */
const MOST_HELD = 8192;

/** The questions `Q` that wait. */
export class Held<Q> {
  private readonly questions = new Set<Q>();
  /** The grace period ends at this time, or with the first success. */
  private graceUntilMs: MonoMs = monoMs(0);
  /** Stops the repeated attempts to reach a server; undefined: none are running. */
  private cancelRetry: Cancel | undefined;
  private isClosed = false;

  /**
   * @param retry tries the servers that may be tried
   */
  constructor(
    private readonly clock: Clock,
    private readonly retry: () => void,
  ) {}

  /** Whether questions wait if no server is reached. */
  inGrace(nowMs: MonoMs): boolean {
    return nowMs < this.graceUntilMs;
  }

  /** Begins the grace period. */
  startGrace(nowMs: MonoMs): void {
    this.graceUntilMs = monoAfter(nowMs, GRACE_MS);
  }

  /** Ends the grace period: a server was reached, or none has to be reached. */
  endGrace(): void {
    this.graceUntilMs = monoMs(0);
  }

  /** Holds a question; false: too many wait already. */
  add(question: Q): boolean {
    if (this.questions.size >= MOST_HELD) return false;
    this.questions.add(question);
    return true;
  }

  delete(question: Q): void {
    this.questions.delete(question);
  }

  /** Repeats the attempts to reach a server as long as questions wait. */
  keepTrying(): void {
    if (this.cancelRetry !== undefined || this.isClosed) return;
    this.cancelRetry = this.clock.after(RETRY_MS, () => {
      this.cancelRetry = undefined;
      if (this.questions.size === 0) return;
      this.retry();
      this.keepTrying();
    });
  }

  /** Removes and returns all questions. */
  takeAll(): readonly Q[] {
    const all = [...this.questions];
    this.questions.clear();
    return all;
  }

  /** Stops the repeated attempts. */
  close(): void {
    this.isClosed = true;
    this.cancelRetry?.();
    this.cancelRetry = undefined;
  }
}
