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
/**
 * After so many refusals in a row while a set catches up, it is left alone again. To find one address among
 * MOST_LACKING takes half as many.
 */
const MOST_REFUSALS = 22;
/** An address that a set refused alone, while it took others, is not tried again for this time. */
const REFUSED_MS = 60_000;

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
  readonly set: string;
  readonly elements: Map<string, number>;
  readonly waiters: Set<Waiter>;
}

/** Addresses with the times until which they should be in their set. */
type Until = readonly (readonly [address: string, until: MonoMs])[];

/** What a set gets that it lacked for a while. */
interface CatchingUp {
  /** Each is a batch of its own, the last one next; one that is refused is halved. */
  readonly parts: Until[];
  /** How many were refused in a row, */
  refusals: number;
  /** and those of them with one address. */
  alone: Until;
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
  /** When sets have refused addresses alone. */
  private readonly refused: Bounded<{ readonly since: MonoMs }> = bounded(MOST_LACKING, () => undefined);
  /** Batches by their set, in the order in which they run. */
  private readonly queue = new Map<string, Batch>();
  private queued = 0;
  /** What runs while nobody waits, by set. None of these sets is in trouble. */
  private readonly late = new Map<string, CatchingUp>();
  private readonly troubles = new Map<string, Trouble>();
  /** Changes when other sets are configured. */
  private generation = 0;
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

  /** Other sets are configured: nothing is put into those of before, and what is known about them counts no more. */
  forget(): void {
    this.generation++;
    this.known.clear();
    this.refused.clear();
    this.late.clear();
    for (const { cancel } of this.troubles.values()) cancel();
    this.troubles.clear();
    const batches = [...this.queue.values()];
    this.queue.clear();
    this.queued = 0;
    for (const { waiters } of batches) waiters.forEach(finish);
  }

  /** Fills none from now on. */
  close(): void {
    this.isClosed = true;
    this.forget();
  }

  /** False: it is not tried. */
  private add({ set, address, seconds }: SetElement, waiter: Waiter): boolean {
    const now = this.parts.clock.monotonicMs();
    const refusal = this.refused.get(keyOf(set, address));
    if (refusal !== undefined && now - refusal.since < REFUSED_MS) return false;
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
      batch = { set, elements: new Map(), waiters: new Set() };
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
    this.put(set, address, secondsTo(until, now));
    this.runNext();
  }

  private runNext(): void {
    if (this.isRunning) return;
    const [batch] = this.queue.values();
    if (batch === undefined) return this.runLate();
    this.queue.delete(batch.set);
    this.queued -= batch.elements.size;
    this.run(
      batch.set,
      batch.elements,
      problem => {
        const now = this.parts.clock.monotonicMs();
        if (problem === undefined) this.filled(batch, now);
        else this.failed(batch, problem, now);
      },
      batch.waiters,
    );
  }

  /** Runs the next part of what a set gets late. */
  private runLate(): void {
    for (const [set, catchingUp] of this.late) {
      const part = this.nextPart(set, catchingUp);
      if (part === undefined) continue;
      const now = this.parts.clock.monotonicMs();
      const elements = new Map(part.map(([address, until]) => [address, secondsTo(until, now)]));
      return this.run(set, elements, problem => this.lateEnded(set, catchingUp, part, problem));
    }
  }

  /** What of the next part a set still lacks. Undefined: it has all. */
  private nextPart(set: string, { parts }: CatchingUp): Until | undefined {
    const now = this.parts.clock.monotonicMs();
    for (let part = parts.pop(); part !== undefined; part = parts.pop()) {
      // Answers of meanwhile may have put it in, for longer.
      const rest = part.filter(([address, until]) => {
        const known = this.known.get(keyOf(set, address));
        return until > now && (known === undefined || until - known.until > SLACK_MS);
      });
      if (rest.length > 0) return rest;
    }
    this.late.delete(set);
    return undefined;
  }

  private run(
    set: string,
    elements: ReadonlyMap<string, number>,
    ended: (problem: string | undefined) => void,
    waiters: ReadonlySet<Waiter> = NOBODY,
  ): void {
    const { generation } = this;
    this.isRunning = true;
    this.parts.run(commandsOf(set, elements), problem => {
      this.isRunning = false;
      if (problem === undefined) this.parts.observer.firewallSet('added', elements.size);
      if (generation === this.generation) {
        if (problem === undefined) this.know(set, elements);
        ended(problem);
      }
      for (const waiter of waiters) if (--waiter.batches === 0) finish(waiter);
      this.runNext();
    });
  }

  private know(set: string, elements: ReadonlyMap<string, number>): void {
    const since = this.parts.clock.monotonicMs();
    for (const [address, seconds] of elements)
      this.known.set(keyOf(set, address), { since, until: monoAfter(since, 1000 * seconds) }, 1);
  }

  /** A set was filled: it gets what it lacks, too. */
  private filled({ set, elements }: Batch, now: MonoMs): void {
    const trouble = this.troubles.get(set);
    if (trouble === undefined) return;
    trouble.cancel();
    this.troubles.delete(set);
    const part = [...trouble.lacking].filter(([address, until]) => until > now && !elements.has(address));
    if (part.length > 0) this.late.set(set, { parts: [part], refusals: 0, alone: [] });
  }

  private failed({ set, elements }: Batch, problem: string, now: MonoMs): void {
    const { observer } = this.parts;
    const trouble = this.troubles.get(set);
    const lacking = trouble?.lacking ?? new Map<string, MonoMs>();
    this.giveBack(set, lacking);
    // Those that it lacks already were counted before.
    observer.firewallSet('failed', [...elements.keys()].filter(address => !lacking.has(address)).length);
    for (const [address, seconds] of elements) lacks(lacking, address, monoAfter(now, 1000 * seconds));
    // It may be the only one that is not taken: the next one to be tried is another.
    if (elements.size === 1) for (const address of elements.keys()) toFront(lacking, address);
    this.leaveAlone(set, problem, lacking, Math.min(2 * (trouble?.pauseMs ?? PAUSE_MS / 2), LONGEST_PAUSE_MS));
  }

  private lateEnded(set: string, catchingUp: CatchingUp, part: Until, problem: string | undefined): void {
    const { parts, alone } = catchingUp;
    if (problem === undefined) {
      catchingUp.refusals = 0;
      catchingUp.alone = [];
      return;
    }
    if (part.length === 1) catchingUp.alone = [...alone, ...part];
    else parts.push(part.slice(0, part.length >> 1), part.slice(part.length >> 1));
    const since = this.parts.clock.monotonicMs();
    if (part.length === 1) for (const [address] of part) this.refused.set(keyOf(set, address), { since }, 1);
    if (++catchingUp.refusals < MOST_REFUSALS) return;
    const lacking = new Map<string, MonoMs>();
    this.giveBack(set, lacking);
    this.leaveAlone(set, problem, lacking, LONGEST_PAUSE_MS);
  }

  /** A set does not catch up now: it lacks the rest again. What it has refused last may be no fault of the addresses. */
  private giveBack(set: string, lacking: Map<string, MonoMs>): void {
    const { parts, alone } = this.late.get(set) ?? NOTHING_LATE;
    this.late.delete(set);
    for (const [address] of alone) this.refused.delete(keyOf(set, address));
    // It is tried again with the one that comes last here: far from those that it has refused.
    for (const part of [alone, ...parts.toReversed()])
      for (const [address, until] of part) lacks(lacking, address, until);
  }

  private leaveAlone(set: string, words: string, lacking: Map<string, MonoMs>, pauseMs: number): void {
    const { clock } = this.parts;
    this.troubles.get(set)?.cancel();
    const cancel = clock.after(pauseMs, () => this.tryAgain(set, lacking));
    const until = monoAfter(clock.monotonicMs(), pauseMs);
    this.troubles.set(set, { words, pauseMs, until, lacking, cancel });
  }
}

const NOBODY: ReadonlySet<Waiter> = new Set();
const NOTHING_LATE: CatchingUp = { parts: [], refusals: 0, alone: [] };

const secondsTo = (until: MonoMs, now: MonoMs): number => Math.ceil((until - now) / 1000);

/** Makes an address of those that a set lacks the oldest one. */
function toFront(lacking: Map<string, MonoMs>, address: string): void {
  const all = [...lacking];
  lacking.clear();
  for (const each of [...all.filter(([other]) => other === address), ...all.filter(([other]) => other !== address)])
    lacking.set(...each);
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
