// `dotstub trace`: has the running daemon validate a question step by step.

import { telling } from './tell.js';

export const traceCommand = telling(
  {
    name: 'trace',
    usage: 'trace NAME [TYPE]',
    summary: 'show how an answer is validated: zones, DS, keys, signatures, proofs, verdict',
    details: `The running daemon asks its servers anew, past all caches, and begins at its trust anchor. TYPE is A where it is left out.`,
  },
  { least: 1, most: 2 },
);
