// `dotstub probe`: makes the running daemon connect to its servers again.

import { telling } from './tell.js';

export const probeCommand = telling(
  {
    name: 'probe',
    usage: 'probe',
    summary: 'connect to all servers anew, as after a change of the network',
    details: `The running daemon forgets what it knows about the way to its servers: connections are made anew, no server is in back-off,
and in opportunistic mode TLS is tried again at once.`,
  },
  { least: 0, most: 0 },
);
