// What the front is made of. It is a class, because its parts are read some twenty times for each query: V8 finds the fields of
// an instance at once, but those of an object literal with getters by a look-up of their names.

import type { Cancel, Clock } from '../base/ports.js';
import type { NotedQuery, Observer } from '../base/observer.js';
import type { AgeSec } from '../base/time.js';
import { PacketReplies } from '../fastpath/ready-replies.js';
import type { FrontParts } from '../front/front.js';
import type { Client } from '../pipeline/query.js';
import type { Resolve } from '../pipeline/stage.js';
import type { Matcher } from '../policy/access.js';
import { MAX_INFLIGHT } from './capacity.js';
import type { Clients } from './clients.js';
import type { Core } from './core.js';
import type { Logging } from './logging.js';

/**
 * How long what has waited in the sockets counts as such: it is read at once, and its answers take some round trips. Where
 * more than one share of the places still waits then, the machine is slow, and it counts as long once more.
 */
const CATCH_UP_MS = 2000;
const MOST_CATCH_UPS = 5;
/** The most queries that wait meanwhile: what is in a socket with the room of systemd/dotstub.socket. */
const MOST_CATCHING_UP = 6000;

/** The parts of the front. */
export class EntranceParts implements FrontParts {
  readonly resolve: Resolve;
  readonly ready: PacketReplies;
  readonly observer: Observer;
  readonly ageNow: () => AgeSec;
  readonly allowed: Matcher;
  readonly rule: NonNullable<FrontParts['rule']>;
  readonly proves: NonNullable<FrontParts['proves']>;
  readonly cookieFor: NonNullable<FrontParts['cookieFor']>;
  readonly classOf: (client: Client) => number;
  readonly routesOf: NonNullable<FrontParts['routesOf']>;
  private readonly clients: Clients;
  /** Ends the time in which queries that have waited are answered; undefined: it is over. */
  private catchingUp: Cancel | undefined;

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
   * for a while no client has only its share of the places.
   * @param waiting how many queries wait for an answer
   */
  catchUp(waiting: () => number, left = MOST_CATCH_UPS): void {
    this.catchingUp = this.clock.after(CATCH_UP_MS, () => {
      this.catchingUp = undefined;
      if (left > 1 && waiting() >= this.maxPerClient) this.catchUp(waiting, left - 1);
    });
  }

  close(): void {
    this.catchingUp?.();
  }

  get maxInflight(): number {
    return this.catchingUp === undefined ? MAX_INFLIGHT : MOST_CATCHING_UP;
  }

  get maxPerClient(): number {
    return this.catchingUp === undefined ? this.clients.maxWaiting : 0;
  }

  get identity(): Buffer | undefined {
    return this.clients.identity;
  }

  get noted(): ((query: NotedQuery) => void) | undefined {
    return this.logging.noted;
  }
}
