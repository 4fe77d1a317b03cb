// All subcommands by name. Each is loaded when it is used.

import type { Command } from './command.js';
import { TOOL_NAMES } from './tool-names.js';

/** The table. */
export const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  run: async () => (await import('./run.js')).runCommand,
  ...Object.fromEntries(TOOL_NAMES.map(name => [name, async () => (await import('./tools.js')).tools[name]])),
};
