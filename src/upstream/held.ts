// Questions that wait for a server: until an address is found, or, for some time after the start and after a network
// change, until a server is reached.

import type { Cancel, Clock } from '../base/ports.js';
import { monoAfter, monoMs, type MonoMs } from '../base/time.js';

/**
 * For this long after the start or a network change, questions wait if no server is reached. Later that counts as an
 * outage, and they fail.
 */
const SETTLING_MS = 30_000;
/** While questions wait, servers that may be tried again are tried this often. */
const RETRY_MS = 250;
/** The most questions that may wait. It is more than clients may have in flight. */
const MOST_HELD = 4096;

/** The questions `Q` that wait. */
export class Held<Q> {
  private readonly questions = new Set<Q>();
  /** The settling window ends at this time, or with the first success. */
  private settlingUntilMs: MonoMs = monoMs(0);
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
  isSettling(nowMs: MonoMs): boolean {
    return nowMs < this.settlingUntilMs;
  }

  /** Begins the settling window. */
  settle(nowMs: MonoMs): void {
    this.settlingUntilMs = monoAfter(nowMs, SETTLING_MS);
  }

  /** Ends the settling window: a server was reached, or none has to be reached. */
  settled(): void {
    this.settlingUntilMs = monoMs(0);
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
