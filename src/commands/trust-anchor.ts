// `dotstub trust-anchor`: shows the keys that the running daemon trusts.

import { telling } from './tell.js';

export const trustAnchorCommand = telling(
  {
    name: 'trust-anchor',
    usage: 'trust-anchor status',
    summary: 'show the keys that validation begins with, and those on their way (RFC 5011)',
    details: `New keys of a zone with a trust anchor are believed 30 days after they were first seen, signed by a key that is
believed. Revoked ones are never believed again. What was learned is kept in state_directory, in trust-anchors.json.`,
    words: ['status'],
  },
  { least: 0, most: 1 },
);
