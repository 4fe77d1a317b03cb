// The machine's clocks and random numbers.

import { randomFillSync } from 'node:crypto';
import { existsSync } from 'node:fs';

import type { Clock, Random } from '../base/ports.js';
import { type MonoMs, monoMs, wallMs } from '../base/time.js';

export const systemClock: Clock = {
  monotonicMs: () => monoMs(performance.now()),
  wallMs: () => wallMs(Date.now()),
  after(ms, then) {
    const timer = setTimeout(then, ms).unref();
    return () => clearTimeout(timer);
  },
};

/** Seconds on a clock that is the same in all threads of the process. It never goes backwards, and stands still in sleep. */
export function processSeconds(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds + nanoseconds / 1e9;
}

/** The same at a time of the monotonic clock of this thread. */
export const processSecondsAt = (at: MonoMs): number => PROCESS_SECONDS_AT_0 + at / 1000;
const PROCESS_SECONDS_AT_0 = processSeconds() - systemClock.monotonicMs() / 1000;

/** Cryptographic randomness, drawn from the kernel in larger pieces. */
export function systemRandom(): Random {
  const drawn = Buffer.alloc(4096);
  let at = drawn.length;
  const uint16 = (): number => {
    if (at === drawn.length) {
      randomFillSync(drawn);
      at = 0;
    }
    at += 2;
    return drawn.readUInt16LE(at - 2);
  };
  return {
    uint16,
    // The bias is negligible for the small n that are used here; ids use uint16, which has none.
    below: n => uint16() % n,
  };
}

const TIMESYNC = '/run/systemd/timesync';

/** Whether systemd-timesyncd has set the clock since the machine started; undefined: it is not running. */
export const timesyncHasSetClock = (): boolean | undefined =>
  existsSync(TIMESYNC) ? existsSync(`${TIMESYNC}/synchronized`) : undefined;
