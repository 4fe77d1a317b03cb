// `dotstub cache`.

import { FLUSH_OPTIONS, FLUSHES } from './flush.js';
import { telling } from './tell.js';

export const cacheCommand = telling(
  {
    name: 'cache',
    usage:
      'cache stats | get NAME [TYPE] | flush NAME | flush --zone NAME | flush --all | flush --negative | flush --bogus | save',
    summary: 'show what is in the cache, forget it, or write it to disk',
    details: `stats             how full it is, and what it was good for
get NAME [TYPE]   the answer in it, its age, its verdict and its server; TYPE is A unless it is given
save              writes the cache to state_directory now (cache.persist)
${FLUSHES}`,
    words: ['stats', 'get', 'flush', 'save', 'all', 'name', 'zone'],
  },
  { least: 0, most: 3, options: FLUSH_OPTIONS },
);
