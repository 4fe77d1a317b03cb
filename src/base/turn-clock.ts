// A clock that is read once for all that one event of the loop brings: a batch of queries, or the answers in one piece of a
// stream. A query that is forwarded asks for the time some ten times, and what comes together has one time.
//
// Not for whoever measures how long his own work takes: until that ends, this clock stands still.

import type { Cancel, Clock } from './ports.js';
import type { MonoMs, WallMs } from './time.js';

/** The clock. */
export class TurnClock implements Clock {
  private monotonicNow: MonoMs | undefined = undefined;
  private wallNow: WallMs | undefined = undefined;
  private isEnding = false;
  private readonly settled = Promise.resolve();

  constructor(private readonly clock: Clock) {}

  monotonicMs(): MonoMs {
    if (this.monotonicNow !== undefined) return this.monotonicNow;
    this.willEnd();
    return (this.monotonicNow = this.clock.monotonicMs());
  }

  wallMs(): WallMs {
    if (this.wallNow !== undefined) return this.wallNow;
    this.willEnd();
    return (this.wallNow = this.clock.wallMs());
  }

  after(ms: number, then: () => void): Cancel {
    return this.clock.after(ms, then);
  }

  /** What waits for a promise runs when the event has been handled, before the next one. (queueMicrotask takes longer.) */
  private willEnd(): void {
    if (this.isEnding) return;
    this.isEnding = true;
    void this.settled.then(this.end);
  }

  private readonly end = (): void => {
    this.isEnding = false;
    this.monotonicNow = this.wallNow = undefined;
  };
}
