// The presets: defaults for three uses, written as in a file. Each lists only what differs from the schema's defaults.

import type { PRESETS } from './schema.js';

/** Values by the dotted path of their option. */
type Preset = Readonly<Record<string, unknown>>;

const PRIVATE_NETWORKS = [
  '127.0.0.0/8',
  '::1',
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '169.254.0.0/16',
  'fc00::/7',
  'fe80::/10',
];

/** Defaults by the name of the preset. */
export const presets: Readonly<Record<(typeof PRESETS)[number], Preset>> = {
  laptop: {
    listen: ['127.0.0.1:53', '[::1]:53'],
    'access.allow': ['127.0.0.0/8', '::1'],
    'local.hosts': ['/etc/hosts'],
  },
  router: {
    listen: ['0.0.0.0:53', '[::]:53'],
    'access.allow': PRIVATE_NETWORKS,
    'access.rate_limit': 200,
    'local.hosts': ['/etc/hosts'],
    'rebinding.protect': true,
    'upstream.mode': 'strict',
    'cache.size': '4MiB',
    'cache.serve_stale': '3d',
    // Frequent writes wear out a router's flash memory.
    'cache.persist': false,
    'front.threads': 0,
  },
  sidecar: {
    listen: ['127.0.0.1:53'],
    'access.allow': ['127.0.0.0/8', '::1'],
    'upstream.mode': 'strict',
    'cache.size': '8MiB',
    'cache.serve_stale': '1h',
    'cache.persist': false,
  },
};
