// The clock that TTLs count by. The monotonic clock stands still while the machine sleeps, and the wall clock may jump, so
// neither says alone how old an answer is. This clock adds up monotonic time. Where the wall clock has moved clearly further
// (sleep, or a step forward), it adds the wall clock's time, so that an expired answer never passes for a fresh one. It
// ignores a wall clock that is set back.

import type { Clock } from './ports.js';
import { type AgeSec, ageSec } from './time.js';

/** Smaller differences are clock discipline and rounding. They must not add up. */
const JUMP_MS = 1000;

/** Reads the clock. What changes is in fields: V8 makes a new object for each number that a closure keeps. */
export class AgeClock {
  private elapsedMs = 0;
  private lastMonotonicMs: number;
  /** When the wall clock was last read, on both clocks. */
  private wallReadMs: number;
  private lastWallMs: number;

  /**
   * @param wallEveryMs for how long, on the monotonic clock, the wall clock is not read again: reading it takes longer.
   * After a sleep, answers count as young for no longer than this.
   */
  constructor(
    private readonly clock: Clock,
    private readonly wallEveryMs = 0,
  ) {
    this.lastMonotonicMs = this.wallReadMs = clock.monotonicMs();
    this.lastWallMs = clock.wallMs();
  }

  /** Seconds since 1970, as the wall clock was read last: at the last call of `now`, or `wallEveryMs` before it. */
  get wallSec(): number {
    return this.lastWallMs / 1000;
  }

  /** Seconds since it was made, sleep included. It never goes backwards. */
  now(): AgeSec {
    const { clock, wallEveryMs } = this;
    const monotonicMs = clock.monotonicMs();
    this.elapsedMs += monotonicMs - this.lastMonotonicMs;
    this.lastMonotonicMs = monotonicMs;
    if (monotonicMs - this.wallReadMs >= wallEveryMs) this.readWall(monotonicMs);
    return ageSec(this.elapsedMs / 1000);
  }

  private readWall(monotonicMs: number): void {
    const wallMs = this.clock.wallMs();
    const aheadMs = wallMs - this.lastWallMs - (monotonicMs - this.wallReadMs);
    if (aheadMs > JUMP_MS) this.elapsedMs += aheadMs;
    this.wallReadMs = monotonicMs;
    this.lastWallMs = wallMs;
  }
}
