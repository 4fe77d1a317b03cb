// One connection to one server: pipelined queries, replies in any order, and a check that the server still answers.
// It opens at once, queues queries until the handshake is done, and reports to its owner. It never retries by itself.
//
//   connecting ──connected──▶ open ──close(), keepalive of 0──▶ draining ──last answer, silent, 5 s──▶ closed
//        │                     └──── idle, silent, end of stream ────────────────────────────────────▶ closed
//        └───────────── failure, close() ────────────────────────────────────────────────────────────▶ closed

import { u16At } from '../base/octets.js';
import type { FailureCode } from '../base/outcome.js';
import type { Cancel, Clock, Connected, Dial, DialTarget, Random, Stream, StreamEvents } from '../base/ports.js';
import type { MonoMs } from '../base/time.js';
import { frameReader } from '../wire/frame.js';
import { keepaliveMs } from '../wire/scan.js';
import { type Ask, errorWithQuestion, isErrorWithoutQuestion, ROOT_NS, upstreamFrame } from '../wire/upstream-query.js';
import { blamesForm, type EdnsForms } from './edns-forms.js';
import { Inflight, type Match, Sent, type Waiter } from './inflight.js';
import { Liveness, patienceMs } from './liveness.js';
import { formProbe, isProbe, Probe, type ProbeResult } from './probe.js';

/**
 * With at most this many queries in flight, received octets are acknowledged at once. With more, the next query carries
 * the acknowledgement soon enough.
 */
const FEW_INFLIGHT = 16;

/** Why a connection ended. */
export type End =
  /** It was idle. */
  | { readonly at: 'idle' }
  /** We closed it, because it is not needed any more. */
  | { readonly at: 'drain' }
  /** The server closed an established connection, in order or not, `idleForMs` after its last answer. */
  | {
      readonly at: 'server';
      readonly code: FailureCode;
      readonly detail: string;
      readonly idleForMs: number;
      /** It was idle, and nothing was received since: the server probably closed it before the queries arrived. */
      readonly afterIdle: boolean;
    }
  /** It was never established. */
  | { readonly at: 'failed'; readonly code: FailureCode; readonly detail: string }
  /** It was established, but the server stopped answering. */
  | { readonly at: 'silent' };

/** A query that got no answer before its connection ended. */
export interface Unanswered<T> {
  readonly waiter: T;
  /** Whether the connection answered another query after this one was sent. */
  readonly progressed: boolean;
}

/** The events of a connection, for its owner. `T` is the owner's object for a query. */
export interface ConnectionEvents<T extends Waiter> {
  connected(info: Connected, handshakeMs: number): void;
  /** A query was answered. `idleForMs`: how long the connection had been idle before the query. */
  reply(waiter: T, message: Buffer, rttMs: number, idleForMs: number): void;
  /** A message arrived that answers no query in flight. */
  stray(kind: Exclude<Match<T>['at'], 'reply'>): void;
  /**
   * The server has stopped answering. These queries stay in flight here as well.
   * @param slow the one of them whose answer is arriving, too slowly
   */
  suspect(waiters: readonly T[], slow: T | undefined): void;
  /** The smoothed round-trip time of the server; undefined: not measured yet. */
  srttMs(): number | undefined;
  /** The server said how long it keeps idle connections (RFC 7828). */
  keepalive(ms: number): void;
  /** How long it may be idle. Called whenever it becomes idle. */
  idleMs(): number;
  /** It was idle for that long. Returns whether to send a query to keep it open. */
  keepWarm(): boolean;
  /** The last event. These queries got no answer, oldest first. */
  closed(end: End, unanswered: readonly Unanswered<T>[]): void;
}

type Phase = 'connecting' | 'open' | 'draining' | 'closed';

/** A draining connection waits this long for its last answers: a query is given up after 4.5 s. */
const DRAIN_MS = 5000;
/** A probe is given up after this time. */
const PROBE_MS = 5000;
/** A server may close a connection that was idle for this long at any moment. */
const IDLE_MS = 1000;
/** The most queries that may wait for the handshake. */
const MOST_QUEUED = 16_384;

/** A query that waits for the handshake. */
interface Queued<T extends Waiter> {
  readonly ask: Ask;
  readonly waiter: T | Probe;
}

/** A connection. */
export class Connection<T extends Waiter> {
  /** How many queries it has answered, probes included. */
  answers = 0;
  /** How many queries of its owner it has answered. */
  private progress = 0;
  /** How many queries were given to it, probes included. */
  taken = 0;
  private phase: Phase = 'connecting';
  private readonly liveness: Liveness;
  /** The probe that was sent because of silence. */
  private check: Probe | undefined = undefined;
  private readonly sent: Inflight<T | Probe>;
  /** Queries that wait for the end of the handshake. */
  private queued: Queued<T>[] = [];
  /** Whether no query has left yet. */
  private isFirst = true;
  /** RFC 7828 §3.2.1: the server answers the option once. */
  private heardKeepalive = false;
  /** Whether the octets that are being read have completed an answer to a query in flight. */
  private completed = false;
  private isProved = false;
  private readonly startedAtMs: MonoMs;
  /** When the octets that are being read came. */
  private receivedAtMs: MonoMs;
  private handshakeMs: number | undefined = undefined;
  /** How long the connection had been idle before the queries in flight were sent. */
  private idleForMs = 0;
  /** Queries were sent, and nothing was received since the first of them. */
  private isUnheard = false;
  private cancelTimer: Cancel = () => undefined;
  private cancelDrain: Cancel = () => undefined;
  private readonly frames = frameReader();
  private readonly stream: Stream;
  private readonly clock: Clock;

  /** Opens the connection. */
  constructor(
    { clock, random, dial }: { readonly clock: Clock; readonly random: Random; readonly dial: Dial },
    target: DialTarget,
    /** The forms of queries that the server accepts. */
    private readonly edns: EdnsForms,
    private readonly events: ConnectionEvents<T>,
  ) {
    this.clock = clock;
    this.startedAtMs = this.receivedAtMs = clock.monotonicMs();
    this.liveness = new Liveness(this.startedAtMs);
    this.sent = new Inflight(random);
    const streamEvents: StreamEvents = {
      connected: info => this.connected(info),
      bytes: chunk => this.received(chunk),
      closed: why => this.streamClosed(why),
    };
    this.stream = dial(target, streamEvents);
  }

  /** The server has stopped answering on it: another connection is a better choice. */
  get suspect(): boolean {
    return this.liveness.isSuspect;
  }

  /** When the last octets arrived, or the first of the queries in flight was sent, whichever is later. */
  get lastMs(): MonoMs {
    return this.liveness.lastMs;
  }

  /** Queries were sent, and nothing was received since the first of them. */
  get isUnanswered(): boolean {
    return this.isUnheard;
  }

  /** When its handshake began. */
  get startedMs(): MonoMs {
    return this.startedAtMs;
  }

  /** Whether the server was authenticated in its handshake. */
  get authenticated(): boolean {
    return this.isProved;
  }

  get open(): boolean {
    return this.phase === 'open';
  }

  /** Whether it accepts queries, to be sent now or after the handshake. */
  get usable(): boolean {
    return this.phase === 'open' || this.phase === 'connecting';
  }

  /** Queries that wait for an answer, probes included. */
  get inflight(): number {
    return this.sent.size + this.queued.length;
  }

  /**
   * Sends a query now, or after the handshake. False: it accepts no more.
   * @param nowMs the time on the monotonic clock, if the caller has just read it
   */
  ask(ask: Ask, waiter: T, nowMs?: MonoMs): boolean {
    return this.take(ask, waiter, nowMs);
  }

  /**
   * Sends a probe. `then` is not called if we close the connection before the answer.
   * @param ask what is asked: the root's name servers, which resolvers know, unless there is a better question
   */
  probe(then: ProbeResult, ask = ROOT_NS): void {
    if (!this.take(ask, new Probe(then))) then(undefined, 0);
  }

  /**
   * Sends nothing more, and closes after the answers to the queries in flight. Queries that were not sent yet get no
   * answer.
   */
  close(): void {
    if (this.phase === 'connecting' || (this.phase === 'open' && this.sent.size === 0)) this.end({ at: 'drain' });
    else this.drain();
  }

  /** Closes at once. Queries in flight get no answer. */
  destroy(): void {
    this.end({ at: 'drain' });
    this.stream.destroy();
  }

  private take(ask: Ask, waiter: T | Probe, nowMs?: MonoMs): boolean {
    if (this.phase === 'open') {
      const now = nowMs ?? this.clock.monotonicMs();
      return this.send(ask, waiter, now, this.edns.current(now));
    }
    if (this.phase !== 'connecting' || this.queued.length >= MOST_QUEUED) return false;
    this.taken++;
    this.queued.push({ ask, waiter });
    return true;
  }

  private send(ask: Ask, waiter: T | Probe, nowMs: MonoMs, form: number): boolean {
    const id = this.sent.add(new Sent(waiter, ask, form, nowMs, this.progress));
    if (id === undefined) return false;
    this.taken++;
    waiter.isSent = true;
    if (this.sent.size === 1) {
      // What was answered elsewhere meanwhile is still a question that the server has not answered here.
      if (!this.isUnheard) {
        this.idleForMs = nowMs - this.liveness.lastMs;
        this.isUnheard = true;
        this.liveness.begin(nowMs);
      }
      this.watch();
    }
    this.stream.send(upstreamFrame(id, ask, this.edns.options(form, this.isFirst)));
    this.isFirst = false;
    return true;
  }

  private drain(): void {
    if (this.phase !== 'open') return;
    this.phase = 'draining';
    this.cancelDrain = this.clock.after(DRAIN_MS, () => this.end({ at: 'drain' }));
  }

  /** Starts the one timer: for silence while queries are in flight, else for idleness. */
  private watch(): void {
    this.cancelTimer();
    if (this.phase !== 'open' && this.phase !== 'draining') return;
    this.endProbes();
    // Before it counts as idle, it must be heard of: queries that nobody waits for any more may all be unanswered.
    if (!this.sent.isAwaited && !this.isUnheard) {
      if (this.phase === 'draining' || this.liveness.isSuspect) return this.end({ at: 'drain' });
      this.cancelTimer = this.clock.after(this.events.idleMs(), () => {
        if (this.sent.isAwaited || this.isUnheard) this.watch();
        else if (this.events.keepWarm()) this.probe(() => undefined);
        else this.end({ at: 'idle' });
      });
      return;
    }
    const step = this.liveness.step(this.clock.monotonicMs(), patienceMs(this.roundTripMs()));
    switch (step.at) {
      case 'wait':
        this.cancelTimer = this.clock.after(Math.max(1, step.ms), () => this.watch());
        return;
      case 'ask':
        this.checkServer();
        return this.watch();
      case 'suspect':
        this.tellSuspicion(step.isArriving);
        return this.watch();
      case 'dead':
        return this.end({ at: 'silent' });
    }
  }

  /** @param isArriving whether the answer that holds up the others will arrive: then it is not asked for again */
  private tellSuspicion(isArriving: boolean): void {
    const { unfinished } = this.frames;
    const slow = unfinished.length < 2 ? undefined : this.sent.withId(u16At(unfinished, 0))?.waiter;
    const waiters = this.sent
      .all()
      .flatMap(({ waiter }) => (isProbe(waiter) || waiter.done || (isArriving && waiter === slow) ? [] : [waiter]));
    this.events.suspect(waiters, slow === undefined || isProbe(slow) ? undefined : slow);
  }

  /** Gives up probes that are not answered, like all other queries. */
  private endProbes(): void {
    const nowMs = this.clock.monotonicMs();
    for (let each = this.sent.first; each !== undefined; each = this.sent.first) {
      const { waiter, sentAtMs } = each;
      if (!isProbe(waiter) || nowMs - sentAtMs < PROBE_MS) return;
      waiter.done = true;
      if (waiter !== this.check) waiter.then(undefined, nowMs - sentAtMs);
    }
  }

  /** Asks for something that the server can answer at once, whatever happens to the queries in flight. */
  private checkServer(): void {
    const nowMs = this.clock.monotonicMs();
    if (this.check !== undefined) this.check.done = true;
    this.check = new Probe(() => undefined);
    this.send(ROOT_NS, this.check, nowMs, this.edns.current(nowMs));
  }

  /** A measured round trip: of the server's answers, or else of the handshake, which takes two. */
  private roundTripMs(): number | undefined {
    return this.events.srttMs() ?? (this.handshakeMs === undefined ? undefined : this.handshakeMs / 2);
  }

  private end(why: End): void {
    if (this.phase === 'closed') return;
    this.phase = 'closed';
    this.cancelTimer();
    this.cancelDrain();
    if (why.at === 'silent') this.stream.destroy();
    else this.stream.close();
    const unanswered: Unanswered<T>[] = [];
    const probes: Probe[] = [];
    const { progress } = this;
    for (const { waiter, before } of this.sent.takeAll()) {
      if (isProbe(waiter)) probes.push(waiter);
      else unanswered.push({ waiter, progressed: progress > before });
    }
    for (const { waiter } of this.queued) {
      if (isProbe(waiter)) probes.push(waiter);
      else unanswered.push({ waiter, progressed: false });
    }
    this.queued = [];
    // If we closed the connection, a missing answer says nothing about the server.
    if (why.at !== 'drain') for (const probe of probes) probe.then(undefined, 0);
    this.events.closed(why, unanswered);
  }

  private readonly receive = (message: Buffer): void => {
    if (this.phase === 'closed') return;
    const match = this.sent.match(message);
    if (match.at !== 'reply') return this.events.stray(match.at);
    this.completed = true;
    this.answers++;
    if (!this.heardKeepalive) {
      this.heardKeepalive = true;
      const ms = keepaliveMs(message);
      // RFC 7828 §3.2.2: 0 asks us to close after the last answer.
      if (ms === 0) this.drain();
      else if (ms !== undefined) this.events.keepalive(ms);
    }
    const { waiter, ask, form, sentAtMs } = match.sent;
    const nowMs = this.receivedAtMs;
    if (isProbe(waiter) && waiter.inOneForm) return waiter.then(message, nowMs - sentAtMs);
    if (blamesForm(message)) {
      const next = this.edns.refused(form, nowMs);
      if (next !== undefined && !waiter.done && this.send(ask, waiter, nowMs, next)) return;
    } else if (form > 0 && this.edns.accepted(form, nowMs) && this.phase === 'open')
      this.send(ROOT_NS, formProbe(this.edns, this.clock), nowMs, 0);
    const whole = isErrorWithoutQuestion(message) ? errorWithQuestion(message, ask.question) : message;
    if (isProbe(waiter)) {
      if (waiter !== this.check) waiter.then(whole, nowMs - sentAtMs);
      return;
    }
    this.progress++;
    this.events.reply(waiter, whole, nowMs - sentAtMs, this.idleForMs);
  };

  private connected(info: Connected): void {
    if (this.phase !== 'connecting') return;
    this.phase = 'open';
    this.isProved = info.authenticated;
    const nowMs = this.clock.monotonicMs();
    this.handshakeMs = nowMs - this.startedAtMs;
    this.liveness.begin(nowMs);
    this.events.connected(info, this.handshakeMs);
    const { queued } = this;
    this.queued = [];
    this.taken -= queued.length;
    for (const { ask, waiter } of queued) if (!waiter.done) this.take(ask, waiter, nowMs);
    this.watch();
  }

  private received(chunk: Buffer): void {
    if (this.phase === 'closed') return;
    const nowMs = (this.receivedAtMs = this.clock.monotonicMs());
    this.isUnheard = this.completed = false;
    this.frames.push(chunk, this.receive);
    const endsSuspicion = this.liveness.heard(chunk.length, this.completed, nowMs);
    if (endsSuspicion && this.check !== undefined) this.check = void (this.check.done = true);
    // Some servers answer one query at a time and wait for the acknowledgement of each answer, which the kernel delays
    // by up to 40 ms. With many queries in flight, the next query carries it.
    if (this.sent.size > 0 && this.sent.size <= FEW_INFLIGHT) this.stream.acknowledge();
    if (this.sent.size > 0 && !endsSuspicion) return;
    if (this.sent.size === 0 && !this.open) this.end({ at: 'drain' });
    else this.watch();
  }

  private streamClosed(why: { readonly code: FailureCode; readonly detail: string } | undefined): void {
    const reason = why ?? { code: 'closed' as const, detail: 'closed by the server' };
    if (this.phase === 'connecting') return this.end({ at: 'failed', ...reason });
    const idleForMs = this.sent.size === 0 ? this.clock.monotonicMs() - this.liveness.lastMs : 0;
    this.end({ at: 'server', ...reason, idleForMs, afterIdle: this.isUnheard && this.idleForMs >= IDLE_MS });
  }
}
