// DNS over TLS with one server address: how many connections there are, which one a query uses, and what their start
// and end say about the server. A pool opens TLS connections only here.

import type { ServerObserver } from '../base/observer.js';
import { failure, type Failure, type FailureCode } from '../base/outcome.js';
import type { Connected, DialTarget } from '../base/ports.js';
import { monoAfter, monoMs, type MonoMs } from '../base/time.js';
import type { Ask } from '../wire/upstream-query.js';
import type { Connection, ConnectionEvents, End } from './connection.js';
import { EdnsForms, TLS_FORMS } from './edns-forms.js';
import * as idle from './idle.js';
import type { Waiter } from './inflight.js';
import type { ProbeResult } from './probe.js';
import { QueriesPerConnection } from './queries-per-connection.js';
import { isAnySlow, type Loss, ServerTransport, type TransportEvents, type TransportPorts } from './transport.js';

const MAX_CONNECTIONS = 4;
/**
 * With this many queries in flight on each connection, another one is opened, up to BUSY_CONNECTIONS (RFC 7766 §6.2.2:
 * few).
 */
const BUSY_INFLIGHT = 50;
const BUSY_CONNECTIONS = 2;
/** After the server has refused another connection while one works, none is tried for this long. */
const NO_OTHER_MS = 60_000;
/** The most queries that may wait for a connection: more than clients may have in flight. */
const MOST_WAITING = 8192;

/** The events of a TLS transport, for its endpoint. */
export interface TlsEvents<T extends Waiter> extends TransportEvents<T> {
  /** Whether the server has shown that it answers over TLS, so that new connections need no probe. */
  readonly isTrusted: boolean;
  connected(info: Connected, handshakeMs: number): void;
  /** The answer to the probe of opportunistic mode on a new connection; undefined: there was none. */
  probed(answer: Buffer | undefined, rttMs: number, authenticated: boolean): void;
  /** The server has accepted a connection, and does not answer on it, whatever it is asked. */
  silent(): void;
  /** TLS with this address does not work. */
  failed(code: FailureCode, detail: string): void;
}

/** Which queries a connection carries. */
export type Lane =
  /** Any. */
  | 'shared'
  /** Those that were in flight when the server hung up. One of them may make it hang up again. */
  | 'suspects'
  /** One query that probably makes the server hang up. */
  | 'alone'
  /** Our own probe, to find out whether the server hangs up on everything. */
  | 'check';

/** A query that waits for a connection. */
interface Waiting<T> {
  readonly ask: Ask;
  readonly waiter: T;
  readonly lane: Lane;
}

/** TLS connections to one address. */
export class TlsTransport<T extends Waiter> extends ServerTransport<T, TlsEvents<T>> {
  /** How long a connection may be idle. */
  private limit = idle.FIRST_LIMIT;
  private lastAskedAtMs: MonoMs = monoMs(-Infinity);
  /** The server refuses the ALPN id `dot`, so connections are made without it. */
  private refusesAlpn = false;
  /** The server accepts no more connections than there are. */
  private noOtherUntilMs: MonoMs = monoMs(0);
  private readonly perConnection = new QueriesPerConnection();
  /** Queries that wait for a connection, oldest first. */
  private waiting: Waiting<T>[] = [];
  /** What each connection carries; those that are left out are shared. */
  private readonly lanes = new Map<Connection<T>, Lane>();

  /**
   * @param probes whether the server is trusted only after a probe was answered on a connection
   */
  constructor(
    ports: TransportPorts,
    counts: ServerObserver,
    private readonly target: DialTarget,
    private readonly probes: boolean,
    owner: TlsEvents<T>,
  ) {
    super(ports, counts, 'dot', new EdnsForms(TLS_FORMS), owner);
  }

  /** Connections that accept queries, now or after their handshake. */
  get usable(): number {
    let count = 0;
    for (const each of this.all) if (each.usable) count++;
    return count;
  }

  /** Whether there are usable connections. */
  get isUsable(): boolean {
    for (const each of this.all) if (each.usable) return true;
    return false;
  }

  /** Whether none is ready, and the handshake of one has taken long: it may never end. */
  isStalled(nowMs: MonoMs): boolean {
    return !this.isReady && isAnySlow(this.all, this.owner.srttMs, nowMs);
  }

  /**
   * Whether the server proved its identity on every connection that is established: with some that did, an interceptor
   * may still be at the end of another.
   */
  get isProved(): boolean {
    for (const each of this.all) if (each.open && !each.authenticated) return false;
    return true;
  }

  get idleLimitMs(): number {
    return idle.idleMs(this.limit);
  }

  /** @param lane which queries it may share a connection with */
  ask(ask: Ask, waiter: T, lane: Lane, nowMs: MonoMs): void {
    this.lastAskedAtMs = nowMs;
    if (!this.isOpen) return this.owner.lost(waiter, undefined, 'closed');
    this.counts.query('dot');
    const chosen = this.connectionFor(lane, nowMs);
    if (chosen?.ask(ask, waiter, nowMs) === true) return;
    // All connections are busy with as many queries as they take.
    if (this.waiting.length >= MOST_WAITING) return this.owner.lost(waiter, failure('overload'), 'fault');
    this.waiting.push({ ask, waiter, lane });
  }

  /** Opens a connection. */
  connect(lane: Lane = 'shared'): Connection<T> | undefined {
    const target: DialTarget = { ...this.target, ...(this.refusesAlpn ? { withoutAlpn: true } : {}) };
    const made = this.open(
      target,
      self => this.eventsFor(self),
      () => this.idleLimitMs,
    );
    if (made !== undefined && lane !== 'shared') this.lanes.set(made, lane);
    return made;
  }

  /** Asks for something that every server can answer, beside the queries. `then`: see Connection.probe. */
  probe(then: ProbeResult, nowMs: MonoMs): void {
    this.connectionFor('shared', nowMs)?.probe(then);
  }

  /** The route to the server has changed, or its connections are dead: closes them. */
  reset(what: 'network' | 'resume'): void {
    if (what === 'network') {
      this.refusesAlpn = false;
      this.edns.forget();
      this.noOtherUntilMs = monoMs(0);
      this.perConnection.forget();
    }
    this.cut();
  }

  override get isEmpty(): boolean {
    return super.isEmpty && this.waiting.length === 0;
  }

  override close(): void {
    super.close();
    this.lose(this.takeWaiting());
  }

  protected override cut(): void {
    // Otherwise new connections would be opened for them.
    const waiting = this.takeWaiting();
    super.cut();
    this.lose(waiting);
  }

  private takeWaiting(): readonly Waiting<T>[] {
    const { waiting } = this;
    this.waiting = [];
    return waiting;
  }

  private lose(waiting: readonly Waiting<T>[]): void {
    for (const { waiter } of waiting) this.owner.lost(waiter, undefined, 'closed');
    this.tellIfEmpty();
  }

  /** Ends the queries that wait, unless there is another connection. */
  private failWaiting(why: Failure): void {
    if (this.isUsable) return;
    for (const { waiter } of this.takeWaiting()) this.owner.lost(waiter, why, 'fault');
  }

  /** Asks the queries that wait, as far as there are connections for them. */
  private serveWaiting(): void {
    if (this.waiting.length === 0) return;
    const nowMs = this.ports.clock.monotonicMs();
    const { waiting } = this;
    this.waiting = [];
    let served = 0;
    for (const each of waiting) {
      if (!each.waiter.done && this.connectionFor(each.lane, nowMs)?.ask(each.ask, each.waiter, nowMs) !== true) break;
      served++;
    }
    this.waiting = served === 0 ? waiting : [...waiting.slice(served), ...this.waiting];
    this.tellIfEmpty();
  }

  /**
   * The connection for the next query: the least busy one of its lane that is not suspect, else a new one, else the best
   * of the others; undefined: none has room.
   */
  private connectionFor(lane: Lane, nowMs: MonoMs): Connection<T> | undefined {
    let count = 0;
    let best: Connection<T> | undefined;
    let silent: Connection<T> | undefined;
    let usedUp: Connection<T> | undefined;
    for (const each of this.all) {
      if (!each.usable) continue;
      count++;
      if (!this.perConnection.hasRoom(each, nowMs)) {
        if (each.inflight === 0) usedUp = each;
      } else if (!this.suits(each, lane)) continue;
      else if (each.suspect) silent = each;
      else if (best === undefined || each.inflight < best.inflight) best = each;
    }
    if (best !== undefined && (best.inflight < BUSY_INFLIGHT || count >= BUSY_CONNECTIONS))
      return this.taken(best, lane);
    // A connection that is being opened can take the load as well as another new one.
    if (best !== undefined && !best.open) return this.taken(best, lane);
    // A server that accepts no other connection accepts one in place of a dead one.
    const mayOpen = count < MAX_CONNECTIONS && (nowMs >= this.noOtherUntilMs || !this.isReady);
    if (count === 0 || mayOpen) return this.makeRoom() ? this.connectionFor(lane, nowMs) : this.connect(lane);
    if (best !== undefined || usedUp === undefined) return this.taken(best ?? silent, lane);
    usedUp.close();
    return this.connect(lane);
  }

  /** Whether a query of this lane may be sent on a connection. */
  private suits(connection: Connection<T>, lane: Lane): boolean {
    const carried = this.laneOf(connection);
    if (lane !== 'alone' && carried === lane) return true;
    // On an idle connection, a query that makes the server hang up harms no other. But one on which the last query was
    // given up without an answer may be about to close because of that query.
    return (
      lane !== 'shared' &&
      carried === 'shared' &&
      connection.open &&
      connection.inflight === 0 &&
      !connection.isUnanswered
    );
  }

  private taken(connection: Connection<T> | undefined, lane: Lane): Connection<T> | undefined {
    if (connection !== undefined && lane !== 'shared') this.lanes.set(connection, lane);
    return connection;
  }

  /** What a connection carries. Once its queries are answered it is shared. */
  private laneOf(connection: Connection<T>): Lane {
    const lane = this.lanes.get(connection);
    if (lane === undefined) return 'shared';
    if (connection.inflight > 0 || connection.answers === 0) return lane;
    this.lanes.delete(connection);
    return 'shared';
  }

  private eventsFor(made: () => Connection<T>): Partial<ConnectionEvents<T>> {
    return {
      connected: (info, handshakeMs) => {
        if (info.refusesAlpn === true) this.refusesAlpn = true;
        this.counts.connect(info.resumed, handshakeMs / 1000);
        this.owner.connected(info, handshakeMs);
        if (this.probes && !this.owner.isTrusted)
          made().probe((answer, rttMs) => this.owner.probed(answer, rttMs, info.authenticated));
        this.serveWaiting();
      },
      reply: (waiter, message, rttMs, idleForMs) => {
        this.limit = idle.reusedAfter(this.limit, idleForMs);
        this.owner.reply(waiter, message, 'dot', rttMs, made().authenticated);
        if (this.waiting.length > 0) this.serveWaiting();
      },
      suspect: (waiters, slow) => {
        // An answer that arrives slowly is no silence.
        if (slow === undefined) this.owner.silent();
        for (const each of waiters) this.owner.suspect(each, each === slow);
      },
      keepalive: ms => void (this.limit = idle.said(this.limit, ms)),
      keepWarm: () => this.isOpen && this.ports.clock.monotonicMs() - this.lastAskedAtMs < idle.KEEP_WARM_MS,
      closed: (end, unanswered) => {
        this.learn(made(), end, unanswered.length);
        this.lanes.delete(made());
        this.serveWaiting();
      },
    };
  }

  protected override hangUp(connection: Connection<T>, unanswered: number): Loss {
    // The server closes every connection after some answers: no query is the reason.
    return this.perConnection.isOver(connection) ? 'uncounted' : super.hangUp(connection, unanswered);
  }

  /** Learns about the server from the end of a connection. */
  private learn(connection: Connection<T>, end: End, unanswered: number): void {
    switch (end.at) {
      case 'failed':
        if (this.isReady) return this.refusedAnother(end.code);
        if (this.probes) this.counts.probe('failed');
        this.owner.failed(end.code, end.detail);
        return this.failWaiting(failure(end.code, end.detail));
      case 'server':
        return this.learnFromHangUp(connection, end, unanswered);
      case 'silent':
        // Where the server has answered on it before, the next attempt to connect decides, unless there is cleartext.
        if (this.probes || connection.answers === 0) {
          const { address, port } = this.target;
          const what =
            connection.answers === 0 ? 'TLS connects, but nothing is answered' : 'the connection fell silent';
          this.owner.failed('timeout', `${address} port ${port}: ${what}`);
        }
        return;
      case 'idle':
      case 'drain':
        return;
    }
  }

  /** The server answers over a connection, and does not accept another one. */
  private refusedAnother(code: FailureCode): void {
    this.counts.error(code);
    this.noOtherUntilMs = monoAfter(this.ports.clock.monotonicMs(), NO_OTHER_MS);
  }

  private learnFromHangUp(connection: Connection<T>, end: Extract<End, { at: 'server' }>, unanswered: number): void {
    const lane = this.lanes.get(connection) ?? 'shared';
    if (unanswered === 0 && (lane !== 'check' || connection.answers > 0)) {
      this.limit = idle.closedAfter(this.limit, end.idleForMs);
    } else if (connection.answers > 0) this.perConnection.closedAfter(connection.answers);
    else if (lane === 'check') this.owner.failed(end.code, end.detail);
    // The first time, the queries are asked again over another connection, and that shows more.
    else if (lane !== 'shared') this.check();
  }

  /**
   * The server has accepted a connection, answered nothing and hung up. One of the queries may be the reason, so it is
   * asked for something that every server can answer.
   */
  private check(): void {
    for (const lane of this.lanes.values()) if (lane === 'check') return;
    this.connect('check')?.probe(() => undefined);
  }
}
