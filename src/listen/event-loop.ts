// An event loop over epoll, for connections that Node.js knows nothing about. Sessions come first in each round, then
// connections that have none yet, so that answers need not wait for a storm of handshakes. What was scheduled runs at the
// end of the round, and a round with something scheduled does not wait.

import type { Duplex } from 'node:stream';

import type { Cancel, Clock } from '../base/ports.js';
import { type MonoMs, monoAfter, monoMs, type WallMs } from '../base/time.js';
import { systemClock } from '../os/clock.js';
import { Epoll } from '../os/epoll.js';
import { type Libc, LINUX } from '../os/libc.js';
import { SystemError } from '../base/system-error.js';
import type { SessionLoop } from './turns.js';

/** Whoever waits for events of a descriptor. */
export interface Watcher {
  /** Whether others come first. */
  readonly isNew: boolean;
  /** Written by the loop alone: which use of the descriptor it is. */
  use: number;
  /** @param events the bits of epoll(7) */
  ready(events: number): void;
}

const NEVER = monoMs(Infinity);

interface Timer {
  readonly at: MonoMs;
  readonly then: () => void;
}

/** The loop, and its clock, which stands still in a round: reading it costs as much as a part of a cached answer. */
export class EventLoop implements Clock, SessionLoop {
  private readonly epoll: Epoll;
  /** By descriptor. */
  private readonly watched: (Watcher | undefined)[] = [];
  private lastUse = 0;
  private scheduled: (() => void)[] = [];
  private readonly timers = new Set<Timer>();
  /** No timer is due before. */
  private firstTimer: MonoMs = NEVER;
  /**
   * Becomes readable when it must not wait any longer: to give epoll a time would have the kernel set and stop a timer in
   * each round.
   */
  private readonly alarmFd: number;
  /** When that is. */
  private alarmAt: MonoMs = NEVER;
  /** How often that was so. */
  private alarms = 0;
  /** Whether a round is going on. */
  private isInRound = false;

  /** The number of the round, */
  round = 0;
  /** when its events had come, or when the clock was read since, */
  roundMs: MonoMs = systemClock.monotonicMs();
  /** and streams of Node.js that go on only while its own loop has turns. */
  guests = 0;

  /** @throws SystemError without descriptors */
  constructor(private readonly libc: Libc) {
    this.epoll = new Epoll(libc);
    this.alarmFd = libc.timerfd();
    const alarm: Watcher = { isNew: false, use: 0, ready: () => this.stopAlarm() };
    const result = this.alarmFd < 0 ? this.alarmFd : this.watch(this.alarmFd, alarm, LINUX.EPOLLIN) ? 0 : -LINUX.ENOMEM;
    if (result === 0) return;
    this.close();
    throw new SystemError('timerfd_create', result, { address: '', port: 0 });
  }

  monotonicMs(): MonoMs {
    return this.isInRound ? this.roundMs : (this.roundMs = systemClock.monotonicMs());
  }

  wallMs(): WallMs {
    return systemClock.wallMs();
  }

  after(ms: number, then: () => void): Cancel {
    const timer = { at: monoAfter(this.monotonicMs(), ms), then };
    this.timers.add(timer);
    if (timer.at < this.firstTimer) this.firstTimer = timer.at;
    return () => void this.timers.delete(timer);
  }

  /** Calls a function at the end of this round, or of the next. */
  readonly soon = (then: () => void): void => void this.scheduled.push(then);

  /** Whoever runs the loop leaves Node.js's own a turn after each round, until the stream is closed. */
  serve<D extends Duplex>(stream: D): D {
    this.guests++;
    stream.once('close', () => this.guests--);
    return stream;
  }

  /** Waits for events of a descriptor. @returns false: the kernel has no memory for it */
  watch(fd: number, watcher: Watcher, events: number): boolean {
    this.lastUse = (this.lastUse + 1) >>> 0;
    if (this.epoll.add(fd, this.lastUse, events) < 0) return false;
    watcher.use = this.lastUse;
    this.watched[fd] = watcher;
    return true;
  }

  /** Waits for other events of it. */
  change(fd: number, events: number): void {
    const watched = this.watched[fd];
    if (watched !== undefined) this.epoll.change(fd, watched.use, events);
  }

  /** The descriptor is about to be closed. @param isShared whether others may have duplicates of it, which are not */
  forget(fd: number, isShared = false): void {
    this.watched[fd] = undefined;
    if (isShared) this.epoll.remove(fd);
  }

  /**
   * One round.
   * @param mostMs how long to wait if there is nothing to do; -1: for ever. 0: it takes what is there
   * @returns how many events there were
   */
  runRound(mostMs: number): number {
    this.round++;
    const count = this.epoll.wait(this.scheduled.length === 0 ? this.alarm(this.untilTimer(mostMs)) : 0);
    const { alarms } = this;
    this.roundMs = systemClock.monotonicMs();
    this.isInRound = true;
    try {
      let others = 0;
      for (let i = 0; i < count; i++) if (!this.tell(i, false)) others++;
      for (let i = 0; others > 0 && i < count; i++) this.tell(i, true);
      if (this.firstTimer <= this.roundMs) this.fire();
      if (this.scheduled.length > 0) this.runScheduled();
    } finally {
      this.isInRound = false;
    }
    return count - (this.alarms - alarms);
  }

  /** Closes its own descriptors. */
  close(): void {
    this.epoll.close();
    if (this.alarmFd >= 0) this.libc.close(this.alarmFd);
  }

  /** Sees to it that it waits for so long at most. @returns for how long epoll may wait */
  private alarm(ms: number): number {
    if (ms <= 0) return ms;
    const at = monoAfter(this.roundMs, ms);
    // One that is too early costs a round.
    if (at < this.alarmAt) {
      this.alarmAt = at;
      this.libc.setTimer(this.alarmFd, ms);
    }
    return -1;
  }

  private stopAlarm(): void {
    this.alarms++;
    this.alarmAt = NEVER;
    this.libc.awake(this.alarmFd);
  }

  /** Tells of event i, if it is for one that is new, or is not. @returns whether it was told of */
  private tell(i: number, isNew: boolean): boolean {
    const watcher = this.watched[this.epoll.fdOf(i)];
    // Or it was closed in this round, and another may have its number.
    if (watcher?.use !== this.epoll.useOf(i) || watcher.isNew !== isNew) return false;
    watcher.ready(this.epoll.eventsOf(i));
    return true;
  }

  /** ms until the next timer, or less; -1: for ever. */
  private untilTimer(mostMs: number): number {
    if (mostMs === 0 || this.timers.size === 0) return mostMs;
    // As of the last look at the clock: a timer may be late by what a round takes.
    const ms = Math.max(0, Math.ceil(this.firstTimer - this.roundMs));
    return mostMs === -1 ? ms : Math.min(ms, mostMs);
  }

  private fire(): void {
    const { timers, roundMs } = this;
    try {
      for (const timer of [...timers]) if (timer.at <= roundMs && timers.delete(timer)) timer.then();
    } finally {
      this.firstTimer = NEVER;
      for (const { at } of timers) if (at < this.firstTimer) this.firstTimer = at;
    }
  }

  private runScheduled(): void {
    const due = this.scheduled;
    this.scheduled = [];
    let next = 0;
    try {
      while (next < due.length) due[next++]?.();
    } finally {
      // After an exception: the others are those of others.
      if (next < due.length) this.scheduled = [...due.slice(next), ...this.scheduled];
    }
  }
}
