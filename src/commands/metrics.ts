// `dotstub metrics`.

import { telling } from './tell.js';

export const metricsCommand = telling(
  {
    name: 'metrics',
    usage: 'metrics',
    summary: 'print the metrics, as Prometheus would read them',
    details: `For a look at them where metrics.listen is off or out of reach.`,
  },
  { least: 0, most: 0 },
);
