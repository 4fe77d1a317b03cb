// Decides which validation computes next: those that have computed least so far. A zone that is made to be expensive must not
// delay the questions about other zones.

import type { Clock } from '../../base/ports.js';
import type { Turn } from '../../dnssec/budget.js';

/** Levels of what validations have had so far, in slices; the last one is for all that had more. */
const LEVELS = 3;

/** The validations that wait for their next turn. The front bounds how many there are. */
export class Scheduler {
  private readonly waiting: readonly (() => void)[][] = Array.from({ length: LEVELS }, () => []);

  constructor(
    /** What all validations together may compute before others get a turn of the event loop. */
    private readonly turn: Turn,
    private readonly clock: Clock,
  ) {}

  /** Whether validations are waiting. A new one then has to wait, too, if it takes long. */
  get crowded(): boolean {
    return this.turn.crowded;
  }

  /**
   * Goes on with a validation in a later turn of the event loop.
   * @param slices how much it has computed so far
   */
  wait(slices: number, goOn: () => void): void {
    this.waiting[Math.min(slices, LEVELS - 1)]?.push(goOn);
    if (!this.turn.crowded) this.clock.after(0, this.nextTurn);
    this.turn.crowded = true;
  }

  private readonly nextTurn = (): void => {
    const { turn, waiting } = this;
    turn.begin();
    // Always one of those that had most: they must not wait for ever.
    waiting.findLast(level => level.length > 0)?.shift()?.();
    for (const level of waiting) while (level.length > 0 && !turn.isOver) level.shift()?.();
    turn.crowded = waiting.some(level => level.length > 0);
    if (turn.crowded) this.clock.after(0, this.nextTurn);
  };
}
