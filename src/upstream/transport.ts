// What the ways to one server address have in common: connections that are kept until they are really closed, and the rule
// that after `close` nothing is opened or sent any more, and after `destroy` nothing is answered either.

import { failure, type Failure } from '../base/outcome.js';
import type { ClosedBy, ServerObserver, UpstreamProtocol } from '../base/observer.js';
import type { Clock, Dial, DialTarget, Random } from '../base/ports.js';
import { Connection, type ConnectionEvents, type ConnectionTimes, type End } from './connection.js';
import type { Waiter } from './inflight.js';

/** What a transport needs from outside. */
export interface TransportPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly dial: Dial;
}

/** What a transport tells the endpoint that it belongs to. */
export interface TransportEvents<T extends Waiter> {
  reply(waiter: T, message: Buffer, protocol: UpstreamProtocol, rttMs: number): void;
  /**
   * This attempt brings no answer.
   * @param why undefined: we gave it up ourselves
   * @param blameless a connection closed through nobody's fault, and the server may be asked again
   */
  lost(waiter: T, why: Failure | undefined, blameless: boolean): void;
  /** The attempt still runs, but the other end has gone quiet. */
  suspect(waiter: T): void;
  /** Nothing is open or in flight any more. */
  emptied(): void;
}

/** `closing`: what is in flight is finished. `closed`: nothing is left. */
type Phase = 'open' | 'closing' | 'closed';

const TIMES: ConnectionTimes = { suspectMs: 1000, deadMs: 3000 };

/** The base of all transports. */
export abstract class Transport<T extends Waiter, E extends TransportEvents<T>> {
  private phase: Phase = 'open';
  /** All that are not closed yet, whatever they are still good for: each knows its own state. */
  private readonly connections = new Set<Connection<T>>();

  protected constructor(
    protected readonly ports: TransportPorts,
    protected readonly counts: ServerObserver,
    private readonly protocol: UpstreamProtocol,
    protected readonly owner: E,
  ) {}

  /** Nothing is open or in flight. */
  get isEmpty(): boolean {
    return this.connections.size === 0;
  }

  /** Takes no more, sends no more, and closes each connection when it has its last answer. */
  close(): void {
    if (this.phase === 'open') this.phase = 'closing';
    for (const each of [...this.connections]) each.close();
  }

  /** Cuts everything: what is in flight is lost at once. */
  destroy(): void {
    this.phase = 'closed';
    this.cut();
  }

  /** Cuts everything that was opened over the way of before: what was in flight may be asked again. */
  protected cut(): void {
    for (const each of [...this.connections]) each.destroy();
  }

  protected get isOpen(): boolean {
    return this.phase === 'open';
  }

  /** Opens a connection; undefined: the transport is closed. This is the only place where one is opened. */
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

  /** The connections that are not closed yet. */
  protected get all(): Iterable<Connection<T>> {
    return this.connections;
  }
}

function closedBy(end: End): ClosedBy {
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

function failureOf(end: End): Failure | undefined {
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
