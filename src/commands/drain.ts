// `dotstub drain`.

import { setTimeout as sleep } from 'node:timers/promises';

import { telling } from './tell.js';

export const drainCommand = telling(
  {
    name: 'drain',
    usage: 'drain [DURATION]',
    summary: 'take the daemon out of service: not ready at once, stopped a little later',
    details: `Until it stops it goes on to answer, so that others can take over unnoticed. DURATION is 5s where it is left out, and 10m at
most. The command ends when that time is over: a preStop hook of Kubernetes must, because SIGTERM follows it at once.`,
  },
  { least: 0, most: 1, over: async data => sleep(secondsOf(data) * 1000) },
);

const secondsOf = (data: unknown): number =>
  typeof data === 'object' && data !== null && 'seconds' in data && typeof data.seconds === 'number' ? data.seconds : 0;
