// `dotstub status`.

import { telling } from './tell.js';

export const statusCommand = telling(
  {
    name: 'status',
    usage: 'status',
    summary: 'show at a glance how the running daemon is doing',
    details: `Mode and privacy, servers, validation, cache, listeners, and what is wrong with what to do about it; also whether
the programs of this machine ask the daemon, and what leaves beside it. Every user may ask (control.status). "--json"
has the same for programs.`,
  },
  { least: 0, most: 0, forEveryone: true },
);
