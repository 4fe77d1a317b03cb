// `dotstub flush`.

import { telling } from './tell.js';

export const flushCommand = telling(
  {
    name: 'flush',
    usage: 'flush NAME',
    summary: 'forget the answers about a name',
    details: `The same as "cache flush NAME".`,
  },
  { least: 1, most: 1 },
);
