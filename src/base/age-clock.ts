// The clock that TTLs count by. The monotonic clock stands still while the machine sleeps, and the wall clock may jump, so
// neither says alone how old an answer is. This clock adds up monotonic time. Where the wall clock has moved clearly further
// (sleep, or a step forward), it adds the wall clock's time, so that an expired answer never passes for a fresh one. It
// ignores a wall clock that is set back.

import type { Clock } from './ports.js';
import { type AgeSec, ageSec } from './time.js';

/** Smaller differences are clock discipline and rounding. They must not add up. */
const JUMP_MS = 1000;

/** Makes a function that reads the clock: seconds since the call of `ageClock`, sleep included. It never goes backwards. */
export function ageClock(clock: Clock): () => AgeSec {
  let elapsedMs = 0;
  let lastMonotonicMs = clock.monotonicMs();
  let lastWallMs = clock.wallMs();
  return () => {
    const monotonicMs = clock.monotonicMs();
    const wallMs = clock.wallMs();
    const monotonicStepMs = monotonicMs - lastMonotonicMs;
    const wallStepMs = wallMs - lastWallMs;
    elapsedMs += wallStepMs - monotonicStepMs > JUMP_MS ? wallStepMs : monotonicStepMs;
    lastMonotonicMs = monotonicMs;
    lastWallMs = wallMs;
    return ageSec(elapsedMs / 1000);
  };
}
