// The store that replicas share, as seen by queries: it is asked for a short time, it never has much of our memory, and one
// that does not answer is left alone. A store that is slow, frozen or gone costs the first few clients the deadline, and
// after that none of them anything.

import type { SharedCacheOverview } from '../base/overview.js';
import type { SharedRead, SharedWrite } from '../base/observer.js';
import type { Cancel, Clock, OpenStore, SharedStore, StoreReply } from '../base/ports.js';
import { monoAfter, type MonoMs } from '../base/time.js';

/** Reads that the store has not answered, late ones included. More are not sent. */
export const MOST_READS = 256;
/** Octets of writes that it has not answered. More are not sent. */
export const MOST_WRITE_BYTES = 1 << 20;
/** After so many reads in a row without an answer in time, it is off, */
export const MOST_FAILURES = 5;
/** if that has gone on for so long. A busy machine is late with many answers at once. */
export const LEAST_SILENT_MS = 100;
/** Reads that may wait at a time while it is late, or has not answered for half of the deadline. */
export const READS_WHILE_LATE = 2;
/** How long it may take until it answers for the first time. No client waits for that. */
export const OPEN_MS = 1000;
/** For how long it is off: at first, */
export const FIRST_PAUSE_MS = 1000;
/** and at most. The pause doubles whenever it did not work for longer than STEADY_MS in between. */
export const MOST_PAUSE_MS = 60_000;
export const STEADY_MS = 60_000;
/** A timer that is later than this was held up here, and so were answers that have arrived: they are read first. */
const MOST_LATE_MS = 5;

/** What a read has found. */
export type SharedFound =
  { readonly at: 'octets'; readonly octets: Buffer } | { readonly at: Exclude<SharedRead, 'hit' | 'unusable'> };

/** The parts that it uses. */
export interface SharedLevelParts {
  readonly clock: Clock;
  readonly open: OpenStore;
  /** How long a read may take, ms. */
  readonly timeoutMs: number;
  /** Called when the store has come, and when it has gone, with the reason. */
  readonly changed: (state: SharedCacheOverview) => void;
}

type State =
  | { readonly at: 'opening'; readonly store: SharedStore; readonly cancel: Cancel }
  | { readonly at: 'open'; readonly store: SharedStore; readonly since: MonoMs }
  | { readonly at: 'off'; readonly why: string; readonly cancel: Cancel }
  | { readonly at: 'closed' };

/** A read for which somebody waits. */
class Read {
  constructor(
    readonly until: MonoMs,
    private take: ((found: SharedFound) => void) | undefined,
  ) {}

  get isOver(): boolean {
    return this.take === undefined;
  }

  settle(found: SharedFound): void {
    const { take } = this;
    this.take = undefined;
    take?.(found);
  }
}

/** The store, its deadlines and its bounds. */
export class SharedLevel {
  private state: State;
  /** The reads with a deadline, the earliest first: all have the same time. */
  private waiting: Read[] = [];
  /** Whether a timer for the first of them runs. */
  private isTiming = false;
  /** Whether answers that may have arrived while this process was busy are read first. */
  private isCatchingUp = false;
  /** Reads without an answer, those past their deadline included. */
  private unanswered = 0;
  /** Octets of writes without an answer. */
  private writeBytes = 0;
  /** Reads that have failed in a row, */
  private failures = 0;
  /** and since when none was answered in time. */
  private lateSince: MonoMs | undefined;
  /** The next pause. */
  private pauseMs = FIRST_PAUSE_MS;

  constructor(private readonly parts: SharedLevelParts) {
    this.state = this.opening();
  }

  /** Whether it is asked at present. */
  get isOpen(): boolean {
    return this.state.at === 'open';
  }

  /** Its state, for the overview. */
  get overview(): SharedCacheOverview {
    const { state } = this;
    switch (state.at) {
      case 'open':
      case 'opening':
        return { at: state.at };
      case 'off':
        return { at: 'off', why: state.why };
      case 'closed':
        return { at: 'off', why: 'it is closed' };
    }
  }

  /**
   * Reads what is under a key. `take` is called once, at the latest after the deadline; at once if the store is not asked.
   */
  read(key: Buffer, mostBytes: number, take: (found: SharedFound) => void): void {
    const { state, parts } = this;
    const now = parts.clock.monotonicMs();
    if (state.at !== 'open' || this.unanswered >= MOST_READS || this.hasEnough(now)) return take({ at: 'skipped' });
    const read = new Read(monoAfter(now, parts.timeoutMs), take);
    this.waiting.push(read);
    this.unanswered++;
    this.watch();
    state.store.read(key, mostBytes, reply => {
      if (!this.isIn(state)) return;
      this.unanswered--;
      // Too late: that it was late has been counted.
      if (read.isOver) return;
      if (reply.at === 'octets') this.isFine();
      else this.refused(reply.words);
      read.settle(foundIn(reply));
    });
  }

  /** Stores octets. Nobody waits for it. */
  write(key: Buffer, octets: Buffer, seconds: number, done: (result: SharedWrite) => void): void {
    const { state } = this;
    if (state.at !== 'open' || this.writeBytes + octets.length > MOST_WRITE_BYTES) return done('skipped');
    this.writeBytes += octets.length;
    state.store.write(key, octets, seconds, reply => {
      if (!this.isIn(state)) return;
      this.writeBytes -= octets.length;
      done(reply.at === 'octets' ? 'stored' : 'refused');
    });
  }

  /** Closes it. Whoever waits is let go. */
  close(): void {
    this.leave({ at: 'closed' });
  }

  private isIn(state: State): boolean {
    return this.state === state;
  }

  private opening(): State {
    const { clock, open } = this.parts;
    const store = open({
      opened: () => this.opened(store),
      closed: words => this.gone(store, words),
    });
    const cancel = clock.after(OPEN_MS, () => this.gone(store, `it has not answered within ${OPEN_MS} ms`));
    return { at: 'opening', store, cancel };
  }

  private opened(store: SharedStore): void {
    const { state } = this;
    if (state.at !== 'opening' || state.store !== store) return;
    state.cancel();
    this.state = { at: 'open', store, since: this.parts.clock.monotonicMs() };
    this.isFine();
    this.parts.changed(this.overview);
  }

  /** A connection has ended. Another one may be in its place. */
  private gone(store: SharedStore, why: string): void {
    const { state } = this;
    if ((state.at === 'opening' || state.at === 'open') && state.store === store) this.off(why);
  }

  /** Whether it seems to have stopped answering, and enough reads wait to see how long that goes on. */
  private hasEnough(now: MonoMs): boolean {
    const oldest = this.oldest();
    if (oldest === undefined || this.waiting.length < READS_WHILE_LATE) return false;
    return this.lateSince !== undefined || oldest.until - now <= this.parts.timeoutMs / 2;
  }

  private isFine(): void {
    this.failures = 0;
    this.lateSince = undefined;
  }

  private refused(why: string): void {
    if (++this.failures >= MOST_FAILURES) this.off(why);
  }

  private isLate(now: MonoMs): void {
    this.lateSince ??= now;
    this.failures++;
    if (this.failures < MOST_FAILURES || now - this.lateSince < LEAST_SILENT_MS) return;
    const { timeoutMs } = this.parts;
    this.off(`it has not answered ${this.failures} questions in a row within ${timeoutMs} ms`);
  }

  /** Uses it no more for a while. */
  private off(why: string): void {
    const { state } = this;
    const { clock, changed } = this.parts;
    const wasSteady = state.at === 'open' && clock.monotonicMs() - state.since >= STEADY_MS;
    const pauseMs = wasSteady ? FIRST_PAUSE_MS : this.pauseMs;
    this.pauseMs = Math.min(2 * pauseMs, MOST_PAUSE_MS);
    const cancel = clock.after(pauseMs, () => (this.state = this.opening()));
    this.leave({ at: 'off', why, cancel });
    changed(this.overview);
  }

  /** Enters a state without a store. */
  private leave(next: State): void {
    const { state, waiting } = this;
    this.state = next;
    if (state.at === 'opening' || state.at === 'off') state.cancel();
    if (state.at === 'opening' || state.at === 'open') state.store.close();
    // A closed store answers nothing any more.
    this.waiting = [];
    this.unanswered = 0;
    this.writeBytes = 0;
    this.isFine();
    for (const read of waiting) read.settle({ at: 'skipped' });
  }

  /** The read that waits for the longest time. */
  private oldest(): Read | undefined {
    while (this.waiting[0]?.isOver === true) this.waiting.shift();
    return this.waiting[0];
  }

  /** Starts the timer for the first read, unless it runs. */
  private watch(): void {
    const first = this.oldest();
    if (first === undefined || this.isTiming) return;
    this.isTiming = true;
    this.parts.clock.after(Math.max(0, first.until - this.parts.clock.monotonicMs()), this.due);
  }

  private readonly due = (): void => {
    const { clock } = this.parts;
    const now = clock.monotonicMs();
    const [earliest] = this.waiting;
    this.isCatchingUp = !this.isCatchingUp && earliest !== undefined && now - earliest.until > MOST_LATE_MS;
    this.isTiming = this.isCatchingUp;
    if (this.isCatchingUp) return void clock.after(0, this.due);
    for (let [first] = this.waiting; first !== undefined && first.until <= now; [first] = this.waiting) {
      this.waiting.shift();
      if (first.isOver) continue;
      // It may be the last failure, after which nobody waits.
      this.isLate(now);
      first.settle({ at: 'timeout' });
    }
    this.watch();
  };
}

const foundIn = (reply: StoreReply): SharedFound => {
  if (reply.at === 'refused') return { at: 'refused' };
  return reply.octets.length === 0 ? { at: 'miss' } : reply;
};
