// `dotstub lists`.

import { telling } from './tell.js';

export const listsCommand = telling(
  {
    name: 'lists',
    usage: 'lists status | refresh [NAME] | pause DURATION [--client-group NAME] | resume [--client-group NAME]',
    summary: 'show the lists of names, fetch them again, or pause them',
    details: `status            the lists, their rules, how old they are, and what is wrong with them
refresh [NAME]    fetches and reads all lists now, or one
pause DURATION    looks at no list for some time (1s to 1d); the pause ends by itself, and with a restart
resume            ends all pauses

  --client-group NAME  for the clients of one group only`,
    words: ['status', 'refresh', 'pause', 'resume'],
  },
  { least: 0, most: 2, options: { 'client-group': { type: 'string' } } },
);
