// Deadlines for many things on one timer. A query must not cost a timer of its own: most are answered long
// before their deadline, so entering and leaving has to be cheap, and firing may be a little late.

import type { Clock } from './ports.js';

/** How late a deadline may fire, ms. */
const SLOT_MS = 25;
const SLOTS = 256;
/** In place of the slot: in none, or about to fire. */
const NOWHERE = -1;
const DUE = -2;

/** Something with a deadline. The wheel keeps its books in it, so that entering and leaving allocate nothing. */
export abstract class Timed {
  /** Where it is, and between whom. */
  slot = NOWHERE;
  before: Timed | undefined;
  behind: Timed | undefined;
  /** Turns of the wheel still to let pass. */
  turns = 0;
  /** It will fire. */
  get scheduled(): boolean {
    return this.slot !== NOWHERE;
  }
  abstract fire(): void;
}

/** A hashed timer wheel (Varghese and Lauck): O(1) to enter, leave, and fire. */
export interface Wheel {
  /**
   * Fires `timed` once, `ms` from now or at most 50 ms later; what was scheduled for it before is forgotten.
   * @param nowMs the monotonic clock, where the caller has just looked at it
   */
  start(timed: Timed, ms: number, nowMs?: number): void;
  /** Forgets it; may be called at any time. */
  stop(timed: Timed): void;
}

/** Makes a Wheel; its one timer runs only while something is scheduled. */
export function wheel(clock: Clock): Wheel {
  // The first of each slot.
  const slots = new Array<Timed | undefined>(SLOTS).fill(undefined);
  let size = 0;
  let ticking = false;
  // The slot time up to which everything has fired.
  let tick = 0;

  const slotTime = (nowMs: number): number => Math.floor(nowMs / SLOT_MS);

  function advance(): void {
    const until = slotTime(clock.monotonicMs());
    while (tick < until && size > 0) {
      tick++;
      // All that are due leave first: firing one may start or stop any other.
      const due: Timed[] = [];
      for (let timed = slots[tick % SLOTS]; timed !== undefined; timed = timed.behind) {
        if (timed.turns > 0) timed.turns--;
        else due.push(timed);
      }
      for (const timed of due) {
        stop(timed);
        timed.slot = DUE;
      }
      for (const timed of due) {
        if (timed.slot !== DUE) continue;
        timed.slot = NOWHERE;
        timed.fire();
      }
    }
    tick = Math.max(tick, until);
    ticking = false;
    schedule();
  }

  function schedule(): void {
    if (ticking || size === 0) return;
    ticking = true;
    clock.after(SLOT_MS, advance);
  }

  function stop(timed: Timed): void {
    const { slot, before, behind } = timed;
    timed.slot = NOWHERE;
    if (slot < 0) return;
    if (before === undefined) slots[slot] = behind;
    else before.behind = behind;
    if (behind !== undefined) behind.before = before;
    timed.before = timed.behind = undefined;
    size--;
  }

  return {
    start(timed, ms, nowMs = clock.monotonicMs()) {
      stop(timed);
      const at = slotTime(nowMs);
      if (size === 0) tick = at;
      // One slot further than the division says: never early.
      const steps = Math.max(1, Math.ceil(ms / SLOT_MS) + 1 + (at - tick));
      timed.slot = (tick + steps) % SLOTS;
      timed.turns = Math.floor((steps - 1) / SLOTS);
      const first = slots[timed.slot];
      timed.behind = first;
      if (first !== undefined) first.before = timed;
      slots[timed.slot] = timed;
      size++;
      schedule();
    },
    stop,
  };
}
