// Deadlines for many things on one timer. A query must not cost a timer of its own: most are answered long
// before their deadline, so entering and leaving has to be cheap, and firing may be a little late.

import type { Cancel, Clock } from './ports.js';

/** How late a deadline may fire, ms. */
const SLOT_MS = 25;
const SLOTS = 256;

/** A scheduled call. Kept in a set per slot, so that leaving is one delete. */
interface Entry {
  readonly slot: Set<Entry>;
  /** Turns of the wheel still to let pass. */
  turns: number;
  readonly then: () => void;
}

/** A hashed timer wheel (Varghese and Lauck): O(1) to enter, leave, and fire. */
export interface Wheel {
  /** Calls `then` once, `ms` from now or at most 50 ms later. */
  after(ms: number, then: () => void): Cancel;
}

/** Makes a Wheel; its one timer runs only while something is scheduled. */
export function wheel(clock: Clock): Wheel {
  const slots = Array.from({ length: SLOTS }, () => new Set<Entry>());
  let size = 0;
  let ticking = false;
  // The slot time up to which everything has fired.
  let tick = 0;

  const now = (): number => Math.floor(clock.monotonicMs() / SLOT_MS);

  function advance(): void {
    const until = now();
    while (tick < until && size > 0) {
      tick++;
      const slot = slots[tick % SLOTS];
      if (slot === undefined) continue;
      for (const entry of [...slot]) {
        if (entry.turns-- > 0 || !slot.delete(entry)) continue;
        size--;
        entry.then();
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

  return {
    after(ms, then) {
      if (size === 0) tick = now();
      // One slot further than the division says: never early.
      const steps = Math.max(1, Math.ceil(ms / SLOT_MS) + 1 + (now() - tick));
      const slot = slots[(tick + steps) % SLOTS];
      if (slot === undefined) throw new Error('a wheel has all its slots');
      const entry: Entry = { slot, turns: Math.floor((steps - 1) / SLOTS), then };
      slot.add(entry);
      size++;
      schedule();
      return () => {
        if (slot.delete(entry)) size--;
      };
    },
  };
}
