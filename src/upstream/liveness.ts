// Whether the server still answers on one connection. A query that is not answered says little: its zone may be dead.
// So before a connection is taken for dead, the server is asked on it for something that it can answer at once. Pure.
//
//   answering ──nothing for half the patience──▶ asked ──nothing for the patience──▶ suspect ──no octet──▶ dead
//       ▲                                          │                                   │
//       └─────── a message, or octets fast enough ─┴───────────────────────────────────┘
//
// A message that has been arriving for the patience makes a connection suspect as well, however fast its octets come:
// nothing else can arrive meanwhile.

import { monoAfter, monoMs, type MonoMs } from '../base/time.js';

/** Limits of the patience: 2·SRTT + 200 ms between them. */
const PATIENCE = { leastMs: 1000, mostMs: 2000, rtts: 2, moreMs: 200 } as const;
/** After this long without an octet, in ms, a suspect connection is dead, */
const DEAD_MS = 3000;
/** and after this long without progress, whatever trickles in. */
const NO_PROGRESS_MS = 10_000;
/**
 * Octets of an unfinished message show that the connection works only if they come at this rate. Below it, one large
 * answer that trickles in would hold up all others behind it.
 */
const SLOWEST_BYTES_PER_SECOND = 8192;

/** How long to wait for an answer before other ways are tried. @param srttMs undefined: not known */
export const patienceMs = (srttMs: number | undefined): number =>
  Math.min(
    PATIENCE.mostMs,
    Math.max(PATIENCE.leastMs, PATIENCE.rtts * (srttMs ?? PATIENCE.leastMs / 4) + PATIENCE.moreMs),
  );

/** A handshake and an answer take three round trips. */
const HANDSHAKE = { leastMs: 250, mostMs: 1500, rtts: 4 } as const;

/**
 * How long a connection may take before another address is asked, too (RFC 8305 §5): no longer than necessary, but not
 * so short that under `sharded` a second server sees the name. @param srttMs undefined: not known
 */
export const handshakePatienceMs = (srttMs: number | undefined): number =>
  Math.min(HANDSHAKE.mostMs, Math.max(HANDSHAKE.leastMs, HANDSHAKE.rtts * (srttMs ?? 0)));

/** What to do now about queries in flight. */
export type LivenessStep =
  | { readonly at: 'wait'; readonly ms: number }
  /** Ask something that every server can answer at once. */
  | { readonly at: 'ask' }
  /** Send the queries elsewhere as well. */
  | {
      readonly at: 'suspect';
      /** Whether octets come fast enough: one large answer holds up the others, and will arrive. */
      readonly isArriving: boolean;
    }
  /** Close the connection. */
  | { readonly at: 'dead' };

/** The liveness of one connection. */
export class Liveness {
  private state: 'answering' | 'asked' | 'suspect' = 'answering';
  /** When the server last made progress, or when the first of the queries in flight was sent, whichever is later. */
  private progressAtMs: MonoMs;
  /** The same for any octet. */
  private octetsAtMs: MonoMs;
  /** When the server was asked because of its silence. */
  private askedAtMs: MonoMs;
  /** Octets of the unfinished message since the last progress. */
  private unfinished = 0;
  /** When the first octets of the unfinished message arrived. */
  private arrivingSinceMs: MonoMs | undefined = undefined;

  constructor(nowMs: MonoMs) {
    this.progressAtMs = this.octetsAtMs = this.askedAtMs = nowMs;
  }

  /** Nothing useful was received for too long. */
  get isSuspect(): boolean {
    return this.state === 'suspect';
  }

  /** When the last octets arrived, or the first of the queries in flight was sent, whichever is later. */
  get lastMs(): MonoMs {
    return this.octetsAtMs;
  }

  /** The first of the queries in flight is sent. */
  begin(nowMs: MonoMs): void {
    this.progressAtMs = this.octetsAtMs = nowMs;
    this.unfinished = 0;
    this.arrivingSinceMs = undefined;
  }

  /**
   * Octets have arrived.
   * @param completed whether they completed a message
   * @returns whether the server was asked because of its silence, or suspect, until now
   */
  heard(bytes: number, completed: boolean, nowMs: MonoMs): boolean {
    this.octetsAtMs = nowMs;
    this.unfinished += bytes;
    this.arrivingSinceMs = completed ? undefined : (this.arrivingSinceMs ?? nowMs);
    const elapsedMs = nowMs - this.progressAtMs;
    if (!completed && this.unfinished * 1000 < SLOWEST_BYTES_PER_SECOND * elapsedMs) return false;
    this.progressAtMs = nowMs;
    this.unfinished = 0;
    const was = this.state;
    if (was === 'suspect' && !completed) return false;
    this.state = 'answering';
    return was !== 'answering';
  }

  /** Decides, and changes the state. To be called when the time of the last step is over. */
  step(nowMs: MonoMs, patience: number): LivenessStep {
    const dueMs = this.dueMs(patience);
    if (nowMs < dueMs) return { at: 'wait', ms: dueMs - nowMs };
    switch (this.state) {
      case 'answering':
        if (nowMs < monoAfter(this.progressAtMs, patience / 2)) return this.suspect(true);
        this.state = 'asked';
        this.askedAtMs = nowMs;
        return { at: 'ask' };
      case 'asked':
        return this.suspect(false);
      case 'suspect':
        return { at: 'dead' };
    }
  }

  private suspect(isArriving: boolean): LivenessStep {
    this.state = 'suspect';
    return { at: 'suspect', isArriving };
  }

  private dueMs(patience: number): MonoMs {
    switch (this.state) {
      case 'answering':
        return monoMs(Math.min(this.progressAtMs + patience / 2, (this.arrivingSinceMs ?? Infinity) + patience));
      case 'asked':
        return monoAfter(this.askedAtMs, patience / 2);
      case 'suspect':
        return monoMs(Math.min(this.octetsAtMs + DEAD_MS, this.progressAtMs + NO_PROGRESS_MS));
    }
  }
}
