// Questions that wait for a server: until an address is found, or, for a while after the start and after a network change,
// until a server is reached.

import type { Cancel, Clock } from '../base/ports.js';
import { monoAfter, monoMs, type MonoMs } from '../base/time.js';

/** For so long after the start or a network change, questions wait if no server is reached; after that, it is an outage, and they fail. */
const SETTLING_MS = 30_000;
/** How often those servers that may be tried again are, while questions wait for one to be reached. */
const RETRY_MS = 250;
/** How many may wait. More than clients may have in flight. */
const MOST_HELD = 4096;

/** The questions `Q` that wait. */
export class Held<Q> {
  private readonly questions = new Set<Q>();
  /** The settling window ends here, or with the first success. */
  private settlingUntilMs: MonoMs = monoMs(0);
  /** Stops the repeated attempts to reach a server; undefined: there are none. */
  private cancelRetry: Cancel | undefined;
  private isClosed = false;

  /** @param retry tries those servers that may be tried */
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

  /** A server was reached, or none has to be: the window is over. */
  settled(): void {
    this.settlingUntilMs = monoMs(0);
  }

  /** Keeps a question; false: too many wait already. */
  add(question: Q): boolean {
    if (this.questions.size >= MOST_HELD) return false;
    this.questions.add(question);
    return true;
  }

  delete(question: Q): void {
    this.questions.delete(question);
  }

  /** Tries to reach a server again and again, as long as questions wait. */
  keepTrying(): void {
    if (this.cancelRetry !== undefined || this.isClosed) return;
    this.cancelRetry = this.clock.after(RETRY_MS, () => {
      this.cancelRetry = undefined;
      if (this.questions.size === 0) return;
      this.retry();
      this.keepTrying();
    });
  }

  /** Removes all that wait, and returns them. */
  takeAll(): readonly Q[] {
    const all = [...this.questions];
    this.questions.clear();
    return all;
  }

  /** Tries no more. */
  close(): void {
    this.isClosed = true;
    this.cancelRetry?.();
    this.cancelRetry = undefined;
  }
}
