// What the front is made of. It is a class, because its parts are read some twenty times for each query: V8 finds the fields of
// an instance at once, but those of an object literal with getters by a look-up of their names.

import type { Clock } from '../base/ports.js';
import type { NotedQuery, Observer } from '../base/observer.js';
import { type AgeSec, monoAfter } from '../base/time.js';
import { PacketReplies } from '../fastpath/ready-replies.js';
import type { FrontParts } from '../front/front.js';
import type { Client } from '../pipeline/query.js';
import type { Resolve } from '../pipeline/stage.js';
import type { Matcher } from '../policy/access.js';
import { MAX_INFLIGHT } from './capacity.js';
import type { Clients } from './clients.js';
import type { Core } from './core.js';
import type { Logging } from './logging.js';

/** By then, even a slow machine has read what was in the sockets when it started. */
const CATCH_UP_MS = 10_000;
/** Most of what a socket with the room of systemd/dotstub.socket holds. Upstream has room for these and for all others. */
const MOST_LATE = 4000;

/** The parts of the front. */
export class EntranceParts implements FrontParts {
  readonly resolve: Resolve;
  readonly ready: PacketReplies;
  readonly observer: Observer;
  readonly ageNow: () => AgeSec;
  readonly maxInflight = MAX_INFLIGHT;
  readonly allowed: Matcher;
  readonly rule: NonNullable<FrontParts['rule']>;
  readonly proves: NonNullable<FrontParts['proves']>;
  readonly cookieFor: NonNullable<FrontParts['cookieFor']>;
  readonly classOf: (client: Client) => number;
  readonly routesOf: NonNullable<FrontParts['routesOf']>;
  late: FrontParts['late'] = undefined;
  private readonly clients: Clients;

  constructor(
    /** It measures how long a query takes, which the clock of a turn cannot. */
    readonly clock: Clock,
    private readonly core: Core,
    private readonly logging: Logging,
    readonly streamIdleMs: FrontParts['streamIdleMs'],
  ) {
    const { clients, ageNow, wallSec } = core;
    this.resolve = core.resolution.resolve;
    this.ready = new PacketReplies(core.ready, ageNow, wallSec);
    this.observer = core.counted.observer;
    this.ageNow = ageNow;
    this.clients = clients;
    this.allowed = address => clients.mayAsk(address);
    this.rule = (client, isProven) => clients.rule(client, isProven);
    this.proves = (client, option) => clients.proves(client, option);
    this.cookieFor = (client, option) => clients.cookieFor(client, option);
    this.classOf = client => clients.classOf(client);
    this.routesOf = clientClass => clients.routesOf(clientClass);
  }

  get routesEpoch(): number {
    return this.core.routesEpoch;
  }

  /**
   * From now on, queries come at once that have waited in the sockets for the daemon to start. They are of many moments, so
   * that those of one client may be more than its share.
   */
  catchUp(): void {
    this.late = { most: MOST_LATE, untilMs: monoAfter(this.clock.monotonicMs(), CATCH_UP_MS) };
  }

  get maxPerClient(): number {
    return this.clients.maxWaiting;
  }

  get identity(): Buffer | undefined {
    return this.clients.identity;
  }

  get noted(): ((query: NotedQuery) => void) | undefined {
    return this.logging.noted;
  }
}
