// DNS over TLS with one server address: how many connections there are, which one a query uses, and what their start
// and end say about the server. A pool opens TLS connections only here.

import type { ServerObserver } from '../base/observer.js';
import { failure, type FailureCode } from '../base/outcome.js';
import type { Connected, DialTarget } from '../base/ports.js';
import { monoMs, type MonoMs } from '../base/time.js';
import type { Ask } from '../wire/upstream-query.js';
import type { Connection, ConnectionEvents, End } from './connection.js';
import * as idle from './idle.js';
import type { Waiter } from './inflight.js';
import { ServerTransport, type TransportEvents, type TransportPorts } from './transport.js';

const MAX_CONNECTIONS = 4;
/**
 * With this many queries in flight on each connection, another one is opened, up to BUSY_CONNECTIONS (RFC 7766 §6.2.2:
 * few).
 */
const BUSY_INFLIGHT = 50;
const BUSY_CONNECTIONS = 2;
/** For this long after the last query, a connection is kept from becoming idle. */
const KEEP_WARM_MS = 60_000;

/** The events of a TLS transport, for its endpoint. */
export interface TlsEvents<T extends Waiter> extends TransportEvents<T> {
  connected(info: Connected, handshakeMs: number): void;
  /** The answer to the probe of opportunistic mode on a new connection; undefined: there was none. */
  probed(answer: Buffer | undefined, rttMs: number, authenticated: boolean): void;
  /** TLS with this address does not work. */
  failed(code: FailureCode, detail: string): void;
}

/** TLS connections to one address. */
export class TlsTransport<T extends Waiter> extends ServerTransport<T, TlsEvents<T>> {
  /** How long a connection may be idle. */
  private limit = idle.FIRST_LIMIT;
  private lastAskedAtMs: MonoMs = monoMs(-Infinity);
  /** Established connections whose server did not prove its identity. */
  private readonly unproved = new Set<Connection<T>>();
  /** The server refuses the ALPN id `dot`, so connections are made without it. */
  private refusesAlpn = false;

  /**
   * @param probes whether a new connection is trusted only after a probe was answered on it
   */
  constructor(
    ports: TransportPorts,
    counts: ServerObserver,
    private readonly target: DialTarget,
    private readonly probes: boolean,
    owner: TlsEvents<T>,
  ) {
    super(ports, counts, 'dot', owner);
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

  /** Whether a query can be sent at once, and an answer can be expected. */
  get isReady(): boolean {
    for (const each of this.all) if (each.open && !each.suspect) return true;
    return false;
  }

  /**
   * Whether the server proved its identity on every connection that is established: with some that did, an interceptor
   * may still be at the end of another.
   */
  get isProved(): boolean {
    return this.unproved.size === 0;
  }

  get idleLimitMs(): number {
    return idle.idleMs(this.limit);
  }

  ask(ask: Ask, waiter: T, nowMs: MonoMs): void {
    this.lastAskedAtMs = nowMs;
    const chosen = this.connection();
    if (chosen === undefined) return this.owner.lost(waiter, undefined, true);
    this.counts.query('dot');
    if (chosen.ask(ask, waiter, nowMs)) return;
    // All its message ids are in use.
    const another = this.usable < MAX_CONNECTIONS ? this.connect() : undefined;
    if (another?.ask(ask, waiter) !== true) this.owner.lost(waiter, failure('overload'), false);
  }

  /** Opens a connection. */
  connect(): Connection<T> | undefined {
    const target: DialTarget = { ...this.target, ...(this.refusesAlpn ? { withoutAlpn: true } : {}) };
    return this.open(
      target,
      made => this.eventsFor(made),
      () => this.idleLimitMs,
    );
  }

  /** The route to the server has changed, or its connections are dead: closes them. */
  reset(what: 'network' | 'resume'): void {
    if (what === 'network') this.refusesAlpn = false;
    this.cut();
  }

  /**
   * The connection for the next query: the least busy one that is not suspect, else a new one, else the best of the
   * others.
   */
  private connection(): Connection<T> | undefined {
    let count = 0;
    let best: Connection<T> | undefined;
    let silent: Connection<T> | undefined;
    for (const each of this.all) {
      if (!each.usable) continue;
      count++;
      if (each.suspect) silent = each;
      else if (best === undefined || each.inflight < best.inflight) best = each;
    }
    if (best !== undefined && (best.inflight < BUSY_INFLIGHT || count >= BUSY_CONNECTIONS)) return best;
    // A connection that is being opened can take the load as well as another new one.
    if (best !== undefined && !best.open) return best;
    if (best === undefined && silent !== undefined && count >= MAX_CONNECTIONS) return silent;
    return this.connect();
  }

  private eventsFor(made: () => Connection<T>): Partial<ConnectionEvents<T>> {
    return {
      connected: (info, handshakeMs) => {
        if (info.refusesAlpn === true) this.refusesAlpn = true;
        if (!info.authenticated) this.unproved.add(made());
        this.counts.connect(info.resumed, handshakeMs / 1000);
        this.owner.connected(info, handshakeMs);
        if (this.probes) made().probe((answer, rttMs) => this.owner.probed(answer, rttMs, info.authenticated));
      },
      reply: (waiter, message, rttMs, idleForMs) => {
        this.limit = idle.reusedAfter(this.limit, idleForMs);
        this.owner.reply(waiter, message, 'dot', rttMs);
      },
      keepalive: ms => void (this.limit = idle.said(this.limit, ms)),
      keepWarm: () => this.isOpen && this.ports.clock.monotonicMs() - this.lastAskedAtMs < KEEP_WARM_MS,
      closed: (end, unanswered) => {
        this.unproved.delete(made());
        this.learn(end, unanswered.length);
      },
    };
  }

  /** Learns about the server from the end of a connection. */
  private learn(end: End, unanswered: number): void {
    switch (end.at) {
      case 'failed':
        if (this.probes) this.counts.probe('failed');
        return this.owner.failed(end.code, end.detail);
      case 'server':
        // A server that accepts a connection, answers nothing and closes it counts as unreachable.
        if (!end.answered && unanswered > 0) this.owner.failed(end.code, end.detail);
        else if (unanswered === 0) this.limit = idle.closedAfter(this.limit, end.idleForMs);
        return;
      case 'silent':
        // The other modes cannot use cleartext: there the next connection attempt decides.
        if (this.probes) {
          const { address, port } = this.target;
          this.owner.failed('timeout', `${address} port ${port}: the connection fell silent`);
        }
        return;
      case 'idle':
      case 'drain':
        return;
    }
  }
}
