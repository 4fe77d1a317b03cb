// Notices that no server has been reached for some seconds. It looks only when there are questions: an idle machine is
// not woken for it.

import type { Clock } from '../base/ports.js';
import { type MonoMs, monoMs } from '../base/time.js';

const LOOK_MS = 1000;
/** One lost connection, or one slow handshake, is not meant. */
const LONG_MS = 3000;

/** The watch. */
export class LongUnreached {
  private lookedAt = monoMs(-Infinity);
  /** Since when; undefined: a server is reached. */
  private since: MonoMs | undefined;

  /**
   * @param then called at each look while no server has been reached for long
   */
  constructor(
    private readonly clock: Clock,
    private readonly isUnreached: () => boolean,
    private readonly then: () => void,
  ) {}

  /** Looks, unless that was done just now. */
  look(): void {
    const now = this.clock.monotonicMs();
    if (now - this.lookedAt < LOOK_MS) return;
    this.lookedAt = now;
    if (!this.isUnreached()) this.since = undefined;
    else if (now - (this.since ??= now) >= LONG_MS) this.then();
  }
}
