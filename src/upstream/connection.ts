// One connection to one server: pipelined queries, replies in any order, and a watch on whether the other end still
// answers. It opens at once, queues what is asked until the handshake is done, and tells its owner what happened; it
// never retries by itself.
//
//   connecting ──connected──▶ open ──close()──▶ draining ──last answer──▶ closed
//        │                     └── idle, silent, end of stream ─────────▶ closed
//        └────────── failure, close() ──────────────────────────────────▶ closed

import type { FailureCode } from '../base/outcome.js';
import type { Cancel, Clock, Connected, Dial, DialTarget, Random, Stream, StreamEvents } from '../base/ports.js';
import type { MonoMs } from '../base/time.js';
import { frameReader } from '../wire/frame.js';
import { keepaliveMs } from '../wire/scan.js';
import { type Ask, type AskOptions, ROOT_NS, upstreamFrame } from '../wire/upstream-query.js';
import { Inflight, type Match, Sent, type Waiter } from './inflight.js';

/** How patient a connection is, ms. */
export interface ConnectionTimes {
  /** With queries in flight and nothing heard for this long, it is suspect: they are asked elsewhere too. */
  readonly suspectMs: number;
  /** … and after this long it is cut. */
  readonly deadMs: number;
}

/** Up to this many queries in flight, what came is acknowledged at once; with more, the next query carries it soon enough. */
const FEW_INFLIGHT = 16;
/** Queries that may wait for the handshake. */
const MOST_QUEUED = 16_384;
/** A connection that is to close waits no longer for its last answers: a query is given up at 4.5 s. */
const DRAIN_MS = 5000;

/** Why a connection is no more. */
export type End =
  /** We had nothing to ask. */
  | { readonly at: 'idle' }
  /** We closed it: it is not needed any more. */
  | { readonly at: 'drain' }
  /** The server closed an established connection, in order or not, `idleForMs` after its last answer. */
  | {
      readonly at: 'server';
      readonly code: FailureCode;
      readonly detail: string;
      readonly idleForMs: number;
      /** It had answered at least one query that was not our own. */
      readonly answered: boolean;
    }
  /** It was never established. */
  | { readonly at: 'failed'; readonly code: FailureCode; readonly detail: string }
  /** Established, but the other end stopped answering. */
  | { readonly at: 'silent' };

/** What the owner is told. `T` is the owner's handle on a query. */
export interface ConnectionEvents<T extends Waiter> {
  connected(info: Connected, handshakeMs: number): void;
  /** `idleForMs`: how long nothing had been asked before this was. */
  reply(waiter: T, message: Buffer, rttMs: number, idleForMs: number): void;
  /** A message that answers nothing we asked. */
  stray(kind: Exclude<Match<T>['at'], 'reply'>): void;
  /** Silent for `suspectMs`: these wait. They stay in flight here as well. */
  suspect(waiters: readonly T[]): void;
  /** The server said how long it keeps idle connections (RFC 7828). */
  keepalive(ms: number): void;
  /** How long it may be idle, asked whenever it becomes so. */
  idleMs(): number;
  /** Idle for that long: whether to keep it open by asking something. */
  keepWarm(): boolean;
  /** The last call. These never got their answer. */
  closed(end: End, unanswered: readonly T[]): void;
}

/** Takes the answer to a question of our own; undefined: there is none. */
export type ProbeResult = (answer: Buffer | undefined, rttMs: number) => void;

type Phase = 'connecting' | 'open' | 'draining' | 'closed';

/** A question of our own. */
class Probe implements Waiter {
  readonly done = false;
  constructor(readonly then: ProbeResult) {}
}

/** A query that waits for the handshake. */
interface Queued<T extends Waiter> {
  readonly ask: Ask;
  readonly waiter: T | Probe;
}

/** A connection. Queries are padded unless the target is cleartext (RFC 8467). */
export class Connection<T extends Waiter> {
  private phase: Phase = 'connecting';
  /** Nothing was heard for `suspectMs` while queries were in flight. */
  private isSilent = false;
  private readonly sent: Inflight<T | Probe>;
  /** Until the handshake is done. */
  private queued: Queued<T>[] = [];
  /** The EDNS options of the next query. */
  private options: AskOptions;
  /** The same without what is only sent once. */
  private readonly laterOptions: AskOptions;
  /** RFC 7828 §3.2.1: the server answers the option once. */
  private heardKeepalive = false;
  /** A query that was not our own has been answered. */
  private answered = false;
  private readonly startedAtMs: MonoMs;
  /** When the other end last showed a sign of life, or when the first of the queries in flight was sent. */
  private heardAtMs: MonoMs;
  /** How long nothing had been asked before the queries in flight were. */
  private idleForMs = 0;
  private cancelTimer: Cancel = () => undefined;
  private cancelDrain: Cancel = () => undefined;
  private readonly frames = frameReader();
  private readonly stream: Stream;
  private readonly clock: Clock;

  /** Opens it. */
  constructor(
    { clock, random, dial }: { readonly clock: Clock; readonly random: Random; readonly dial: Dial },
    target: DialTarget,
    private readonly times: ConnectionTimes,
    private readonly events: ConnectionEvents<T>,
  ) {
    this.clock = clock;
    this.startedAtMs = this.heardAtMs = clock.monotonicMs();
    this.sent = new Inflight(random);
    // RFC 7828 §3.2.1: asked with the first query of a connection.
    this.options = { pad: target.security.at !== 'cleartext', keepalive: true, hideSubnet: true };
    this.laterOptions = { ...this.options, keepalive: false };
    const streamEvents: StreamEvents = {
      connected: info => this.connected(info),
      bytes: chunk => this.received(chunk),
      closed: why => this.streamClosed(why),
    };
    this.stream = dial(target, streamEvents);
  }

  /** Nothing was heard for too long; another connection is better. */
  get suspect(): boolean {
    return this.isSilent;
  }

  get open(): boolean {
    return this.phase === 'open';
  }

  /** It takes questions, now or when the handshake is done. */
  get usable(): boolean {
    return this.phase === 'open' || this.phase === 'connecting';
  }

  /** Queries that wait for an answer, those of our own included. */
  get inflight(): number {
    return this.sent.size + this.queued.length;
  }

  /**
   * Sends a query now, or as soon as the handshake is done. False: it takes no more.
   * @param nowMs the monotonic clock, where the caller has just read it
   */
  ask(ask: Ask, waiter: T, nowMs?: MonoMs): boolean {
    return this.take(ask, waiter, nowMs);
  }

  /**
   * Asks for the root's name servers, which every resolver knows, and says how that went. A connection that we close
   * ourselves meanwhile says nothing.
   */
  probe(then: ProbeResult): void {
    if (!this.take(ROOT_NS, new Probe(then))) then(undefined, 0);
  }

  /** Waits for what is in flight, then closes; sends no more. What was not sent yet gets no answer. */
  close(): void {
    if (this.phase === 'connecting' || (this.phase === 'open' && this.sent.size === 0)) this.end({ at: 'drain' });
    else this.drain();
  }

  /** Cuts; what is in flight gets no answer. */
  destroy(): void {
    this.end({ at: 'drain' });
    this.stream.destroy();
  }

  private take(ask: Ask, waiter: T | Probe, nowMs?: MonoMs): boolean {
    if (this.phase === 'open') return this.send(ask, waiter, nowMs);
    if (this.phase !== 'connecting' || this.queued.length >= MOST_QUEUED) return false;
    this.queued.push({ ask, waiter });
    return true;
  }

  private send(ask: Ask, waiter: T | Probe, nowMs = this.clock.monotonicMs()): boolean {
    const id = this.sent.add(new Sent(waiter, ask.question, nowMs));
    if (id === undefined) return false;
    if (this.sent.size === 1) {
      this.idleForMs = nowMs - this.heardAtMs;
      this.heardAtMs = nowMs;
      this.watch();
    }
    this.stream.send(upstreamFrame(id, ask, this.options));
    this.options = this.laterOptions;
    return true;
  }

  private drain(): void {
    if (this.phase !== 'open') return;
    this.phase = 'draining';
    this.cancelDrain = this.clock.after(DRAIN_MS, () => this.end({ at: 'drain' }));
  }

  /** One timer: for silence while queries are in flight, else for idleness. */
  private watch(): void {
    this.cancelTimer();
    if (this.phase !== 'open' && this.phase !== 'draining') return;
    if (this.sent.size === 0) {
      this.cancelTimer = this.clock.after(this.events.idleMs(), () => {
        if (this.events.keepWarm()) this.probe(() => undefined);
        else this.end({ at: 'idle' });
      });
      return;
    }
    const limitMs = this.isSilent ? this.times.deadMs : this.times.suspectMs;
    const leftMs = this.heardAtMs + limitMs - this.clock.monotonicMs();
    this.cancelTimer = this.clock.after(Math.max(1, leftMs), () => {
      if (this.clock.monotonicMs() - this.heardAtMs < limitMs) return this.watch();
      if (this.isSilent) return this.end({ at: 'silent' });
      this.isSilent = true;
      this.events.suspect(this.sent.all().flatMap(({ waiter }) => (waiter instanceof Probe ? [] : [waiter])));
      this.watch();
    });
  }

  private end(why: End): void {
    if (this.phase === 'closed') return;
    this.phase = 'closed';
    this.cancelTimer();
    this.cancelDrain();
    if (why.at === 'silent') this.stream.destroy();
    else this.stream.close();
    const unanswered: T[] = [];
    const probes: Probe[] = [];
    const sort = (waiter: T | Probe): unknown =>
      waiter instanceof Probe ? probes.push(waiter) : unanswered.push(waiter);
    for (const { waiter } of this.queued) sort(waiter);
    for (const { waiter } of this.sent.takeAll()) sort(waiter);
    this.queued = [];
    // Where we closed it ourselves, a missing answer says nothing about the server.
    if (why.at !== 'drain') for (const probe of probes) probe.then(undefined, 0);
    this.events.closed(why, unanswered);
  }

  private readonly receive = (message: Buffer): void => {
    if (this.phase === 'closed') return;
    const match = this.sent.match(message);
    if (match.at !== 'reply') return this.events.stray(match.at);
    if (!this.heardKeepalive) {
      this.heardKeepalive = true;
      const ms = keepaliveMs(message);
      // RFC 7828 §3.2.2: 0 asks us to close as soon as we have our answers.
      if (ms === 0) this.drain();
      else if (ms !== undefined) this.events.keepalive(ms);
    }
    const { waiter, sentAtMs } = match.sent;
    const rttMs = this.clock.monotonicMs() - sentAtMs;
    if (waiter instanceof Probe) return waiter.then(message, rttMs);
    this.answered = true;
    this.events.reply(waiter, message, rttMs, this.idleForMs);
  };

  private connected(info: Connected): void {
    if (this.phase !== 'connecting') return;
    this.phase = 'open';
    this.heardAtMs = this.clock.monotonicMs();
    this.events.connected(info, this.heardAtMs - this.startedAtMs);
    const { queued } = this;
    this.queued = [];
    for (const { ask, waiter } of queued) this.send(ask, waiter);
    this.watch();
  }

  private received(chunk: Buffer): void {
    if (this.phase === 'closed') return;
    this.heardAtMs = this.clock.monotonicMs();
    const wasSilent = this.isSilent;
    this.isSilent = false;
    this.frames.push(chunk, this.receive);
    // A server may answer one query at a time and wait for the acknowledgement of each answer, which the kernel delays (up
    // to 40 ms). With many in flight, new queries carry it.
    if (this.sent.size > 0 && this.sent.size <= FEW_INFLIGHT) this.stream.acknowledge();
    if (this.sent.size > 0 && !wasSilent) return;
    if (this.sent.size === 0 && !this.open) this.end({ at: 'drain' });
    else this.watch();
  }

  private streamClosed(why: { readonly code: FailureCode; readonly detail: string } | undefined): void {
    const reason = why ?? { code: 'closed' as const, detail: 'closed by the server' };
    if (this.phase === 'connecting') return this.end({ at: 'failed', ...reason });
    const idleForMs = this.sent.size === 0 ? this.clock.monotonicMs() - this.heardAtMs : 0;
    this.end({ at: 'server', ...reason, idleForMs, answered: this.answered });
  }
}
