// Fills sets of the firewall. One batch of commands runs at a time, and addresses that come meanwhile are the next batch
// of their set. No reply waits longer than a bound, and none waits for a set that cannot be filled. Clients keep what they
// get meanwhile, so those addresses are put in as soon as the set can be filled.

import { type Bounded, bounded } from '../base/bounded.js';
import type { Observer } from '../base/observer.js';
import type { Cancel, Clock } from '../base/ports.js';
import { monoAfter, type MonoMs } from '../base/time.js';
import { commandsOf, type SetElement } from '../policy/firewall-sets.js';

/** Runs commands of nft(8), all or none. */
export type RunCommands = (commands: string, then: (problem: string | undefined) => void) => void;

/** The parts that it uses. */
export interface SetFillerParts {
  readonly clock: Clock;
  readonly observer: Observer;
  readonly run: RunCommands;
}

/** How long a reply waits for its addresses to be in their sets. */
export const MOST_WAIT_MS = 50;
/** The most addresses that wait to be put into sets. */
const MOST_QUEUED = 4096;
/** The most addresses that are known to be in a set. */
const MOST_KNOWN = 16_384;
/** After this time an address is put in again: somebody may have loaded the rules anew, and the sets are empty then. */
const AGAIN_MS = 10_000;
/** A TTL is whole seconds. */
const SLACK_MS = 1000;
/** A set that could not be filled is left alone, ever longer, and then tried again. */
const PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 10_000;
/** The most addresses that a set which cannot be filled lacks; the oldest ones go. */
const MOST_LACKING = 1024;

/** A reply that waits. */
interface Waiter {
  /** In how many batches its addresses are. */
  batches: number;
  /** Undefined: it waits no more. */
  done: (() => void) | undefined;
  cancel: Cancel;
}

/** Addresses for one set, with their seconds. */
interface Batch {
  readonly elements: Map<string, number>;
  readonly waiters: Set<Waiter>;
  /** Whether it has addresses that the set lacked for a while. */
  isLate: boolean;
}

/** A set that could not be filled. */
interface Trouble {
  readonly words: string;
  readonly pauseMs: number;
  readonly until: MonoMs;
  /** The addresses that clients have and the set has not, and until when it should have them. */
  readonly lacking: Map<string, MonoMs>;
  /** Keeps it from being tried again. */
  readonly cancel: Cancel;
}

const nothing = (): void => undefined;

/** Fills them. */
export class SetFiller {
  private readonly known: Bounded<{ readonly since: MonoMs; readonly until: MonoMs }> = bounded(
    MOST_KNOWN,
    () => undefined,
  );
  /** Batches by their set, in the order in which they run. */
  private readonly queue = new Map<string, Batch>();
  private queued = 0;
  private readonly troubles = new Map<string, Trouble>();
  private isRunning = false;
  private isClosed = false;

  constructor(private readonly parts: SetFillerParts) {}

  /** The sets that could not be filled when that was last tried, one sentence each. */
  get problems(): readonly string[] {
    return [...this.troubles].map(([set, { words }]) => `the set ${set} cannot be filled: ${words}`);
  }

  /** Those of some addresses that are not known to be in their sets for long enough. */
  missing(elements: readonly SetElement[]): readonly SetElement[] {
    const now = this.parts.clock.monotonicMs();
    return elements.filter(({ set, address, seconds }) => {
      const known = this.known.get(keyOf(set, address));
      return known === undefined || now - known.since >= AGAIN_MS || known.until - now < 1000 * seconds - SLACK_MS;
    });
  }

  /**
   * Puts addresses into their sets.
   * @param done called once: when they are there, cannot be put there, or take too long
   */
  fill(elements: readonly SetElement[], done: () => void): void {
    const { clock, observer } = this.parts;
    const waiter: Waiter = { batches: 0, done, cancel: nothing };
    for (const element of elements) if (!this.add(element, waiter)) observer.firewallSet('failed', 1);
    if (waiter.batches === 0) return done();
    waiter.cancel = clock.after(MOST_WAIT_MS, () => {
      observer.firewallSetLate();
      finish(waiter);
    });
    this.runNext();
  }

  /** Other sets are configured: what is known about those of before counts no more. */
  forget(): void {
    this.known.clear();
    for (const { cancel } of this.troubles.values()) cancel();
    this.troubles.clear();
  }

  /** Fills none from now on. */
  close(): void {
    this.isClosed = true;
    this.forget();
    for (const { waiters } of this.queue.values()) waiters.forEach(finish);
    this.queue.clear();
  }

  /** False: it is not tried. */
  private add({ set, address, seconds }: SetElement, waiter: Waiter): boolean {
    const now = this.parts.clock.monotonicMs();
    const trouble = this.troubles.get(set);
    if (trouble !== undefined && now < trouble.until) {
      lacks(trouble.lacking, address, monoAfter(now, 1000 * seconds));
      return false;
    }
    const batch = this.put(set, address, seconds);
    if (batch === undefined) return false;
    if (!batch.waiters.has(waiter)) {
      batch.waiters.add(waiter);
      waiter.batches++;
    }
    return true;
  }

  /** Puts an address into the next batch of its set; undefined: there are too many. */
  private put(set: string, address: string, seconds: number): Batch | undefined {
    if (this.isClosed || this.queued >= MOST_QUEUED) return undefined;
    let batch = this.queue.get(set);
    if (batch === undefined) {
      batch = { elements: new Map(), waiters: new Set(), isLate: false };
      this.queue.set(set, batch);
    }
    const before = batch.elements.get(address);
    if (before === undefined) this.queued++;
    batch.elements.set(address, Math.max(seconds, before ?? 0));
    return batch;
  }

  /** Tries a set again, with the address that came last: not all, because one of them may be what it does not take. */
  private tryAgain(set: string, lacking: ReadonlyMap<string, MonoMs>): void {
    const now = this.parts.clock.monotonicMs();
    const latest = [...lacking].findLast(([, until]) => until > now);
    if (latest === undefined) return;
    const [address, until] = latest;
    this.put(set, address, Math.ceil((until - now) / 1000));
    this.runNext();
  }

  /** A set can be filled again: puts in what it lacks. */
  private catchUp(set: string, lacking: ReadonlyMap<string, MonoMs>): void {
    const now = this.parts.clock.monotonicMs();
    for (const [address, until] of lacking) {
      const batch = until > now ? this.put(set, address, Math.ceil((until - now) / 1000)) : undefined;
      if (batch !== undefined) batch.isLate = true;
    }
  }

  private runNext(): void {
    if (this.isRunning) return;
    for (const [set, batch] of this.queue) {
      this.queue.delete(set);
      this.queued -= batch.elements.size;
      this.isRunning = true;
      this.parts.run(commandsOf(set, batch.elements), problem => {
        this.isRunning = false;
        this.ended(set, batch, problem);
        this.runNext();
      });
      return;
    }
  }

  private ended(set: string, { elements, waiters, isLate }: Batch, problem: string | undefined): void {
    const { clock, observer } = this.parts;
    const now = clock.monotonicMs();
    const trouble = this.troubles.get(set);
    const lacking = trouble?.lacking ?? new Map<string, MonoMs>();
    trouble?.cancel();
    if (problem === undefined) {
      observer.firewallSet('added', elements.size);
      this.troubles.delete(set);
      for (const [address, seconds] of elements) {
        lacking.delete(address);
        this.known.set(keyOf(set, address), { since: now, until: monoAfter(now, 1000 * seconds) }, 1);
      }
      this.catchUp(set, lacking);
    } else {
      // Those that it lacks already were counted before. What comes late is not tried over and over.
      observer.firewallSet('failed', [...elements.keys()].filter(address => !lacking.has(address)).length);
      if (!isLate) for (const [address, seconds] of elements) lacks(lacking, address, monoAfter(now, 1000 * seconds));
      const pauseMs = Math.min(2 * (trouble?.pauseMs ?? PAUSE_MS / 2), LONGEST_PAUSE_MS);
      const cancel = this.isClosed ? nothing : clock.after(pauseMs, () => this.tryAgain(set, lacking));
      this.troubles.set(set, { words: problem, pauseMs, until: monoAfter(now, pauseMs), lacking, cancel });
    }
    for (const waiter of waiters) if (--waiter.batches === 0) finish(waiter);
  }
}

/** Notes an address that a set lacks. */
function lacks(lacking: Map<string, MonoMs>, address: string, until: MonoMs): void {
  const before = lacking.get(address);
  lacking.delete(address);
  lacking.set(address, before !== undefined && before > until ? before : until);
  for (const [oldest] of lacking)
    if (lacking.size > MOST_LACKING) lacking.delete(oldest);
    else break;
}

const keyOf = (set: string, address: string): string => `${set} ${address}`;

function finish(waiter: Waiter): void {
  const { done } = waiter;
  waiter.done = undefined;
  waiter.cancel();
  done?.();
}
