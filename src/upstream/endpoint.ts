// One address of one server: its connections, how quick it is, and what is known about reaching it.

import type { Failure, FailureCode } from '../base/outcome.js';
import { hashOf } from '../base/hash.js';
import { failure, failureWords, RCODE } from '../base/outcome.js';
import type { CleartextReason, ClosedBy, Observer, ServerObserver, UpstreamProtocol } from '../base/observer.js';
import type { Clock, Dial, DialDatagram, Log, Random, Security } from '../base/ports.js';
import type { MonoMs } from '../base/time.js';
import { flagsOf, FLAG, rcodeOf } from '../wire/header.js';
import { optOf } from '../wire/scan.js';
import { answersQuery, type Ask, upstreamQuery } from '../wire/upstream-query.js';
import { type Connection, connection, type ConnectionEvents, type ConnectionTimes, type End } from './connection.js';
import { cookies } from './cookies.js';
import * as idle from './idle.js';
import type { Waiter } from './inflight.js';
import type { Memory } from './memory.js';
import * as modes from './mode.js';

/** What the upstream rooms need from outside. */
export interface UpstreamPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly dial: Dial;
  readonly dialDatagram: DialDatagram;
  readonly observer: Observer;
  readonly log: Log;
  /** Which servers have proved themselves on the network that we are on. */
  readonly memory: Memory;
  /** A number that no other server of this process has. */
  readonly nextServerId: () => number;
}

/** A server, for whoever tells servers apart (by `id`) or names them to people (by `label`). */
export interface ServerName {
  readonly id: number;
  readonly label: string;
}

/** Who the endpoint is. */
export interface EndpointIdentity {
  readonly server: ServerName;
  /** The configured name: the metric label, and what people see. */
  readonly upstream: string;
  /** Counts for the server that it belongs to. */
  readonly counted: ServerObserver;
  readonly address: string;
  /** Of DNS over TLS. */
  readonly port: number;
  /** Of cleartext DNS. */
  readonly plainPort: number;
  readonly mode: modes.Mode;
  /** What its cleartext queries are counted as. */
  readonly reason: CleartextReason;
  readonly security: Security;
}

/** What an endpoint tells the pool. */
export interface EndpointEvents<T extends Waiter> {
  reply(from: Endpoint<T>, waiter: T, message: Buffer, protocol: UpstreamProtocol, rttMs: number): void;
  /** This attempt brings no answer. `blameless`: the server only closed a connection, and may be asked again. */
  lost(from: Endpoint<T>, waiter: T, why: Failure, blameless: boolean): void;
  /** The attempt still runs, but the other end has gone quiet. */
  suspect(from: Endpoint<T>, waiter: T): void;
  /** It can be asked from now on. */
  up(from: Endpoint<T>): void;
}

/** An endpoint, from outside. */
export interface Endpoint<T extends Waiter> {
  readonly identity: EndpointIdentity;
  readonly shardId: number;
  readonly srttMs: number | undefined;
  /** A connection that can be used is open. */
  readonly open: boolean;
  /** Connections over TLS, open or opening. */
  readonly connections: number;
  readonly health: modes.Health;
  /** It has proved who it is, over the connections that it has now. */
  readonly authenticated: boolean;
  /** Why it is in back-off. */
  readonly lastFailure: Failure | undefined;
  /** How long a connection may be idle. */
  readonly idleLimitMs: number;
  /** When the certificate that it last showed expires, milliseconds since 1970. */
  readonly certificateEndsMs: number | undefined;
  /** Where a query may go now; a connection that exists may be used whatever the back-off says. */
  path(): modes.Path;
  /** Asks along `path`. */
  ask(ask: Ask, waiter: T, path: 'tls' | 'cleartext', nowMs: MonoMs): void;
  /** Connects ahead of the first query, where TLS may be used or is to be found out about. */
  prepare(): void;
  /**
   * The way to it is another: gives up its connections, has what is in flight asked again, and is in back-off no more.
   * @param sameNetwork whether what was learned about TLS here still holds
   */
  reset(sameNetwork: boolean): void;
  close(): void;
  destroy(): void;
}

const TIMES: ConnectionTimes = { suspectMs: 1000, deadMs: 3000 };
const MAX_CONNECTIONS = 4;
/** With so many queries in flight on each connection another is opened, up to BUSY_CONNECTIONS (RFC 7766 §6.2.2: few). */
const BUSY_INFLIGHT = 50;
const BUSY_CONNECTIONS = 2;
/** So long after the last query a connection is kept from becoming idle. */
const KEEP_WARM_MS = 60_000;
const PLAIN_TIMEOUT_MS = 1000;
const PLAIN_SENDS = 2;

/** Makes an Endpoint; nothing is opened before `prepare` or the first query. */
export function endpoint<T extends Waiter>(
  ports: UpstreamPorts,
  identity: EndpointIdentity,
  events: EndpointEvents<T>,
): Endpoint<T> {
  const { clock, random, observer, log, memory } = ports;
  const { upstream, counted, address, mode } = identity;
  const about = { upstream, address, port: identity.port };
  const key = `${upstream} ${address} ${identity.port}`;
  let health: modes.Health = { at: 'probing' };
  let lastFailure: Failure | undefined;
  let proved = false;
  let srttMs: number | undefined;
  let plainMs: number | undefined;
  let limit = idle.FIRST_LIMIT;
  let certificateEndsMs: number | undefined;
  let lastAskedAtMs = -Infinity;
  const cookie = cookies(random);
  let closing = false;
  let resetting = false;
  const connections = new Set<Connection<T>>();
  const plainStreams = new Set<Connection<T>>();

  // RFC 6298 §2: an eighth of the new value.
  const smoothed = (before: number | undefined, ms: number): number =>
    before === undefined ? ms : before + (ms - before) / 8;

  function note(next: modes.Health, why: Failure | undefined, authenticated = false): void {
    if (next.at !== health.at) observer.upstreamTransition(health.at, next.at);
    const changed = next.at !== health.at || why?.code !== lastFailure?.code || why?.detail !== lastFailure?.detail;
    health = next;
    lastFailure = why;
    proved = next.at === 'private' && authenticated;
    if (!changed) return;
    if (why !== undefined) {
      const way =
        mode === 'opportunistic' && modes.pathFor(mode, next, clock.monotonicMs(), memory.proved(key)) === 'cleartext'
          ? '; its queries go in cleartext meanwhile'
          : '';
      log.warn({ ...about, reason: why.code }, `${upstream} (${address}): ${failureWords(why)}${way}`);
    } else if (next.at === 'private') {
      log.info(
        about,
        `${upstream} (${address}): connected over TLS${authenticated ? ', identity proved' : ', identity not proved'}`,
      );
    }
  }

  function failed(code: FailureCode, detail: string): void {
    counted.error(code);
    const nowMs = clock.monotonicMs();
    note(
      modes.failed(mode, health, { nowMs, spread: random.below(1024) / 1024, proved: memory.proved(key) }),
      failure(code, detail),
    );
  }

  function passed(authenticated: boolean): void {
    if (authenticated) memory.prove(key);
    note(modes.passed(), undefined, authenticated);
    events.up(self);
  }

  /** Opportunistic mode: a server that takes TLS connections must also answer, and not much slower than in cleartext. */
  function judge(answer: Buffer | undefined, rttMs: number, authenticated: boolean): void {
    if (health.at === 'private' || closing || resetting) return;
    const rcode = answer === undefined ? -1 : rcodeOf(flagsOf(answer));
    const answers = rcode === RCODE.NOERROR || rcode === RCODE.NXDOMAIN;
    const quick = modes.quickEnough(rttMs, plainMs);
    counted.probe(answers && quick ? 'ok' : 'failed');
    if (!answers) failed('timeout', `${address} port ${identity.port}: TLS connects, but queries are not answered`);
    else if (!quick)
      failed('slow', `${address}: ${Math.round(rttMs)} ms over TLS, ${Math.round(plainMs ?? 0)} ms without`);
    else passed(authenticated);
  }

  function openTls(): Connection<T> {
    let answered = false;
    const base = streamEvents('dot', connections, () => made);
    const made = connection<T>(ports, { address, port: identity.port, security: identity.security }, TIMES, {
      ...base,
      connected(info, handshakeMs) {
        certificateEndsMs = info.certificateEndsMs ?? certificateEndsMs;
        counted.connect(info.resumed, handshakeMs / 1000);
        if (info.warning !== undefined)
          log.warn({ ...about, reason: 'pins' }, `${upstream} (${address}): ${info.warning}`);
        if (mode === 'opportunistic') made.probe((answer, rttMs) => judge(answer, rttMs, info.authenticated));
        else passed(info.authenticated);
      },
      reply(waiter, message, rttMs, idleForMs) {
        answered = true;
        limit = idle.reusedAfter(limit, idleForMs);
        base.reply(waiter, message, rttMs, idleForMs);
      },
      keepalive: ms => void (limit = idle.said(limit, ms)),
      keepWarm: () => !closing && clock.monotonicMs() - lastAskedAtMs < KEEP_WARM_MS,
      closed(end, unanswered) {
        if (end.at === 'failed' && mode === 'opportunistic') counted.probe('failed');
        if (end.at === 'failed') failed(end.code, end.detail);
        // A server that takes a connection, answers nothing and hangs up is as good as unreachable.
        else if (end.at === 'server' && !answered && unanswered.length > 0) failed(end.code, end.detail);
        else if (end.at === 'server' && unanswered.length === 0) limit = idle.closedAfter(limit, end.idleForMs);
        else if (end.at === 'silent' && mode === 'opportunistic')
          failed('timeout', `${address} port ${identity.port}: the connection fell silent`);
        base.closed(end, unanswered);
      },
    });
    connections.add(made);
    return made;
  }

  function streamEvents(
    protocol: UpstreamProtocol,
    set: Set<Connection<T>>,
    made: () => Connection<T>,
  ): ConnectionEvents<T> {
    return {
      connected: () => undefined,
      reply(waiter, message, rttMs) {
        srttMs = smoothed(srttMs, rttMs);
        events.reply(self, waiter, message, protocol, rttMs);
      },
      stray: kind => counted.error(kind),
      suspect: waiters => waiters.forEach(waiter => events.suspect(self, waiter)),
      keepalive: () => undefined,
      idleMs: () => idle.idleMs(limit),
      keepWarm: () => false,
      closed(end, unanswered) {
        set.delete(made());
        counted.close(closedBy(end));
        const why = failureOf(end);
        for (const waiter of unanswered) events.lost(self, waiter, why, end.at === 'server' || end.at === 'drain');
      },
    };
  }

  /** The connection for the next query: the least busy that is heard from, else a new one, else the best there is. */
  function tlsConnection(): Connection<T> {
    let best: Connection<T> | undefined;
    let spare: Connection<T> | undefined;
    for (const each of connections) {
      if (each.suspect) spare = each;
      else if (best === undefined || each.inflight < best.inflight) best = each;
    }
    if (best !== undefined && (best.inflight < BUSY_INFLIGHT || connections.size >= BUSY_CONNECTIONS)) return best;
    // Where one is on its way already, it takes the load as well as another would.
    if (best !== undefined && !best.open) return best;
    if (best === undefined && spare !== undefined && connections.size >= MAX_CONNECTIONS) return spare;
    return openTls();
  }

  function askTls(ask: Ask, waiter: T, nowMs: MonoMs): void {
    counted.query('dot');
    lastAskedAtMs = nowMs;
    const chosen = tlsConnection();
    if (chosen.ask(ask, waiter, nowMs)) return;
    // It takes no more because the server said so; the next one is new.
    connections.delete(chosen);
    if (!openTls().ask(ask, waiter)) events.lost(self, waiter, failure('overload'), false);
  }

  async function askPlain(ask: Ask, waiter: T): Promise<void> {
    let why: 'timeout' | 'connect' = 'timeout';
    let edns = true;
    let badCookie = false;
    const startedAtMs = clock.monotonicMs();
    for (let sends = 0; sends < PLAIN_SENDS && !waiter.done && !closing; sends++) {
      const id = random.uint16();
      const message = upstreamQuery(
        id,
        ask,
        edns ? { pad: false, keepalive: false, hideSubnet: true, cookie: cookie.option } : undefined,
      );
      observer.cleartext(identity.reason);
      counted.query('udp');
      const reply = await ports.dialDatagram(
        { address, port: identity.plainPort },
        message,
        bytes => answersQuery(bytes, id, ask.question) && cookie.accept(bytes),
        PLAIN_TIMEOUT_MS,
      );
      if (typeof reply === 'string') {
        why = reply === 'timeout' ? 'timeout' : 'connect';
        cookie.doubt();
        continue;
      }
      // RFC 7873 §5.3: it wants to see a cookie that it has just given; once more, and no longer in a hurry to be sure.
      if (!badCookie && fullRcode(reply) === RCODE.BADCOOKIE) {
        badCookie = true;
        sends--;
        continue;
      }
      // RFC 6891 §6.2.2: a server that knows no EDNS says FORMERR; asked again without, once, and not counted as a failure.
      if (edns && rcodeOf(flagsOf(reply)) === RCODE.FORMERR) {
        edns = false;
        sends--;
        continue;
      }
      if (flagsOf(reply) & FLAG.TC) askPlainStream(ask, waiter);
      else {
        const rttMs = clock.monotonicMs() - startedAtMs;
        srttMs = smoothed(srttMs, rttMs);
        plainMs = smoothed(plainMs, rttMs);
        events.reply(self, waiter, reply, 'udp', rttMs);
      }
      return;
    }
    counted.error(why);
    events.lost(self, waiter, failure(why, `${upstream} port ${identity.plainPort}, UDP`), false);
  }

  /** What did not fit a datagram (RFC 7766 §5). */
  function askPlainStream(ask: Ask, waiter: T): void {
    observer.cleartext(identity.reason);
    counted.query('tcp');
    const [existing] = plainStreams;
    if (existing?.ask(ask, waiter) === true) return;
    const made: Connection<T> = connection<T>(
      ports,
      { address, port: identity.plainPort, security: { at: 'cleartext' } },
      TIMES,
      streamEvents('tcp', plainStreams, () => made),
    );
    plainStreams.add(made);
    made.ask(ask, waiter);
  }

  const path = (): modes.Path => {
    if (connections.size > 0 && (mode === 'strict' || mode === 'encrypted')) return 'tls';
    return modes.pathFor(mode, health, clock.monotonicMs(), health.at !== 'private' && memory.proved(key));
  };

  const self: Endpoint<T> = {
    identity,
    shardId: hashOf(upstream),
    get srttMs() {
      return srttMs;
    },
    get open() {
      for (const each of connections) if (each.open && !each.suspect) return true;
      return false;
    },
    get connections() {
      return connections.size;
    },
    get health() {
      return health;
    },
    get authenticated() {
      return proved;
    },
    get lastFailure() {
      return lastFailure;
    },
    get idleLimitMs() {
      return idle.idleMs(limit);
    },
    get certificateEndsMs() {
      return certificateEndsMs;
    },
    path,
    ask(ask, waiter, way, nowMs) {
      if (way === 'tls') {
        askTls(ask, waiter, nowMs);
        return;
      }
      if (connections.size === 0 && modes.shouldProbe(mode, health, nowMs)) openTls();
      askPlain(ask, waiter).catch((error: unknown) =>
        events.lost(self, waiter, failure('connect', String(error)), false),
      );
    },
    prepare() {
      if (closing || connections.size > 0 || mode === 'off') return;
      const nowMs = clock.monotonicMs();
      if (mode === 'opportunistic' ? modes.shouldProbe(mode, health, nowMs) : modes.mayTryAnyway(health, nowMs))
        openTls();
    },
    reset(sameNetwork) {
      if (!sameNetwork || health.at !== 'private') health = { at: 'probing' };
      lastFailure = undefined;
      srttMs = plainMs = undefined;
      if (!sameNetwork) cookie.renew();
      // What ends now says nothing about the server.
      resetting = true;
      for (const each of [...connections, ...plainStreams]) each.destroy();
      resetting = false;
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

/** With the upper bits, which are in the OPT (RFC 6891 §6.1.3). */
const fullRcode = (message: Buffer): number => rcodeOf(flagsOf(message)) | ((optOf(message)?.extendedRcode ?? 0) << 4);

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
