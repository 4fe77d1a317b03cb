// One address of one server: its identity, its round-trip time, and what is known about reaching it.

import { hashOf } from '../base/hash.js';
import type { CleartextReason, Observer, ServerObserver, UpstreamProtocol } from '../base/observer.js';
import { failure, type Failure, type FailureCode, failureWords, RCODE } from '../base/outcome.js';
import type { AddressOverview, Mode } from '../base/overview.js';
import type { Clock, Connected, Dial, DialDatagram, Log, Random, Security } from '../base/ports.js';
import { flagsOf, rcodeOf } from '../wire/header.js';
import type { MonoMs } from '../base/time.js';
import type { Ask } from '../wire/upstream-query.js';
import type { Waiter } from './inflight.js';
import type { Memory } from './memory.js';
import * as modes from './mode.js';
import { type PlainEvents, PlainTransport } from './plain-transport.js';
import type { Target } from './selection.js';
import { type TlsEvents, TlsTransport } from './tls-transport.js';

/** The ports of the upstream room. */
export interface UpstreamPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly dial: Dial;
  readonly dialDatagram: DialDatagram;
  readonly observer: Observer;
  readonly log: Log;
  /** Which servers were authenticated on the current network. */
  readonly memory: Memory;
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
  /** The name under which its authentications are remembered, with address and port. */
  readonly memoryName: string;
  readonly address: string;
  /** The port for DNS over TLS. */
  readonly port: number;
  /** The port for cleartext DNS. */
  readonly plainPort: number;
  readonly mode: Mode;
  /** The label that its cleartext queries are counted under. */
  readonly reason: CleartextReason;
  readonly security: Security;
}

/** The events of an endpoint, for its pool. */
export interface EndpointEvents<T extends Waiter> {
  reply(waiter: T, message: Buffer, protocol: UpstreamProtocol, rttMs: number): void;
  /**
   * An attempt ended without an answer.
   * @param why undefined: we gave it up ourselves
   * @param blameless the connection closed without a fault of the server, which may be asked again
   */
  lost(waiter: T, why: Failure | undefined, blameless: boolean): void;
  /** The attempt still runs, but its connection is silent. */
  suspect(waiter: T): void;
  /** It can be asked from now on. */
  up(): void;
}

/** RFC 6298 §2: a new value counts an eighth. */
const smoothed = (before: number | undefined, ms: number): number =>
  before === undefined ? ms : before + (ms - before) / 8;

/** One address of a server. Nothing is opened before `prepare` or the first question. */
export class Endpoint<T extends Waiter> implements Target, TlsEvents<T>, PlainEvents<T> {
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
  /** It is not asked any more. */
  private isClosed = false;
  /** Whether `gone` was called. */
  private isGone = false;
  private readonly tls: TlsTransport<T>;
  private readonly plain: PlainTransport<T>;
  /** The key under which its authentications are remembered. */
  private readonly memoryKey: string;

  /**
   * @param gone called once, when it is closed and its last connection has closed
   */
  constructor(
    private readonly ports: UpstreamPorts,
    readonly identity: EndpointIdentity,
    private readonly counts: ServerObserver,
    private readonly events: EndpointEvents<T>,
    private readonly gone: (endpoint: Endpoint<T>) => void,
  ) {
    const { server, memoryName, address, port, plainPort, reason, mode, security } = identity;
    this.server = server;
    this.mode = mode;
    this.shardId = hashOf(server.label);
    this.memoryKey = `${memoryName} ${address} ${port}`;
    this.tls = new TlsTransport<T>(ports, counts, { address, port, security }, mode === 'opportunistic', this);
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

  /** Whether the server was authenticated. */
  get authenticated(): boolean {
    return this.proved && this.state.at === 'private';
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
    return modes.pathFor(mode, state, nowMs, state.at !== 'private' && this.ports.memory.proved(this.memoryKey));
  }

  /** Sends a query along `path`. */
  ask(ask: Ask, waiter: T, path: 'tls' | 'cleartext', nowMs: MonoMs): void {
    if (path === 'tls') return this.tls.ask(ask, waiter, nowMs);
    if (!this.tls.isUsable && modes.shouldProbe(this.mode, this.state, nowMs)) this.tls.connect();
    this.plain.ask(ask, waiter);
  }

  /** Connects before the first query, if TLS may be used or must be tested. */
  prepare(nowMs: MonoMs): void {
    const { mode, state } = this;
    if (this.isClosed || mode === 'off' || this.tls.isUsable) return;
    if (mode === 'opportunistic' ? modes.shouldProbe(mode, state, nowMs) : modes.mayTryAnyway(state, nowMs))
      this.tls.connect();
  }

  /**
   * Closes all connections; queries in flight are lost, and may be asked again. `network`: the route to the server has
   * changed, and everything learned about it is forgotten. `resume`: the machine has slept, so connections are dead,
   * and earlier failures may be over.
   */
  reset(what: 'network' | 'resume'): void {
    this.tlsFailure = undefined;
    if (what === 'network') {
      this.smoothedMs = this.plainMs = undefined;
      this.proved = false;
    }
    if (what === 'network' || this.state.at !== 'private') this.enter({ at: 'probing' });
    this.tls.reset(what);
    this.plain.reset(what);
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

  /** Its state for the overview. */
  overview(nowMs: MonoMs): AddressOverview {
    const { tlsFailure, state, identity } = this;
    return {
      address: identity.address,
      port: identity.port,
      state: state.at,
      path: this.path(nowMs),
      authenticated: this.authenticated,
      dane: this.isDane,
      connections: this.tls.usable,
      rttMs: this.smoothedMs,
      idleLimitMs: this.tls.idleLimitMs,
      certificateEndsMs: this.certificateEndsMs,
      failure: state.at === 'private' || tlsFailure === undefined ? undefined : failureWords(tlsFailure),
    };
  }

  /** Counts a reply that was accepted. */
  countResponse(rcode: number, rttMs: number): void {
    this.counts.response(rcode, rttMs / 1000);
  }

  /** Counts an error in a reply. */
  countError(code: FailureCode): void {
    this.counts.error(code);
  }

  // The events of the transports.

  reply(waiter: T, message: Buffer, protocol: UpstreamProtocol, rttMs: number): void {
    this.smoothedMs = smoothed(this.smoothedMs, rttMs);
    this.events.reply(waiter, message, protocol, rttMs);
  }

  lost(waiter: T, why: Failure | undefined, blameless: boolean): void {
    this.events.lost(waiter, why, blameless);
  }

  suspect(waiter: T): void {
    this.events.suspect(waiter);
  }

  measured(rttMs: number): void {
    this.plainMs = smoothed(this.plainMs, rttMs);
  }

  emptied(): void {
    if (!this.isClosed || this.isGone || !this.isEmpty) return;
    this.isGone = true;
    this.gone(this);
  }

  connected(info: Connected): void {
    this.certificateEndsMs = info.certificateEndsMs ?? this.certificateEndsMs;
    if (info.warning !== undefined)
      this.ports.log.warn({ ...this.fields, reason: 'pins' }, `${this.words}: ${info.warning}`);
    if (this.mode !== 'opportunistic') this.passed(info.authenticated);
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
    const at = {
      nowMs: this.ports.clock.monotonicMs(),
      spread: this.ports.random.below(1024) / 1024,
      proved: this.ports.memory.proved(this.memoryKey),
    };
    const why = failure(code, detail);
    const before = this.tlsFailure;
    const changed = this.enter(modes.failed(this.mode, this.state, at));
    this.tlsFailure = why;
    this.proved = false;
    if (!changed && before?.code === code && before.detail === detail) return;
    const inCleartext =
      this.mode === 'opportunistic' && modes.pathFor(this.mode, this.state, at.nowMs, at.proved) === 'cleartext';
    const way = inCleartext ? '; its queries go in cleartext meanwhile' : '';
    this.ports.log.warn({ ...this.fields, reason: code }, `${this.words}: ${failureWords(why)}${way}`);
  }

  private passed(authenticated: boolean): void {
    if (authenticated) this.ports.memory.prove(this.memoryKey);
    const changed = this.enter(modes.passed()) || this.tlsFailure !== undefined;
    this.tlsFailure = undefined;
    this.proved = authenticated;
    if (changed) {
      const how = this.isDane ? ' by DANE' : '';
      const identity = authenticated ? `identity proved${how}` : 'identity not proved';
      this.ports.log.info(this.fields, `${this.words}: connected over TLS, ${identity}`);
    }
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

  private get words(): string {
    return `${this.server.label} (${this.identity.address})`;
  }
}
