// The private ways to one server address: DNS over TLS, and HTTPS while port 853 cannot be reached. To its endpoint it
// looks like one transport over TLS, which fails only if both ways fail. upstream/transport-choice.ts decides.

import type { ServerObserver, UpstreamProtocol } from '../base/observer.js';
import { failure, type Failure, type FailureCode } from '../base/outcome.js';
import type { Cancel, Connected, DialTarget } from '../base/ports.js';
import { monoMs, type MonoMs } from '../base/time.js';
import { HEADER_BYTES } from '../wire/header.js';
import { recordsStart } from '../wire/records.js';
import type { Ask } from '../wire/upstream-query.js';
import type { ProbeResult } from './probe.js';
import { http2Dialer } from './http2.js';
import type { HttpsSessionTarget } from './https-session.js';
import { HttpsTransport } from './https-transport.js';
import type { Waiter } from './inflight.js';
import { type Lane, type TlsEvents, TlsTransport } from './tls-transport.js';
import type { Loss, TransportPorts } from './transport.js';
import {
  bothFailed,
  type Choice,
  DOT,
  isUnreachable,
  PATIENCE_MS,
  type PrivateProtocol,
  probing,
  toHttps,
} from './transport-choice.js';

/** After this long without a query, port 853 is not tried any more until the next one. */
const QUIET_MS = 60_000;

/** Where a server is asked privately. At least one of the two is there. */
export interface PrivateTargets {
  /** DNS over TLS. Undefined: the server has none. */
  readonly dot: DialTarget | undefined;
  /** HTTPS. Undefined: the server has none, or it is not configured. */
  readonly https: HttpsSessionTarget | undefined;
}

/** The events of a private transport, for its endpoint. */
export interface PrivateEvents<T extends Waiter> extends TlsEvents<T> {
  /** From now on queries take this transport. `why`: why they cannot take the other one. */
  moved(to: PrivateProtocol, why: Failure | undefined): void;
}

/** Connections to one address, over TLS or over HTTPS. */
export class PrivateTransport<T extends Waiter> implements TlsEvents<T> {
  private choice: Choice;
  /** The transport that `moved` told last. */
  private told: PrivateProtocol = 'dot';
  private readonly dot: TlsTransport<T> | undefined;
  private https: HttpsTransport<T> | undefined;
  private isClosed = false;
  /** Ends the wait for a connection over TLS; undefined: there is none. */
  private cancelPatience: Cancel | undefined = undefined;
  private cancelProbe: Cancel = () => undefined;
  /** Port 853 is to be tried again at the next query: there was none for a while. */
  private isProbeDue = false;
  private lastAskedAtMs: MonoMs = monoMs(-Infinity);
  /** What the last handshake over port 853 has shown while queries go over HTTPS. */
  private shown: Connected = { authenticated: false, resumed: false };
  /** The last question that was answered over HTTPS, so that the server can certainly answer it over port 853, too. */
  private answered: Ask | undefined = undefined;
  /** What was asked over port 853 while there is another way, so that it can be moved there. */
  private readonly asked = new WeakMap<T, Ask>();

  /**
   * @param probes whether a new connection is trusted only after a probe was answered on it
   */
  constructor(
    private readonly ports: TransportPorts,
    private readonly counts: ServerObserver,
    private readonly targets: PrivateTargets,
    private readonly probes: boolean,
    private readonly owner: PrivateEvents<T>,
  ) {
    const { dot, https } = targets;
    this.dot = dot && new TlsTransport<T>(ports, counts, dot, probes, this);
    this.https = this.httpsTransport(https);
    this.choice = this.firstChoice;
    this.told = this.protocol;
  }

  /** The transport that the next query takes. */
  get protocol(): PrivateProtocol {
    return this.choice.at === 'dot' ? 'dot' : 'https';
  }

  /** Why queries do not take DNS over TLS; undefined: they do, or the server has none. */
  get whyNotDot(): Failure | undefined {
    return this.choice.at === 'https' ? this.choice.why : undefined;
  }

  get isEmpty(): boolean {
    return this.dot?.isEmpty !== false && this.https?.isEmpty !== false;
  }

  get usable(): number {
    return this.chosen?.usable ?? 0;
  }

  get isUsable(): boolean {
    return this.chosen?.isUsable === true;
  }

  get isReady(): boolean {
    return this.chosen?.isReady === true;
  }

  /** Whether none is ready, and the handshake of one has taken long: it may never end. */
  isStalled(nowMs: MonoMs): boolean {
    return this.chosen?.isStalled(nowMs) === true;
  }

  /** Whether the server proved its identity on every connection that is established. */
  get isProved(): boolean {
    return this.dot?.isProved !== false && this.https?.isProved !== false;
  }

  get srttMs(): number | undefined {
    return this.owner.srttMs;
  }

  get isTrusted(): boolean {
    // The one over HTTPS was not the one over TLS.
    return this.choice.at !== 'https' && this.owner.isTrusted;
  }

  get idleLimitMs(): number | undefined {
    return this.chosen?.idleLimitMs;
  }

  /** @param lane which queries it may share a connection over TLS with */
  ask(ask: Ask, waiter: T, lane: Lane, nowMs: MonoMs): void {
    const { dot, https } = this;
    this.lastAskedAtMs = nowMs;
    if (this.choice.at !== 'dot') {
      if (this.isProbeDue) this.tryDot(nowMs);
      if (https === undefined) this.owner.lost(waiter, undefined, 'closed');
      else https.ask(ask, waiter, nowMs);
      return;
    }
    if (dot === undefined) return this.owner.lost(waiter, undefined, 'closed');
    if (https !== undefined) this.asked.set(waiter, ask);
    dot.ask(ask, waiter, lane, nowMs);
    this.bePatient();
  }

  /** Asks for something that every server can answer, beside the queries. `then`: see Connection.probe. */
  probe(then: ProbeResult, nowMs: MonoMs): void {
    this.chosen?.probe(then, nowMs);
    this.bePatient();
  }

  /** Opens a connection. */
  connect(): void {
    this.chosen?.connect();
    this.bePatient();
  }

  /** Where HTTPS is offered has become known, or is not known any more. */
  offerHttps(target: HttpsSessionTarget | undefined): void {
    if (this.isClosed) return;
    if (this.choice.at === 'https') this.choose(this.firstChoice);
    const { https: before } = this;
    this.https = this.httpsTransport(target);
    before?.destroy();
  }

  reset(what: 'network' | 'resume'): void {
    this.choose(this.firstChoice);
    // A name of a client that was asked on one network must not leave on another.
    if (what === 'network') this.answered = undefined;
    this.dot?.reset(what);
    this.https?.reset();
  }

  close(): void {
    this.isClosed = true;
    this.stopTimers();
    this.dot?.close();
    this.https?.close();
  }

  destroy(): void {
    this.isClosed = true;
    this.stopTimers();
    this.dot?.destroy();
    this.https?.destroy();
  }

  // The events of the transport over TLS.

  reply(waiter: T, message: Buffer, protocol: UpstreamProtocol, rttMs: number, authenticated: boolean): void {
    this.owner.reply(waiter, message, protocol, rttMs, authenticated);
  }

  lost(waiter: T, why: Failure | undefined, loss: Loss): void {
    const ask = this.choice.at === 'https' && !this.isClosed ? this.asked.get(waiter) : undefined;
    if (ask === undefined || waiter.done) return this.owner.lost(waiter, why, loss);
    // It was lost because port 853 cannot be reached. The attempt goes on over HTTPS.
    this.asked.delete(waiter);
    this.https?.ask(ask, waiter, this.ports.clock.monotonicMs());
  }

  suspect(waiter: T, isSlow: boolean): void {
    this.owner.suspect(waiter, isSlow);
  }

  silent(): void {
    // While queries go over HTTPS, silence on port 853 says nothing about them.
    if (this.choice.at !== 'https') this.owner.silent();
  }

  emptied(): void {
    if (this.isEmpty) this.owner.emptied();
  }

  connected(info: Connected, handshakeMs: number): void {
    // While queries go over HTTPS, port 853 must also answer: some networks let only handshakes through.
    if (this.choice.at === 'https') {
      this.shown = info;
      return;
    }
    this.https?.retire();
    this.owner.connected(info, handshakeMs);
    this.tell();
  }

  probed(answer: Buffer | undefined, rttMs: number, authenticated: boolean): void {
    // While queries go over HTTPS, `tryDot` asks.
    if (this.choice.at !== 'https') this.owner.probed(answer, rttMs, authenticated);
  }

  failed(code: FailureCode, detail: string): void {
    if (this.choice.at === 'https') return this.counts.error(code);
    if (this.https === undefined || this.isClosed || !isUnreachable(code)) return this.owner.failed(code, detail);
    this.counts.error(code);
    this.leaveDot(failure(code, detail));
    if (!this.https.isUsable) this.https.connect();
  }

  private httpsTransport(target: HttpsSessionTarget | undefined): HttpsTransport<T> | undefined {
    const { ports, counts, probes } = this;
    if (target === undefined) return undefined;
    const dialHttps = http2Dialer(ports.dial);
    return new HttpsTransport<T>({ clock: ports.clock, dialHttps }, counts, target, probes, this.httpsEvents());
  }

  private httpsEvents(): TlsEvents<T> {
    const { owner } = this;
    return {
      isTrusted: false,
      get srttMs() {
        return owner.srttMs;
      },
      reply: (waiter, message, protocol, rttMs, authenticated) => {
        this.answered = askedIn(message);
        owner.reply(waiter, message, protocol, rttMs, authenticated);
      },
      lost: (waiter, why, loss) => owner.lost(waiter, why, loss),
      suspect: (waiter, isSlow) => owner.suspect(waiter, isSlow),
      silent: () => owner.silent(),
      emptied: () => this.emptied(),
      connected: (info, handshakeMs) => {
        if (!this.probes) this.reached();
        if (this.choice.at === 'dot') return;
        owner.connected(info, handshakeMs);
        if (!this.probes) this.tell();
      },
      probed: (answer, rttMs, authenticated) => {
        if (answer !== undefined) this.reached();
        if (this.choice.at === 'dot') return;
        if (answer === undefined) return this.httpsFailed(failure('timeout', 'it connects, but does not answer'));
        owner.probed(answer, rttMs, authenticated);
        this.tell();
      },
      failed: (code, detail) => this.httpsFailed(failure(code, detail)),
    };
  }

  /** HTTPS works. If a connection over TLS, begun earlier, is still not ready, port 853 cannot be reached. */
  private reached(): void {
    if (this.choice.at !== 'dot' || this.isClosed) return;
    const { dot, https, targets } = this;
    if (targets.dot === undefined || dot?.isUsable !== true || dot.isReady) return https?.retire();
    const { address, port } = targets.dot;
    this.leaveDot(failure('connect_timeout', `${address} port ${port}: silent, while HTTPS answers`));
  }

  private httpsFailed(why: Failure): void {
    switch (this.choice.at) {
      case 'dot':
        // The connection over TLS decides.
        return this.counts.error(why.code);
      case 'https_only':
        return this.owner.failed(why.code, why.detail ?? '');
      case 'https': {
        const both = bothFailed(this.choice.why, why);
        this.counts.error(why.code);
        this.choose(this.firstChoice);
        this.owner.failed(both.code, both.detail ?? '');
      }
    }
  }

  private leaveDot(why: Failure): void {
    this.choose(toHttps(why, this.ports.clock.monotonicMs()));
    // Queries that wait there are moved.
    this.dot?.reset('resume');
  }

  private choose(choice: Choice): void {
    this.stopTimers();
    this.choice = choice;
    if (choice.at !== 'https' || this.isClosed) return;
    const { clock } = this.ports;
    this.cancelProbe = clock.after(choice.probeAtMs - clock.monotonicMs(), () => {
      const nowMs = clock.monotonicMs();
      if (nowMs - this.lastAskedAtMs < QUIET_MS) this.tryDot(nowMs);
      else this.isProbeDue = true;
    });
  }

  /** Tries port 853 beside the queries. */
  private tryDot(nowMs: MonoMs): void {
    if (this.choice.at !== 'https') return;
    this.choose(probing(this.choice, nowMs));
    if (this.dot?.isUsable !== false) return;
    // Some servers know no more than the zones of their network, so the root would be a bad question.
    this.dot.connect()?.probe(answer => this.probedAgain(answer), this.answered);
  }

  /** Port 853 was tried again. */
  private probedAgain(answer: Buffer | undefined): void {
    if (answer === undefined || this.choice.at !== 'https' || this.isClosed) return;
    this.choose(DOT);
    this.https?.retire();
    this.owner.connected(this.shown, 0);
    this.tell();
  }

  /** Opens a connection over HTTPS if none over TLS is ready soon. */
  private bePatient(): void {
    const { dot, https } = this;
    if (https === undefined || dot === undefined || this.choice.at !== 'dot' || this.isClosed) return;
    if (dot.isReady || this.cancelPatience !== undefined) return;
    this.cancelPatience = this.ports.clock.after(PATIENCE_MS, () => {
      this.cancelPatience = undefined;
      if (dot.isUsable && !dot.isReady && !https.isUsable) https.connect();
    });
  }

  private stopTimers(): void {
    this.cancelPatience?.();
    this.cancelPatience = undefined;
    this.cancelProbe();
    this.isProbeDue = false;
  }

  /** Tells the owner if the transport is another one now. */
  private tell(): void {
    if (this.told === this.protocol) return;
    this.told = this.protocol;
    this.owner.moved(this.protocol, this.whyNotDot);
  }

  private get firstChoice(): Choice {
    return this.dot === undefined ? { at: 'https_only' } : DOT;
  }

  private get chosen(): TlsTransport<T> | HttpsTransport<T> | undefined {
    return this.choice.at === 'dot' ? this.dot : this.https;
  }
}

/** The question of a response, copied: the memory of the response is reused. */
const askedIn = (message: Buffer): Ask => ({
  question: Buffer.from(message.subarray(HEADER_BYTES, recordsStart(message))),
  dnssecOk: false,
  checkingDisabled: false,
});
