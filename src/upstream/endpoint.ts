// One address of one server: its connections, how quick it is, and what is known about reaching it.

import type { Failure, FailureCode } from '../base/outcome.js';
import { failure, failureWords } from '../base/outcome.js';
import type { Clock, ClosedBy, Dial, DialDatagram, Log, Observer, Random, Security, UpstreamProtocol } from '../base/ports.js';
import { flagsOf, FLAG } from '../wire/header.js';
import { answersQuery, type Ask, upstreamQuery } from '../wire/upstream-query.js';
import { type Connection, connection, type ConnectionEvents, type ConnectionTimes, type End } from './connection.js';
import type { Waiter } from './inflight.js';
import * as modes from './mode.js';

/** What the upstream rooms need from outside. */
export interface UpstreamPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly dial: Dial;
  readonly dialDatagram: DialDatagram;
  readonly observer: Observer;
  readonly log: Log;
}

/** Who the endpoint is. */
export interface EndpointIdentity {
  /** The configured name: the metric label, and what people see. */
  readonly upstream: string;
  readonly address: string;
  /** Of DNS over TLS. */
  readonly port: number;
  /** Of cleartext DNS. */
  readonly plainPort: number;
  readonly mode: modes.Mode;
  readonly security: Security;
}

/** What an endpoint tells the pool. */
export interface EndpointEvents<T extends Waiter> {
  reply(from: Endpoint<T>, waiter: T, message: Buffer, protocol: UpstreamProtocol, rttMs: number): void;
  /** This attempt brings no answer. `blameless`: the server only closed a connection, and may be asked again. */
  lost(from: Endpoint<T>, waiter: T, why: Failure, blameless: boolean): void;
  /** The attempt still runs, but the other end has gone quiet. */
  suspect(from: Endpoint<T>, waiter: T): void;
}

/** An endpoint, from outside. */
export interface Endpoint<T extends Waiter> {
  readonly identity: EndpointIdentity;
  readonly srttMs: number | undefined;
  /** A connection that can be used is open. */
  readonly open: boolean;
  readonly health: modes.Health;
  /** Why it is in back-off. */
  readonly lastFailure: Failure | undefined;
  /** Where a query may go now; a connection that exists may be used whatever the back-off says. */
  path(): modes.Path;
  /** Asks along `path`. */
  ask(ask: Ask, waiter: T, path: 'tls' | 'cleartext'): void;
  close(): void;
  destroy(): void;
}

const TIMES: ConnectionTimes = {
  // Public resolvers close at about 10 s.
  idleMs: 8000,
  suspectMs: 1000,
  deadMs: 3000,
};
const MAX_CONNECTIONS = 4;
const PLAIN_TIMEOUT_MS = 1000;
const PLAIN_SENDS = 2;

/** Makes an Endpoint; nothing is opened before the first query. */
export function endpoint<T extends Waiter>(
  ports: UpstreamPorts,
  identity: EndpointIdentity,
  events: EndpointEvents<T>,
): Endpoint<T> {
  const { clock, random, observer, log } = ports;
  const { upstream, address, mode } = identity;
  const about = { upstream, address, port: identity.port };
  let health: modes.Health = { at: 'probing' };
  let lastFailure: Failure | undefined;
  let srttMs: number | undefined;
  let closing = false;
  const connections = new Set<Connection<T>>();
  const plainStreams = new Set<Connection<T>>();

  function measure(rttMs: number): void {
    // RFC 6298 §2: an eighth of the new value.
    srttMs = srttMs === undefined ? rttMs : srttMs + (rttMs - srttMs) / 8;
  }

  function note(next: modes.Health, why: Failure | undefined): void {
    const changed = next.at !== health.at || why?.code !== lastFailure?.code || why?.detail !== lastFailure?.detail;
    health = next;
    lastFailure = why;
    observer.upstreamState(upstream, next.at === 'private', next.at === 'private' && identity.security.at === 'authenticated');
    if (!changed) return;
    if (why !== undefined) log.warn({ ...about, reason: why.code }, `${upstream} (${address}): ${failureWords(why)}`);
    else log.info(about, `${upstream} (${address}): connected over TLS${identity.security.at === 'authenticated' ? ', identity proved' : ''}`);
  }

  const failed = (code: FailureCode, detail: string): void => {
    observer.upstreamError(upstream, code);
    note(modes.failed(mode, health, clock.monotonicMs(), random.below(1024) / 1024), failure(code, detail));
  };

  function openTls(): Connection<T> {
    let answered = false;
    const base = streamEvents('dot', connections, () => made);
    const made = connection<T>(ports, { address, port: identity.port, security: identity.security }, TIMES, {
      ...base,
      connected(info, handshakeMs) {
        observer.upstreamConnect(upstream, info.resumed, handshakeMs / 1000);
        note(modes.connected(), undefined);
      },
      reply(waiter, message, rttMs) {
        answered = true;
        base.reply(waiter, message, rttMs);
      },
      closed(end, unanswered) {
        if (end.at === 'failed') failed(end.code, end.detail);
        // A server that takes a connection, answers nothing and hangs up is as good as unreachable.
        else if (end.at === 'server' && !answered && unanswered.length > 0) failed(end.code, end.detail);
        base.closed(end, unanswered);
      },
    });
    connections.add(made);
    observer.upstreamConnections(upstream, 1);
    return made;
  }

  function streamEvents(protocol: UpstreamProtocol, set: Set<Connection<T>>, made: () => Connection<T>): ConnectionEvents<T> {
    return {
      connected: () => undefined,
      reply(waiter, message, rttMs) {
        measure(rttMs);
        events.reply(self, waiter, message, protocol, rttMs);
      },
      stray: kind => observer.upstreamError(upstream, kind),
      suspect: waiters => waiters.forEach(waiter => events.suspect(self, waiter)),
      closed(end, unanswered) {
        set.delete(made());
        observer.upstreamConnections(upstream, -1);
        observer.upstreamClose(upstream, closedBy(end));
        const why = failureOf(end);
        for (const waiter of unanswered) events.lost(self, waiter, why, end.at === 'server');
      },
    };
  }

  /** The connection for the next query: one that is heard from, else a new one, else the best there is. */
  function tlsConnection(): Connection<T> {
    let spare: Connection<T> | undefined;
    for (const each of connections) {
      if (!each.suspect) return each;
      spare = each;
    }
    return spare !== undefined && connections.size >= MAX_CONNECTIONS ? spare : openTls();
  }

  function askTls(ask: Ask, waiter: T): void {
    observer.upstreamQuery(upstream, 'dot');
    if (!tlsConnection().ask(ask, waiter)) events.lost(self, waiter, failure('overload'), false);
  }

  async function askPlain(ask: Ask, waiter: T): Promise<void> {
    observer.cleartext(mode === 'off' ? 'off' : 'opportunistic');
    const id = random.uint16();
    const message = upstreamQuery(id, ask, { pad: false, keepalive: false });
    const startedAtMs = clock.monotonicMs();
    let why: 'timeout' | 'connect' = 'timeout';
    for (let sends = 0; sends < PLAIN_SENDS && !waiter.done && !closing; sends++) {
      observer.upstreamQuery(upstream, 'udp');
      const reply = await ports.dialDatagram(
        { address, port: identity.plainPort }, message, bytes => answersQuery(bytes, id, ask.question), PLAIN_TIMEOUT_MS,
      );
      if (typeof reply === 'string') {
        why = reply === 'timeout' ? 'timeout' : 'connect';
        continue;
      }
      if (flagsOf(reply) & FLAG.TC) askPlainStream(ask, waiter);
      else {
        const rttMs = clock.monotonicMs() - startedAtMs;
        measure(rttMs);
        events.reply(self, waiter, reply, 'udp', rttMs);
      }
      return;
    }
    observer.upstreamError(upstream, why);
    events.lost(self, waiter, failure(why, `${upstream} port ${identity.plainPort}, UDP`), false);
  }

  /** What did not fit a datagram (RFC 7766 §5). */
  function askPlainStream(ask: Ask, waiter: T): void {
    observer.upstreamQuery(upstream, 'tcp');
    const [existing] = plainStreams;
    if (existing?.ask(ask, waiter) === true) return;
    const made: Connection<T> = connection<T>(
      ports, { address, port: identity.plainPort, security: { at: 'cleartext' } }, TIMES,
      streamEvents('tcp', plainStreams, () => made),
    );
    plainStreams.add(made);
    observer.upstreamConnections(upstream, 1);
    made.ask(ask, waiter);
  }

  observer.upstreamState(upstream, false, false);
  const self: Endpoint<T> = {
    identity,
    get srttMs() {
      return srttMs;
    },
    get open() {
      return [...connections].some(each => each.open && !each.suspect);
    },
    get health() {
      return health;
    },
    get lastFailure() {
      return lastFailure;
    },
    path() {
      if (connections.size > 0 && mode !== 'opportunistic') return 'tls';
      return modes.pathFor(mode, health, clock.monotonicMs());
    },
    ask(ask, waiter, path) {
      if (path === 'tls') {
        askTls(ask, waiter);
        return;
      }
      if (connections.size === 0 && modes.shouldProbe(mode, health, clock.monotonicMs())) openTls();
      askPlain(ask, waiter).catch((error: unknown) => events.lost(self, waiter, failure('connect', String(error)), false));
    },
    close() {
      closing = true;
      for (const each of [...connections, ...plainStreams]) each.close();
    },
    destroy() {
      closing = true;
      for (const each of [...connections, ...plainStreams]) each.destroy();
    },
  };
  return self;
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

function failureOf(end: End): Failure {
  switch (end.at) {
    case 'server':
    case 'failed':
      return failure(end.code, end.detail);
    case 'silent':
      return failure('timeout', 'the server stopped answering');
    case 'idle':
    case 'drain':
      return failure('shutdown');
  }
}
