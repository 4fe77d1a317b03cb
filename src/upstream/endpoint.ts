// One address of one server: its identity, its round-trip time, and what is known about reaching it.

import { aboutAddress } from '../base/address.js';
import { hashOf } from '../base/hash.js';
import {
  type CleartextReason,
  isEncrypted,
  type Observer,
  type ServerObserver,
  type UpstreamProtocol,
} from '../base/observer.js';
import { failure, type Failure, type FailureCode, failureWords, RCODE } from '../base/outcome.js';
import type { AddressOverview, Mode } from '../base/overview.js';
import type { Clock, Connected, Dial, DialDatagram, Log, Random, Security } from '../base/ports.js';
import { flagsOf, rcodeOf } from '../wire/header.js';
import { monoMs, type MonoMs } from '../base/time.js';
import type { Scan } from '../wire/scan.js';
import type { Ask } from '../wire/upstream-query.js';
import { AnswersSeen } from './answers-alike.js';
import { Answering } from './answering.js';
import type { DowngradeGuard } from './downgrade.js';
import type { Waiter } from './inflight.js';
import type { Memory } from './memory.js';
import * as modes from './mode.js';
import { type PlainEvents, PlainTransport } from './plain-transport.js';
import { type PrivateEvents, PrivateTransport } from './private-transport.js';
import type { HttpsSessionTarget } from './https-session.js';
import { pathTo, type Standing, type Target } from './selection.js';
import type { Lane } from './tls-transport.js';
import type { Loss } from './transport.js';
import { couldBeBlocked, type PrivateProtocol } from './transport-choice.js';

/** The ports of the upstream room. */
export interface UpstreamPorts {
  /** See `Upstream` in upstream/pool; left out: questions are not bound to routes. */
  readonly routesEpoch?: () => number;
  readonly clock: Clock;
  readonly random: Random;
  readonly dial: Dial;
  readonly dialDatagram: DialDatagram;
  readonly observer: Observer;
  readonly log: Log;
  /** Which servers were authenticated on the current network. */
  readonly memory: Memory;
  /** Whether the letter case of names is random over UDP in cleartext. Read for each query. */
  readonly randomizesCase: () => boolean;
  /** Returns a number that no other server of this process has. */
  readonly nextServerId: () => number;
}

/** A server: `id` tells servers apart, `label` is its name for people. */
export interface ServerName {
  readonly id: number;
  readonly label: string;
}

/** The identity of an endpoint. */
export interface EndpointIdentity {
  readonly server: ServerName;
  /** Whether the server's names may go in cleartext; shared by all its addresses. */
  readonly guard: DowngradeGuard;
  readonly address: string;
  /** The port for DNS over TLS. */
  readonly port: number;
  /** The port for cleartext DNS. */
  readonly plainPort: number;
  readonly mode: Mode;
  /** The label that its cleartext queries are counted under. */
  readonly reason: CleartextReason;
  readonly security: Security;
  /** Where the same server is asked over HTTPS while `port` cannot be reached; undefined: nowhere. */
  readonly https?: HttpsSessionTarget | undefined;
  /** Whether it has no DNS over TLS, but HTTPS. */
  readonly httpsOnly?: boolean;
  /** Whether the configuration could name an `https`. */
  readonly isListed: boolean;
}

/** The events of an endpoint, for its pool. */
export interface EndpointEvents<T extends Waiter> {
  reply(waiter: T, message: Buffer, protocol: UpstreamProtocol, rttMs: number, authenticated: boolean): void;
  /**
   * An attempt ended without an answer.
   * @param why undefined: we gave it up ourselves
   */
  lost(waiter: T, why: Failure | undefined, loss: Loss): void;
  /** The attempt still runs, but the server has stopped answering on its connection. */
  suspect(waiter: T, isSlow: boolean): void;
  /** It can be asked from now on. */
  up(): void;
  /** It answers in cleartext again after an outage: what has failed over TLS may work again, too. */
  recovered(): void;
  /** Asks: whether no name goes in cleartext to any server of the pool. */
  tlsOnly(nowMs: MonoMs): boolean;
}

/** The events of an endpoint, for its server. */
export interface EndpointOwner<T extends Waiter> {
  /** TLS works with it. */
  passed(endpoint: Endpoint<T>): void;
  /** TLS does not work with it. */
  failed(endpoint: Endpoint<T>): void;
  /** Called once, when it is closed and its last connection has closed. */
  gone(endpoint: Endpoint<T>): void;
}

/** An end of an outage ends back-offs, at most this often. */
const RECOVERY_PAUSE_MS = 10_000;

/** RFC 6298 §2: a new value counts an eighth. */
const smoothed = (before: number | undefined, ms: number): number =>
  before === undefined ? ms : before + (ms - before) / 8;

/** One address of a server. Nothing is opened before `prepare` or the first question. */
export class Endpoint<T extends Waiter> implements Target, PrivateEvents<T>, PlainEvents<T> {
  readonly shardId: number;
  readonly server: ServerName;
  readonly mode: Mode;
  /** What is known about TLS with this address. */
  private state: modes.Health = { at: 'probing' };
  /** Why TLS failed last; undefined: it did not fail since it last worked. */
  private tlsFailure: Failure | undefined;
  /** Whether the server was authenticated when TLS last worked. */
  private proved = false;
  /** Smoothed round-trip times: of all queries, and of those over UDP. */
  private smoothedMs: number | undefined;
  private plainMs: number | undefined;
  private certificateEndsMs: number | undefined;
  /** The last handshake: version of TLS, and group of the key exchange if it had one. */
  private lastHandshake: Pick<Connected, 'protocol' | 'group'> = {};
  /** It is not asked any more. */
  private isClosed = false;
  /** Whether `gone` was called. */
  private isGone = false;
  /** DNS over TLS, or HTTPS in its place. */
  private readonly tls: PrivateTransport<T>;
  private readonly plain: PlainTransport<T>;
  /** Whether it answers over the connections that it accepts. */
  private readonly answering = new Answering();
  /** What its answers have in common. */
  private readonly answers = new AnswersSeen();
  /** Whether an authenticated server has answered since the guard was told. */
  private hasProved = false;
  /** Since when its queries go in cleartext because TLS does not work. */
  private cleartextSinceMs: MonoMs | undefined = undefined;
  /** When it was last tried again because the network had come back. */
  private recoveredAtMs: MonoMs = monoMs(-Infinity);
  /** Where it is asked over HTTPS while its port cannot be reached. */
  private https: HttpsSessionTarget | undefined;

  constructor(
    private readonly ports: UpstreamPorts,
    readonly identity: EndpointIdentity,
    private readonly counts: ServerObserver,
    private readonly events: EndpointEvents<T>,
    private readonly owner: EndpointOwner<T>,
  ) {
    const { server, address, port, plainPort, reason, mode, security, https, httpsOnly = false } = identity;
    this.server = server;
    this.mode = mode;
    this.shardId = hashOf(server.label);
    this.https = https;
    const targets = { dot: httpsOnly ? undefined : { address, port, security }, https };
    this.tls = new PrivateTransport<T>(ports, counts, targets, mode === 'opportunistic', this);
    this.plain = new PlainTransport<T>(ports, counts, { label: server.label, address, port: plainPort, reason }, this);
  }

  /** Smoothed round-trip time. */
  get srttMs(): number | undefined {
    return this.smoothedMs;
  }

  /** Whether a usable connection is open. */
  get open(): boolean {
    return this.tls.isReady;
  }

  get health(): modes.Health {
    return this.state;
  }

  get isTrusted(): boolean {
    return this.state.at === 'private';
  }

  get standing(): Standing {
    const { mode, state } = this;
    if (this.answering.isDown) return 'doubtful';
    if (this.open) return 'works';
    // It worked until now, but a handshake that does not end must not hold queries up.
    if (state.at === 'private') return this.tls.isStalled(this.ports.clock.monotonicMs()) ? 'unknown' : 'works';
    if (mode === 'off' || (mode === 'opportunistic' && !this.isHeld(this.ports.clock.monotonicMs())))
      return this.plain.isDown ? 'doubtful' : 'works';
    return state.at === 'probing' ? 'unknown' : 'doubtful';
  }

  isHeld(nowMs: MonoMs): boolean {
    return this.identity.guard.holds(nowMs);
  }

  /** Whether the server was authenticated, on all its connections. */
  get authenticated(): boolean {
    return this.proved && this.state.at === 'private' && this.tls.isProved;
  }

  /** Whether TLSA records decide whether the server is authenticated. */
  private get isDane(): boolean {
    return this.identity.security.at === 'dane';
  }

  /** Why it cannot be asked over TLS. */
  get lastFailure(): Failure | undefined {
    return this.tlsFailure;
  }

  /** Whether nothing is open or in flight. */
  get isEmpty(): boolean {
    return this.tls.isEmpty && this.plain.isEmpty;
  }

  /** Where a query may go now. An existing connection may be used during back-off, too. */
  path(nowMs: MonoMs): modes.Path {
    if (this.isClosed) return 'refuse';
    const { mode, state } = this;
    if ((mode === 'strict' || mode === 'encrypted') && this.tls.isUsable) return 'tls';
    return modes.pathFor(mode, state, nowMs, mode === 'opportunistic' && state.at !== 'private' && this.isHeld(nowMs));
  }

  /**
   * Sends a query along `path`.
   * @param lane which queries it may share a connection with
   */
  ask(ask: Ask, waiter: T, path: 'tls' | 'cleartext', lane: Lane, nowMs: MonoMs): void {
    if (path === 'tls') return this.tls.ask(ask, waiter, lane, nowMs);
    if (this.mode !== 'off') this.cleartextSinceMs ??= nowMs;
    this.plain.ask(ask, waiter);
  }

  /** Beside the queries, finds out whether it can be asked again, if that is due. */
  tryBeside(nowMs: MonoMs): void {
    if (this.isClosed) return;
    // Here, and not with every answer, because of the cost.
    if (this.hasProved) this.identity.guard.proved(nowMs);
    this.hasProved = false;
    if (!this.tls.isUsable && modes.isDue(this.mode, this.state, nowMs)) this.tls.connect();
    if (this.answering.isDue(nowMs)) {
      this.silent();
      this.tls.probe(answer => {
        if (answer !== undefined) this.answering.heard(this.ports.clock.monotonicMs());
      }, nowMs);
    }
    this.plain.tryAgain(nowMs);
  }

  /** Its queries do not go in cleartext any more. */
  endCleartext(): void {
    this.cleartextSinceMs = undefined;
  }

  /** Ends a back-off: what has made it fail may be over. */
  retrySoon(nowMs: MonoMs): void {
    if (this.state.at !== 'failed' && this.state.at !== 'suspect') return;
    if (nowMs - this.recoveredAtMs < RECOVERY_PAUSE_MS) return;
    this.recoveredAtMs = nowMs;
    this.enter({ at: 'probing' });
    this.tryBeside(nowMs);
  }

  /** Connects before the first query, if TLS may be used or must be tested. */
  prepare(nowMs: MonoMs): void {
    const { mode, state } = this;
    if (this.isClosed || mode === 'off' || this.tls.isUsable) return;
    if (mode === 'opportunistic' ? modes.isDue(mode, state, nowMs) : modes.mayTryAnyway(state, nowMs))
      this.tls.connect();
  }

  /**
   * Closes all connections; queries in flight are lost, and may be asked again. `network`: the route to the server has
   * changed, and everything learned about it is forgotten. `resume`: the machine has slept, so connections are dead,
   * and earlier failures may be over.
   */
  reset(what: 'network' | 'resume'): void {
    this.tlsFailure = undefined;
    this.recoveredAtMs = monoMs(-Infinity);
    this.answering.forget();
    if (what === 'network') {
      this.answers.forget();
      this.smoothedMs = this.plainMs = this.cleartextSinceMs = undefined;
      this.proved = this.hasProved = false;
      this.lastHandshake = {};
    }
    if (what === 'network' || this.state.at !== 'private') this.enter({ at: 'probing' });
    this.tls.reset(what);
    this.plain.reset(what);
  }

  /** Its resolver has designated a way over HTTPS to itself (RFC 9462), or does so no more. */
  offerHttps(target: HttpsSessionTarget | undefined): void {
    if (JSON.stringify(target) === JSON.stringify(this.https)) return;
    this.https = target;
    this.tls.offerHttps(target);
  }

  /** Stops being asked. Queries in flight are finished. */
  close(): void {
    this.isClosed = true;
    this.tls.close();
    this.plain.close();
    this.emptied();
  }

  /** Closes all connections at once. */
  destroy(): void {
    this.isClosed = true;
    this.tls.destroy();
    this.plain.destroy();
    this.emptied();
  }

  /**
   * Its state for the overview.
   * @param tlsOnly whether no server of its group may be asked in cleartext
   */
  overview(nowMs: MonoMs, tlsOnly: boolean): AddressOverview {
    const { tlsFailure, state, identity, cleartextSinceMs } = this;
    const { whyNotDot } = this.tls;
    const path = pathTo(this, tlsOnly, nowMs);
    const why = state.at === 'private' ? undefined : tlsFailure;
    return {
      address: identity.address,
      port: identity.port,
      askedPort: this.portFor(path),
      state: state.at,
      path,
      cleartextMs: path === 'cleartext' && cleartextSinceMs !== undefined ? nowMs - cleartextSinceMs : undefined,
      transport: path === 'tls' ? this.tls.protocol : path === 'cleartext' ? 'cleartext' : 'none',
      transportReason: whyNotDot && failureWords(whyNotDot),
      authenticated: this.authenticated,
      dane: this.isDane,
      connections: this.tls.usable,
      rttMs: this.smoothedMs,
      idleLimitMs: this.tls.idleLimitMs,
      tlsVersion: this.lastHandshake.protocol,
      tlsGroup: this.lastHandshake.group,
      certificateEndsMs: this.certificateEndsMs,
      failure: why && failureWords(why),
      hint: why && this.hint(why),
      failureCode: why?.code,
      silent: path === 'cleartext' ? this.plain.isDown : this.answering.isDown,
      alike: this.answers.alike,
    };
  }

  private portFor(path: modes.Path): number {
    const { port, plainPort } = this.identity;
    if (path === 'cleartext') return plainPort;
    return path === 'tls' && this.tls.protocol === 'https' ? (this.https?.port ?? port) : port;
  }

  /** Counts a reply that was accepted. */
  countResponse(rcode: number, rttMs: number): void {
    this.counts.response(rcode, rttMs / 1000);
  }

  /** Notes what it answered. @param type the QTYPE of the question */
  noteAnswer({ question }: Ask, type: number, message: Buffer, scan: Scan, protocol: UpstreamProtocol): void {
    this.answers.note(question, type, message, scan, !isEncrypted(protocol));
  }

  /** Counts an error in a reply. */
  countError(code: FailureCode): void {
    this.counts.error(code);
  }

  // The events of the transports.

  reply(waiter: T, message: Buffer, protocol: UpstreamProtocol, rttMs: number, authenticated: boolean): void {
    this.smoothedMs = smoothed(this.smoothedMs, rttMs);
    this.hasProved ||= authenticated;
    if (this.answering.isDown && protocol !== 'udp' && protocol !== 'tcp')
      this.answering.heard(this.ports.clock.monotonicMs());
    this.events.reply(waiter, message, protocol, rttMs, authenticated);
  }

  lost(waiter: T, why: Failure | undefined, loss: Loss): void {
    this.events.lost(waiter, why, loss);
  }

  recovered(): void {
    this.events.recovered();
  }

  suspect(waiter: T, isSlow: boolean): void {
    this.events.suspect(waiter, isSlow);
  }

  silent(): void {
    // In opportunistic mode the end of the connection decides (`failed`).
    if (this.mode === 'opportunistic') return;
    const nowMs = this.ports.clock.monotonicMs();
    if (this.answering.asks(nowMs)) this.answering.silent(nowMs);
  }

  measured(rttMs: number): void {
    this.plainMs = smoothed(this.plainMs, rttMs);
  }

  emptied(): void {
    if (!this.isClosed || this.isGone || !this.isEmpty) return;
    this.isGone = true;
    this.owner.gone(this);
  }

  connected(info: Connected): void {
    this.certificateEndsMs = info.certificateEndsMs ?? this.certificateEndsMs;
    this.lastHandshake = info;
    if (info.warning !== undefined) this.ports.log.warn({ ...this.fields, reason: 'pins' }, this.about(info.warning));
    if (this.mode !== 'opportunistic') this.passed(info.authenticated);
    else if (this.state.at === 'private') this.proved = info.authenticated;
  }

  /**
   * Opportunistic mode: a server that accepts TLS connections must also answer over them, and not much slower than in
   * cleartext.
   */
  probed(answer: Buffer | undefined, rttMs: number, authenticated: boolean): void {
    if (this.state.at === 'private' || this.isClosed) return;
    const rcode = answer === undefined ? -1 : rcodeOf(flagsOf(answer));
    const answers = rcode === RCODE.NOERROR || rcode === RCODE.NXDOMAIN;
    const quick = modes.quickEnough(rttMs, this.plainMs);
    this.counts.probe(answers && quick ? 'ok' : 'failed');
    const { address, port } = this.identity;
    if (!answers) this.failed('timeout', `${address} port ${port}: TLS connects, but queries are not answered`);
    else if (!quick)
      this.failed('slow', `${address}: ${Math.round(rttMs)} ms over TLS, ${Math.round(this.plainMs ?? 0)} ms without`);
    else this.passed(authenticated);
  }

  failed(code: FailureCode, detail: string): void {
    this.counts.error(code);
    const { guard } = this.identity;
    const nowMs = this.ports.clock.monotonicMs();
    const wasHeld = guard.holds(nowMs);
    const changed = this.enter(
      modes.failed(this.mode, this.state, { nowMs, spread: this.ports.random.below(1024) / 1024, held: wasHeld }),
    );
    guard.failed(nowMs);
    const why = failure(code, detail);
    const before = this.tlsFailure;
    this.tlsFailure = why;
    this.proved = false;
    this.owner.failed(this);
    if (!changed && before?.code === code && before.detail === detail) return;
    const tlsOnly = this.events.tlsOnly(nowMs);
    const inCleartext = this.mode === 'opportunistic' && pathTo(this, tlsOnly, nowMs) === 'cleartext';
    const way = inCleartext ? '; its queries go in cleartext meanwhile' : '';
    const hint = this.hint(why);
    const words = hint === undefined ? failureWords(why) : `${failureWords(why)}; ${hint}`;
    this.ports.log.warn({ ...this.fields, reason: code }, this.about(`${words}${way}`));
  }

  moved(to: PrivateProtocol, why: Failure | undefined): void {
    const { log } = this.ports;
    const { https } = this;
    const { port } = this.identity;
    if (to === 'dot') return log.info(this.fields, this.about(`port ${port} works again, so it is asked over TLS`));
    const reason = why === undefined ? '' : `; port ${port} cannot be used: ${failureWords(why)}`;
    log.warn({ ...this.fields, reason: why?.code }, this.about(`asked over HTTPS, port ${https?.port ?? ''}${reason}`));
  }

  /** What can be done about a failure, for people. */
  private hint({ code }: Failure): string | undefined {
    const { isListed, port } = this.identity;
    if (this.https !== undefined || !isListed || !couldBeBlocked(code)) return undefined;
    return `if this network blocks port ${port}, set upstream.servers[].https, and the server is asked over HTTPS`;
  }

  private passed(authenticated: boolean): void {
    this.identity.guard.works(authenticated);
    const changed = this.enter(modes.passed()) || this.tlsFailure !== undefined;
    this.tlsFailure = this.cleartextSinceMs = undefined;
    this.proved = authenticated;
    if (changed) {
      const how = this.isDane ? ' by DANE' : '';
      const identity = authenticated ? `identity proved${how}` : 'identity not proved';
      this.ports.log.info(
        this.fields,
        this.about(`connected over ${this.tls.protocol === 'https' ? 'HTTPS' : 'TLS'}, ${identity}`),
      );
    }
    this.owner.passed(this);
    this.events.up();
  }

  /** Changes the state; false: it was in that state already. */
  private enter(next: modes.Health): boolean {
    const before = this.state.at;
    this.state = next;
    if (next.at === before) return false;
    this.ports.observer.upstreamTransition(before, next.at);
    return true;
  }

  private get fields(): { readonly upstream: string; readonly address: string; readonly port: number } {
    const { server, address, port } = this.identity;
    return { upstream: server.label, address, port };
  }

  /** A sentence about it, for the log. */
  private about(words: string): string {
    return aboutAddress(this.server.label, this.identity.address, words);
  }
}
