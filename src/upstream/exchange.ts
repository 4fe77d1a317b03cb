// One question through the upstream servers: who is asked, when the next one is asked too, what is asked again after a
// connection broke, and when to give up.
//
//   asking ─▶ reply ─▶ done
//     ▲  │       └─ SERVFAIL & co.: one other server's opinion
//     │  ├─ lost: connection closed or never made ─▶ ask again
//     │  ├─ suspect: connection silent ─▶ ask beside it
//     │  ├─ slow: attempt time over ─▶ ask another server beside it
//     │  └─ nobody to ask ─▶ held ─▶ woken: ask again, or done
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
import { type Asked, type AttemptState, isRunning, nextToAsk, type Tried } from './selection.js';

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

/** Takes what came of a question. */
export type TakeReply = (outcome: UpstreamReply | Failure) => void;

/** What exchanges share. */
export interface ExchangeContext {
  readonly clock: Clock;
  readonly random: Random;
  readonly observer: Observer;
  readonly wheel: Wheel;
  readonly group: Group<Attempt>;
  readonly held: Held<Exchange>;
  /** Nothing is sent any more: questions are handed back. */
  readonly isClosed: boolean;
  /** While all connections are cut, what was lost is collected here, and asked again when all of them are. */
  readonly interrupted: Exchange[] | undefined;
}

/** Shorter than the 5 s after which stub resolvers ask again (glibc, musl). */
const DEADLINE_MS = 4500;
const MAX_SENDS = 3;
const ATTEMPT_UNKNOWN_MS = 1500;
const ATTEMPT_MIN_MS = 400;
/** An address that is still being connected to gets this head start before the next one is asked too (as RFC 8305 §5). */
const STAGGER_MS = 250;
/** How long a question waits for a server to be reached: as long as Android's. */
const HOLD_MS = 4200;

/** One attempt to have a question answered. */
export class Attempt implements Waiter, Tried<Endpoint<Attempt>> {
  state: AttemptState = 'running';

  constructor(
    readonly exchange: Exchange,
    readonly to: Endpoint<Attempt>,
    readonly path: 'tls' | 'cleartext',
    readonly earlier: Attempt | undefined,
  ) {}

  /** Its question has been answered or given up. */
  get done(): boolean {
    return this.exchange.isDone;
  }
}

type State = 'asking' | 'held' | 'done';

/** One question. Its timer is for whatever comes first: the end of an attempt's time, or the deadline. */
export class Exchange extends Timed implements Asked<Endpoint<Attempt>> {
  private state: State = 'asking';
  /** The newest attempt; the others are linked to it. */
  latest: Attempt | undefined = undefined;
  /** A reply that reports a failure, kept in case there is no better one. */
  private fallback: UpstreamReply | undefined = undefined;
  private lastFailure: Failure | undefined = undefined;
  private readonly deadlineAtMs: MonoMs;

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
    if (context.isClosed) return this.handBack();
    const { group, held } = context;
    const holdUntilMs = monoAfter(this.deadlineAtMs, HOLD_MS - DEADLINE_MS);
    if (group.isSearching && this.sends < MAX_SENDS) this.hold(this.deadlineAtMs, nowMs);
    else if (!group.isEmpty && held.isSettling(nowMs) && nowMs < holdUntilMs) {
      this.hold(holdUntilMs, nowMs);
      held.keepTrying();
    } else this.giveUp();
  }

  /** Asks anew after having waited, or after all connections were cut: what was tried before counts no more. */
  wake(nowMs: MonoMs): void {
    if (isRunning(this.latest)) return;
    this.latest = this.lastFailure = undefined;
    this.dispatch(nowMs);
  }

  /** Ends it: this pool asks nobody any more. */
  handBack(): void {
    this.finish(this.fallback ?? failure('handed_back'));
  }

  /** An attempt was answered. */
  replied(attempt: Attempt, message: Buffer, protocol: UpstreamProtocol, rttMs: number): void {
    if (this.state === 'done') return;
    const { to } = attempt;
    const scan = scanResponse(message, this.type);
    if (scan === undefined || scan.truncated) {
      to.countError('parse');
      return this.lost(attempt, failure('parse', to.server.label), false);
    }
    attempt.state = 'answered';
    to.countResponse(scan.rcode, rttMs);
    const reply: UpstreamReply = {
      at: 'reply',
      message,
      scan,
      server: to.server,
      protocol,
      authenticated: protocol === 'dot' && to.authenticated,
    };
    if (scan.rcode === 0 || scan.rcode === 3) return this.finish(reply);
    // SERVFAIL, REFUSED and the like may be that server's own trouble: ask one other, once.
    const isFirst = this.fallback === undefined;
    this.fallback ??= { ...reply, message: Buffer.from(message) };
    const nowMs = this.context.clock.monotonicMs();
    const other = isFirst ? this.next(nowMs) : undefined;
    if (other !== undefined) this.send(other, nowMs);
    else if (!isRunning(this.latest)) this.giveUp();
  }

  /** An attempt brings no answer. */
  lost(attempt: Attempt, why: Failure | undefined, blameless: boolean): void {
    if (this.state === 'done') return;
    const { observer, interrupted } = this.context;
    attempt.state = blameless ? 'closed' : 'lost';
    if (why !== undefined) this.lastFailure = why;
    if (blameless) observer.replay();
    if (interrupted === undefined) this.dispatch();
    else interrupted.push(this);
  }

  /** The connection of an attempt has gone quiet: asks beside it. */
  suspected(attempt: Attempt): void {
    if (this.state === 'done' || this.sends >= MAX_SENDS) return;
    const nowMs = this.context.clock.monotonicMs();
    this.context.observer.hedge();
    // With no other server, the same one over a new connection: endpoints do not give out a suspect one twice.
    const to = this.next(nowMs) ?? attempt.to;
    if (to.path(nowMs) !== 'refuse') this.send(to, nowMs);
  }

  /** Its timer: the time of an attempt is over, or that of the question. */
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
    // The answer may still come, and is taken if it does; meanwhile another server may be quicker.
    const to = this.next(nowMs);
    if (to !== undefined) this.send(to, nowMs);
  }

  /** How often it was sent since it was last woken. */
  private get sends(): number {
    let count = 0;
    for (let each = this.latest; each !== undefined; each = each.earlier) count++;
    return count;
  }

  private next(nowMs: MonoMs): Endpoint<Attempt> | undefined {
    const { group, random } = this.context;
    return this.sends < MAX_SENDS ? nextToAsk(this, group, random, nowMs) : undefined;
  }

  private send(to: Endpoint<Attempt>, nowMs: MonoMs): void {
    const path = to.path(nowMs) === 'cleartext' ? 'cleartext' : 'tls';
    // What closed there is repeated now.
    for (let each = this.latest; each !== undefined; each = each.earlier)
      if (each.to === to && each.state === 'closed') each.state = 'lost';
    const attempt = new Attempt(this, to, path, this.latest);
    this.latest = attempt;
    const { wheel, group } = this.context;
    const hasOthers = path === 'tls' && !to.open && group.endpoints.length > countTargets(attempt);
    const attemptMs = hasOthers
      ? STAGGER_MS
      : to.srttMs === undefined
        ? ATTEMPT_UNKNOWN_MS
        : Math.max(ATTEMPT_MIN_MS, 4 * to.srttMs);
    wheel.start(this, Math.min(attemptMs, this.deadlineAtMs - nowMs), nowMs);
    to.ask(this.ask, attempt, path, nowMs);
  }

  private hold(untilMs: MonoMs, nowMs: MonoMs): void {
    if (!this.context.held.add(this)) return this.finish(failure('overload'));
    this.state = 'held';
    this.context.wheel.start(this, untilMs - nowMs, nowMs);
  }

  private giveUp(): void {
    this.finish(this.fallback ?? this.lastFailure ?? this.context.group.whyNobody() ?? failure('no_upstream'));
  }

  private finish(outcome: UpstreamReply | Failure): void {
    if (this.state === 'done') return;
    if (this.state === 'held') this.context.held.delete(this);
    this.state = 'done';
    this.context.wheel.stop(this);
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

/** The servers that were asked, for people, in their order. */
function serversOf(latest: Attempt | undefined): string {
  const labels = new Set<string>();
  const attempts: Attempt[] = [];
  for (let each = latest; each !== undefined; each = each.earlier) attempts.unshift(each);
  for (const { to } of attempts) labels.add(to.server.label);
  return [...labels].join(', ');
}
