// One question through the upstream servers: who is asked, when the next is asked too, what is asked again after a
// connection broke, and when to give up. Connections only report; every decision about a query is made here.
//
//   dispatch ─▶ reply ─▶ done
//     ▲  │        └─ SERVFAIL & co.: one other server's opinion
//     │  ├─ lost: connection closed or never made ─▶ dispatch again
//     │  ├─ suspect: connection silent ─▶ dispatch beside it
//     │  └─ slow: attempt time over ─▶ another server beside it
//     └──────────────── at most MAX_SENDS, all before the deadline

import { failure, type Failure, failureWords } from '../base/outcome.js';
import type { CleartextReason, UpstreamProtocol } from '../base/observer.js';
import { Timed, type Wheel } from '../base/wheel.js';
import { type Scan, scanResponse } from '../wire/scan.js';
import type { Ask } from '../wire/upstream-query.js';
import type { BootstrapServer } from './bootstrap.js';
import type { Endpoint, EndpointEvents, ServerName, UpstreamPorts } from './endpoint.js';
import { type Health, type Mode, mayTryAnyway, type Path } from './mode.js';
import { choose, type Policy, shardOf } from './select.js';
import { type Server, server, type ServerSpec } from './server.js';

/** What upstream said. */
export interface UpstreamReply {
  readonly at: 'reply';
  /** May share memory with a read buffer: copy what has to last. */
  readonly message: Buffer;
  readonly scan: Scan;
  readonly server: ServerName;
  readonly protocol: UpstreamProtocol;
  /** It came over TLS from a server that has proved who it is. */
  readonly authenticated: boolean;
}

/** The configured upstream group. */
export interface PoolSpec {
  readonly mode: Mode;
  /** What cleartext queries are counted as, where it is not the mode's own. */
  readonly reason?: CleartextReason;
  readonly policy: Policy;
  readonly servers: readonly ServerSpec[];
  /** Asked for anew at each search: those of the system change with the network. */
  readonly bootstrapServers: () => readonly BootstrapServer[];
  /** Port of cleartext DNS; 53 but in tests. */
  readonly plainPort?: number;
}

/** How one address of a server is doing, for people. */
export interface EndpointReport {
  readonly upstream: string;
  /** Undefined: it is being looked for, or was not found. */
  readonly address: string | undefined;
  readonly port: number;
  readonly state: 'looking' | Health['at'];
  /** Where a query would go now. */
  readonly path: Path;
  /** It has proved who it is. */
  readonly authenticated: boolean;
  readonly connections: number;
  readonly rttMs: number | undefined;
  /** How long a connection may be idle; undefined while there is no address. */
  readonly idleLimitMs: number | undefined;
  /** When the certificate that it last showed expires, milliseconds since 1970. */
  readonly certificateEndsMs: number | undefined;
  /** Why it is not reached. */
  readonly failure: string | undefined;
}

/** Who answers questions: all that the pipeline knows of a pool. */
export interface Upstream {
  /**
   * Asks. `type` is the QTYPE in `ask.question`.
   * @param settle called once; at once where it is clear that nobody can be asked
   * @param avoid ids of servers that are only asked if there is no other
   */
  exchange(ask: Ask, type: number, settle: Settle, avoid?: readonly number[]): void;
  /** All of them, whether they can be asked or not. */
  readonly servers: readonly ServerName[];
}

/** The pool, from outside. */
export interface Pool extends Upstream {
  /** How they are doing. */
  report(): readonly EndpointReport[];
  /** At least one server could be asked right now. */
  readonly ready: boolean;
  /** Connects to the servers ahead of the first query; queries that come before anybody is reached are held for a while. */
  prepare(): void;
  /** The network is another, or the machine has slept: connections of before are given up, and nobody is in back-off. */
  networkChanged(what: 'network' | 'resume'): void;
  /** Replaces the servers, and which is asked first; those that stay keep their connections. */
  setServers(servers: readonly ServerSpec[], policy?: Policy): void;
  /** Takes no more questions; waits for nothing. */
  close(): void;
  destroy(): void;
}

/** Shorter than the 5 s after which stub resolvers ask again (glibc, musl). */
const DEADLINE_MS = 4500;
const MAX_SENDS = 3;
const ATTEMPT_UNKNOWN_MS = 1500;
const ATTEMPT_MIN_MS = 400;
/** An address that is still being connected to gets this head start before the next one is asked too (as RFC 8305 §5). */
const STAGGER_MS = 250;
/** How long a query waits at start and after a network change until a server is reached: as long as Android's. */
const HOLD_MS = 4200;
/** With no success for this long after that, queries fail at once: it is no start any more, but an outage. */
const SETTLING_MS = 30_000;
/** While queries are held, those servers that may be tried again are, this often. */
const HOLD_RETRY_MS = 250;

/** Takes what came of a question. */
export type Settle = (outcome: UpstreamReply | Failure) => void;

const NOBODY: readonly Endpoint<Exchange>[] = [];
const NONE: readonly number[] = [];

/** One question on its way. Its timer is for whatever comes first: the end of an attempt's time, or the deadline. */
class Exchange extends Timed {
  done = false;
  sends = 0;
  /** Attempts that may still bring an answer. */
  running = 0;
  tried: readonly Endpoint<Exchange>[] = NOBODY;
  /** Those that were asked in cleartext. */
  plain: readonly Endpoint<Exchange>[] = NOBODY;
  /** Those whose connection broke through no fault of the server's: may be asked again. */
  blameless: readonly Endpoint<Exchange>[] = NOBODY;
  /** An answer nobody likes, kept in case there is no better one. */
  fallback: UpstreamReply | undefined;
  lastFailure: Failure | undefined;

  constructor(
    readonly ask: Ask,
    readonly type: number,
    readonly turn: number,
    readonly shard: number,
    readonly deadlineAtMs: number,
    readonly settle: Settle,
    readonly avoid: readonly number[],
    private readonly onTime: (exchange: Exchange) => void,
  ) {
    super();
  }

  override fire(): void {
    this.onTime(this);
  }
}

const namesOf = (endpoints: readonly Endpoint<Exchange>[]): string =>
  [...new Set(endpoints.map(each => each.identity.upstream))].join(', ');

/** Makes a Pool. */
export function pool(ports: UpstreamPorts, wheel: Wheel, spec: PoolSpec): Pool {
  const { clock, observer, random } = ports;
  let turns = 0;
  let closed = false;
  const shardKey = (random.uint16() << 16) | random.uint16();
  // Those that wait for a server's address, or to be reached.
  const waiting = new Set<Exchange>();
  // Until then, or until the first success, queries are held.
  let settlingUntilMs = 0;
  let cancelRetry = (): void => undefined;

  const events: EndpointEvents<Exchange> = {
    reply: onReply,
    lost: onLost,
    suspect(from, exchange) {
      if (exchange.done || exchange.sends >= MAX_SENDS) return;
      observer.hedge();
      // With no other server, the same one over a new connection: endpoints do not give out a suspect one twice.
      send(exchange, next(exchange) ?? from);
    },
    up() {
      settlingUntilMs = 0;
      wake();
    },
  };
  const make = (each: ServerSpec): Server<Exchange> => server(ports, each, spec, events, onAddresses);
  let { policy, servers: specs } = spec;
  let servers: readonly Server<Exchange>[] = specs.map(make);

  // Rebuilt when addresses were found: looked at for every query.
  let endpoints = servers.flatMap(each => each.endpoints);

  /** Whom to ask next: who only hung up on us, then someone not asked yet, then who hung up and is in back-off. */
  function next(exchange: Exchange): Endpoint<Exchange> | undefined {
    const { tried, blameless } = exchange;
    const again = blameless.find(each => each.path() !== 'refuse');
    if (again !== undefined) return again;
    const untried = tried.length === 0 ? endpoints : endpoints.filter(each => !tried.includes(each));
    // Where there is no choice, none is prepared.
    const [only] = untried;
    if (untried.length === 1 && only !== undefined && only.path() !== 'refuse') return only;
    const usable = welcome(exchange, preferPrivate(untried.filter(each => each.path() !== 'refuse')));
    const chosen = choose(policy, usable, exchange.turn, exchange.shard, random) ?? blameless[0];
    if (chosen !== undefined || exchange.running > 0) return chosen;
    // All are in back-off: one of them may be tried, each at most once a second.
    const nowMs = clock.monotonicMs();
    return choose(
      policy,
      untried.filter(each => mayTryAnyway(each.health, nowMs)),
      exchange.turn,
      exchange.shard,
      random,
    );
  }

  /** Those that this question need not avoid; all, if there are no others. */
  function welcome({ avoid }: Exchange, usable: readonly Endpoint<Exchange>[]): readonly Endpoint<Exchange>[] {
    const others = avoid.length === 0 ? usable : usable.filter(each => !avoid.includes(each.identity.server.id));
    return others.length > 0 ? others : usable;
  }

  /** Opportunistic: as long as one server is known to be private, none is asked in cleartext. */
  function preferPrivate(usable: readonly Endpoint<Exchange>[]): readonly Endpoint<Exchange>[] {
    if (spec.mode !== 'opportunistic' || usable.length < 2) return usable;
    const known = usable.filter(each => each.health.at === 'private');
    // A designated server that has not been reached yet must not keep anybody waiting.
    return known.length > 0
      ? known
      : usable.filter(each => each.path() === 'cleartext' || each.identity.mode === 'opportunistic');
  }

  /** @param nowMs a look at the clock costs a good part of what else is done here: one for a question that goes straight on */
  function dispatch(exchange: Exchange, nowMs = clock.monotonicMs()): void {
    if (exchange.done || closed) return;
    const to = exchange.sends < MAX_SENDS ? next(exchange) : undefined;
    if (to !== undefined) return send(exchange, to, nowMs);
    if (exchange.running > 0) return;
    const searching = servers.some(each => each.endpoints.length === 0 && each.failure === undefined);
    if (searching && exchange.sends < MAX_SENDS) waiting.add(exchange);
    else if (
      servers.length > 0 &&
      clock.monotonicMs() < Math.min(settlingUntilMs, exchange.deadlineAtMs - DEADLINE_MS + HOLD_MS)
    )
      hold(exchange);
    else giveUp(exchange);
  }

  /** Keeps a query until somebody is reached, or it has waited long enough. */
  function hold(exchange: Exchange): void {
    waiting.add(exchange);
    wheel.start(exchange, exchange.deadlineAtMs - DEADLINE_MS + HOLD_MS - clock.monotonicMs());
    if (waiting.size === 1) retryWhileHeld();
  }

  function retryWhileHeld(): void {
    cancelRetry();
    cancelRetry = clock.after(HOLD_RETRY_MS, () => {
      if (waiting.size === 0 || closed) return;
      for (const each of servers) each.refresh();
      for (const each of endpoints) each.prepare();
      retryWhileHeld();
    });
  }

  /** Who was waiting is asked for anew: what was tried in vain before counts no more. */
  function wake(): void {
    const woken = [...waiting];
    waiting.clear();
    for (const exchange of woken) {
      exchange.tried = exchange.blameless = NOBODY;
      exchange.sends = 0;
      dispatch(exchange);
    }
  }

  function send(exchange: Exchange, to: Endpoint<Exchange> | undefined, nowMs = clock.monotonicMs()): void {
    if (to === undefined) return;
    const path = to.path() === 'cleartext' ? 'cleartext' : 'tls';
    exchange.sends++;
    exchange.running++;
    if (!exchange.tried.includes(to)) exchange.tried = [...exchange.tried, to];
    if (path === 'cleartext') exchange.plain = [...exchange.plain, to];
    if (exchange.blameless.length > 0) exchange.blameless = exchange.blameless.filter(each => each !== to);
    const attemptMs =
      path === 'tls' && !to.open && endpoints.length > exchange.tried.length
        ? STAGGER_MS
        : to.srttMs === undefined
          ? ATTEMPT_UNKNOWN_MS
          : Math.max(ATTEMPT_MIN_MS, 4 * to.srttMs);
    wheel.start(exchange, Math.min(attemptMs, exchange.deadlineAtMs - nowMs), nowMs);
    to.ask(exchange.ask, exchange, path, nowMs);
  }

  /** An attempt has had its time, or all have. */
  function onTime(exchange: Exchange): void {
    if (exchange.done) return;
    const leftMs = exchange.deadlineAtMs - clock.monotonicMs();
    if (waiting.has(exchange)) {
      exchange.lastFailure ??= whyNobody() ?? failure('not_ready');
      return giveUp(exchange);
    }
    if (leftMs <= 0) {
      exchange.lastFailure ??= exchange.tried.length === 0 ? undefined : failure('timeout', namesOf(exchange.tried));
      return giveUp(exchange);
    }
    wheel.start(exchange, leftMs);
    // The answer may still come, and is taken if it does; meanwhile someone else may be quicker.
    if (exchange.sends < MAX_SENDS) send(exchange, next(exchange));
  }

  function onReply(
    from: Endpoint<Exchange>,
    exchange: Exchange,
    message: Buffer,
    protocol: UpstreamProtocol,
    rttMs: number,
  ): void {
    if (exchange.done) return;
    const { upstream, counted } = from.identity;
    const scan = scanResponse(message, exchange.type);
    if (scan === undefined || scan.truncated) {
      counted.error('parse');
      return onLost(from, exchange, failure('parse', upstream), false);
    }
    exchange.running--;
    counted.response(scan.rcode, rttMs / 1000);
    const reply: UpstreamReply = {
      at: 'reply',
      message,
      scan,
      server: from.identity.server,
      protocol,
      authenticated: protocol === 'dot' && from.authenticated,
    };
    if (scan.rcode === 0 || scan.rcode === 3) return finish(exchange, reply);
    // SERVFAIL, REFUSED and the like may be that server's own trouble: ask one other, once.
    const first = exchange.fallback === undefined;
    exchange.fallback ??= { ...reply, message: Buffer.from(message) };
    const other = first && exchange.sends < MAX_SENDS ? next(exchange) : undefined;
    if (other !== undefined) send(exchange, other);
    else if (exchange.running === 0) giveUp(exchange);
  }

  function onLost(from: Endpoint<Exchange>, exchange: Exchange, why: Failure, blameless: boolean): void {
    if (exchange.done) return;
    exchange.running--;
    exchange.lastFailure = why;
    if (blameless) {
      observer.replay();
      exchange.blameless = [...exchange.blameless, from];
    }
    // Opportunistic: what TLS could not do, cleartext may, at the same server.
    if (from.path() === 'cleartext' && !exchange.plain.includes(from))
      exchange.tried = exchange.tried.filter(each => each !== from);
    dispatch(exchange);
  }

  function onAddresses(): void {
    endpoints = servers.flatMap(each => each.endpoints);
    if (clock.monotonicMs() < settlingUntilMs) for (const each of endpoints) each.prepare();
    wake();
  }

  function prepare(): void {
    settlingUntilMs = spec.mode === 'strict' || spec.mode === 'encrypted' ? clock.monotonicMs() + SETTLING_MS : 0;
    for (const each of servers) each.refresh();
    for (const each of endpoints) each.prepare();
  }

  function giveUp(exchange: Exchange): void {
    const { fallback, lastFailure } = exchange;
    finish(exchange, fallback ?? lastFailure ?? whyNobody() ?? failure('no_upstream'));
  }

  /** Nobody was asked: the reason is the servers'. */
  function whyNobody(): Failure | undefined {
    for (const each of servers) {
      const why = each.failure ?? each.endpoints.find(one => one.lastFailure !== undefined)?.lastFailure;
      if (why !== undefined) return why;
    }
    return undefined;
  }

  function finish(exchange: Exchange, outcome: UpstreamReply | Failure): void {
    if (exchange.done) return;
    exchange.done = true;
    if (waiting.size > 0) waiting.delete(exchange);
    wheel.stop(exchange);
    exchange.settle(outcome);
  }

  return {
    exchange(ask, type, settle, avoid = NONE) {
      if (closed) {
        settle(failure('shutdown'));
        return;
      }
      const nowMs = clock.monotonicMs();
      const exchange = new Exchange(
        ask,
        type,
        turns++,
        policy === 'sharded' ? shardOf(ask.question, shardKey) : 0,
        nowMs + DEADLINE_MS,
        settle,
        avoid,
        onTime,
      );
      for (const each of servers) each.refresh();
      dispatch(exchange, nowMs);
      // Nobody has been asked yet.
      if (!exchange.done && !exchange.scheduled) wheel.start(exchange, DEADLINE_MS, nowMs);
    },
    get servers() {
      return servers;
    },
    report: () =>
      servers.flatMap((each, i): EndpointReport[] =>
        each.endpoints.length === 0
          ? [
              {
                upstream: each.label,
                address: undefined,
                port: specs[i]?.port ?? 0,
                state: 'looking',
                path: 'refuse',
                authenticated: false,
                connections: 0,
                rttMs: undefined,
                idleLimitMs: undefined,
                certificateEndsMs: undefined,
                failure: each.failure && failureWords(each.failure),
              },
            ]
          : each.endpoints.map(one => ({
              upstream: one.identity.upstream,
              address: one.identity.address,
              port: one.identity.port,
              state: one.health.at,
              path: one.path(),
              authenticated: one.authenticated,
              connections: one.connections,
              rttMs: one.srttMs,
              idleLimitMs: one.idleLimitMs,
              certificateEndsMs: one.certificateEndsMs,
              failure:
                one.health.at === 'private' || one.lastFailure === undefined
                  ? undefined
                  : failureWords(one.lastFailure),
            })),
      ),
    get ready() {
      return servers.some(each => each.endpoints.some(one => one.path() !== 'refuse'));
    },
    prepare,
    networkChanged(what) {
      if (closed) return;
      if (what === 'network') for (const each of servers) each.forget();
      // What was in flight comes back as lost, and is asked again over what is there now.
      for (const each of endpoints) each.reset(what === 'resume');
      prepare();
    },
    setServers(wanted, first = policy) {
      policy = first;
      const before = servers.map((each, i) => ({ each, was: JSON.stringify(specs[i]) }));
      specs = wanted;
      servers = wanted.map(one => before.find(({ was }) => was === JSON.stringify(one))?.each ?? make(one));
      endpoints = servers.flatMap(each => each.endpoints);
      for (const { each } of before) if (!servers.includes(each)) each.close();
      prepare();
      wake();
    },
    close() {
      closed = true;
      cancelRetry();
      for (const each of servers) each.close();
    },
    destroy() {
      closed = true;
      cancelRetry();
      for (const each of servers) each.destroy();
    },
  };
}
