// `dotstub flush`.

import { telling } from './tell.js';

export const flushCommand = telling(
  {
    name: 'flush',
    usage: 'flush NAME | zone NAME | all',
    summary: 'forget the answers about a name, about all names of a zone, or all answers',
    details: `The same as "cache flush". For a host of the name "all", "name" or "zone", write "flush name all".`,
    words: ['name', 'zone', 'all'],
  },
  { least: 1, most: 2 },
);
