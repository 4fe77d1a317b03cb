// The last hour for the status page: a few sums, read every 15 s. Nothing else is counted for it.

import type { Clock } from '../base/ports.js';
import type { WallMs } from '../base/time.js';
import type { Glance } from './metrics.js';

/** Milliseconds between two samples. */
export const STEP_MS = 15_000;
/** The samples of an hour, and one before them. */
const MAX_SAMPLES = 3600_000 / STEP_MS + 1;

/** A sample: milliseconds since 1970, then sums since the start of the daemon. */
export type HistorySample = readonly [at: WallMs, ...sums: number[]];

/** The values of a sample, from a glance, in the order that the page reads (base/rates). */
export const sumsOf = ({ replies, encrypted, cleartext, durations }: Glance): number[] => [
  replies.cache,
  replies.upstream,
  replies.local,
  replies.error,
  encrypted,
  cleartext,
  ...durations,
];

/** The samples, oldest first. */
export interface History {
  samples(): readonly HistorySample[];
  close(): void;
}

/** Begins to take samples. */
export function history(clock: Clock, sums: () => readonly number[]): History {
  let kept: HistorySample[] = [];
  let cancel = (): void => undefined;
  function take(): void {
    kept = [...kept.slice(1 - MAX_SAMPLES), [clock.wallMs(), ...sums()]];
    cancel = clock.after(STEP_MS, take);
  }
  take();
  return { samples: () => kept, close: () => cancel() };
}
