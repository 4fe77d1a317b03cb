// When an answer about addresses may be asked for again before its TTL is over: nobody is reached there, so that it may
// be wrong or old. Pure.

import { monoAfter, monoMs, type MonoMs } from '../base/time.js';

/** The first pause between two look-ups; then it doubles. */
const PAUSE_MS = { first: 5000, most: 300_000 } as const;

/** The doubts about one answer. */
export class Doubt {
  private nextAtMs: MonoMs = monoMs(-Infinity);
  private pauseMs: number = PAUSE_MS.first;

  /** Nobody is reached. @returns whether to ask again now; then the next time is later */
  arises(nowMs: MonoMs): boolean {
    if (nowMs < this.nextAtMs) return false;
    this.nextAtMs = monoAfter(nowMs, this.pauseMs);
    this.pauseMs = Math.min(2 * this.pauseMs, PAUSE_MS.most);
    return true;
  }

  /** Somebody was reached, or the answer belongs to another network. */
  ends(): void {
    this.pauseMs = PAUSE_MS.first;
  }
}
