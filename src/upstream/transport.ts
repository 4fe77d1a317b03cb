// The common part of the transports to one server address. Connections stay in a set until they have closed. After
// `close` nothing is opened or sent, and after `destroy` no query is answered either.

import { failure, type Failure } from '../base/outcome.js';
import type { ClosedBy, ServerObserver, UpstreamProtocol } from '../base/observer.js';
import type { Clock, Dial, DialTarget, Random } from '../base/ports.js';
import { Connection, type ConnectionEvents, type ConnectionTimes, type End } from './connection.js';
import type { Waiter } from './inflight.js';

/** The ports of a transport. */
export interface TransportPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly dial: Dial;
}

/** The events of a transport, for its endpoint. */
export interface TransportEvents<T extends Waiter> {
  reply(waiter: T, message: Buffer, protocol: UpstreamProtocol, rttMs: number): void;
  /**
   * An attempt ended without an answer.
   * @param why undefined: we gave it up ourselves
   * @param blameless the connection closed without a fault of the server, which may be asked again
   */
  lost(waiter: T, why: Failure | undefined, blameless: boolean): void;
  /** The attempt still runs, but its connection is silent. */
  suspect(waiter: T): void;
  /** Nothing is open or in flight any more. */
  emptied(): void;
}

/** `closing`: queries in flight are finished. `closed`: nothing is left. */
type Phase = 'open' | 'closing' | 'closed';

const TIMES: ConnectionTimes = { suspectMs: 1000, deadMs: 3000 };

/** The base of all transports. */
export abstract class ServerTransport<T extends Waiter, E extends TransportEvents<T>> {
  private phase: Phase = 'open';
  /** All connections that have not closed yet. Each one knows its own state. */
  private readonly connections = new Set<Connection<T>>();

  protected constructor(
    protected readonly ports: TransportPorts,
    protected readonly counts: ServerObserver,
    private readonly protocol: UpstreamProtocol,
    protected readonly owner: E,
  ) {}

  /** Whether nothing is open or in flight. */
  get isEmpty(): boolean {
    return this.connections.size === 0;
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

  /** Opens a connection; undefined: the transport is closed. Connections are opened only here. */
  protected open(
    target: DialTarget,
    more: (made: () => Connection<T>) => Partial<ConnectionEvents<T>>,
    idleMs: () => number,
  ): Connection<T> | undefined {
    if (this.phase !== 'open') return undefined;
    const { closed, ...others } = more(() => made);
    const made: Connection<T> = new Connection<T>(this.ports, target, TIMES, {
      connected: () => undefined,
      reply: (waiter, message, rttMs) => this.owner.reply(waiter, message, this.protocol, rttMs),
      stray: kind => this.counts.error(kind),
      suspect: waiters => waiters.forEach(waiter => this.owner.suspect(waiter)),
      keepalive: () => undefined,
      idleMs,
      keepWarm: () => false,
      ...others,
      closed: (end, unanswered) => {
        this.connections.delete(made);
        this.counts.close(closedBy(end));
        closed?.(end, unanswered);
        const why = failureOf(end);
        const blameless = end.at === 'server' || end.at === 'drain';
        for (const waiter of unanswered) this.owner.lost(waiter, why, blameless);
        this.tellIfEmpty();
      },
    });
    this.connections.add(made);
    return made;
  }

  protected tellIfEmpty(): void {
    if (this.isEmpty) this.owner.emptied();
  }

  /** The connections that have not closed yet. */
  protected get all(): Iterable<Connection<T>> {
    return this.connections;
  }
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
