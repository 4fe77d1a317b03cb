// Shares the event loop between the sessions of clients and everything else. In one turn of the loop, all sessions
// together do a limited amount of work, and each a small piece of that at a time. The rest waits for later turns, so that
// a flood over streams leaves time to UDP, to the answers of servers, and to the other sessions.

import type { MonoMs } from '../base/time.js';

/** About what a cached answer takes: a few microseconds. */
const WORK_PER_TURN = 256;
const WORK_PER_PIECE = 32;

/** Whoever has work to do in a turn. */
export interface Worker {
  /** Does a piece of it. */
  takeTurn(): void;
  /** For how many sessions it works: each of them has a piece. Left out: one. */
  readonly sessions?: number;
}

/** Calls a function in the next turn of an event loop. */
export type Soon = (then: () => void) => unknown;

/** The event loop that sessions are in. */
export interface SessionLoop {
  readonly soon: Soon;
  /** The number of its turn. Left out: it does not count them. */
  readonly round?: number;
  /** When the turn has begun, on the monotonic clock. Left out: it does not say so. */
  readonly roundMs?: MonoMs;
}

const LOOP_OF_NODE: SessionLoop = { soon: setImmediate };

/** The turns of all sessions of an event loop. */
export class Turns {
  /** Work that may still be done in this turn, and in this piece. */
  private left = WORK_PER_TURN;
  private leftOfPiece = WORK_PER_PIECE;
  /** Those that wait for their turn, in order. */
  private readonly waiting = new Set<Worker>();
  /** The one that works for several sessions and has not done all of its pieces, and what is left of them. */
  private interrupted: { readonly worker: Worker; readonly left: number } | undefined = undefined;
  /** Whether the next turn is scheduled. */
  private scheduled = false;

  /** The turn of the loop that `left` is of, if the loop counts them. */
  private round: number | undefined = undefined;

  constructor(private readonly loop: SessionLoop = LOOP_OF_NODE) {}

  /** Counts work that was done. */
  spend(work: number): void {
    this.renew();
    this.left -= work;
    this.leftOfPiece -= work;
    // A turn without work would only begin the next one.
    if (this.round === undefined) this.schedule();
  }

  /** Whether whoever is at work must stop. */
  get isOver(): boolean {
    this.renew();
    return this.left <= 0 || this.leftOfPiece <= 0;
  }

  /** Begins a piece of work outside of `takeTurn`. */
  begin(): void {
    this.leftOfPiece = WORK_PER_PIECE;
  }

  /** Gives somebody a turn, soon. */
  add(worker: Worker): void {
    this.waiting.add(worker);
    this.schedule();
  }

  remove(worker: Worker): void {
    this.waiting.delete(worker);
    if (this.interrupted?.worker === worker) this.interrupted = undefined;
  }

  /** Begins a turn when the loop has begun one. */
  private renew(): void {
    const { round } = this.loop;
    if (round === this.round) return;
    this.round = round;
    this.left = WORK_PER_TURN;
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    this.loop.soon(this.next);
  }

  private readonly next = (): void => {
    const { waiting } = this;
    this.scheduled = false;
    this.round = this.loop.round;
    this.left = WORK_PER_TURN;
    const { interrupted } = this;
    this.interrupted = undefined;
    if (interrupted !== undefined) this.give(interrupted.worker, interrupted.left);
    // Whoever is added meanwhile comes after the others.
    for (const worker of waiting) {
      if (this.left <= 0) break;
      this.give(worker, WORK_PER_PIECE * (worker.sessions ?? 1));
    }
  };

  /** Gives somebody a turn now. */
  private give(worker: Worker, work: number): void {
    const { waiting } = this;
    waiting.delete(worker);
    this.leftOfPiece = work;
    try {
      worker.takeTurn();
    } finally {
      // Others must not do theirs in between, or all of its sessions would share one place.
      if (worker.sessions !== undefined && this.left <= 0 && this.leftOfPiece > 0 && waiting.has(worker))
        this.interrupted = { worker, left: this.leftOfPiece };
      if (waiting.size > 0) this.schedule();
    }
  }
}
