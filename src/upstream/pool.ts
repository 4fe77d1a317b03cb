// The upstream servers of one purpose. It connects three parts: the group of servers, the questions in flight, and the
// held questions.

import type { Observer, UpstreamProtocol } from '../base/observer.js';
import { failure, type Failure } from '../base/outcome.js';
import type { ServerOverview } from '../base/overview.js';
import type { Clock, Random } from '../base/ports.js';
import type { MonoMs } from '../base/time.js';
import type { Wheel } from '../base/wheel.js';
import type { Ask } from '../wire/upstream-query.js';
import type { EndpointEvents, ServerName, UpstreamPorts } from './endpoint.js';
import { type Attempt, Exchange, type ExchangeContext, type TakeReply, type UpstreamReply } from './exchange.js';
import { Group, type PoolSpec } from './group.js';
import { Held } from './held.js';
import { isTlsOnly } from './selection.js';
import { shardOf } from './shards.js';
import type { Loss } from './transport.js';

export type { PoolSpec, ServerName, TakeReply, UpstreamPorts, UpstreamReply };

/** The state of one server of a pool, without what the pool does not know. */
export type PoolServerOverview = Omit<ServerOverview, 'dnssec' | 'purpose'>;

/** The pool as the pipeline sees it. */
export interface Upstream {
  /**
   * Asks a question.
   * @param type the QTYPE in `ask.question`
   * @param take called once; at once if no server can be asked
   * @param avoid ids of servers that are only asked if there is no other
   */
  exchange(ask: Ask, type: number, take: TakeReply, avoid?: readonly number[]): void;
  /** All servers, whether they can be asked or not. */
  readonly servers: readonly ServerName[];
  /**
   * Changes when names are asked of other servers than before. A question that began earlier is handed back when it is
   * asked, and when it would be asked once more, so that no part of it goes to other servers than the others. Left out:
   * it never changes.
   */
  readonly routesEpoch?: number | undefined;
}

/** A pool, seen from outside. */
export interface Pool extends Upstream {
  /** Whether at least one server could be asked now. */
  readonly ready: boolean;
  /** The state of all servers. */
  overview(): readonly PoolServerOverview[];
  /** How many questions in a row have got no reply from any server. */
  readonly unanswered: number;
  /** Whether a server has failed or stopped answering at all its addresses. */
  isDoubtful(id: number): boolean;
  /**
   * Connects to the servers before the first question. Questions that come before a server is reached wait for some
   * time.
   */
  prepare(): void;
  /** Names are asked of other servers than before: questions that have not left for a server are handed back. */
  rerouted(): void;
  /**
   * The network has changed, or the machine has slept. Closes all connections, ends all back-offs, and asks the
   * questions in flight again.
   */
  networkChanged(what: 'network' | 'resume'): void;
  /**
   * Changes servers or mode. Servers that stay the same keep their connections and everything learned about them.
   * Removed servers finish the questions in flight. Held questions go on waiting, and are asked of the new servers.
   */
  configure(spec: PoolSpec): void;
  /**
   * Opens and sends nothing from now on. Questions in flight on a connection are finished there. All others fail with
   * `handed_back` at once; a question in flight fails with it if its last attempt is lost. May be called twice.
   */
  close(): void;
  /**
   * The same as `close`, but closes the connections at once, so that all questions are handed back now. May be called
   * twice.
   */
  destroy(): void;
}

const NONE: readonly number[] = [];

/** Makes a Pool. It starts to look for addresses at once, but connects only after `prepare` or the first question. */
export const pool = (ports: UpstreamPorts, wheel: Wheel, spec: PoolSpec): Pool => new UpstreamPool(ports, wheel, spec);

class UpstreamPool implements Pool, ExchangeContext, EndpointEvents<Attempt> {
  readonly clock: Clock;
  readonly random: Random;
  readonly observer: Observer;
  readonly group: Group<Attempt>;
  readonly held: Held<Exchange>;
  isClosed = false;
  interrupted: Exchange[] | undefined = undefined;
  unanswered = 0;
  /** Grows by one with each question. */
  private turns = 0;
  /** Random, so that it cannot be predicted which server gets which names. */
  private readonly shardKey: number;

  constructor(
    private readonly ports: UpstreamPorts,
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

  get routesEpoch(): number | undefined {
    return this.ports.routesEpoch?.();
  }

  rerouted(): void {
    // Only questions have deadlines there.
    for (const each of this.wheel.all()) if (each instanceof Exchange) each.rerouted();
  }

  exchange(ask: Ask, type: number, take: TakeReply, avoid = NONE): void {
    if (this.isClosed) return take(failure('handed_back'));
    const nowMs = this.clock.monotonicMs();
    const { group } = this;
    const shard = group.policy === 'sharded' ? shardOf(ask.question, this.shardKey) : 0;
    const exchange = new Exchange(this, ask, type, this.turns++, shard, avoid, nowMs, take);
    group.refresh(nowMs);
    exchange.dispatch(nowMs);
    group.tryRest(nowMs);
  }

  get servers(): readonly ServerName[] {
    return this.group.names;
  }

  get ready(): boolean {
    const nowMs = this.clock.monotonicMs();
    return this.group.endpoints.some(each => each.path(nowMs) !== 'refuse');
  }

  isDoubtful(id: number): boolean {
    return this.group.endpoints.every(({ server, standing }) => server.id !== id || standing === 'doubtful');
  }

  overview(): readonly PoolServerOverview[] {
    return this.group.overview(this.clock.monotonicMs());
  }

  prepare(): void {
    if (this.isClosed) return;
    const nowMs = this.clock.monotonicMs();
    const { group, held } = this;
    // Questions need not wait in the other modes, which can use cleartext.
    if (group.mode === 'strict' || group.mode === 'encrypted') held.startGrace(nowMs);
    else held.endGrace();
    group.prepare(nowMs);
  }

  networkChanged(what: 'network' | 'resume'): void {
    this.unanswered = 0;
    this.interrupt(() => this.group.reset(what));
  }

  configure(spec: PoolSpec): void {
    if (this.isClosed) return;
    this.unanswered = 0;
    this.interrupt(() => this.group.configure(spec));
  }

  close(): void {
    this.end(() => this.group.close());
  }

  destroy(): void {
    this.end(() => this.group.destroy());
  }

  private end(endGroup: () => void): void {
    this.isClosed = true;
    this.held.close();
    endGroup();
    for (const each of this.held.takeAll()) each.handBack();
  }

  /**
   * Changes the group, which may close connections. Then asks the questions that were in flight on them again: none
   * must use a connection that is about to close.
   */
  private interrupt(change: () => void): void {
    const interrupted: Exchange[] = [];
    this.interrupted = interrupted;
    change();
    this.interrupted = undefined;
    this.prepare();
    this.wake(interrupted);
  }

  // The events of the endpoints.

  reply(attempt: Attempt, message: Buffer, protocol: UpstreamProtocol, rttMs: number, authenticated: boolean): void {
    attempt.exchange.replied(attempt, message, protocol, rttMs, authenticated);
  }

  lost(attempt: Attempt, why: Failure | undefined, loss: Loss): void {
    attempt.exchange.lost(attempt, why, loss);
  }

  suspect(attempt: Attempt, isSlow: boolean): void {
    attempt.exchange.suspected(attempt, isSlow);
  }

  up(): void {
    this.held.endGrace();
    this.group.reached(this.clock.monotonicMs());
    this.wake([]);
  }

  recovered(): void {
    this.group.tryAgain(this.clock.monotonicMs());
  }

  tlsOnly(nowMs: MonoMs): boolean {
    return isTlsOnly(this.group, nowMs);
  }

  private addressesChanged(): void {
    const nowMs = this.clock.monotonicMs();
    if (this.held.inGrace(nowMs)) for (const each of this.group.endpoints) each.prepare(nowMs);
    this.wake([]);
  }

  /** Asks all held questions again, and these. */
  private wake(interrupted: readonly Exchange[]): void {
    const woken = new Set([...this.held.takeAll(), ...interrupted]);
    const nowMs = this.clock.monotonicMs();
    for (const each of woken) each.wake(nowMs);
  }
}
