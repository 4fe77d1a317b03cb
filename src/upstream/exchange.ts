// One question to the upstream servers: which server is asked, when another one is asked too, what is asked again after
// a connection broke, and when to give up.
//
//   asking ─▶ reply ─▶ done
//     ▲  │       └─ SERVFAIL and similar: ask one other server
//     │  ├─ lost: connection closed or never made ─▶ ask again
//     │  ├─ suspect: connection silent ─▶ ask another server as well
//     │  ├─ slow: attempt time over ─▶ ask another server as well
//     │  └─ no server to ask ─▶ held ─▶ woken: ask again, or done
//     └──────────────── at most MAX_SENDS, all before the deadline

import type { Observer, UpstreamProtocol } from '../base/observer.js';
import { failure, type Failure } from '../base/outcome.js';
import type { Clock, Random } from '../base/ports.js';
import { monoAfter, type MonoMs } from '../base/time.js';
import { Timed, type Wheel } from '../base/wheel.js';
import { type Scan, scanResponse } from '../wire/scan.js';
import type { Ask } from '../wire/upstream-query.js';
import type { Endpoint, ServerName } from './endpoint.js';
import type { Group } from './group.js';
import type { Held } from './held.js';
import type { Waiter } from './inflight.js';
import { handshakePatienceMs } from './liveness.js';
import type { Path } from './mode.js';
import type { Lane } from './tls-transport.js';
import type { Loss } from './transport.js';
import { type Asked, type AttemptState, isRunning, isTlsOnly, nextToAsk, pathTo, type Tried } from './selection.js';

/** A reply from a server. */
export interface UpstreamReply {
  readonly at: 'reply';
  /** May share memory with a read buffer: copy it to keep it. */
  readonly message: Buffer;
  readonly scan: Scan;
  readonly server: ServerName;
  readonly protocol: UpstreamProtocol;
  /** Whether it came over TLS from an authenticated server. */
  readonly authenticated: boolean;
  /** It is an error, and another server has answered with an error, too. */
  readonly isShared?: boolean;
}

/** Takes the outcome of a question. */
export type TakeReply = (outcome: UpstreamReply | Failure) => void;

/** The parts that exchanges share. */
export interface ExchangeContext {
  readonly clock: Clock;
  readonly random: Random;
  readonly observer: Observer;
  readonly wheel: Wheel;
  readonly group: Group<Attempt>;
  readonly held: Held<Exchange>;
  /** How many questions in a row have got no reply from any server. */
  unanswered: number;
  /** Nothing is sent any more: questions are handed back. */
  readonly isClosed: boolean;
  /** See `Upstream` in upstream/pool. */
  readonly routesEpoch: number | undefined;
  /**
   * While all connections are being closed, lost questions are collected here. They are asked again when all
   * connections are closed.
   */
  readonly interrupted: Exchange[] | undefined;
}

/** Shorter than the 5 s after which stub resolvers ask again (glibc, musl). */
const DEADLINE_MS = 4500;
/** How often a question may leave. Attempts that waited for a connection in vain do not count, */
const MAX_SENDS = 3;
/** but all attempts together have a limit, too. */
const MAX_ATTEMPTS = 64;
const ATTEMPT_UNKNOWN_MS = 1500;
const ATTEMPT_MIN_MS = 400;
const ATTEMPT_RTTS = 4;
/** How long a question waits until a server is reached; Android uses the same time. */
const HOLD_MS = 4200;

/** One attempt to get an answer to a question. */
export class Attempt implements Waiter, Tried<Endpoint<Attempt>> {
  state: AttemptState = 'running';
  isSent = false;
  /** It does not count as a send: see Loss. */
  isUncounted = false;

  constructor(
    readonly exchange: Exchange,
    readonly to: Endpoint<Attempt>,
    readonly path: 'tls' | 'cleartext',
    readonly earlier: Attempt | undefined,
  ) {}

  /** Whether its question was answered or given up, or is not asked there any more. */
  get done(): boolean {
    return this.exchange.isDone || this.state === 'lost';
  }
}

type State = 'asking' | 'held' | 'done';

/**
 * One question. Its timer runs to the earlier of two times: the end of the current attempt's time, and the deadline.
 */
export class Exchange extends Timed implements Asked<Endpoint<Attempt>> {
  private state: State = 'asking';
  /** The newest attempt, which links to the earlier ones. */
  latest: Attempt | undefined = undefined;
  /** A reply that reports a failure, used if no better one comes. */
  private fallback: UpstreamReply | undefined = undefined;
  /** Which other queries it may share a connection with. */
  private lane: Lane = 'shared';
  private lastFailure: Failure | undefined = undefined;
  private readonly deadlineAtMs: MonoMs;
  /** The epoch of the routes when the question began. */
  private readonly beganIn: number | undefined;

  constructor(
    private readonly context: ExchangeContext,
    private readonly ask: Ask,
    /** The QTYPE in `ask.question`. */
    private readonly type: number,
    readonly turn: number,
    readonly shard: number,
    readonly avoid: readonly number[],
    startedAtMs: MonoMs,
    private readonly take: TakeReply,
  ) {
    super();
    this.deadlineAtMs = monoAfter(startedAtMs, DEADLINE_MS);
    this.beganIn = ask.routesEpoch ?? context.routesEpoch;
  }

  get isDone(): boolean {
    return this.state === 'done';
  }

  /** Asks the next server, waits for one, or gives up. */
  dispatch(nowMs = this.context.clock.monotonicMs()): void {
    if (this.state === 'done') return;
    if (this.state === 'held') this.context.held.delete(this);
    this.state = 'asking';
    const to = this.next(nowMs);
    if (to !== undefined) return this.send(to, nowMs);
    if (isRunning(this.latest)) return;
    const { context } = this;
    if (context.isClosed || this.isOutdated) return this.handBack();
    const { group, held } = context;
    const holdUntilMs = monoAfter(this.deadlineAtMs, HOLD_MS - DEADLINE_MS);
    if (group.isSearching && this.mayAsk) this.hold(this.deadlineAtMs, nowMs);
    else if (!group.isEmpty && held.inGrace(nowMs) && nowMs < holdUntilMs) {
      this.hold(holdUntilMs, nowMs);
      held.keepTrying();
    } else this.giveUp();
  }

  /**
   * Asks again after the question was held, or after all connections were closed. Earlier attempts do not count any
   * more.
   */
  wake(nowMs: MonoMs): void {
    if (isRunning(this.latest)) return;
    this.latest = this.lastFailure = undefined;
    this.lane = 'shared';
    this.dispatch(nowMs);
  }

  /** Its name may be asked of others now, or of nobody: attempts that wait for a connection do not leave any more. */
  rerouted(): void {
    if (!this.isOutdated) return;
    for (let each = this.latest; each !== undefined; each = each.earlier)
      if (each.state === 'running' && !each.isSent) each.state = 'lost';
    if (!isRunning(this.latest)) this.handBack();
  }

  /** Ends the question: this pool sends nothing any more. */
  handBack(): void {
    this.finish(this.fallback ?? failure('handed_back'));
  }

  /** An attempt was answered. */
  replied(attempt: Attempt, message: Buffer, protocol: UpstreamProtocol, rttMs: number, authenticated: boolean): void {
    if (this.state === 'done') return;
    const { to } = attempt;
    const scan = scanResponse(message, this.type);
    if (scan === undefined || scan.truncated) {
      to.countError('parse');
      return this.lost(attempt, failure('parse', to.server.label), 'fault');
    }
    attempt.state = 'answered';
    to.countResponse(scan.rcode, rttMs);
    to.noteAnswer(this.ask, this.type, message, scan, protocol);
    this.context.unanswered = 0;
    const reply: UpstreamReply = {
      at: 'reply',
      message,
      scan,
      server: to.server,
      protocol,
      authenticated,
    };
    if (scan.rcode === 0 || scan.rcode === 3) return this.finish(reply);
    // SERVFAIL, REFUSED and similar RCODEs may be that server's own problem: ask one other server, once.
    const isFirst = this.fallback === undefined;
    this.fallback ??= { ...reply, message: Buffer.from(message) };
    if (this.fallback.server.id !== to.server.id) this.fallback = { ...this.fallback, isShared: true };
    const nowMs = this.context.clock.monotonicMs();
    // Its other addresses would say the same.
    const other = isFirst ? this.next(nowMs, [...this.avoid, to.server.id]) : undefined;
    if (other !== undefined) this.send(other, nowMs);
    else if (!isRunning(this.latest)) this.giveUp();
  }

  /** An attempt ended without an answer. */
  lost(attempt: Attempt, why: Failure | undefined, loss: Loss): void {
    if (this.state === 'done') return;
    const { observer, interrupted } = this.context;
    attempt.state = this.stateAfter(loss);
    attempt.isUncounted = loss === 'uncounted';
    if (why !== undefined) this.lastFailure = why;
    if (attempt.state !== 'lost') observer.replay();
    if (interrupted === undefined) this.dispatch();
    else interrupted.push(this);
  }

  /** The state of an attempt that was lost. After a hang-up, the next one shares its connection with fewer queries. */
  private stateAfter(loss: Loss): AttemptState {
    switch (loss) {
      case 'fault':
        return 'lost';
      case 'closed':
      case 'uncounted':
        return 'closed';
      case 'hang_up':
      case 'likely_reason': {
        const { lane } = this;
        // Alone on its connection, it was the reason.
        if (lane === 'alone') return 'lost';
        this.lane = lane === 'suspects' || loss === 'likely_reason' ? 'alone' : 'suspects';
        return lane === 'suspects' ? 'hung_up' : 'closed';
      }
    }
  }

  /**
   * The connection of an attempt is silent: asks another server, or over another connection, as well.
   * @param isSlow whether it is the answer to this question that arrives too slowly: it must not hold up others again
   */
  suspected(attempt: Attempt, isSlow: boolean): void {
    if (this.state === 'done' || !this.mayAsk) return;
    if (isSlow) {
      // Alone on its connection it was slow, too.
      if (this.lane === 'alone') return;
      this.lane = 'alone';
    }
    const nowMs = this.context.clock.monotonicMs();
    this.context.observer.hedge();
    // Without another server, use a new connection to the same one: endpoints do not use a suspect connection twice.
    const to = this.next(nowMs) ?? attempt.to;
    if (this.pathTo(to, nowMs) !== 'refuse') this.send(to, nowMs);
  }

  /** The timer: the time of an attempt or of the whole question is over. */
  override fire(): void {
    if (this.state === 'done') return;
    const nowMs = this.context.clock.monotonicMs();
    if (this.state === 'held') {
      this.lastFailure ??= this.context.group.whyNobody() ?? failure('not_ready');
      return this.giveUp();
    }
    const leftMs = this.deadlineAtMs - nowMs;
    if (leftMs <= 0) {
      const asked = serversOf(this.latest);
      if (asked !== '') this.lastFailure ??= failure('timeout', asked);
      return this.giveUp();
    }
    this.context.wheel.start(this, leftMs, nowMs);
    // A late answer is still accepted; meanwhile another server may be faster.
    const to = this.next(nowMs);
    if (to !== undefined) this.send(to, nowMs);
  }

  /** Whether it may be sent once more since it was last woken. */
  private get mayAsk(): boolean {
    if (this.isOutdated) return false;
    let attempts = 0;
    let sends = 0;
    for (let each = this.latest; each !== undefined; each = each.earlier) {
      attempts++;
      if (each.isSent && !each.isUncounted) sends++;
    }
    return sends < MAX_SENDS && attempts < MAX_ATTEMPTS;
  }

  private next(nowMs: MonoMs, avoid = this.avoid): Endpoint<Attempt> | undefined {
    if (!this.mayAsk) return undefined;
    const { latest, turn, shard } = this;
    const { group, random } = this.context;
    return nextToAsk(avoid === this.avoid ? this : { latest, turn, shard, avoid }, group, random, nowMs);
  }

  private pathTo(to: Endpoint<Attempt>, nowMs: MonoMs): Path {
    return pathTo(to, isTlsOnly(this.context.group, nowMs), nowMs);
  }

  private send(to: Endpoint<Attempt>, nowMs: MonoMs): void {
    const path = this.pathTo(to, nowMs) === 'cleartext' ? 'cleartext' : 'tls';
    // Attempts whose connection closed are repeated now.
    for (let each = this.latest; each !== undefined; each = each.earlier)
      if (each.to === to && (each.state === 'closed' || each.state === 'hung_up')) each.state = 'lost';
    const attempt = new Attempt(this, to, path, this.latest);
    this.latest = attempt;
    const { wheel, group } = this.context;
    const hasOthers = path === 'tls' && !to.open && group.endpoints.length > countTargets(attempt);
    const attemptMs = hasOthers
      ? handshakePatienceMs(to.srttMs)
      : to.srttMs === undefined
        ? ATTEMPT_UNKNOWN_MS
        : Math.max(ATTEMPT_MIN_MS, ATTEMPT_RTTS * to.srttMs);
    wheel.start(this, Math.min(attemptMs, this.deadlineAtMs - nowMs), nowMs);
    to.ask(this.ask, attempt, path, this.lane, nowMs);
  }

  private hold(untilMs: MonoMs, nowMs: MonoMs): void {
    if (!this.context.held.add(this)) return this.finish(failure('overload'));
    this.state = 'held';
    this.context.wheel.start(this, untilMs - nowMs, nowMs);
  }

  /** Whether its name may be asked of others now, or of nobody: then only attempts that are running may answer it. */
  private get isOutdated(): boolean {
    const { routesEpoch } = this.context;
    return routesEpoch !== undefined && routesEpoch !== this.beganIn;
  }

  private giveUp(): void {
    if (this.isOutdated) return this.handBack();
    this.finish(this.fallback ?? this.lastFailure ?? this.context.group.whyNobody() ?? failure('no_upstream'));
  }

  private finish(outcome: UpstreamReply | Failure): void {
    if (this.state === 'done') return;
    if (this.state === 'held') this.context.held.delete(this);
    this.state = 'done';
    this.context.wheel.stop(this);
    if (outcome.at === 'failure' && outcome.code !== 'handed_back') this.context.unanswered++;
    this.take(outcome);
  }
}

/** How many addresses were asked. */
function countTargets(latest: Attempt): number {
  let count = 0;
  for (let each: Attempt | undefined = latest; each !== undefined; each = each.earlier) {
    let repeated = false;
    for (let before = each.earlier; before !== undefined; before = before.earlier)
      if (before.to === each.to) repeated = true;
    if (!repeated) count++;
  }
  return count;
}

/** The servers that were asked, in order, for messages. */
function serversOf(latest: Attempt | undefined): string {
  const labels = new Set<string>();
  const attempts: Attempt[] = [];
  for (let each = latest; each !== undefined; each = each.earlier) attempts.unshift(each);
  for (const { to } of attempts) labels.add(to.server.label);
  return [...labels].join(', ');
}
