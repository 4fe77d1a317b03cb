// The common part of the transports to one server address that send messages over streams (`Connection`): over TLS, and
// over TCP in cleartext. Connections stay in a set until they have closed. After `close` nothing is opened or sent, and
// after `destroy` no query is answered either. What an ended connection means is decided here for HTTPS, too.

import { failure, type Failure } from '../base/outcome.js';
import type { ClosedBy, ServerObserver, UpstreamProtocol } from '../base/observer.js';
import type { Clock, Dial, DialTarget, Random } from '../base/ports.js';
import type { MonoMs } from '../base/time.js';
import { Connection, type ConnectionEvents, type End, type Unanswered } from './connection.js';
import type { EdnsForms } from './edns-forms.js';
import type { Waiter } from './inflight.js';
import { handshakePatienceMs } from './liveness.js';

/** The ports of a transport. */
export interface TransportPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly dial: Dial;
}

/** How an attempt ended without an answer. */
export type Loss =
  /** The server is to blame, or it has refused the connection. */
  | 'fault'
  /**
   * Nobody is to blame: we closed the connection before the query was answered, or the server refused another connection
   * while one works. The server may be asked again at once.
   */
  | 'closed'
  /**
   * The same, and it does not count as a send, because no query is the reason: the connection answered other queries
   * after this one was sent, or as many as the server answers on any connection, or had been idle and was probably closed
   * before the query arrived, or the server leaves it in good order and has not processed the query.
   */
  | 'uncounted'
  /** The server hung up with the query in flight, perhaps because of it. */
  | 'hang_up'
  /** The same, and the query was one of a few, or alone: it is probably the reason. */
  | 'likely_reason';

/** The events of a transport, for its endpoint. */
export interface TransportEvents<T extends Waiter> {
  /** @param authenticated whether it came over a connection to an authenticated server */
  reply(waiter: T, message: Buffer, protocol: UpstreamProtocol, rttMs: number, authenticated: boolean): void;
  /**
   * An attempt ended without an answer.
   * @param why undefined: we gave it up ourselves
   */
  lost(waiter: T, why: Failure | undefined, loss: Loss): void;
  /** The attempt still runs, but the server has stopped answering on its connection. */
  suspect(waiter: T, isSlow: boolean): void;
  /** The smoothed round-trip time of the server. */
  readonly srttMs: number | undefined;
  /** Nothing is open or in flight any more. */
  emptied(): void;
}

/** If the server hangs up with at most this many queries in flight, each is asked again alone. */
const FEW_SUSPECTS = 3;

/**
 * The most connections, those included that are being closed. A server may want each of them closed after one answer
 * (RFC 7828 §3.2.2), and have other answers outstanding.
 */
const MOST_CONNECTIONS = 16;

/** `closing`: queries in flight are finished. `closed`: nothing is left. */
type Phase = 'open' | 'closing' | 'closed';

/** The base of the transports over streams of messages. */
export abstract class ServerTransport<T extends Waiter, E extends TransportEvents<T>> {
  private phase: Phase = 'open';
  /** All connections that have not closed yet. Each one knows its own state. */
  private readonly connections = new Set<Connection<T>>();

  protected constructor(
    protected readonly ports: TransportPorts,
    protected readonly counts: ServerObserver,
    private readonly protocol: UpstreamProtocol,
    /** The forms of queries that the server accepts over streams. */
    protected readonly edns: EdnsForms,
    protected readonly owner: E,
  ) {}

  /** Whether nothing is open or in flight. */
  get isEmpty(): boolean {
    return this.connections.size === 0;
  }

  /** Whether a query can be sent at once, and an answer can be expected. */
  get isReady(): boolean {
    for (const each of this.connections) if (each.open && !each.suspect) return true;
    return false;
  }

  /** Sends nothing more, and closes each connection after its last answer. */
  close(): void {
    if (this.phase === 'open') this.phase = 'closing';
    for (const each of [...this.connections]) each.close();
  }

  /** Closes everything at once. Queries in flight are lost. */
  destroy(): void {
    this.phase = 'closed';
    this.cut();
  }

  /** Closes all connections over the old route. Queries that were in flight may be asked again. */
  protected cut(): void {
    for (const each of [...this.connections]) each.destroy();
  }

  protected get isOpen(): boolean {
    return this.phase === 'open';
  }

  /**
   * If there are too many connections, closes the one that is being closed for longest. Its queries may be asked again,
   * and have perhaps opened another one then.
   * @returns whether it did
   */
  protected makeRoom(): boolean {
    if (this.connections.size < MOST_CONNECTIONS) return false;
    for (const each of this.connections) {
      if (each.usable) continue;
      each.destroy();
      return true;
    }
    return false;
  }

  /** Opens a connection; undefined: the transport is closed. Connections are opened only here. */
  protected open(
    target: DialTarget,
    more: (made: () => Connection<T>) => Partial<ConnectionEvents<T>>,
    idleMs: () => number,
  ): Connection<T> | undefined {
    if (this.phase !== 'open') return undefined;
    const { closed, ...others } = more(() => made);
    const made: Connection<T> = new Connection<T>(this.ports, target, this.edns, {
      connected: () => undefined,
      srttMs: () => this.owner.srttMs,
      reply: (waiter, message, rttMs) => this.owner.reply(waiter, message, this.protocol, rttMs, made.authenticated),
      stray: kind => this.counts.error(kind),
      suspect: (waiters, slow) => waiters.forEach(waiter => this.owner.suspect(waiter, waiter === slow)),
      keepalive: () => undefined,
      idleMs,
      keepWarm: () => false,
      ...others,
      closed: (end, unanswered) => {
        this.connections.delete(made);
        this.counts.close(closedBy(end));
        closed?.(end, unanswered);
        const why = failureOf(end);
        const hangUp = this.hangUp(made, unanswered.length);
        for (const each of unanswered) this.owner.lost(each.waiter, why, lossOf(end, each, hangUp, this.isReady));
        this.tellIfEmpty();
      },
    });
    this.connections.add(made);
    return made;
  }

  protected tellIfEmpty(): void {
    if (this.isEmpty) this.owner.emptied();
  }

  /** What it says about each of some queries in flight that the server has closed their connection. */
  protected hangUp(_connection: Connection<T>, unanswered: number): Loss {
    return unanswered <= FEW_SUSPECTS ? 'likely_reason' : 'hang_up';
  }

  /** The connections that have not closed yet. */
  protected get all(): Iterable<Connection<T>> {
    return this.connections;
  }
}

/** Whether a connection has been being connected for longer than handshakes take. */
export function isAnySlow(
  connections: Iterable<{ readonly usable: boolean; readonly open: boolean; readonly startedMs: MonoMs }>,
  srttMs: number | undefined,
  nowMs: MonoMs,
): boolean {
  for (const { usable, open, startedMs } of connections)
    if (usable && !open && nowMs - startedMs >= handshakePatienceMs(srttMs)) return true;
  return false;
}

/** What the end of a connection is counted as. */
export function closedBy(end: End): ClosedBy {
  switch (end.at) {
    case 'idle':
      return 'client_idle';
    case 'server':
    case 'drain':
    case 'silent':
      return end.at;
    case 'failed':
      return 'error';
  }
}

/**
 * How an attempt was lost when its connection ended.
 * @param hangUp what it says about a query in flight that the server has closed the connection
 * @param isReady whether another connection to the server works
 */
export function lossOf(end: End, { waiter, progressed }: Unanswered<Waiter>, hangUp: Loss, isReady: boolean): Loss {
  switch (end.at) {
    case 'server':
      if (!waiter.isSent) return 'closed';
      return progressed || end.afterIdle ? 'uncounted' : hangUp;
    case 'drain':
    case 'idle':
      return 'closed';
    case 'failed':
      return isReady ? 'closed' : 'fault';
    case 'silent':
      return 'fault';
  }
}

/** Why the queries of a connection got no answer; undefined: we closed it. */
export function failureOf(end: End): Failure | undefined {
  switch (end.at) {
    case 'server':
    case 'failed':
      return failure(end.code, end.detail);
    case 'silent':
      return failure('timeout', 'the server stopped answering');
    case 'idle':
    case 'drain':
      return undefined;
  }
}
