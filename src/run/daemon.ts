// The daemon: its parts, opened in order and closed in the opposite one.

import type { Clock } from '../base/ports.js';
import { FrontWorkers } from '../fastpath/threads.js';
import { front } from '../front/front.js';
import { listeningTexts } from '../control/status.js';
import { CacheSnapshot } from './cache-snapshot.js';
import { Certificates } from './certificates.js';
import { capsFor } from './capacity.js';
import { controlCommands, openControl } from './commands.js';
import { Configuration } from './configuration.js';
import { Core } from './core.js';
import { Designating } from './designating.js';
import { EntranceParts } from './entrance-parts.js';
import { FileReload } from './file-reload.js';
import { systemFiles } from './files.js';
import { Following } from './following.js';
import { Listeners } from './listeners.js';
import { Logging } from './logging.js';
import { Opened } from './opened.js';
import { overviewOf, type OverviewParts } from './overview.js';
import type { Daemon, DaemonParts } from './parts.js';
import { addressesPlan, type Plan, planOf } from './plan.js';
import { Reload } from './reload.js';
import { Service } from './service.js';
import { SessionThreads } from './session-threads.js';
import { Web } from './web.js';

/**
 * Builds and starts a daemon.
 * @throws StartError
 */
export async function startDaemon(parts: DaemonParts): Promise<Daemon> {
  const opened = new Opened();
  try {
    return await open(parts, opened);
  } catch (error) {
    await opened.close();
    throw error;
  }
}

/**
 * At sockets that were passed, queries have waited since the daemon before ended, and wait this long for what is cached:
 * hundreds at a time that are not would be too many.
 */
const AHEAD_MS = 250;

async function open(given: DaemonParts, opened: Opened): Promise<Daemon> {
  const { clock, log, source } = given;
  // Before all else: threads take the longest to start.
  const workers = opened.add(new FrontWorkers(Listeners.threadsAtStart(addressesPlan(given.config), given.sockets)));
  const sessionThreads = opened.add(new SessionThreads());
  sessionThreads.start(Listeners.sessionThreadsFor(addressesPlan(given.config), given.sockets));
  const plan = planOf(given.config, systemFiles);
  const startedAt = clock.monotonicMs();
  const overview = () => overviewOf(shown);
  const core = new Core(given, plan, opened, {
    ...{ overview, fronts: () => listeners.counted() },
    designation: () => designating.current,
  });
  const { counted, upstreams } = core;
  const caps = capsFor(plan.listeners, log);
  const common = { ...given, ...core.shared };

  const logging = opened.add(await Logging.open({ ...common, lostFrame: counted.dnstapLost }, plan));
  logging.whenNoting(() => core.ready.clear());
  upstreams.connect();
  const entrance = new EntranceParts(clock, core, logging, transport => listeners.idleMs(transport));
  const taking = { ...common, front: front(entrance), workers, sessionThreads, maxSessions: caps };
  // Ready replies may say where it does not listen any more.
  const listeners: Listeners = opened.add(new Listeners({ ...taking, changed: () => core.ready.clear() }));
  const snapshot = opened.add(snapshotOf(common, core, plan));
  const web = opened.add(new Web({ ...common, ...counted.page, maxConnections: caps.http }));
  const service = opened.add(new Service(log, given.stopProcess));
  const fileReload = opened.add(new FileReload({ log, file: source.file, changed: () => void configuration.reload() }));
  const live = [...core.live, logging, listeners, snapshot, web, fileReload];
  const reload = new Reload(plan, live, () => following.follow());
  const certificates = opened.add(new Certificates({ clock, log, files: systemFiles, reload }));
  const designating: Designating = designatingOf({ clock, reload, listeners, certificates });
  const configuration = new Configuration({
    ...{ source, reload, clock, log, files: systemFiles },
    taken(next) {
      fileReload.follow(next);
      certificates.follow();
      following.follow();
    },
  });
  const shown: OverviewParts = {
    ...common,
    ...{ counted, startedAt, listeners, certificates, designating, web, logging, service, reload, configuration },
  };
  snapshot.start();
  await Promise.all([core.lists.start(), core.localNames.start(), given.sockets && snapshot.wholeWithin(AHEAD_MS)]);
  if (given.sockets !== undefined) entrance.catchUp();
  await listeners.start(plan);
  await web.start(plan);
  core.begin();
  const listening = () => listeningTexts(listeners);
  const following = opened.add(new Following({ ...common, reload, followers: [listeners, web], listening }));
  const settled = listeners.lacksThreads ? following.lookSoon() : Promise.resolve();
  fileReload.follow(plan);
  certificates.follow();
  const commands = controlCommands({
    ...{ ...common, ...counted.top, overview, snapshot, service, configuration, metrics: counted },
    recent: () => logging.recent(),
    connectAnew: () => core.networkChanged('network'),
  });
  for (const each of await openControl(plan, { clock, log, commands, maxSessions: caps.control })) opened.add(each);
  return {
    overview,
    settled,
    listening: () => listeners.listening,
    get web() {
      return web.at;
    },
    reload: async () => configuration.reload(),
    reopenLogs: () => logging.reopen(),
    async stop() {
      // What a reload opens after that, nobody would close.
      await configuration.close();
      await certificates.close();
      await following.close();
      await listeners.finish();
      await opened.close();
    },
  };
}

/** The cache on disk, which has its job. */
function snapshotOf(common: DaemonParts & Core['shared'], { resolution, upstreams }: Core, plan: Plan): CacheSnapshot {
  const snapshot = new CacheSnapshot(
    {
      ...common,
      cached: () => resolution.cached(),
      restore: part => resolution.restore(part),
      restored: () => resolution.restored(),
      epoch: () => resolution.epoch,
      scheduled: () => upstreams.scheduledNow,
      changed: () => resolution.lookAtJobs(),
    },
    plan,
  );
  resolution.addJob(snapshot.job);
  return snapshot;
}

/** What clients are told about the listeners. */
const designatingOf = (parts: {
  readonly clock: Clock;
  readonly reload: Reload;
  readonly listeners: Listeners;
  readonly certificates: Certificates;
}): Designating =>
  new Designating({
    clock: parts.clock,
    plan: () => parts.reload.plan,
    listening: () => parts.listeners.listening,
    certificates: () => parts.certificates.overview,
  });
