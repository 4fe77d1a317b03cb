// The upstream servers of one purpose, as one thing to ask: ties the group of servers, the questions on their way, and
// those that wait for a server together.

import type { Observer, UpstreamProtocol } from '../base/observer.js';
import { failure, type Failure } from '../base/outcome.js';
import type { ServerOverview } from '../base/overview.js';
import type { Clock, Random } from '../base/ports.js';
import type { Wheel } from '../base/wheel.js';
import type { Ask } from '../wire/upstream-query.js';
import type { EndpointEvents, ServerName, UpstreamPorts } from './endpoint.js';
import { type Attempt, Exchange, type ExchangeContext, type TakeReply, type UpstreamReply } from './exchange.js';
import { Group, type PoolSpec } from './group.js';
import { Held } from './held.js';
import { shardOf } from './shards.js';

export type { PoolSpec, ServerName, TakeReply, UpstreamPorts, UpstreamReply };

/** How one server of a pool is doing; what the pool does not know is left out. */
export type PoolServerOverview = Omit<ServerOverview, 'dnssec' | 'purpose'>;

/** Who answers questions: all that the pipeline knows of a pool. */
export interface Upstream {
  /**
   * Asks. `type` is the QTYPE in `ask.question`.
   * @param take called once; at once where it is clear that nobody can be asked
   * @param avoid ids of servers that are only asked if there is no other
   */
  exchange(ask: Ask, type: number, take: TakeReply, avoid?: readonly number[]): void;
  /** All of them, whether they can be asked or not. */
  readonly servers: readonly ServerName[];
}

/** The pool, from outside. */
export interface Pool extends Upstream {
  /** At least one server could be asked right now. */
  readonly ready: boolean;
  /** It was closed, and its last connection is: nobody need tell it of network changes any more. */
  readonly drained: boolean;
  /** How the servers are doing. */
  overview(): readonly PoolServerOverview[];
  /** Connects to the servers ahead of the first question; questions that come before one is reached wait for a while. */
  prepare(): void;
  /**
   * The network is another, or the machine has slept: connections of before are given up, and no server is in back-off.
   * What was in flight is asked again.
   */
  networkChanged(what: 'network' | 'resume'): void;
  /**
   * Asks other servers, or in another way. Servers that stay as they are keep their connections and what was learned; those
   * that go finish what they were asked. Questions that wait go on waiting, and are asked of the new servers.
   */
  configure(spec: PoolSpec): void;
  /**
   * Opens nothing and sends nothing from now on. What is in flight on a connection is finished there; all other questions
   * fail with `handed_back` at once, and those whose last attempt is lost do so then. May be called twice.
   */
  close(): void;
  /** The same, but cuts the connections too: all questions are handed back at once. May be called twice. */
  destroy(): void;
}

const NONE: readonly number[] = [];

/** Makes a Pool. It starts to look for addresses at once, but connects to nobody before `prepare` or the first question. */
export const pool = (ports: UpstreamPorts, wheel: Wheel, spec: PoolSpec): Pool => new UpstreamPool(ports, wheel, spec);

class UpstreamPool implements Pool, ExchangeContext, EndpointEvents<Attempt> {
  readonly clock: Clock;
  readonly random: Random;
  readonly observer: Observer;
  readonly group: Group<Attempt>;
  readonly held: Held<Exchange>;
  isClosed = false;
  interrupted: Exchange[] | undefined = undefined;
  /** Grows by one with each question. */
  private turns = 0;
  /** Drawn at start, so that nobody can tell which server sees which names. */
  private readonly shardKey: number;

  constructor(
    ports: UpstreamPorts,
    readonly wheel: Wheel,
    spec: PoolSpec,
  ) {
    this.clock = ports.clock;
    this.random = ports.random;
    this.observer = ports.observer;
    this.shardKey = (ports.random.uint16() << 16) | ports.random.uint16();
    this.held = new Held<Exchange>(ports.clock, () => this.group.prepare(this.clock.monotonicMs()));
    this.group = new Group<Attempt>(ports, spec, this, () => this.addressesChanged());
  }

  exchange(ask: Ask, type: number, take: TakeReply, avoid = NONE): void {
    if (this.isClosed) return take(failure('handed_back'));
    const nowMs = this.clock.monotonicMs();
    const { group } = this;
    const shard = group.policy === 'sharded' ? shardOf(ask.question, this.shardKey) : 0;
    const exchange = new Exchange(this, ask, type, this.turns++, shard, avoid, nowMs, take);
    group.refresh(nowMs);
    exchange.dispatch(nowMs);
  }

  get servers(): readonly ServerName[] {
    return this.group.names;
  }

  get ready(): boolean {
    const nowMs = this.clock.monotonicMs();
    return this.group.endpoints.some(each => each.path(nowMs) !== 'refuse');
  }

  get drained(): boolean {
    return this.isClosed && this.group.isDrained;
  }

  overview(): readonly PoolServerOverview[] {
    return this.group.overview(this.clock.monotonicMs());
  }

  prepare(): void {
    if (this.isClosed) return;
    const nowMs = this.clock.monotonicMs();
    const { group, held } = this;
    // In the other modes there is cleartext meanwhile.
    if (group.mode === 'strict' || group.mode === 'encrypted') held.settle(nowMs);
    else held.settled();
    group.prepare(nowMs);
  }

  networkChanged(what: 'network' | 'resume'): void {
    // First all are cut, then what was in flight is asked again: it must not meet a connection that is about to be cut.
    const interrupted: Exchange[] = [];
    this.interrupted = interrupted;
    this.group.reset(what);
    this.interrupted = undefined;
    this.prepare();
    this.wake(interrupted);
  }

  configure(spec: PoolSpec): void {
    if (this.isClosed) return;
    const interrupted: Exchange[] = [];
    this.interrupted = interrupted;
    this.group.configure(spec);
    this.interrupted = undefined;
    this.prepare();
    this.wake(interrupted);
  }

  close(): void {
    this.isClosed = true;
    this.held.close();
    this.group.close();
    for (const each of this.held.takeAll()) each.handBack();
  }

  destroy(): void {
    this.isClosed = true;
    this.held.close();
    this.group.destroy();
    for (const each of this.held.takeAll()) each.handBack();
  }

  // What the endpoints tell.

  reply(attempt: Attempt, message: Buffer, protocol: UpstreamProtocol, rttMs: number): void {
    attempt.exchange.replied(attempt, message, protocol, rttMs);
  }

  lost(attempt: Attempt, why: Failure | undefined, blameless: boolean): void {
    attempt.exchange.lost(attempt, why, blameless);
  }

  suspect(attempt: Attempt): void {
    attempt.exchange.suspected(attempt);
  }

  up(): void {
    this.held.settled();
    this.wake([]);
  }

  private addressesChanged(): void {
    const nowMs = this.clock.monotonicMs();
    if (this.held.isSettling(nowMs)) for (const each of this.group.endpoints) each.prepare(nowMs);
    this.wake([]);
  }

  /** Asks anew what waits, and these. */
  private wake(interrupted: readonly Exchange[]): void {
    const woken = new Set([...this.held.takeAll(), ...interrupted]);
    const nowMs = this.clock.monotonicMs();
    for (const each of woken) each.wake(nowMs);
  }
}
