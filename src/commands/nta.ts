// `dotstub nta`: negative trust anchors of the running daemon.

import { telling } from './tell.js';

export const ntaCommand = telling(
  {
    name: 'nta',
    usage: 'nta add NAME [DURATION] | remove NAME | list',
    summary: 'take a subtree as unsigned for a while (RFC 7646)',
    details: `For a zone whose signatures are broken by mistake: its answers are given without a check, and without AD, for DURATION (1d,
at most 7d). Those of dnssec.negative_trust_anchors stay until they are removed from there, or by "nta remove" until the
next start.`,
    words: ['add', 'remove', 'list'],
  },
  { least: 0, most: 3 },
);
