// Deadlines for many things on one timer. A timer per query would cost too much: most queries are answered long before their
// deadline, so starting and stopping must be cheap, while firing may be a little late.

import type { Clock } from './ports.js';
import type { MonoMs } from './time.js';

/** Milliseconds that a slot covers, and so by how much a deadline may be late. */
const SLOT_MS = 25;
const SLOTS = 256;
/** In place of a place: not scheduled. */
const NOWHERE = -1;
/** In place of a place: taken from its slot, and about to fire. */
const DUE = -2;
/** In place of a neighbour: there is none. */
const NOBODY = -1;
const FIRST_PLACES = 64;

/** Something with a deadline. */
export abstract class Timed {
  /** For the wheel only: its place there, or NOWHERE or DUE. */
  place = NOWHERE;

  /** Whether it will fire. */
  get scheduled(): boolean {
    return this.place !== NOWHERE;
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
  /** All that is scheduled now, in no order. */
  all(): readonly Timed[];
}

/** Makes a Wheel. Its timer runs only while something is scheduled. */
export const wheel = (clock: Clock): Wheel => new TimerWheel(clock);

/** The slot time of a point in time: how many slots fit before it. */
const slotTime = (nowMs: MonoMs): number => Math.floor(nowMs / SLOT_MS);

/**
 * The entries of a slot are a list, whose links are numbers in arrays and not in the entries: those have been untouched for
 * as long as a server needs to answer, and each stop would fetch two neighbours besides the entry from memory.
 */
class TimerWheel implements Wheel {
  /** The first place of each slot. */
  private readonly slots = new Int32Array(SLOTS).fill(NOBODY);
  /** By place: what is there, its slot, how often the wheel still passes that before it fires, and its neighbours. */
  private readonly entries: (Timed | undefined)[] = [];
  private slotOf = new Int16Array(FIRST_PLACES);
  private turns = new Int32Array(FIRST_PLACES);
  private before = new Int32Array(FIRST_PLACES);
  private behind = new Int32Array(FIRST_PLACES);
  /** The first free place; the next ones are behind it. */
  private free = NOBODY;
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
    const slot = (this.tick + steps) % SLOTS;
    const place = this.takePlace();
    const first = this.slots[slot] ?? NOBODY;
    this.entries[place] = timed;
    this.slotOf[place] = slot;
    this.turns[place] = Math.floor((steps - 1) / SLOTS);
    this.before[place] = NOBODY;
    this.behind[place] = first;
    if (first !== NOBODY) this.before[first] = place;
    this.slots[slot] = place;
    timed.place = place;
    this.size++;
    this.schedule();
  }

  stop(timed: Timed): void {
    const { place } = timed;
    timed.place = NOWHERE;
    if (place >= 0) this.leave(place);
  }

  all(): readonly Timed[] {
    return this.entries.filter(each => each !== undefined);
  }

  private leave(place: number): void {
    const before = this.before[place] ?? NOBODY;
    const behind = this.behind[place] ?? NOBODY;
    if (before === NOBODY) this.slots[this.slotOf[place] ?? 0] = behind;
    else this.behind[before] = behind;
    if (behind !== NOBODY) this.before[behind] = before;
    this.entries[place] = undefined;
    this.behind[place] = this.free;
    this.free = place;
    this.size--;
  }

  private takePlace(): number {
    const { free, entries } = this;
    if (free !== NOBODY) {
      this.free = this.behind[free] ?? NOBODY;
      return free;
    }
    const place = entries.push(undefined) - 1;
    if (place === this.behind.length) this.grow();
    return place;
  }

  private grow(): void {
    const places = 2 * this.behind.length;
    const larger = (of: Int32Array): Int32Array<ArrayBuffer> => {
      const made = new Int32Array(places);
      made.set(of);
      return made;
    };
    const slotOf = new Int16Array(places);
    slotOf.set(this.slotOf);
    this.slotOf = slotOf;
    this.turns = larger(this.turns);
    this.before = larger(this.before);
    this.behind = larger(this.behind);
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
    const { turns, entries } = this;
    const due: Timed[] = [];
    for (let place = this.slots[slot] ?? NOBODY; place !== NOBODY; place = this.behind[place] ?? NOBODY) {
      const left = turns[place] ?? 0;
      const timed = entries[place];
      if (left > 0) turns[place] = left - 1;
      else if (timed !== undefined) due.push(timed);
    }
    // All due entries leave the slot before the first one fires, because firing may start or stop any other entry.
    for (const timed of due) {
      this.stop(timed);
      timed.place = DUE;
    }
    for (const timed of due) {
      if (timed.place !== DUE) continue;
      timed.place = NOWHERE;
      timed.fire();
    }
  }
}
