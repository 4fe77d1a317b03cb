// `dotstub explain`.

import { telling } from './tell.js';

export const explainCommand = telling(
  {
    name: 'explain',
    usage: 'explain NAME [TYPE] [--client ADDRESS] [--listener ADDRESS]',
    summary: 'say who would answer for a name, and by which rule; asks nobody',
    details: `Says which part of the daemon would answer a client's question for NAME and TYPE (A unless it is given): special-use
names, local names, the portal window, a list, with the rule's file and line, the cache, with expired answers, denials
and failures, a route, or the servers, and which of them; where an alias would lead; and what would change the answer
on its way.

  --client ADDRESS    for a client with this address; left out: 127.0.0.1
  --listener ADDRESS  that asks at this address of ours (clients[].listeners), with or without port; left out: at none of
                      those`,
  },
  { least: 1, most: 2, options: { client: { type: 'string' }, listener: { type: 'string' } } },
);
