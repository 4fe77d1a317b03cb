// Deadlines for many things on one timer. A timer per query would cost too much: most queries are answered long before their
// deadline, so starting and stopping must be cheap, while firing may be a little late.

import type { Clock } from './ports.js';
import type { MonoMs } from './time.js';

/** Milliseconds that a slot covers, and so by how much a deadline may be late. */
const SLOT_MS = 25;
const SLOTS = 256;
/** In place of a slot: not scheduled. */
const NOWHERE = -1;
/** In place of a slot: taken from its slot, and about to fire. */
const DUE = -2;

/** Something with a deadline. The wheel keeps its links in it, so that starting and stopping allocate nothing. */
export abstract class Timed {
  /** For the wheel only: the slot, or NOWHERE or DUE. */
  slot = NOWHERE;
  /** For the wheel only: the neighbours in the list of the slot. */
  before: Timed | undefined;
  behind: Timed | undefined;
  /** For the wheel only: how often the wheel still passes the slot before it fires. */
  turns = 0;

  /** Whether it will fire. */
  get scheduled(): boolean {
    return this.slot !== NOWHERE;
  }

  /** Called at the deadline. */
  abstract fire(): void;
}

/** A hashed timer wheel (Varghese and Lauck): starting, stopping and firing are O(1). */
export interface Wheel {
  /**
   * Fires `timed` once, between `ms` and `ms` + 50 from now. An earlier deadline of it is forgotten.
   * @param nowMs the time on the monotonic clock, if the caller has just read it
   */
  start(timed: Timed, ms: number, nowMs?: MonoMs): void;
  /** Forgets the deadline. It may be called at any time. */
  stop(timed: Timed): void;
}

/** Makes a Wheel. Its timer runs only while something is scheduled. */
export const wheel = (clock: Clock): Wheel => new TimerWheel(clock);

/** The slot time of a point in time: how many slots fit before it. */
const slotTime = (nowMs: MonoMs): number => Math.floor(nowMs / SLOT_MS);

class TimerWheel implements Wheel {
  /** The first entry of each slot. */
  private readonly slots = new Array<Timed | undefined>(SLOTS).fill(undefined);
  /** How many entries all slots have. */
  private size = 0;
  /** Whether the timer of the clock is running. */
  private ticking = false;
  /** The slot time up to which everything has fired. */
  private tick = 0;

  constructor(private readonly clock: Clock) {}

  start(timed: Timed, ms: number, nowMs: MonoMs = this.clock.monotonicMs()): void {
    this.stop(timed);
    const at = slotTime(nowMs);
    if (this.size === 0) this.tick = at;
    // One slot more than the division gives, since the current slot has partly passed: a deadline must never fire early.
    const steps = Math.max(1, Math.ceil(ms / SLOT_MS) + 1 + (at - this.tick));
    timed.slot = (this.tick + steps) % SLOTS;
    timed.turns = Math.floor((steps - 1) / SLOTS);
    const first = this.slots[timed.slot];
    timed.behind = first;
    if (first !== undefined) first.before = timed;
    this.slots[timed.slot] = timed;
    this.size++;
    this.schedule();
  }

  stop(timed: Timed): void {
    const { slot, before, behind } = timed;
    timed.slot = NOWHERE;
    if (slot < 0) return;
    if (before === undefined) this.slots[slot] = behind;
    else before.behind = behind;
    if (behind !== undefined) behind.before = before;
    // Clear the links: an old-generation entry that points at new ones would keep them alive until a full GC.
    timed.before = timed.behind = undefined;
    this.size--;
  }

  private schedule(): void {
    if (this.ticking || this.size === 0) return;
    this.ticking = true;
    this.clock.after(SLOT_MS, this.advance);
  }

  private readonly advance = (): void => {
    const until = slotTime(this.clock.monotonicMs());
    while (this.tick < until && this.size > 0) {
      this.tick++;
      this.fireSlot(this.tick % SLOTS);
    }
    this.tick = Math.max(this.tick, until);
    this.ticking = false;
    this.schedule();
  };

  private fireSlot(slot: number): void {
    const due: Timed[] = [];
    for (let timed = this.slots[slot]; timed !== undefined; timed = timed.behind) {
      if (timed.turns > 0) timed.turns--;
      else due.push(timed);
    }
    // All due entries leave the slot before the first one fires, because firing may start or stop any other entry.
    for (const timed of due) {
      this.stop(timed);
      timed.slot = DUE;
    }
    for (const timed of due) {
      if (timed.slot !== DUE) continue;
      timed.slot = NOWHERE;
      timed.fire();
    }
  }
}
