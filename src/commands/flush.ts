// `dotstub flush`.

import { telling } from './tell.js';

/** What "flush" and "cache flush" take beside words. */
export const FLUSH_OPTIONS = {
  zone: { type: 'string' },
  all: { type: 'boolean' },
  negative: { type: 'boolean' },
  bogus: { type: 'boolean' },
} as const;

/** What they forget, in lines. */
export const FLUSHES = `flush NAME        forgets the answers about NAME
flush --zone NAME forgets the answers about NAME and all names below it
flush --all       forgets everything
flush --negative  forgets the answers that a name or a type does not exist
flush --bogus     forgets failures: bogus answers, bogus zones, and servers that did not answer

"flush all", "flush zone NAME" and "flush name NAME" are the same without dashes.`;

export const flushCommand = telling(
  {
    name: 'flush',
    usage: 'flush NAME | --zone NAME | --all | --negative | --bogus',
    summary: 'forget answers: about a name, a zone, or all of them',
    details: `The same as "cache flush".

${FLUSHES}`,
    words: ['name', 'zone', 'all'],
  },
  { least: 0, most: 2, options: FLUSH_OPTIONS },
);
