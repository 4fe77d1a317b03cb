// One question through the upstream servers: who is asked, when the next is asked too, what is asked again after a
// connection broke, and when to give up. Connections only report; every decision about a query is made here.
//
//   dispatch ─▶ reply ─▶ done
//     ▲  │        └─ SERVFAIL & co.: one other server's opinion
//     │  ├─ lost: connection closed or never made ─▶ dispatch again
//     │  ├─ suspect: connection silent ─▶ dispatch beside it
//     │  └─ slow: attempt time over ─▶ another server beside it
//     └──────────────── at most MAX_SENDS, all before the deadline

import { failure, type Failure } from '../base/outcome.js';
import type { UpstreamProtocol } from '../base/ports.js';
import { Timed, type Wheel } from '../base/wheel.js';
import { type Scan, scanResponse } from '../wire/scan.js';
import type { Ask } from '../wire/upstream-query.js';
import type { BootstrapServer } from './bootstrap.js';
import type { Endpoint, EndpointEvents, UpstreamPorts } from './endpoint.js';
import { type Mode, mayTryAnyway } from './mode.js';
import { choose, type Policy } from './select.js';
import { type Server, server, type ServerSpec } from './server.js';

/** What upstream said. */
export interface UpstreamReply {
  readonly at: 'reply';
  /** May share memory with a read buffer: copy what has to last. */
  readonly message: Buffer;
  readonly scan: Scan;
  readonly upstream: string;
  readonly protocol: UpstreamProtocol;
}

/** The configured upstream group. */
export interface PoolSpec {
  readonly mode: Mode;
  readonly policy: Policy;
  readonly servers: readonly ServerSpec[];
  readonly bootstrapServers: readonly BootstrapServer[];
  /** Port of cleartext DNS; 53 but in tests. */
  readonly plainPort?: number;
}

/** The pool, from outside. */
export interface Pool {
  /**
   * Asks. `type` is the QTYPE in `ask.question`.
   * @param settle called once; at once where it is clear that nobody can be asked
   */
  exchange(ask: Ask, type: number, settle: Settle): void;
  /** At least one server could be asked right now. */
  readonly ready: boolean;
  /** Takes no more questions; waits for nothing. */
  close(): void;
  destroy(): void;
}

/** Shorter than the 5 s after which stub resolvers ask again (glibc, musl). */
const DEADLINE_MS = 4500;
const MAX_SENDS = 3;
const ATTEMPT_UNKNOWN_MS = 1500;
const ATTEMPT_MIN_MS = 400;

/** Takes what came of a question. */
export type Settle = (outcome: UpstreamReply | Failure) => void;

const NOBODY: readonly Endpoint<Exchange>[] = [];

/** One question on its way. Its timer is for whatever comes first: the end of an attempt's time, or the deadline. */
class Exchange extends Timed {
  done = false;
  sends = 0;
  /** Attempts that may still bring an answer. */
  running = 0;
  tried: readonly Endpoint<Exchange>[] = NOBODY;
  /** Those whose connection broke through no fault of the server's: may be asked again. */
  blameless: readonly Endpoint<Exchange>[] = NOBODY;
  /** An answer nobody likes, kept in case there is no better one. */
  fallback: UpstreamReply | undefined;
  lastFailure: Failure | undefined;

  constructor(
    readonly ask: Ask,
    readonly type: number,
    readonly turn: number,
    readonly deadlineAtMs: number,
    readonly settle: Settle,
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
  // Those that wait for a server's address.
  const waiting = new Set<Exchange>();

  const events: EndpointEvents<Exchange> = {
    reply: onReply,
    lost: onLost,
    suspect(from, exchange) {
      if (exchange.done || exchange.sends >= MAX_SENDS) return;
      observer.hedge();
      // With no other server, the same one over a new connection: endpoints do not give out a suspect one twice.
      send(exchange, next(exchange) ?? from);
    },
  };
  const servers: readonly Server<Exchange>[] = spec.servers.map(each =>
    server(ports, each, spec, events, onAddresses));

  // Rebuilt when addresses were found: looked at for every query.
  let endpoints = servers.flatMap(each => each.endpoints);

  /** Whom to ask next: who only hung up on us, then someone not asked yet, then who hung up and is in back-off. */
  function next(exchange: Exchange): Endpoint<Exchange> | undefined {
    const { tried, blameless } = exchange;
    const again = blameless.find(each => each.path() !== 'refuse');
    if (again !== undefined) return again;
    const untried = tried.length === 0 ? endpoints : endpoints.filter(each => !tried.includes(each));
    const usable = untried.filter(each => each.path() !== 'refuse');
    const chosen = choose(spec.policy, usable, exchange.turn, random) ?? blameless[0];
    if (chosen !== undefined || exchange.running > 0) return chosen;
    // All are in back-off: one of them may be tried, each at most once a second.
    const nowMs = clock.monotonicMs();
    return choose(spec.policy, untried.filter(each => mayTryAnyway(each.health, nowMs)), exchange.turn, random);
  }

  function dispatch(exchange: Exchange): void {
    if (exchange.done || closed) return;
    const to = exchange.sends < MAX_SENDS ? next(exchange) : undefined;
    if (to !== undefined) return send(exchange, to);
    if (exchange.running > 0) return;
    const searching = servers.some(each => each.endpoints.length === 0 && each.failure === undefined);
    if (searching && exchange.sends < MAX_SENDS) waiting.add(exchange);
    else giveUp(exchange);
  }

  function send(exchange: Exchange, to: Endpoint<Exchange> | undefined): void {
    if (to === undefined) return;
    const path = to.path() === 'cleartext' ? 'cleartext' : 'tls';
    exchange.sends++;
    exchange.running++;
    if (!exchange.tried.includes(to)) exchange.tried = [...exchange.tried, to];
    if (exchange.blameless.length > 0) exchange.blameless = exchange.blameless.filter(each => each !== to);
    const attemptMs = to.srttMs === undefined ? ATTEMPT_UNKNOWN_MS : Math.max(ATTEMPT_MIN_MS, 4 * to.srttMs);
    wheel.start(exchange, Math.min(attemptMs, exchange.deadlineAtMs - clock.monotonicMs()));
    to.ask(exchange.ask, exchange, path);
  }

  /** An attempt has had its time, or all have. */
  function onTime(exchange: Exchange): void {
    if (exchange.done) return;
    const leftMs = exchange.deadlineAtMs - clock.monotonicMs();
    if (leftMs <= 0) {
      exchange.lastFailure ??= exchange.tried.length === 0 ? undefined : failure('timeout', namesOf(exchange.tried));
      return giveUp(exchange);
    }
    wheel.start(exchange, leftMs);
    // The answer may still come, and is taken if it does; meanwhile someone else may be quicker.
    if (exchange.sends < MAX_SENDS) send(exchange, next(exchange));
  }

  function onReply(from: Endpoint<Exchange>, exchange: Exchange, message: Buffer, protocol: UpstreamProtocol, rttMs: number): void {
    if (exchange.done) return;
    const { upstream } = from.identity;
    const scan = scanResponse(message, exchange.type);
    if (scan === undefined || scan.truncated) {
      observer.upstreamError(upstream, 'parse');
      return onLost(from, exchange, failure('parse', upstream), false);
    }
    exchange.running--;
    observer.upstreamResponse(upstream, scan.rcode, rttMs / 1000);
    const reply: UpstreamReply = { at: 'reply', message, scan, upstream, protocol };
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
    dispatch(exchange);
  }

  function onAddresses(): void {
    endpoints = servers.flatMap(each => each.endpoints);
    const woken = [...waiting];
    waiting.clear();
    woken.forEach(dispatch);
  }

  function giveUp(exchange: Exchange): void {
    const { fallback, lastFailure } = exchange;
    finish(exchange, fallback ?? lastFailure ?? whyNobody());
  }

  /** Nobody was asked: the reason is the servers'. */
  function whyNobody(): Failure {
    for (const each of servers) {
      const why = each.failure ?? each.endpoints.find(one => one.lastFailure !== undefined)?.lastFailure;
      if (why !== undefined) return why;
    }
    return failure('no_upstream');
  }

  function finish(exchange: Exchange, outcome: UpstreamReply | Failure): void {
    if (exchange.done) return;
    exchange.done = true;
    if (waiting.size > 0) waiting.delete(exchange);
    wheel.stop(exchange);
    exchange.settle(outcome);
  }

  return {
    exchange(ask, type, settle) {
      if (closed) {
        settle(failure('shutdown'));
        return;
      }
      const exchange = new Exchange(ask, type, turns++, clock.monotonicMs() + DEADLINE_MS, settle, onTime);
      wheel.start(exchange, DEADLINE_MS);
      for (const each of servers) each.refresh();
      dispatch(exchange);
    },
    get ready() {
      return servers.some(each => each.endpoints.some(one => one.path() !== 'refuse'));
    },
    close() {
      closed = true;
      for (const each of servers) each.close();
    },
    destroy() {
      closed = true;
      for (const each of servers) each.destroy();
    },
  };
}
