// The daemon: its parts, opened in order and closed in the opposite one.

import { ageClock } from '../base/age-clock.js';
import type { Overview } from '../base/overview.js';
import { PacketCache, packetCacheMemory } from '../fastpath/packet-cache.js';
import { PacketReplies } from '../fastpath/ready-replies.js';
import { FrontWorkers } from '../fastpath/threads.js';
import { front } from '../front/front.js';
import { SESSION_LIMITS } from '../listen/stream.js';
import { stateStore } from '../os/state-store.js';
import type { NetworkChange } from '../os/network.js';
import { dialDatagram } from '../upstream/plain.js';
import { capsFor, MAX_INFLIGHT } from './capacity.js';
import { Clients } from './clients.js';
import { controlCommands, openControl } from './commands.js';
import { Configuration } from './configuration.js';
import { Counted } from './counted.js';
import { dialerFor } from './dialing.js';
import { FileReload } from './file-reload.js';
import { systemFiles } from './files.js';
import { Listeners } from './listeners.js';
import { Logging } from './logging.js';
import { Network, SystemCalls } from './network.js';
import { Opened } from './opened.js';
import { overviewOf } from './overview.js';
import type { Daemon, DaemonParts } from './parts.js';
import { planOf } from './plan.js';
import { Reload } from './reload.js';
import { READY_SHARE, Resolution } from './resolution.js';
import { Service } from './service.js';
import { Upstreams } from './upstreams.js';
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

async function open(given: DaemonParts, opened: Opened): Promise<Daemon> {
  const { clock, log, sockets, system, source } = given;
  const plan = planOf(given.config, systemFiles);
  // Before all else: threads take the longest to start.
  const workers = opened.add(new FrontWorkers(Listeners.threadsFor(plan.listeners, sockets)), each => each.close());
  const startedAt = clock.monotonicMs();
  const ageNow = ageClock(clock);
  const overview = (): Overview => overviewOf(shown);
  const counted: Counted = new Counted({ ...given, overview, fronts: () => listeners.counted() });
  const caps = capsFor(plan.listeners, log);
  const calls = new SystemCalls(log);
  const common = { ...given, ageNow, observer: counted.observer, libc: calls.for(plan.listeners) };

  const store = opened.add(stateStore(plan.stateDirectory, { clock, log }), each => each.close());
  const network = opened.add(new Network({ ...common, store, changed: what => networkChanged(what) }), each =>
    each.close(),
  );
  const clients = new Clients(plan);
  const dialer = dialerFor(common, network);
  const upstreams = opened.add(
    new Upstreams(
      {
        ...common,
        memory: network.memory,
        dialer,
        dialDatagram,
        systemResolvers: () => system.resolvers(),
        look: () => network.look(),
        exchanged: () => resolution.forgetFailures(),
      },
      plan,
    ),
    each => each.close(),
  );
  const packets = packetCacheMemory(plan.cacheBytes / READY_SHARE);
  const ready = new PacketCache(packets);
  const forgotten = (): void => ready.clear();
  const resolution = opened.add(
    new Resolution({ ...common, store, network, upstreams, clients, forgotten }, plan),
    each => each.close(),
  );
  const networkChanged = (what: NetworkChange): void => {
    resolution.forgetFailures();
    upstreams.networkChanged(what);
  };
  const logging = opened.add(await Logging.open({ ...common, lostFrame: () => counted.dnstapLost() }, plan), each =>
    each.close(),
  );
  logging.whenNoting(forgotten);
  const entrance = front({
    resolve: resolution.resolve,
    allowed: address => clients.mayAsk(address),
    ready: new PacketReplies(ready, ageNow),
    maxInflight: MAX_INFLIGHT,
    streamIdleMs: SESSION_LIMITS.idleMs,
    get noted() {
      return logging.noted;
    },
    observer: counted.observer,
    clock,
    ageNow,
  });
  upstreams.connect();
  const listeners: Listeners = opened.add(
    await new Listeners({
      ...common,
      calls,
      front: entrance,
      allow: clients.memory,
      packets,
      sockets,
      workers,
      maxSessions: caps.sessions,
    }).start(plan),
    each => each.close(),
  );
  const web = opened.add(await new Web({ ...common, ...counted.page, maxConnections: caps.http }).start(plan), each =>
    each.close(),
  );
  const service = opened.add(new Service(log, given.stopProcess), each => each.close());
  const fileReload = opened.add(
    new FileReload({ log, file: source.file, changed: () => void configuration.reload() }),
    each => each.close(),
  );
  const reload = new Reload(plan, [clients, resolution, upstreams, logging, listeners, web, fileReload]);
  const taken = (next: typeof plan): void => fileReload.follow(next);
  const configuration = new Configuration({ source, files: systemFiles, reload, clock, log, taken });
  const shown = {
    ...given,
    startedAt,
    network,
    upstreams,
    resolution,
    listeners,
    logging,
    store,
    service,
    reload,
    configuration,
  };
  fileReload.follow(plan);
  const commands = controlCommands({
    ...counted.top,
    log,
    ageNow,
    overview,
    recent: () => logging.recent(),
    metrics: counted,
    configuration,
    upstreams,
    resolution,
    service,
    connectAnew: () => networkChanged('network'),
    forgetReady: forgotten,
  });
  opened.add(await openControl(plan, { log, commands, maxSessions: caps.control }), each => each?.close());

  const stop = async (): Promise<void> => {
    await listeners.finish();
    await opened.close();
  };
  return {
    overview,
    get web() {
      return web.at;
    },
    reload: async () => configuration.reload(),
    reopenLogs: () => logging.reopen(),
    stop,
  };
}
