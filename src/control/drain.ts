// The `drain` command of the control socket: makes the daemon not ready at once, and stops it a little later.

import { durationMs } from './duration.js';
import type { ControlCommand } from './server.js';

const DEFAULT_MS = 5000;
const MAX_MS = 600_000;

/**
 * Makes the command. It replies at once, with the seconds for which the client waits.
 * @param drain makes the daemon not ready at once, and stops it after this many milliseconds
 */
export const drainCommand = (drain: (forMs: number) => void): ControlCommand => ({
  run([wanted]) {
    const forMs = wanted === undefined ? DEFAULT_MS : durationMs(wanted);
    if (forMs === undefined || forMs > MAX_MS)
      return { ok: false, problem: `${wanted ?? ''} is not allowed: 0 to 10m` };
    drain(forMs);
    return {
      ok: true,
      text: `Not ready from now on; answers for ${forMs / 1000} s more, and then stops.`,
      data: { seconds: forMs / 1000 },
    };
  },
});
