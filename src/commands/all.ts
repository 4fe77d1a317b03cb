// All subcommands, by name, each loaded when it is asked for.

import type { Command } from './command.js';

/** Those beside the daemon, in the order of the help. */
export const TOOLS = [
  'check-config',
  'portal',
  'probe',
  'pins',
  'status',
  'top',
  'upstreams',
  'cache',
  'flush',
  'log',
  'drain',
  'metrics',
  'reload',
  'trust-anchor',
  'nta',
  'trace',
  'health',
  'install',
  'uninstall',
  'completion',
  'query',
] as const;
export type Tool = (typeof TOOLS)[number];

/** The table. */
export const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  run: async () => (await import('./run.js')).runCommand,
  ...Object.fromEntries(TOOLS.map(name => [name, async () => (await import('./tools.js')).tools[name]])),
};
