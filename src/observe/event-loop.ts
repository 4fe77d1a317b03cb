// Measures the delay of the event loop. prom-client measures it, too, but writes 9223372036 s and NaN if nothing was
// measured yet: at the first scrape, and at a scrape directly after another.

import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';

import type { Family } from './families.js';

/** Also how often the process wakes to measure, so measuring begins with the first scrape. */
const RESOLUTION_MS = 10;
/** How often the first scrape looks for measurements: a busy loop makes none in time. */
const FIRST_LOOKS = 20;
/** How many measurements the first scrape waits for: one alone has no deviation. */
const FIRST_COUNT = 3;

/** The metrics of the delays, by the end of their names. */
const SHOWN: readonly (readonly [name: string, help: string, read: (delays: IntervalHistogram) => number])[] = [
  ['min', 'The minimum recorded event loop delay.', ({ min }) => min],
  ['max', 'The maximum recorded event loop delay.', ({ max }) => max],
  ['mean', 'The mean of the recorded event loop delays.', ({ mean }) => mean],
  ['stddev', 'The standard deviation of the recorded event loop delays.', ({ stddev }) => stddev],
  ['p50', 'The 50th percentile of the recorded event loop delays.', delays => delays.percentile(50)],
  ['p90', 'The 90th percentile of the recorded event loop delays.', delays => delays.percentile(90)],
  ['p99', 'The 99th percentile of the recorded event loop delays.', delays => delays.percentile(99)],
];

const nameOf = (end: string): string => `nodejs_eventloop_lag_${end === '' ? '' : `${end}_`}seconds`;

/** The metrics of prom-client that are replaced. */
export const EVENT_LOOP_NAMES: readonly string[] = ['', ...SHOWN.map(([end]) => end)].map(nameOf);

/** Measures from now on. */
export class EventLoop {
  private readonly delays: IntervalHistogram;
  /** Seconds, in the order of SHOWN; undefined: nothing was measured yet. */
  private last: readonly number[] | undefined;

  constructor() {
    this.delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
    this.delays.enable();
  }

  /** The delays since the last call; the same as at the last call if there was no time to measure. */
  async families(): Promise<Family[]> {
    for (let look = 0; this.last === undefined && this.delays.count < FIRST_COUNT && look < FIRST_LOOKS; look++)
      await sleep(RESOLUTION_MS);
    const startedAt = performance.now();
    await nextTurn();
    const lagSec = (performance.now() - startedAt) / 1000;
    if (this.delays.count > 0) {
      this.last = SHOWN.map(([, , read]) => read(this.delays) / 1e9);
      this.delays.reset();
    }
    const gauge = (end: string, help: string, value: number): Family => ({
      type: 'gauge',
      name: nameOf(end),
      help,
      labelNames: [],
      samples: () => [{ labels: {}, value }],
    });
    const { last } = this;
    return [
      gauge('', 'Lag of event loop in seconds.', lagSec),
      ...(last === undefined ? [] : SHOWN.map(([end, help], i) => gauge(end, help, last[i] ?? 0))),
    ];
  }
}
