// One HTTPS connection to one server: queries as requests of one HTTP/2 session, a queue for those that the server does
// not take yet, and a check that the server still answers. It opens at once, and never retries by itself. Its states
// are those of a connection over TLS (upstream/connection).

import { failure, type Failure, type FailureCode } from '../base/outcome.js';
import type { Cancel, Clock, Connected } from '../base/ports.js';
import type { MonoMs } from '../base/time.js';
import { type Ask, errorWithQuestion, isErrorWithoutQuestion, ROOT_NS, upstreamQuery } from '../wire/upstream-query.js';
import type { End, Unanswered } from './connection.js';
import { blamesForm, type EdnsForms } from './edns-forms.js';
import { HTTPS_ID, type HttpVerdict, judge } from './https-response.js';
import type { DialHttps, HttpOutcome, HttpsSession, HttpsSessionTarget } from './https-session.js';
import type { Waiter } from './inflight.js';
import { Liveness, patienceMs } from './liveness.js';
import { formProbe, isProbe, Probe, type ProbeResult } from './probe.js';
import type { Loss } from './transport.js';

/** Until the server has said how many requests it takes at a time (RFC 9113 §6.5.2: it should take 100 or more). */
const FIRST_REQUESTS = 100;
/** The most requests under way, whatever the server takes. */
const MOST_REQUESTS = 1000;
/** The most queries that wait until they can be sent: more than clients may have in flight. */
const MOST_QUEUED = 8192;
/** A query is given up after 4.5 s. What has no answer then is cancelled. */
const REQUEST_MS = 5000;
/** A server that answered and then refuses this often in a row does not work any more. */
const MOST_REFUSALS = 3;
/** While queries wait for answers, the connection is looked at this often. */
const TICK_MS = 250;

/** The events of an HTTPS connection, for its owner. `T` is the owner's object for a query. */
export interface HttpsConnectionEvents<T extends Waiter> {
  connected(info: Connected, handshakeMs: number): void;
  /** A query was answered. `idleForMs`: how long the connection had been idle before the query. */
  reply(waiter: T, message: Buffer, rttMs: number, idleForMs: number): void;
  /** A query ended without an answer, and the connection goes on. */
  lost(waiter: T, why: Failure, loss: Loss): void;
  /** A response arrived that does not answer its query. */
  stray(kind: 'id_mismatch' | 'question_mismatch'): void;
  /** Nothing was received for too long. These queries stay under way here as well. */
  suspect(waiters: readonly T[]): void;
  /** The smoothed round-trip time of the server; undefined: not measured yet. */
  srttMs(): number | undefined;
  /** How long it may be idle. Called whenever it becomes idle. */
  idleMs(): number;
  /** It was idle for that long. Returns whether to send a query to keep it open. */
  keepWarm(): boolean;
  /** The last event. These queries got no answer. */
  closed(end: End, unanswered: readonly Unanswered<T>[]): void;
}

/** A query, from `ask` to its end. */
interface Request<T extends Waiter> {
  readonly ask: Ask;
  readonly waiter: T | Probe;
  readonly askedAtMs: MonoMs;
  /** The form of its EDNS options; undefined: the one in use when it is sent. */
  form: number | undefined;
  sentAtMs: MonoMs;
  /** How many queries the connection had answered when it was sent. */
  before: number;
  cancel: Cancel;
}

type Phase = 'connecting' | 'open' | 'draining' | 'closed';

/** An HTTPS connection. */
export class HttpsConnection<T extends Waiter> {
  private phase: Phase = 'connecting';
  private isProved = false;
  /** Queries were sent, and nothing was received since the first of them. */
  private isUnheard = false;
  private readonly liveness: Liveness;
  /** The probe that was sent because of silence. */
  private check: Probe | undefined = undefined;
  /** Queries that wait until they can be sent, oldest first. */
  private queued: Request<T>[] = [];
  /** Queries that were sent, oldest first. */
  private readonly sent = new Set<Request<T>>();
  /** How many requests may be under way. */
  private mostRequests = FIRST_REQUESTS;
  /** The queries other than probes that have been answered. */
  private answers = 0;
  /** HTTP errors since the last answer that other questions would get, too. */
  private refusals = 0;
  private readonly startedAtMs: MonoMs;
  /** How long the connection had been idle before the queries under way were sent. */
  private idleForMs = 0;
  private cancelTimer: Cancel = () => undefined;
  private readonly session: HttpsSession;

  /** Opens the connection. */
  constructor(
    private readonly clock: Clock,
    dial: DialHttps,
    target: HttpsSessionTarget,
    /** The forms of queries that the server accepts. */
    private readonly edns: EdnsForms,
    private readonly events: HttpsConnectionEvents<T>,
  ) {
    this.startedAtMs = clock.monotonicMs();
    this.liveness = new Liveness(this.startedAtMs);
    this.session = dial(target, {
      connected: info => this.connected(info),
      limited: most => this.limited(most),
      heard: bytes => this.heard(bytes),
      leaving: () => this.leaving(),
      closed: why => this.sessionClosed(why),
    });
  }

  /** Nothing was received for too long: another connection is a better choice. */
  get suspect(): boolean {
    return this.liveness.isSuspect;
  }

  get open(): boolean {
    return this.phase === 'open';
  }

  /** When its handshake began. */
  get startedMs(): MonoMs {
    return this.startedAtMs;
  }

  /** Whether the server was authenticated in its handshake. */
  get authenticated(): boolean {
    return this.isProved;
  }

  /** Whether a query other than a probe has been answered. */
  get hasAnswered(): boolean {
    return this.answers > 0;
  }

  /** Whether it accepts queries, to be sent now or later. */
  get usable(): boolean {
    return this.phase === 'open' || this.phase === 'connecting';
  }

  /** Queries that have no answer yet, probes included. */
  get inflight(): number {
    return this.sent.size + this.queued.length;
  }

  /** Sends a query as soon as the server takes it. False: it accepts no more. */
  ask(ask: Ask, waiter: T, nowMs?: MonoMs): boolean {
    return this.take(ask, waiter, nowMs);
  }

  /**
   * Sends a probe: asks for the root's name servers, which every resolver knows. `then` is not called if we close the
   * connection before the answer.
   */
  probe(then: ProbeResult): void {
    if (!this.take(ROOT_NS, new Probe(then))) then(undefined, 0);
  }

  /** Sends nothing more, and closes after the answers to the queries under way. Queued queries get no answer. */
  close(): void {
    if (this.phase === 'closed') return;
    if (this.phase === 'connecting' || this.sent.size === 0) return this.end({ at: 'drain' });
    this.phase = 'draining';
    const { queued } = this;
    this.queued = [];
    for (const { waiter } of queued) this.lose(waiter, failure('closed', 'the connection is being closed'), 'closed');
  }

  /** Closes at once. Queries get no answer. */
  destroy(): void {
    this.end({ at: 'drain' });
    this.session.destroy();
  }

  private take(ask: Ask, waiter: T | Probe, nowMs = this.clock.monotonicMs(), form?: number): boolean {
    if (!this.usable || this.queued.length >= MOST_QUEUED) return false;
    const wasIdle = this.inflight === 0;
    this.queued.push({
      ask,
      waiter,
      askedAtMs: nowMs,
      form,
      sentAtMs: nowMs,
      before: this.answers,
      cancel: () => undefined,
    });
    if (wasIdle) {
      if (!this.isUnheard) {
        this.idleForMs = nowMs - this.liveness.lastMs;
        this.liveness.begin(nowMs);
      }
      this.watch();
    }
    this.sendQueued(nowMs);
    return true;
  }

  private sendQueued(nowMs = this.clock.monotonicMs()): void {
    while (this.phase === 'open' && this.sent.size < this.mostRequests) {
      const request = this.queued.shift();
      if (request === undefined) return;
      if (request.waiter.done) continue;
      request.sentAtMs = nowMs;
      request.before = this.answers;
      request.waiter.isSent = true;
      this.sent.add(request);
      this.isUnheard = true;
      request.form ??= this.edns.current(nowMs);
      // Keepalive (RFC 7828) does not apply to HTTP, which has its own way of closing.
      const message = upstreamQuery(HTTPS_ID, request.ask, this.edns.options(request.form, false));
      request.cancel = this.session.post(message, outcome => this.ended(request, outcome));
    }
  }

  /** Starts the one timer: for answers while queries wait for them, else for idleness. */
  private watch(): void {
    this.cancelTimer();
    if (this.phase === 'closed' || (this.phase === 'connecting' && this.inflight === 0)) return;
    // Before it counts as idle, it must be heard of: queries that nobody waits for any more may all be unanswered.
    if (this.inflight > 0 || this.isUnheard) this.cancelTimer = this.clock.after(TICK_MS, () => this.tick());
    else if (this.phase === 'draining' || this.liveness.isSuspect) this.end({ at: 'drain' });
    else
      this.cancelTimer = this.clock.after(this.events.idleMs(), () => {
        if (this.events.keepWarm()) this.probe(() => undefined);
        else this.end({ at: 'idle' });
      });
  }

  private tick(): void {
    const nowMs = this.clock.monotonicMs();
    this.removeOld(nowMs);
    this.sendQueued(nowMs);
    if (this.phase !== 'connecting' && (this.sent.size > 0 || this.isUnheard)) this.lookForSilence(nowMs);
    this.watch();
  }

  /** Gives up queries that were answered elsewhere, and those that wait for too long. */
  private removeOld(nowMs: MonoMs): void {
    const isOld = ({ waiter, askedAtMs }: Request<T>): boolean => waiter.done || nowMs - askedAtMs >= REQUEST_MS;
    const old = [...[...this.sent].filter(isOld), ...this.queued.filter(isOld)];
    if (old.length === 0) return;
    this.queued = this.queued.filter(each => !isOld(each));
    for (const each of old) {
      this.sent.delete(each);
      each.cancel();
    }
    for (const { waiter } of old)
      if (!waiter.done) this.lose(waiter, failure('timeout', 'no response to a request over HTTPS'), 'fault');
  }

  private lookForSilence(nowMs: MonoMs): void {
    const step = this.liveness.step(nowMs, patienceMs(this.events.srttMs()));
    switch (step.at) {
      case 'wait':
        return;
      case 'ask':
        // A front end that answers PING says nothing about the resolver behind it.
        if (this.check !== undefined) this.check.done = true;
        this.check = new Probe(() => undefined);
        this.take(ROOT_NS, this.check, nowMs);
        return;
      case 'suspect':
        return this.events.suspect([...this.sent].flatMap(({ waiter }) => (isProbe(waiter) ? [] : [waiter])));
      case 'dead':
        return this.end({ at: 'silent' });
    }
  }

  private ended(request: Request<T>, outcome: HttpOutcome): void {
    if (this.phase === 'closed' || !this.sent.delete(request)) return;
    const { waiter } = request;
    if (outcome.at === 'response' && this.liveness.heard(0, true, this.clock.monotonicMs())) this.endCheck();
    if (outcome.at === 'unprocessed')
      this.lose(waiter, failure('closed', 'the server did not process it'), this.refusalOf(request));
    else if (outcome.at === 'broken') this.lose(waiter, failure('http', outcome.detail), 'fault');
    else this.judged(request, judge(outcome, request.ask.question));
    this.sendQueued();
    this.endIfUseless();
    if (this.inflight === 0) this.watch();
  }

  /**
   * How a query is lost that the server did not process. It is no send if the server has answered others since it was sent,
   * or leaves a connection on which it has answered. A server that refuses everything must not be asked again and again.
   */
  private refusalOf({ before }: Request<T>): Loss {
    const isTurnover = this.phase === 'draining' && this.hasAnswered;
    return isTurnover || this.answers > before ? 'uncounted' : 'closed';
  }

  /** A server may forbid all requests (RFC 9113 §6.5.2), instead of closing the connection. */
  private endIfUseless(): void {
    if (this.mostRequests > 0 || this.sent.size > 0 || this.phase !== 'open') return;
    this.end({ at: 'failed', code: 'http', detail: 'the server takes no requests' });
  }

  private judged(request: Request<T>, verdict: HttpVerdict): void {
    const { waiter } = request;
    switch (verdict.at) {
      case 'answer':
        this.refusals = 0;
        return this.replied(request, verdict.message);
      case 'refused':
        if (verdict.lasts && (++this.refusals >= MOST_REFUSALS || !this.hasAnswered))
          return this.fail(waiter, verdict.detail);
        return this.lose(waiter, failure('http', verdict.detail), 'fault');
      case 'id_mismatch':
      case 'question_mismatch':
        this.events.stray(verdict.at);
        return this.lose(waiter, failure('parse', 'the response answers another question'), 'fault');
    }
  }

  private replied({ ask, waiter, form = 0, sentAtMs }: Request<T>, message: Buffer): void {
    const nowMs = this.clock.monotonicMs();
    if (isProbe(waiter) && waiter.inOneForm) return waiter.then(message, nowMs - sentAtMs);
    if (blamesForm(message)) {
      const next = this.edns.refused(form, nowMs);
      if (next !== undefined && !waiter.done && this.take(ask, waiter, nowMs, next)) return;
    } else if (this.edns.accepted(form, nowMs)) this.take(ROOT_NS, formProbe(this.edns, this.clock), nowMs, 0);
    const whole = isErrorWithoutQuestion(message) ? errorWithQuestion(message, ask.question) : message;
    if (isProbe(waiter)) return waiter.then(whole, nowMs - sentAtMs);
    this.answers++;
    this.events.reply(waiter, whole, nowMs - sentAtMs, this.idleForMs);
  }

  /** The server refuses in a way that lasts. */
  private fail(waiter: T | Probe, detail: string): void {
    // No other query needs to get the same response.
    this.end({ at: 'failed', code: 'http', detail });
    if (!isProbe(waiter)) this.events.lost(waiter, failure('http', detail), 'fault');
  }

  private lose(waiter: T | Probe, why: Failure, loss: Loss): void {
    if (isProbe(waiter)) waiter.then(undefined, 0);
    else this.events.lost(waiter, why, loss);
  }

  private end(why: End): void {
    if (this.phase === 'closed') return;
    this.phase = 'closed';
    this.cancelTimer();
    if (why.at === 'silent') this.session.destroy();
    else this.session.close();
    const all = [...this.sent, ...this.queued];
    this.sent.clear();
    this.queued = [];
    // Where it has answered any, another connection will, too: the next end may come before any answer to a whole batch.
    const progressed = this.hasAnswered;
    const unanswered = all.flatMap(({ waiter }) => (isProbe(waiter) ? [] : [{ waiter, progressed }]));
    // If we closed the connection, a missing answer says nothing about the server.
    if (why.at !== 'drain') for (const { waiter } of all) if (isProbe(waiter)) waiter.then(undefined, 0);
    this.events.closed(why, unanswered);
  }

  // The events of the session.

  private connected(info: Connected): void {
    if (this.phase !== 'connecting') return;
    this.phase = 'open';
    this.isProved = info.authenticated;
    const nowMs = this.clock.monotonicMs();
    this.liveness.begin(nowMs);
    this.events.connected(info, nowMs - this.startedAtMs);
    this.sendQueued();
    this.watch();
  }

  private limited(most: number): void {
    this.mostRequests = Math.min(most, MOST_REQUESTS);
    this.sendQueued();
    this.endIfUseless();
  }

  private heard(bytes: number): void {
    this.isUnheard = false;
    if (this.liveness.heard(bytes, false, this.clock.monotonicMs())) this.endCheck();
  }

  /** The server answers: its answer to the probe is not needed any more. */
  private endCheck(): void {
    if (this.check !== undefined) this.check.done = true;
    this.check = undefined;
  }

  private leaving(): void {
    if (this.phase === 'open') this.close();
  }

  private sessionClosed(why: { readonly code: FailureCode; readonly detail: string } | undefined): void {
    const reason = why ?? { code: 'closed' as const, detail: 'closed by the server' };
    if (this.phase === 'connecting') return this.end({ at: 'failed', ...reason });
    const idleForMs = this.inflight === 0 ? this.clock.monotonicMs() - this.liveness.lastMs : 0;
    this.end({ at: 'server', ...reason, idleForMs, afterIdle: false });
  }
}
