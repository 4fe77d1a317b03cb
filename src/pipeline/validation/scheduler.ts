// Decides which validation computes next: the one that has computed least so far. A zone whose validation is expensive
// must not delay questions about other zones.

import type { Clock } from '../../base/ports.js';
import { type MonoMs, monoMs } from '../../base/time.js';
import type { Turn } from '../../dnssec/budget.js';

/** Levels by the number of slices that a validation has used; the last level is for all with more. */
const LEVELS = 3;
/** Several times as long as what may be computed in a turn. */
const TURN_MS = 10;

/** The validations that wait for their next turn. The front bounds their number. */
export class Scheduler {
  private readonly waiting: readonly (() => void)[][] = Array.from({ length: LEVELS }, () => []);
  private begunAt: MonoMs = monoMs(-Infinity);

  constructor(
    /** The amount that all validations together may compute before the event loop does other work. */
    private readonly turn: Turn,
    private readonly clock: Clock,
  ) {}

  /**
   * A validation is about to compute. If the last turn began long ago, other work was done since: a new one begins, so
   * that only what comes in quick succession has to pause.
   */
  begin(): void {
    const now = this.clock.monotonicMs();
    if (!this.turn.crowded && now - this.begunAt >= TURN_MS) this.beginTurn(now);
  }

  private beginTurn(now: MonoMs): void {
    this.begunAt = now;
    this.turn.begin();
  }

  /**
   * Continues a validation in a later turn of the event loop.
   * @param slices how many slices it has used so far
   */
  wait(slices: number, goOn: () => void): void {
    this.waiting[Math.min(slices, LEVELS - 1)]?.push(goOn);
    if (!this.turn.crowded) this.clock.after(0, this.nextTurn);
    this.turn.crowded = true;
  }

  private readonly nextTurn = (): void => {
    const { turn, waiting } = this;
    this.beginTurn(this.clock.monotonicMs());
    // Also take one of those that have used most: they must not wait for ever.
    waiting.findLast(level => level.length > 0)?.shift()?.();
    for (const level of waiting) while (level.length > 0 && !turn.isOver) level.shift()?.();
    turn.crowded = waiting.some(level => level.length > 0);
    if (turn.crowded) this.clock.after(0, this.nextTurn);
  };
}
