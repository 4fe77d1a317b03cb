// All subcommands, by name.

import type { Command } from './command.js';

/** Loaded when it is asked for: the daemon shall not wait for what only `query` needs. */
export const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  run: async () => (await import('./run.js')).runCommand,
  'check-config': async () => (await import('./check-config.js')).checkConfigCommand,
  portal: async () => (await import('./portal.js')).portalCommand,
  probe: async () => (await import('./probe.js')).probeCommand,
  pins: async () => (await import('./pins.js')).pinsCommand,
  status: async () => (await import('./status.js')).statusCommand,
  top: async () => (await import('./top.js')).topCommand,
  upstreams: async () => (await import('./upstreams.js')).upstreamsCommand,
  cache: async () => (await import('./cache.js')).cacheCommand,
  flush: async () => (await import('./flush.js')).flushCommand,
  log: async () => (await import('./log.js')).logCommand,
  drain: async () => (await import('./drain.js')).drainCommand,
  metrics: async () => (await import('./metrics.js')).metricsCommand,
  reload: async () => (await import('./reload.js')).reloadCommand,
  'trust-anchor': async () => (await import('./trust-anchor.js')).trustAnchorCommand,
  nta: async () => (await import('./nta.js')).ntaCommand,
  trace: async () => (await import('./trace.js')).traceCommand,
  health: async () => (await import('./health.js')).healthCommand,
  install: async () => (await import('./install.js')).installCommand,
  uninstall: async () => (await import('./install.js')).uninstallCommand,
  completion: async () => (await import('./completion.js')).completionCommand,
  query: async () => (await import('./query.js')).queryCommand,
};
