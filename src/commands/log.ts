// `dotstub log`.

import { telling } from './tell.js';

export const logCommand = telling(
  {
    name: 'log',
    usage: 'log level [LEVEL]',
    summary: 'show what is logged, or change it until the next start',
    details: `LEVEL is error, warn, info or debug: that and everything graver.`,
    words: ['level', 'error', 'warn', 'info', 'debug'],
  },
  { least: 1, most: 2 },
);
