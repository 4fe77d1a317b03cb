// One address of one server: who it is, how quick it is, and what is known about reaching it.

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

/** What the upstream rooms need from outside. */
export interface UpstreamPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly dial: Dial;
  readonly dialDatagram: DialDatagram;
  readonly observer: Observer;
  readonly log: Log;
  /** Which servers have proved themselves on the network that we are on. */
  readonly memory: Memory;
  /** A number that no other server of this process has. */
  readonly nextServerId: () => number;
}

/** A server, for those who tell servers apart (by `id`) or name them to people (by `label`). */
export interface ServerName {
  readonly id: number;
  readonly label: string;
}

/** Who the endpoint is. */
export interface EndpointIdentity {
  readonly server: ServerName;
  /** What its proofs are remembered under, with address and port. */
  readonly memoryName: string;
  readonly address: string;
  /** Of DNS over TLS. */
  readonly port: number;
  /** Of cleartext DNS. */
  readonly plainPort: number;
  readonly mode: Mode;
  /** What its cleartext queries are counted as. */
  readonly reason: CleartextReason;
  readonly security: Security;
}

/** What an endpoint tells those who ask it. */
export interface EndpointEvents<T extends Waiter> {
  reply(waiter: T, message: Buffer, protocol: UpstreamProtocol, rttMs: number): void;
  /**
   * This attempt brings no answer.
   * @param why undefined: we gave it up ourselves
   * @param blameless a connection closed through nobody's fault, and the server may be asked again
   */
  lost(waiter: T, why: Failure | undefined, blameless: boolean): void;
  /** The attempt still runs, but the other end has gone quiet. */
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
  /** What is known about TLS with it. */
  private state: modes.Health = { at: 'probing' };
  /** Why TLS failed last; undefined: it did not, since it last worked. */
  private tlsFailure: Failure | undefined;
  /** Whether it proved who it is when TLS last worked. */
  private proved = false;
  /** Smoothed round-trip times: of all queries, and of those over UDP. */
  private smoothedMs: number | undefined;
  private plainMs: number | undefined;
  private certificateEndsMs: number | undefined;
  /** It is asked no more. */
  private isClosed = false;
  /** It has told that nothing is open any more. */
  private isGone = false;
  private readonly tls: TlsTransport<T>;
  private readonly plain: PlainTransport<T>;
  /** What its proofs are remembered under. */
  private readonly memoryKey: string;

  /** @param gone called once when it was closed and its last connection is */
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

  /** A connection that can be used is open. */
  get open(): boolean {
    return this.tls.isReady;
  }

  get health(): modes.Health {
    return this.state;
  }

  /** It has proved who it is. */
  get authenticated(): boolean {
    return this.proved && this.state.at === 'private';
  }

  /** Why it cannot be asked over TLS. */
  get lastFailure(): Failure | undefined {
    return this.tlsFailure;
  }

  /** Nothing is open or in flight. */
  get isEmpty(): boolean {
    return this.tls.isEmpty && this.plain.isEmpty;
  }

  /** Where a question may go now. A connection that exists may be used whatever the back-off says. */
  path(nowMs: MonoMs): modes.Path {
    if (this.isClosed) return 'refuse';
    const { mode, state } = this;
    if ((mode === 'strict' || mode === 'encrypted') && this.tls.isUsable) return 'tls';
    return modes.pathFor(mode, state, nowMs, state.at !== 'private' && this.ports.memory.proved(this.memoryKey));
  }

  /** Asks along `path`. */
  ask(ask: Ask, waiter: T, path: 'tls' | 'cleartext', nowMs: MonoMs): void {
    if (path === 'tls') return this.tls.ask(ask, waiter, nowMs);
    if (!this.tls.isUsable && modes.shouldProbe(this.mode, this.state, nowMs)) this.tls.connect();
    this.plain.ask(ask, waiter);
  }

  /** Connects ahead of the first question, where TLS may be used or is to be found out about. */
  prepare(nowMs: MonoMs): void {
    const { mode, state } = this;
    if (this.isClosed || mode === 'off' || this.tls.isUsable) return;
    if (mode === 'opportunistic' ? modes.shouldProbe(mode, state, nowMs) : modes.mayTryAnyway(state, nowMs))
      this.tls.connect();
  }

  /**
   * `network`: the way to it is another; nothing that was learned on the way of before counts any more. `resume`: the
   * machine has slept; its connections are dead, and failures of before may be over. Gives up the connections in both
   * cases: what is in flight is lost, and may be asked again.
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

  /** Is asked no more; what is in flight is finished. */
  close(): void {
    this.isClosed = true;
    this.tls.close();
    this.plain.close();
    this.emptied();
  }

  /** Cuts. */
  destroy(): void {
    this.isClosed = true;
    this.tls.destroy();
    this.plain.destroy();
    this.emptied();
  }

  /** How it is doing. */
  overview(nowMs: MonoMs): AddressOverview {
    const { tlsFailure, state, identity } = this;
    return {
      address: identity.address,
      port: identity.port,
      state: state.at,
      path: this.path(nowMs),
      authenticated: this.authenticated,
      connections: this.tls.usable,
      rttMs: this.smoothedMs,
      idleLimitMs: this.tls.idleLimitMs,
      certificateEndsMs: this.certificateEndsMs,
      failure: state.at === 'private' || tlsFailure === undefined ? undefined : failureWords(tlsFailure),
    };
  }

  /** Counts a reply that was taken. */
  countResponse(rcode: number, rttMs: number): void {
    this.counts.response(rcode, rttMs / 1000);
  }

  /** Counts what went wrong with a reply. */
  countError(code: FailureCode): void {
    this.counts.error(code);
  }

  // What the transports tell.

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

  /** Opportunistic mode: a server that takes TLS connections must also answer, and not much slower than in cleartext. */
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
      const identity = authenticated ? 'identity proved' : 'identity not proved';
      this.ports.log.info(this.fields, `${this.words}: connected over TLS, ${identity}`);
    }
    this.events.up();
  }

  /** Takes another state; false: it is in the same one. */
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
