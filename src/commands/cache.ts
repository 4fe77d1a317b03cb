// `dotstub cache`.

import { telling } from './tell.js';

export const cacheCommand = telling(
  {
    name: 'cache',
    usage: 'cache stats | flush NAME | flush zone NAME | flush all',
    summary: 'show how full the cache is, or forget what is in it',
    details: `"flush NAME" (or "flush name NAME") forgets the answers about NAME, "flush zone" those about NAME and all names below it.`,
    words: ['stats', 'flush', 'name', 'zone', 'all'],
  },
  { least: 0, most: 3 },
);
