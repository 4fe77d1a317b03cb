// The core: the parts of the daemon that answer questions and need no socket of a client.

import { AgeClock } from '../base/age-clock.js';
import type { FrontCounts } from '../base/front-counts.js';
import type { Overview } from '../base/overview.js';
import { type AgeSec, monoMs } from '../base/time.js';
import { TurnClock } from '../base/turn-clock.js';
import { PacketCache, packetCacheMemory, type Stays } from '../fastpath/packet-cache.js';
import { httpGet } from '../os/http-get.js';
import type { Libc } from '../os/libc.js';
import type { NetworkChange } from '../os/network.js';
import { openRedis } from '../os/redis-store.js';
import { type StateStore, stateStore } from '../os/state-store.js';
import { dialDatagram } from '../upstream/plain.js';
import type { OwnDesignation } from '../policy/own-designation.js';
import { ListPolicy } from '../policy/lists/list-policy.js';
import { download } from '../os/download.js';
import { ownAddresses } from '../pipeline/own-addresses.js';
import { Clients } from './clients.js';
import { Counted } from './counted.js';
import { dialerFor } from './dialing.js';
import { Firewall } from './firewall.js';
import { FreedMemory } from './freed-memory.js';
import { HealthLog } from './health-log.js';
import { LocalNames } from './local-names.js';
import { Network } from './network.js';
import { ListService } from './list-service.js';
import type { Opened } from './opened.js';
import type { DaemonParts } from './parts.js';
import type { Plan } from './plan.js';
import { Recheck } from './recheck.js';
import type { Live } from './reload.js';
import { READY_SHARE, Resolution } from './resolution.js';
import { SharedCache } from './shared-cache.js';
import { allocated } from './start-error.js';
import { systemCallsFor } from './system-calls.js';
import { Times } from './times.js';
import { LongUnreached } from './unreached.js';
import { Upstreams } from './upstreams.js';

/** What can change between questions is looked at once in this time. To fall asleep and wake up takes a machine longer. */
const LOOK_MS = 1;

/** Facts of parts that are opened later. */
export interface Later {
  overview(): Overview;
  /** The counts of the front threads since the last call. */
  fronts(): readonly FrontCounts[];
  /** What clients are told about our own listeners; undefined: nothing. */
  designation(): OwnDesignation | undefined;
}

/** The core. */
export class Core {
  /** For all that is done for each query. */
  readonly turn: TurnClock;
  private readonly age: AgeClock;
  readonly ageNow = (): AgeSec => this.age.now();
  /** Seconds since 1970, as of the last call of `ageNow`. */
  readonly wallSec = (): number => this.age.wallSec;
  readonly counted: Counted;
  /** Undefined: system calls cannot be made. */
  readonly libc: Libc | undefined;
  readonly store: StateStore;
  readonly network: Network;
  readonly clients: Clients;
  readonly localNames: LocalNames;
  readonly firewall: Firewall;
  readonly upstreams: Upstreams;
  /** The memory of ready replies, which front threads share. */
  readonly packets: SharedArrayBuffer;
  readonly ready: PacketCache;
  readonly sharedCache: SharedCache;
  readonly resolution: Resolution;
  readonly lists: ListService;
  private readonly times: Times;
  private readonly unreached: LongUnreached;
  private readonly recheck: Recheck;
  private readonly healthLog: HealthLog;
  private readonly given: DaemonParts;
  private lookedAtMs = monoMs(-Infinity);

  constructor(given: DaemonParts, plan: Plan, opened: Opened, later: Later) {
    this.given = given;
    const { clock, log, system } = given;
    const turn = new TurnClock(clock);
    this.turn = turn;
    this.age = new AgeClock(turn, LOOK_MS);
    this.counted = new Counted({
      clock: turn,
      overview: () => later.overview(),
      fronts: () => later.fronts(),
      recheck: () => this.recheck.look(),
    });
    this.healthLog = new HealthLog(clock, log, () => later.overview().findings);
    this.recheck = new Recheck(clock, then => this.resolution.askRoot(then));
    this.libc = systemCallsFor(plan, log);
    opened.add(new FreedMemory(clock, this.libc));
    const common = { ...given, ageNow: this.ageNow, observer: this.counted.observer, libc: this.libc };
    this.store = opened.add(stateStore(plan.stateDirectory, { clock, log }));
    const changed = (what: NetworkChange): void => {
      this.networkChanged(what);
      this.resolution.detection.trigger(what === 'resume' ? 'resume' : 'network');
    };
    this.network = opened.add(new Network({ ...common, store: this.store, changed }));
    this.clients = opened.add(new Clients(common, plan));
    this.localNames = opened.add(
      new LocalNames({ clock, log, changed: () => this.resolution.localNamesChanged() }, plan),
    );
    const asking = {
      ...common,
      clock: turn,
      memory: this.network.memory,
      dialer: dialerFor({ ...common, proven: (...asked) => this.resolution.proven(...asked) }, this.network),
      dialDatagram,
      systemResolvers: () => system.resolvers(),
      searchDomains: () => system.searchDomains(),
      announcedResolvers: () => system.announced().resolvers,
      look: () => this.look(),
      exchanged: (zones: readonly Buffer[]) => this.resolution.serversExchanged(zones),
    };
    this.upstreams = opened.add(new Upstreams(asking, plan));
    const readyBytes = plan.cacheBytes / READY_SHARE;
    this.packets = allocated('cache.size', readyBytes, () => packetCacheMemory(readyBytes));
    this.ready = new PacketCache(this.packets);
    const forgotten = (stays?: Stays): void => this.ready.clear(stays);
    this.firewall = opened.add(new Firewall({ ...common, forgotten }, plan));
    const { store, network, clients, localNames, upstreams, firewall } = this;
    const sharing = {
      ...{ ...common, openStore: openRedis },
      clockIsWrong: () => network.clockIsBefore !== undefined,
      unsigned: () => this.resolution.negative.temporaryNames,
    };
    this.sharedCache = opened.add(new SharedCache(sharing, plan));
    const policy = new ListPolicy(clock, this.ageNow);
    const resolving = {
      ...{ ...common, turn, store, network, clients, localNames, upstreams, firewall },
      ...{ sharedCache: this.sharedCache, lists: policy, httpGet: httpGet() },
      roots: () => upstreams.roots,
      designation: () => later.designation(),
      forgotten,
    };
    this.unreached = new LongUnreached(
      clock,
      () => upstreams.isUnreached,
      () => this.resolution.detection.trigger('failing'),
    );
    this.resolution = opened.add(new Resolution(resolving, plan));
    this.lists = opened.add(
      new ListService(
        {
          ...{ ...resolving, policy, directory: plan.stateDirectory, download },
          takeGroups: next => clients.takeGroups(next),
          addressesOf: async host => ownAddresses(this.resolution.resolve, upstreams.routesEpoch, host),
          changed: () => this.resolution.lookAtJobs(),
        },
        plan,
      ),
    );
    this.times = new Times(turn, [upstreams, this.lists], (fromSec, untilSec) => this.ready.hold(fromSec, untilSec));
    for (const job of [this.clients.job, this.lists.job, this.times.job]) this.resolution.addJob(job);
  }

  /** The start has succeeded: from now on, files are written and servers are asked without a query of a client. */
  begin(): void {
    this.store.begin();
    this.resolution.begin();
  }

  /** The parts of it that a reload can change, in the order in which they commit. */
  get live(): readonly Live[] {
    return [
      ...[this.clients, this.localNames, this.lists, this.firewall],
      ...[this.resolution, this.sharedCache, this.upstreams],
    ];
  }

  /** The parts that other parts use; `lookAtTime` brings into force what schedules say now. */
  get shared() {
    const { ageNow, libc, store, network, clients, localNames, firewall, upstreams, packets, resolution } = this;
    const { sharedCache, lists, counted } = this;
    return {
      ...{ ageNow, libc, store, network, clients, localNames, firewall, upstreams, packets, resolution },
      ...{ sharedCache, lists, observer: counted.observer, lookAtTime: () => this.times.look() },
    };
  }

  /** See Upstreams: as the schedules say now. */
  get routesEpoch(): number {
    this.times.look();
    return this.upstreams.routesEpoch;
  }

  /** Before each question: checks whether the network has changed, and for how long no server was reached. */
  private look(): void {
    this.given.asked?.();
    const nowMs = this.turn.monotonicMs();
    // Many come in one turn of the event loop.
    if (nowMs - this.lookedAtMs < LOOK_MS) return;
    this.lookedAtMs = nowMs;
    this.network.look();
    this.healthLog.look();
    if (this.resolution.detection.isOn) this.unreached.look();
  }

  /** The network, its resolvers or the route to the servers have changed: failed questions may succeed now. */
  networkChanged(what: NetworkChange): void {
    this.times.lookNow();
    this.resolution.networkChanged();
    this.upstreams.networkChanged(what);
    this.lists.networkChanged();
    // After a sleep, they are due earlier than their timers say.
    this.resolution.lookAtJobs();
  }
}
