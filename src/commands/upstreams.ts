// `dotstub upstreams`.

import { telling } from './tell.js';

export const upstreamsCommand = telling(
  {
    name: 'upstreams',
    usage: 'upstreams',
    summary: 'show each server: state, identity, round-trip time',
    details: `A row for each address of each server, and below them why those that are not reached are not.`,
  },
  { least: 0, most: 0, forEveryone: true },
);
