// The clock that TTLs age by. Node's monotonic clock stands still in suspend, the wall clock jumps at will:
// neither alone says how old an answer is. This one adds up monotonic time, and where the wall clock moved
// clearly further (sleep, or a forward step) it takes the wall clock's word, so that old data is never taken
// for fresh. A wall clock that is set back changes nothing.

import type { Clock } from './ports.js';
import { type AgeSec, ageSec } from './time.js';

// Smaller differences are clock discipline and rounding, and must not add up.
const JUMP_MS = 1000;

/** Returns a function that gives the seconds passed since some start, sleep included. Never backwards. */
export function ageClock(clock: Clock): () => AgeSec {
  let elapsedMs = 0;
  let lastMonotonicMs = clock.monotonicMs();
  let lastWallMs = clock.wallMs();
  return () => {
    const monotonicMs = clock.monotonicMs();
    const wallMs = clock.wallMs();
    const ran = monotonicMs - lastMonotonicMs;
    const walled = wallMs - lastWallMs;
    elapsedMs += walled - ran > JUMP_MS ? walled : ran;
    lastMonotonicMs = monotonicMs;
    lastWallMs = wallMs;
    return ageSec(elapsedMs / 1000);
  };
}
