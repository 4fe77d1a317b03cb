// The names of all subcommands but `run`, in the order of the help.

/** A list of its own, so that the daemon knows the names without loading the commands. */
export const TOOL_NAMES = [
  'check-config',
  'portal',
  'probe',
  'pins',
  'certificate',
  'phone',
  'status',
  'top',
  'upstreams',
  'cache',
  'explain',
  'lists',
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
export type ToolName = (typeof TOOL_NAMES)[number];
