// `dotstub status`.

import { telling } from './tell.js';

export const statusCommand = telling(
  {
    name: 'status',
    usage: 'status',
    summary: 'show at a glance how the running daemon is doing',
    details: `Mode and privacy, servers, validation, cache, listeners. "--json" has the same for programs.`,
  },
  { least: 0, most: 0 },
);
