// All subcommands but `run`, in one file of the build, which the daemon does not load. As separate files, each would
// share code with the daemon, whose code would then be split into many small files to read at the start.

import { cacheCommand } from './cache.js';
import { certificateCommand } from './certificate.js';
import { checkConfigCommand } from './check-config.js';
import { completion } from './completion.js';
import { drainCommand } from './drain.js';
import { explainCommand } from './explain.js';
import { flushCommand } from './flush.js';
import { healthCommand } from './health.js';
import { installCommand, uninstallCommand } from './install.js';
import { listsCommand } from './lists.js';
import { logCommand } from './log.js';
import { metricsCommand } from './metrics.js';
import { ntaCommand } from './nta.js';
import { phoneCommand } from './phone.js';
import { pinsCommand } from './pins.js';
import { portalCommand } from './portal.js';
import { probeCommand } from './probe.js';
import { queryCommand } from './query.js';
import { reloadCommand } from './reload.js';
import { statusCommand } from './status.js';
import { topCommand } from './top.js';
import { traceCommand } from './trace.js';
import { trustAnchorCommand } from './trust-anchor.js';
import { upstreamsCommand } from './upstreams.js';
import type { Command } from './command.js';
import type { ToolName } from './tool-names.js';

/** The table. */
export const tools: Readonly<Record<ToolName, Command>> = {
  'check-config': checkConfigCommand,
  portal: portalCommand,
  probe: probeCommand,
  pins: pinsCommand,
  certificate: certificateCommand,
  phone: phoneCommand,
  status: statusCommand,
  top: topCommand,
  upstreams: upstreamsCommand,
  cache: cacheCommand,
  explain: explainCommand,
  lists: listsCommand,
  flush: flushCommand,
  log: logCommand,
  drain: drainCommand,
  metrics: metricsCommand,
  reload: reloadCommand,
  'trust-anchor': trustAnchorCommand,
  nta: ntaCommand,
  trace: traceCommand,
  health: healthCommand,
  install: installCommand,
  uninstall: uninstallCommand,
  completion: completion(async () => [(await import('./run.js')).runCommand, ...Object.values(tools)]),
  query: queryCommand,
};
