// The commands of the control socket, with the parts that they need.

import type { Log } from '../base/ports.js';
import type { AgeSec } from '../base/time.js';
import { cacheCommands } from '../control/cache.js';
import { drainCommand } from '../control/drain.js';
import { explainCommand } from '../control/explain.js';
import { listsCommand } from '../control/lists.js';
import { type LevelledLog, logCommand } from '../control/log.js';
import { ntaCommand } from '../control/nta.js';
import { portalCommand } from '../control/portal.js';
import { statusSocketOf } from '../control/protocol.js';
import { type ControlCommand, type ControlCommands, type ControlParts, listenControl } from '../control/server.js';
import { statusCommands } from '../control/status.js';
import type { ControlReply } from '../control/protocol.js';
import { topCommand, type TopParts } from '../control/top.js';
import { traceCommand } from '../control/trace.js';
import { trustAnchorCommand } from '../control/trust-anchor.js';
import type { Metrics } from '../observe/metrics.js';
import { wordsFor } from '../base/system-error.js';
import type { CacheSnapshot } from './cache-snapshot.js';
import type { Clients } from './clients.js';
import type { Configuration } from './configuration.js';
import { explaining } from './explaining.js';
import type { ListService } from './list-service.js';
import type { Plan } from './plan.js';
import type { Resolution } from './resolution.js';
import type { Service } from './service.js';
import type { Upstreams } from './upstreams.js';

/** The parts that the commands use. */
export interface CommandParts extends TopParts {
  readonly log: Log & LevelledLog;
  readonly ageNow: () => AgeSec;
  readonly metrics: Pick<Metrics, 'expose'>;
  readonly configuration: Configuration;
  readonly upstreams: Upstreams;
  readonly resolution: Resolution;
  readonly lists: ListService;
  readonly clients: Clients;
  readonly service: Service;
  readonly snapshot: CacheSnapshot;
  /** Brings into force what schedules say now. */
  readonly lookAtTime: () => void;
  /** Connects to all servers anew, as after a change of the network. */
  readonly connectAnew: () => void;
}

async function saveCache(snapshot: CacheSnapshot): Promise<ControlReply> {
  if (!snapshot.isOn) return { ok: false, problem: 'cache.persist is off' };
  const problem = await snapshot.saveNow();
  return problem === undefined ? { ok: true, text: 'The cache is written.', data: {} } : { ok: false, problem };
}

/** All commands. What they tell is of now, although the timer of schedules may be late: after a sleep, it is. */
export const controlCommands = (parts: CommandParts): ControlCommands =>
  Object.fromEntries(
    Object.entries(commandsOf(parts)).map(([name, { run }]): [string, ControlCommand] => [
      name,
      {
        run(args) {
          parts.lookAtTime();
          return run(args);
        },
      },
    ]),
  );

function commandsOf(parts: CommandParts): ControlCommands {
  const { log, resolution, configuration, service } = parts;
  return {
    ...statusCommands(parts.overview),
    top: topCommand(parts),
    ...cacheCommands({
      stats: () => parts.overview(),
      forget: isMeant => resolution.forget(isMeant),
      get: question => resolution.cachedAnswers(question, configuration.plan),
      forgetNegative: () => resolution.forgetNegative(),
      forgetFailures: () => {
        const { failures } = resolution.cache;
        resolution.forgetFailures();
        return failures;
      },
      save: async () => saveCache(parts.snapshot),
    }),
    reload: { run: async () => configuration.reload() },
    log: logCommand(log),
    lists: listsCommand(parts.lists),
    explain: explainCommand(explaining({ ...parts, policy: parts.lists.policy })),
    drain: drainCommand(forMs => service.drain(forMs)),
    'trust-anchor': trustAnchorCommand(() => resolution.trust.points),
    nta: ntaCommand(resolution.negative, parts.ageNow, name => resolution.negativeChanged(name)),
    trace: traceCommand(async (name, type) => resolution.trace(name, type)),
    metrics: {
      async run() {
        const { body } = await parts.metrics.expose('text');
        return { ok: true, text: body.trimEnd(), data: body };
      },
    },
    probe: {
      run() {
        log.info({}, 'asked to: connecting anew');
        parts.connectAnew();
        return { ok: true, text: 'The servers are connected to anew.', data: {} };
      },
    },
    portal: portalCommand(resolution.portal, () => resolution.portalChanged()),
  };
}

/** Commands that every user may give: they change nothing, and tell nothing about the queries of others. */
const FOR_EVERYONE = ['status', 'upstreams'] as const;
/** Their replies come at once, so that few sessions are enough for all users. */
const MOST_FOR_EVERYONE = 4;

/** Opens the control sockets. A daemon without them still serves. */
export async function openControl(
  { control: { socket: path, group, status } }: Plan,
  {
    commands,
    maxSessions,
    clock,
    log,
  }: Pick<ControlParts, 'clock' | 'log' | 'maxSessions'> & { readonly commands: ControlCommands },
): Promise<readonly { close(): void }[]> {
  const open: ControlCommands = Object.fromEntries(
    FOR_EVERYONE.flatMap(name => {
      const command = commands[name];
      return command === undefined ? [] : [[name, command]];
    }),
  );
  const all = [
    { path, group, commands, maxSessions, lost: 'commands such as "dotstub portal" will not reach this daemon' },
    ...(status === 'everyone'
      ? [
          {
            path: statusSocketOf(path),
            group: status,
            commands: open,
            maxSessions: MOST_FOR_EVERYONE,
            lost: 'only its owner can ask for the status',
          },
        ]
      : []),
  ];
  const opened = [];
  for (const { lost, ...each } of all) {
    try {
      opened.push(await listenControl({ clock, log, ...each }));
    } catch (error) {
      const words = `${each.path}: ${wordsFor(error)} (control.socket); ${lost}`;
      log.info({ socket: each.path }, `no control socket: ${words}`);
      // In the same directory, the other would have the same fate.
      break;
    }
  }
  return opened;
}
