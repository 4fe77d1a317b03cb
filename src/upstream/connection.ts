// One connection to one server: pipelined queries, replies in any order, and a check that the server still answers.
// It opens at once, queues queries until the handshake is done, and reports to its owner. It never retries by itself.
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

/** How long a connection waits, ms. */
export interface ConnectionTimes {
  /**
   * A connection with queries in flight that has received nothing for this long is suspect: its queries are also sent
   * elsewhere.
   */
  readonly suspectMs: number;
  /** After this long without an octet it is closed. */
  readonly deadMs: number;
}

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
      /** Whether it had answered a query other than a probe. */
      readonly answered: boolean;
    }
  /** It was never established. */
  | { readonly at: 'failed'; readonly code: FailureCode; readonly detail: string }
  /** It was established, but the server stopped answering. */
  | { readonly at: 'silent' };

/** The events of a connection, for its owner. `T` is the owner's object for a query. */
export interface ConnectionEvents<T extends Waiter> {
  connected(info: Connected, handshakeMs: number): void;
  /** A query was answered. `idleForMs`: how long the connection had been idle before the query. */
  reply(waiter: T, message: Buffer, rttMs: number, idleForMs: number): void;
  /** A message arrived that answers no query in flight. */
  stray(kind: Exclude<Match<T>['at'], 'reply'>): void;
  /** Nothing was received for `suspectMs`. These queries stay in flight here as well. */
  suspect(waiters: readonly T[]): void;
  /** The server said how long it keeps idle connections (RFC 7828). */
  keepalive(ms: number): void;
  /** How long it may be idle. Called whenever it becomes idle. */
  idleMs(): number;
  /** It was idle for that long. Returns whether to send a query to keep it open. */
  keepWarm(): boolean;
  /** The last event. These queries got no answer. */
  closed(end: End, unanswered: readonly T[]): void;
}

/** Takes the answer to a probe; undefined: there was none. */
export type ProbeResult = (answer: Buffer | undefined, rttMs: number) => void;

type Phase = 'connecting' | 'open' | 'draining' | 'closed';

/** A probe: a query of our own. */
class Probe implements Waiter {
  readonly done = false;
  constructor(readonly then: ProbeResult) {}
}

/** A draining connection waits this long for its last answers: a query is given up after 4.5 s. */
const DRAIN_MS = 5000;
/** The most queries that may wait for the handshake. */
const MOST_QUEUED = 16_384;

/** A query that waits for the handshake. */
interface Queued<T extends Waiter> {
  readonly ask: Ask;
  readonly waiter: T | Probe;
}

/** A connection. Queries are padded unless the target is cleartext (RFC 8467). */
export class Connection<T extends Waiter> {
  private phase: Phase = 'connecting';
  /** Nothing was received for `suspectMs` while queries were in flight. */
  private isSilent = false;
  private readonly sent: Inflight<T | Probe>;
  /** Queries that wait for the end of the handshake. */
  private queued: Queued<T>[] = [];
  /** The EDNS options of the next query. */
  private options: AskOptions;
  /** The EDNS options of later queries, without those that are sent only once. */
  private readonly laterOptions: AskOptions;
  /** RFC 7828 §3.2.1: the server answers the option once. */
  private heardKeepalive = false;
  /** Whether a query other than a probe has been answered. */
  private answered = false;
  private readonly startedAtMs: MonoMs;
  /** When the last octets were received, or when the first of the queries in flight was sent, whichever is later. */
  private heardAtMs: MonoMs;
  /** How long the connection had been idle before the queries in flight were sent. */
  private idleForMs = 0;
  private cancelTimer: Cancel = () => undefined;
  private cancelDrain: Cancel = () => undefined;
  private readonly frames = frameReader();
  private readonly stream: Stream;
  private readonly clock: Clock;

  /** Opens the connection. */
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

  /** Nothing was received for too long: another connection is a better choice. */
  get suspect(): boolean {
    return this.isSilent;
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

  /** Starts the one timer: for silence while queries are in flight, else for idleness. */
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
    // If we closed the connection, a missing answer says nothing about the server.
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
      // RFC 7828 §3.2.2: 0 asks us to close after the last answer.
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
    // Some servers answer one query at a time and wait for the acknowledgement of each answer, which the kernel delays
    // by up to 40 ms. With many queries in flight, the next query carries it.
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
