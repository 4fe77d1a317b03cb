// `dotstub cache`.

import { telling } from './tell.js';

export const cacheCommand = telling(
  {
    name: 'cache',
    usage:
      'cache stats | get NAME [TYPE] | flush NAME | flush --zone NAME | flush --all | flush --negative | flush --bogus | save',
    summary: 'show what is in the cache, forget it, or write it to disk',
    details: `stats             how full it is, and what it was good for
get NAME [TYPE]   the answer in it, its age, its verdict and its server; TYPE is A unless it is given
flush NAME        forgets the answers about NAME
flush --zone NAME forgets the answers about NAME and all names below it
flush --all       forgets everything
flush --negative  forgets the answers that a name or a type does not exist
flush --bogus     forgets failures: bogus answers, bogus zones, and servers that did not answer
save              writes the cache to state_directory now (cache.persist)`,
    words: ['stats', 'get', 'flush', 'save'],
  },
  {
    least: 0,
    most: 3,
    options: {
      zone: { type: 'string' },
      all: { type: 'boolean' },
      negative: { type: 'boolean' },
      bogus: { type: 'boolean' },
    },
  },
);
