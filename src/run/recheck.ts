// Asks upstream for the root while the daemon is not ready: one that gets no queries because it is not ready would
// never learn that servers answer again. It asks only when somebody asks whether it is ready, and never two at a time.

import type { Clock } from '../base/ports.js';
import { type MonoMs, monoMs } from '../base/time.js';

/** The shortest time between two questions. */
const PAUSE_MS = 1000;

/** The check. */
export class Recheck {
  private isAsking = false;
  private askedAt: MonoMs = monoMs(-Infinity);

  /** @param ask asks for something that every resolver can answer, past all caches; calls back once */
  constructor(
    private readonly clock: Clock,
    private readonly ask: (then: () => void) => void,
  ) {}

  /** Asks, unless that was done just now. */
  look(): void {
    const now = this.clock.monotonicMs();
    if (this.isAsking || now - this.askedAt < PAUSE_MS) return;
    this.askedAt = now;
    this.isAsking = true;
    this.ask(() => (this.isAsking = false));
  }
}
