// Questions of the last minutes that were not answered from the cache, and why some of them failed.

import type { FailureCode } from './outcome.js';
import type { WallMs } from './time.js';

/** A server answered with an error, or a failure of ours. */
export type LatelyCause = FailureCode | 'answered';

const MINUTE_MS = 60_000;
/** How many minutes are counted, the one that has begun included. */
export const LATELY_MINUTES = 5;

interface Minute {
  /** Since 1970. */
  readonly number: number;
  questions: number;
  failed: number;
  readonly causes: Map<LatelyCause, number>;
}

/** The counts. */
export class Lately {
  /** The latest last. */
  private minutes: Minute[] = [];

  constructor(private readonly wallMs: () => WallMs) {}

  /** A question was answered, or has failed. */
  reply(failed: boolean): void {
    const minute = this.minute();
    minute.questions++;
    if (failed) minute.failed++;
  }

  /** Why it has failed. */
  because(cause: LatelyCause): void {
    const { causes } = this.minute();
    causes.set(cause, (causes.get(cause) ?? 0) + 1);
  }

  /** The sums, with the most frequent cause. */
  get sums(): { readonly questions: number; readonly failed: number; readonly cause: LatelyCause | undefined } {
    const kept = this.kept();
    const causes = new Map<LatelyCause, number>();
    for (const each of kept)
      for (const [cause, count] of each.causes) causes.set(cause, (causes.get(cause) ?? 0) + count);
    return {
      questions: kept.reduce((sum, { questions }) => sum + questions, 0),
      failed: kept.reduce((sum, { failed }) => sum + failed, 0),
      cause: [...causes].sort(([, a], [, b]) => b - a)[0]?.[0],
    };
  }

  private minute(): Minute {
    const number = Math.floor(this.wallMs() / MINUTE_MS);
    const last = this.minutes.at(-1);
    if (last?.number === number) return last;
    const next: Minute = { number, questions: 0, failed: 0, causes: new Map() };
    this.minutes = [...this.kept(), next];
    return next;
  }

  /** Minutes of a clock that was set back do not count. */
  private kept(): Minute[] {
    const now = Math.floor(this.wallMs() / MINUTE_MS);
    return this.minutes.filter(({ number }) => number <= now && number > now - LATELY_MINUTES);
  }
}
