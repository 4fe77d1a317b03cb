// One connection to one server: pipelined queries, replies in any order, and a sense of whether the other end is
// still there. It opens at once, holds what is asked until the handshake is done, and tells its owner what happened;
// it never retries by itself.
//
//   connecting ──connected──▶ open ──idle, close()──▶ closed
//        └────────── failure, end of stream ─────────▶ closed

import type { FailureCode } from '../base/outcome.js';
import type { Clock, Connected, Dial, DialTarget, Random, StreamEvents } from '../base/ports.js';
import { frameReader } from '../wire/frame.js';
import { type Ask, upstreamFrame } from '../wire/upstream-query.js';
import { Inflight, type Match, Sent, type Waiter } from './inflight.js';

/** How patient a connection is, ms. */
export interface ConnectionTimes {
  /** Closed after this long without a query. */
  readonly idleMs: number;
  /** With queries in flight and nothing heard for this long, it is suspect: they are asked elsewhere too. */
  readonly suspectMs: number;
  /** … and after this long it is cut. */
  readonly deadMs: number;
}

/** Why a connection is no more. */
export type End =
  /** We had nothing to ask. */
  | { readonly at: 'idle' }
  /** We are stopping. */
  | { readonly at: 'drain' }
  /** The server closed an established connection, in order or not. */
  | { readonly at: 'server'; readonly code: FailureCode; readonly detail: string }
  /** It never came to be. */
  | { readonly at: 'failed'; readonly code: FailureCode; readonly detail: string }
  /** Established, but the other end stopped answering. */
  | { readonly at: 'silent' };

/** What the owner is told. `T` is the owner's handle on a query. */
export interface ConnectionEvents<T extends Waiter> {
  connected(info: Connected, handshakeMs: number): void;
  reply(waiter: T, message: Buffer, rttMs: number): void;
  /** A message that answers nothing we asked. */
  stray(kind: Exclude<Match<T>['at'], 'reply'>): void;
  /** Silent for `suspectMs`: these wait. They stay in flight here as well. */
  suspect(waiters: readonly T[]): void;
  /** The last call. These never got their answer. */
  closed(end: End, unanswered: readonly T[]): void;
}

/** A connection, from outside. */
export interface Connection<T extends Waiter> {
  /** Sends a query now, or as soon as the handshake is done. False: it takes no more. */
  ask(ask: Ask, waiter: T): boolean;
  /** Nothing heard for too long; better use another. */
  readonly suspect: boolean;
  readonly open: boolean;
  readonly inflight: number;
  /** Waits for what is in flight, then closes. */
  close(): void;
  destroy(): void;
}

type State = 'connecting' | 'open' | 'closed';

/** Opens a connection. Queries are padded unless the target is cleartext (RFC 8467). */
export function connection<T extends Waiter>(
  { clock, random, dial }: { clock: Clock; random: Random; dial: Dial },
  target: DialTarget,
  times: ConnectionTimes,
  events: ConnectionEvents<T>,
): Connection<T> {
  const startedAtMs = clock.monotonicMs();
  const sent = new Inflight<T>(random);
  const frames = frameReader();
  const options = { pad: target.security.at !== 'cleartext', keepalive: false };
  let state: State = 'connecting';
  let waiting: { ask: Ask; waiter: T }[] = [];
  let draining = false;
  let suspect = false;
  // When the other end last showed a sign of life, or the first of what is in flight was sent.
  let heardAtMs = startedAtMs;
  let cancelTimer = (): void => undefined;

  function send(ask: Ask, waiter: T): boolean {
    const nowMs = clock.monotonicMs();
    const id = sent.add(new Sent(waiter, ask.question, nowMs));
    if (id === undefined) return false;
    if (sent.size === 1) {
      heardAtMs = nowMs;
      watch();
    }
    stream.send(upstreamFrame(id, ask, options));
    return true;
  }

  /** One timer: for silence while queries are in flight, else for idleness. */
  function watch(): void {
    cancelTimer();
    if (state !== 'open') return;
    if (sent.size === 0) {
      cancelTimer = clock.after(times.idleMs, () => end({ at: 'idle' }));
      return;
    }
    const limitMs = suspect ? times.deadMs : times.suspectMs;
    const leftMs = heardAtMs + limitMs - clock.monotonicMs();
    cancelTimer = clock.after(Math.max(1, leftMs), () => {
      if (clock.monotonicMs() - heardAtMs < limitMs) return watch();
      if (suspect) return end({ at: 'silent' });
      suspect = true;
      events.suspect(sent.all().map(({ waiter }) => waiter));
      watch();
    });
  }

  function end(why: End): void {
    if (state === 'closed') return;
    state = 'closed';
    cancelTimer();
    if (why.at === 'silent') stream.destroy();
    else stream.close();
    const unanswered = [...waiting.map(({ waiter }) => waiter), ...sent.takeAll().map(({ waiter }) => waiter)];
    waiting = [];
    events.closed(why, unanswered);
  }

  function receive(message: Buffer): void {
    const match = sent.match(message);
    if (match.at !== 'reply') return events.stray(match.at);
    events.reply(match.sent.waiter, message, clock.monotonicMs() - match.sent.sentAtMs);
  }

  const streamEvents: StreamEvents = {
    connected(info) {
      state = 'open';
      heardAtMs = clock.monotonicMs();
      events.connected(info, heardAtMs - startedAtMs);
      const held = waiting;
      waiting = [];
      for (const { ask, waiter } of held) send(ask, waiter);
      watch();
    },
    bytes(chunk) {
      heardAtMs = clock.monotonicMs();
      const wasSuspect = suspect;
      suspect = false;
      frames.push(chunk, receive);
      if (sent.size > 0 && !wasSuspect) return;
      if (sent.size === 0 && draining) end({ at: 'drain' });
      else watch();
    },
    closed(why) {
      if (why === undefined) end({ at: 'server', code: 'closed', detail: 'closed by the server' });
      else end({ at: state === 'connecting' ? 'failed' : 'server', ...why });
    },
  };
  const stream = dial(target, streamEvents);

  return {
    ask(ask, waiter) {
      if (state === 'closed' || draining) return false;
      if (state === 'open') return send(ask, waiter);
      waiting.push({ ask, waiter });
      return true;
    },
    get suspect() {
      return suspect;
    },
    get open() {
      return state === 'open';
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
