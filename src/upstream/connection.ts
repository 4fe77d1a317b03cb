// One connection to one server: pipelined queries, replies in any order, and a sense of whether the other end is
// still there. It opens at once, holds what is asked until the handshake is done, and tells its owner what happened;
// it never retries by itself.
//
//   connecting ──connected──▶ open ──idle, close()──▶ closed
//        └────────── failure, end of stream ─────────▶ closed

import type { FailureCode } from '../base/outcome.js';
import type { Clock, Connected, Dial, DialTarget, Random, StreamEvents } from '../base/ports.js';
import type { MonoMs } from '../base/time.js';
import { frameReader } from '../wire/frame.js';
import { keepaliveMs } from '../wire/scan.js';
import { type Ask, ROOT_NS, upstreamFrame } from '../wire/upstream-query.js';
import { Inflight, type Match, Sent, type Waiter } from './inflight.js';

/** How patient a connection is, ms. */
export interface ConnectionTimes {
  /** With queries in flight and nothing heard for this long, it is suspect: they are asked elsewhere too. */
  readonly suspectMs: number;
  /** … and after this long it is cut. */
  readonly deadMs: number;
}

/** With more under way, the next query is near. */
const FEW_INFLIGHT = 16;

/** Why a connection is no more. */
export type End =
  /** We had nothing to ask. */
  | { readonly at: 'idle' }
  /** We are stopping, or have no more use for it. */
  | { readonly at: 'drain' }
  /** The server closed an established connection, in order or not, `idleForMs` after its last answer. */
  | { readonly at: 'server'; readonly code: FailureCode; readonly detail: string; readonly idleForMs: number }
  /** It never came to be. */
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

/** A connection, from outside. */
export interface Connection<T extends Waiter> {
  /**
   * Sends a query now, or as soon as the handshake is done. False: it takes no more.
   * @param nowMs the monotonic clock, where the caller has just looked at it
   */
  ask(ask: Ask, waiter: T, nowMs?: MonoMs): boolean;
  /** Asks for the root's name servers, which every resolver knows, and says how that went. */
  probe(then: (answer: Buffer | undefined, rttMs: number) => void): void;
  /** Nothing heard for too long; better use another. */
  readonly suspect: boolean;
  readonly open: boolean;
  readonly inflight: number;
  /** Waits for what is in flight, then closes; takes no more. */
  close(): void;
  /** Cuts; what is in flight gets no answer. */
  destroy(): void;
}

type State = 'connecting' | 'open' | 'closed';

/** A question of our own. */
class Probe implements Waiter {
  readonly done = false;
  constructor(readonly then: (answer: Buffer | undefined, rttMs: number) => void) {}
}

/** Opens a connection. Queries are padded unless the target is cleartext (RFC 8467). */
export function connection<T extends Waiter>(
  { clock, random, dial }: { clock: Clock; random: Random; dial: Dial },
  target: DialTarget,
  times: ConnectionTimes,
  events: ConnectionEvents<T>,
): Connection<T> {
  const startedAtMs = clock.monotonicMs();
  const sent = new Inflight<T | Probe>(random);
  const frames = frameReader();
  const encrypted = target.security.at !== 'cleartext';
  // RFC 7828 §3.2.1: asked with the first query of a connection, and answered once.
  const first = { pad: encrypted, keepalive: true, hideSubnet: true };
  const later = { ...first, keepalive: false };
  let options = first;
  let heardKeepalive = false;
  let state: State = 'connecting';
  let waiting: { ask: Ask; waiter: T | Probe }[] = [];
  let draining = false;
  let suspect = false;
  // When the other end last showed a sign of life, or the first of what is in flight was sent.
  let heardAtMs = startedAtMs;
  // How long nothing was asked before what is in flight now was.
  let idleForMs = 0;
  let cancelTimer = (): void => undefined;

  function send(ask: Ask, waiter: T | Probe, nowMs = clock.monotonicMs()): boolean {
    const id = sent.add(new Sent(waiter, ask.question, nowMs));
    if (id === undefined) return false;
    if (sent.size === 1) {
      idleForMs = nowMs - heardAtMs;
      heardAtMs = nowMs;
      watch();
    }
    stream.send(upstreamFrame(id, ask, options));
    options = later;
    return true;
  }

  function ask(asked: Ask, waiter: T | Probe, nowMs?: MonoMs): boolean {
    if (state === 'closed' || draining) return false;
    if (state === 'open') return send(asked, waiter, nowMs);
    waiting.push({ ask: asked, waiter });
    return true;
  }

  function probe(then: (answer: Buffer | undefined, rttMs: number) => void): void {
    if (!ask(ROOT_NS, new Probe(then))) then(undefined, 0);
  }

  /** One timer: for silence while queries are in flight, else for idleness. */
  function watch(): void {
    cancelTimer();
    if (state !== 'open') return;
    if (sent.size === 0) {
      cancelTimer = clock.after(events.idleMs(), () => {
        if (events.keepWarm()) probe(() => undefined);
        else end({ at: 'idle' });
      });
      return;
    }
    const limitMs = suspect ? times.deadMs : times.suspectMs;
    const leftMs = heardAtMs + limitMs - clock.monotonicMs();
    cancelTimer = clock.after(Math.max(1, leftMs), () => {
      if (clock.monotonicMs() - heardAtMs < limitMs) return watch();
      if (suspect) return end({ at: 'silent' });
      suspect = true;
      events.suspect(sent.all().flatMap(({ waiter }) => (waiter instanceof Probe ? [] : [waiter])));
      watch();
    });
  }

  function end(why: End): void {
    if (state === 'closed') return;
    state = 'closed';
    cancelTimer();
    if (why.at === 'silent') stream.destroy();
    else stream.close();
    const all = [...waiting.map(({ waiter }) => waiter), ...sent.takeAll().map(({ waiter }) => waiter)];
    waiting = [];
    const unanswered: T[] = [];
    for (const waiter of all) {
      if (waiter instanceof Probe) waiter.then(undefined, 0);
      else unanswered.push(waiter);
    }
    events.closed(why, unanswered);
  }

  function receive(message: Buffer): void {
    const match = sent.match(message);
    if (match.at !== 'reply') return events.stray(match.at);
    if (!heardKeepalive) {
      heardKeepalive = true;
      const ms = keepaliveMs(message);
      // RFC 7828 §3.2.2: 0 asks us to close as soon as we have our answers.
      if (ms === 0) draining = true;
      else if (ms !== undefined) events.keepalive(ms);
    }
    const { waiter, sentAtMs } = match.sent;
    const rttMs = clock.monotonicMs() - sentAtMs;
    if (waiter instanceof Probe) waiter.then(message, rttMs);
    else events.reply(waiter, message, rttMs, idleForMs);
  }

  const streamEvents: StreamEvents = {
    connected(info) {
      state = 'open';
      heardAtMs = clock.monotonicMs();
      events.connected(info, heardAtMs - startedAtMs);
      const held = waiting;
      waiting = [];
      for (const { ask: asked, waiter } of held) send(asked, waiter);
      watch();
    },
    bytes(chunk) {
      heardAtMs = clock.monotonicMs();
      const wasSuspect = suspect;
      suspect = false;
      frames.push(chunk, receive);
      // A server that answers one by one waits after each for the acknowledgement that the kernel delays (up to 40 ms). Where
      // many are under way, new queries carry it.
      if (sent.size > 0 && sent.size <= FEW_INFLIGHT) stream.acknowledge();
      if (sent.size > 0 && !wasSuspect) return;
      if (sent.size === 0 && draining) end({ at: 'drain' });
      else watch();
    },
    closed(why) {
      const reason = why ?? { code: 'closed' as const, detail: 'closed by the server' };
      if (state === 'connecting') end({ at: 'failed', ...reason });
      else end({ at: 'server', ...reason, idleForMs: sent.size === 0 ? clock.monotonicMs() - heardAtMs : 0 });
    },
  };
  const stream = dial(target, streamEvents);

  return {
    ask,
    probe,
    get suspect() {
      return suspect;
    },
    get open() {
      return state === 'open' && !draining;
    },
    get inflight() {
      return sent.size + waiting.length;
    },
    close() {
      draining = true;
      if (sent.size + waiting.length === 0) end({ at: 'drain' });
    },
    destroy() {
      end({ at: 'drain' });
      stream.destroy();
    },
  };
}
