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
import type { Cancel, UpstreamProtocol } from '../base/ports.js';
import type { Wheel } from '../base/wheel.js';
import { type Scan, scanResponse } from '../wire/scan.js';
import type { Ask } from '../wire/upstream-query.js';
import type { BootstrapServer } from './bootstrap.js';
import type { Endpoint, EndpointEvents, UpstreamPorts } from './endpoint.js';
import { type Mode, mayTryAnyway } from './mode.js';
import { order, type Policy } from './select.js';
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
  /** Asks; never rejects. `type` is the QTYPE in `ask.question`. */
  exchange(ask: Ask, type: number): Promise<UpstreamReply | Failure>;
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

/** One question on its way. */
interface Exchange {
  done: boolean;
  readonly ask: Ask;
  readonly type: number;
  readonly turn: number;
  sends: number;
  /** Attempts that may still bring an answer. */
  running: number;
  readonly tried: Set<Endpoint<Exchange>>;
  /** Its connection broke through no fault of the server's: may be asked again. */
  readonly blameless: Set<Endpoint<Exchange>>;
  /** An answer nobody likes, kept in case there is no better one. */
  fallback: UpstreamReply | undefined;
  lastFailure: Failure | undefined;
  readonly cancelTimers: Cancel[];
  readonly settle: (outcome: UpstreamReply | Failure) => void;
}

const namesOf = (endpoints: ReadonlySet<Endpoint<Exchange>>): string =>
  [...new Set([...endpoints].map(each => each.identity.upstream))].join(', ');

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
      send(exchange, candidates(exchange)[0] ?? from);
    },
  };
  const servers: readonly Server<Exchange>[] = spec.servers.map(each =>
    server(ports, each, spec, events, onAddresses));

  /** Whom to ask next, best first: who only hung up on us, then those not asked yet, then who hung up and is in back-off. */
  function candidates(exchange: Exchange): Endpoint<Exchange>[] {
    const all = servers.flatMap(each => each.endpoints);
    const untried = all.filter(each => !exchange.tried.has(each));
    const usable = order(spec.policy, untried.filter(each => each.path() !== 'refuse'), exchange.turn, random);
    const again = all.filter(each => exchange.blameless.has(each));
    if (usable.length > 0 || again.length > 0 || exchange.running > 0) {
      const inBackOff = (each: Endpoint<Exchange>): boolean => each.path() === 'refuse';
      return [...again.filter(each => !inBackOff(each)), ...usable, ...again.filter(inBackOff)];
    }
    // All are in back-off: one of them may be tried, each at most once a second.
    return order(spec.policy, untried.filter(each => mayTryAnyway(each.health, clock.monotonicMs())), exchange.turn, random);
  }

  function dispatch(exchange: Exchange): void {
    if (exchange.done || closed) return;
    const next = exchange.sends < MAX_SENDS ? candidates(exchange)[0] : undefined;
    if (next !== undefined) return send(exchange, next);
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
    exchange.tried.add(to);
    exchange.blameless.delete(to);
    const attemptMs = to.srttMs === undefined ? ATTEMPT_UNKNOWN_MS : Math.max(ATTEMPT_MIN_MS, 4 * to.srttMs);
    exchange.cancelTimers.push(wheel.after(attemptMs, () => {
      // The answer may still come, and is taken if it does; meanwhile someone else may be quicker.
      if (!exchange.done && exchange.sends < MAX_SENDS) send(exchange, candidates(exchange)[0]);
    }));
    to.ask(exchange.ask, exchange, path);
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
    const other = first && exchange.sends < MAX_SENDS ? candidates(exchange)[0] : undefined;
    if (other !== undefined) send(exchange, other);
    else if (exchange.running === 0) giveUp(exchange);
  }

  function onLost(from: Endpoint<Exchange>, exchange: Exchange, why: Failure, blameless: boolean): void {
    if (exchange.done) return;
    exchange.running--;
    exchange.lastFailure = why;
    if (blameless) {
      observer.replay();
      exchange.blameless.add(from);
    }
    dispatch(exchange);
  }

  function onAddresses(): void {
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
    waiting.delete(exchange);
    for (const cancel of exchange.cancelTimers) cancel();
    exchange.settle(outcome);
  }

  return {
    exchange: async (ask, type) => new Promise(resolve => {
      if (closed) return resolve(failure('shutdown'));
      const exchange: Exchange = {
        done: false,
        ask,
        type,
        turn: turns++,
        sends: 0,
        running: 0,
        tried: new Set(),
        blameless: new Set(),
        fallback: undefined,
        lastFailure: undefined,
        cancelTimers: [],
        settle: resolve,
      };
      exchange.cancelTimers.push(wheel.after(DEADLINE_MS, () => {
        exchange.lastFailure ??= exchange.tried.size === 0 ? undefined : failure('timeout', namesOf(exchange.tried));
        giveUp(exchange);
      }));
      for (const each of servers) each.refresh();
      dispatch(exchange);
    }),
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
