// `dotstub drain`.

import { telling } from './tell.js';

export const drainCommand = telling(
  {
    name: 'drain',
    usage: 'drain [DURATION]',
    summary: 'take the daemon out of service: not ready at once, stopped a little later',
    details: `Until it stops it goes on to answer, so that others can take over unnoticed (a preStop hook of Kubernetes, say). DURATION is 5s
where it is left out, and 10m at most.`,
  },
  { least: 0, most: 1 },
);
