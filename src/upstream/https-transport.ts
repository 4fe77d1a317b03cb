// DNS over HTTPS with one server address (RFC 8484), for networks in which port 853 cannot be reached: how many
// connections there are, which one a query uses, and what their start and end say about the server. It has the same
// face as the transport over TLS.

import type { ServerObserver } from '../base/observer.js';
import { failure, type FailureCode } from '../base/outcome.js';
import type { Clock } from '../base/ports.js';
import { monoMs, type MonoMs } from '../base/time.js';
import type { Ask } from '../wire/upstream-query.js';
import type { End } from './connection.js';
import { EdnsForms, TLS_FORMS } from './edns-forms.js';
import { HttpsConnection, type HttpsConnectionEvents } from './https-connection.js';
import type { DialHttps, HttpsSessionTarget } from './https-session.js';
import * as idle from './idle.js';
import type { Waiter } from './inflight.js';
import type { TlsEvents } from './tls-transport.js';
import type { ProbeResult } from './probe.js';
import { closedBy, failureOf, isAnySlow, lossOf } from './transport.js';

/** One connection carries all queries. Others are opened while it is silent, or being closed. */
const MAX_CONNECTIONS = 3;

/** The ports of an HTTPS transport. */
export interface HttpsPorts {
  readonly clock: Clock;
  readonly dialHttps: DialHttps;
}

/** `closing`: queries under way are finished. `closed`: nothing is left. */
type Phase = 'open' | 'closing' | 'closed';

/** HTTPS connections to one address. */
export class HttpsTransport<T extends Waiter> {
  private phase: Phase = 'open';
  /** All connections that have not closed yet. Each one knows its own state. */
  private readonly connections = new Set<HttpsConnection<T>>();
  /** How long a connection may be idle. */
  private limit = idle.FIRST_LIMIT;
  private lastAskedAtMs: MonoMs = monoMs(-Infinity);
  private readonly edns = new EdnsForms(TLS_FORMS);

  /**
   * @param probes whether a new connection is trusted only after a probe was answered on it
   */
  constructor(
    private readonly ports: HttpsPorts,
    private readonly counts: ServerObserver,
    private readonly target: HttpsSessionTarget,
    private readonly probes: boolean,
    private readonly owner: TlsEvents<T>,
  ) {}

  /** Whether nothing is open or under way. */
  get isEmpty(): boolean {
    return this.connections.size === 0;
  }

  /** Connections that accept queries, now or after their handshake. */
  get usable(): number {
    let count = 0;
    for (const each of this.connections) if (each.usable) count++;
    return count;
  }

  /** Whether there are usable connections. */
  get isUsable(): boolean {
    return this.usable > 0;
  }

  /** Whether a query can be sent at once, and an answer can be expected. */
  get isReady(): boolean {
    for (const each of this.connections) if (each.open && !each.suspect) return true;
    return false;
  }

  /** Whether none is ready, and the handshake of one has taken long: it may never end. */
  isStalled(nowMs: MonoMs): boolean {
    return !this.isReady && isAnySlow(this.connections, this.owner.srttMs, nowMs);
  }

  /** Whether the server proved its identity on every connection that is established. */
  get isProved(): boolean {
    for (const each of this.connections) if (each.open && !each.authenticated) return false;
    return true;
  }

  get idleLimitMs(): number {
    return idle.idleMs(this.limit);
  }

  ask(ask: Ask, waiter: T, nowMs: MonoMs): void {
    this.lastAskedAtMs = nowMs;
    const chosen = this.connection();
    if (chosen === undefined) return this.owner.lost(waiter, undefined, 'closed');
    this.counts.query('https');
    if (!chosen.ask(ask, waiter, nowMs)) this.owner.lost(waiter, failure('overload'), 'fault');
  }

  /** Opens a connection; undefined: the transport is closed. */
  connect(): HttpsConnection<T> | undefined {
    if (this.phase !== 'open') return undefined;
    const made: HttpsConnection<T> = new HttpsConnection<T>(
      this.ports.clock,
      this.ports.dialHttps,
      this.target,
      this.edns,
      this.eventsFor(() => made),
    );
    this.connections.add(made);
    return made;
  }

  /** Asks for something that every server can answer, beside the queries. `then`: see HttpsConnection.probe. */
  probe(then: ProbeResult): void {
    this.connection()?.probe(then);
  }

  /** Closes each connection after its last answer. Others may be opened later. */
  retire(): void {
    for (const each of [...this.connections]) each.close();
  }

  /** The route to the server has changed, or its connections are dead: closes them. Queries may be asked again. */
  reset(): void {
    for (const each of [...this.connections]) each.destroy();
  }

  /** Sends nothing more, and closes each connection after its last answer. */
  close(): void {
    if (this.phase === 'open') this.phase = 'closing';
    this.retire();
  }

  /** Closes everything at once. Queries under way are lost. */
  destroy(): void {
    this.phase = 'closed';
    this.reset();
  }

  /** The connection for the next query: one that is not suspect, else a new one, else one of the others. */
  private connection(): HttpsConnection<T> | undefined {
    let silent: HttpsConnection<T> | undefined;
    for (const each of this.connections) {
      if (!each.usable) continue;
      if (!each.suspect) return each;
      silent = each;
    }
    return silent !== undefined && this.connections.size >= MAX_CONNECTIONS ? silent : this.connect();
  }

  private eventsFor(made: () => HttpsConnection<T>): HttpsConnectionEvents<T> {
    const { counts, owner } = this;
    return {
      connected: (info, handshakeMs) => {
        counts.connect(info.resumed, handshakeMs / 1000);
        owner.connected(info, handshakeMs);
        if (this.probes) made().probe((answer, rttMs) => owner.probed(answer, rttMs, info.authenticated));
      },
      reply: (waiter, message, rttMs, idleForMs) => {
        this.limit = idle.reusedAfter(this.limit, idleForMs);
        owner.reply(waiter, message, 'https', rttMs, made().authenticated);
      },
      lost: (waiter, why, loss) => {
        if (loss === 'fault') counts.error(why.code);
        owner.lost(waiter, why, loss);
      },
      srttMs: () => owner.srttMs,
      stray: kind => counts.error(kind),
      suspect: waiters => {
        owner.silent();
        for (const each of waiters) owner.suspect(each, false);
      },
      idleMs: () => this.idleLimitMs,
      keepWarm: () => this.phase === 'open' && this.ports.clock.monotonicMs() - this.lastAskedAtMs < idle.KEEP_WARM_MS,
      closed: (end, unanswered) => {
        this.connections.delete(made());
        counts.close(closedBy(end));
        this.learn(made(), end, unanswered.length);
        // A hang-up says nothing about one of the queries: a server can refuse each of them by itself.
        for (const each of unanswered)
          owner.lost(each.waiter, failureOf(end), lossOf(end, each, 'closed', this.isReady));
        if (this.isEmpty) owner.emptied();
      },
    };
  }

  /** Learns about the server from the end of a connection. */
  private learn(connection: HttpsConnection<T>, end: End, unanswered: number): void {
    switch (end.at) {
      case 'failed':
        if (this.probes) this.counts.probe('failed');
        return this.failed(end.code, end.detail);
      case 'server':
        // A server that accepts a connection, answers nothing and closes it counts as unreachable.
        if (!connection.hasAnswered && unanswered > 0) this.failed(end.code, end.detail);
        else if (unanswered === 0) this.limit = idle.closedAfter(this.limit, end.idleForMs);
        return;
      case 'silent':
        return this.failed('timeout', 'the connection fell silent');
      case 'idle':
      case 'drain':
        return;
    }
  }

  private failed(code: FailureCode, detail: string): void {
    const { address, port } = this.target;
    const where = `${address} port ${port}`;
    this.owner.failed(code, detail.startsWith(where) ? detail : `${where}: ${detail}`);
  }
}
