// Follows the addresses of this machine: listeners are opened again when what they stand for has changed, and when an
// address that could not be opened may be free.

import { isAnyAddress, isLoopback } from '../base/address.js';
import type { Cancel, Clock, Log } from '../base/ports.js';
import { isSystemError } from '../base/system-error.js';
import { AddressWatch } from '../os/address-watch.js';
import { hasAddress } from '../os/datagrams.js';
import type { Libc } from '../os/libc.js';
import type { ListenAddress } from '../os/listen-address.js';
import type { Plan } from './plan.js';
import type { Live, Reload } from './reload.js';
import { StartError } from './start-error.js';

/** A part with sockets that depend on the addresses of this machine. */
export interface Follower extends Live {
  /** Whether there are such sockets. */
  readonly follows: boolean;
  /** Whether there are addresses that could not be opened. */
  readonly waits: boolean;
  /** The addresses that somebody has written and that are not served now, one sentence each. */
  readonly unserved: readonly string[];
  /** What it is if that fails, for the log; left out: new addresses are not served. */
  readonly trouble?: string | undefined;
  /** Whether it would listen elsewhere if it prepared for this plan now. May throw the system's error. */
  isOutdated(plan: Plan): boolean | Promise<boolean>;
}

/** Whether it depends on the addresses of this machine what a listener at this address serves. */
export const dependsOnMachine = ({ address, fd }: ListenAddress): boolean => fd === undefined && !isLoopback(address);

/** Whether this machine has the address of a listener now. */
export const isServed = (libc: Libc, at: ListenAddress): boolean => isAnyAddress(at.address) || hasAddress(libc, at);

/** The parts that it uses. */
export interface FollowingParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly libc: Libc | undefined;
  readonly reload: Reload;
  readonly followers: readonly Follower[];
  /** Where the daemon listens, as texts. */
  readonly listening: () => readonly string[];
}

/** How long changes are collected, ms: an interface that comes up gets several addresses. */
const COLLECT_MS = 200;
/** When an address that could not be opened is tried again, ms. */
const AGAIN_MS = 5000;
/** The same without system calls: nobody says that an address is ready now (RFC 4862 §5.4). */
const AGAIN_WITHOUT_CALLS_MS = 1000;

/** Follows them. */
export class Following {
  /** Undefined: no listener depends on them. */
  private watch: AddressWatch | undefined;
  /** Whether a look is scheduled that collects changes. */
  private collects = false;
  private cancelCollect: Cancel = () => undefined;
  private cancelAgain: Cancel = () => undefined;
  /** The look that is under way, or was last. */
  private last: Promise<void> = Promise.resolve();
  private closed = false;
  /** What was logged last. */
  private unserved: readonly string[] = [];
  private listening: ReadonlySet<string>;
  /** Why a part could not listen elsewhere, as logged. */
  private readonly problems = new Map<Follower, string>();

  constructor(private readonly parts: FollowingParts) {
    this.listening = new Set(parts.listening());
    this.follow();
  }

  /** To be called when a plan has come into force. */
  follow(): void {
    const { libc, followers } = this.parts;
    this.listening = new Set(this.parts.listening());
    this.tell();
    const follows = followers.some(each => each.follows);
    if (follows) this.watch ??= new AddressWatch(libc, () => void this.lookSoon());
    else this.unwatch();
    this.tryAgain();
  }

  /** Stops, and waits for what is under way. */
  async close(): Promise<void> {
    this.closed = true;
    this.unwatch();
    this.cancelCollect();
    this.cancelAgain();
    await this.last;
  }

  private unwatch(): void {
    this.watch?.close();
    this.watch = undefined;
  }

  /** Looks soon whether something would listen in another way now. Resolved when that is done. */
  async lookSoon(): Promise<void> {
    if (this.closed || this.collects) return;
    this.collects = true;
    await new Promise<void>(resolve => {
      this.cancelCollect = this.parts.clock.after(COLLECT_MS, () => {
        this.collects = false;
        this.look();
        resolve();
      });
    });
    await this.last;
  }

  /** Looks after a while, if an address waits, or something could not be opened. */
  private tryAgain(): void {
    this.cancelAgain();
    const { clock, libc, followers } = this.parts;
    if (this.closed || (this.problems.size === 0 && !followers.some(each => each.waits))) return;
    const againMs = libc === undefined ? AGAIN_WITHOUT_CALLS_MS : AGAIN_MS;
    this.cancelAgain = clock.after(againMs, () => this.look());
  }

  private look(): void {
    this.last = this.last.then(async () => {
      if (this.closed) return;
      for (const each of this.parts.followers) await this.renew(each);
      this.tell();
      this.tryAgain();
    });
  }

  private async renew(follower: Follower): Promise<void> {
    const { reload, log } = this.parts;
    try {
      if (await follower.isOutdated(reload.plan)) await reload.renew(follower);
      this.problems.delete(follower);
    } catch (error) {
      if (!(error instanceof StartError) && !isSystemError(error)) throw error;
      // What listens now goes on; no descriptors may be left, for example.
      const { message } = error;
      const { trouble = 'new addresses cannot be served' } = follower;
      if (this.problems.get(follower) !== message) log.warn({}, `${trouble}: ${message}`);
      this.problems.set(follower, message);
    }
  }

  /** Logs what has changed. */
  private tell(): void {
    const { log, followers } = this.parts;
    const unserved = followers.flatMap(each => each.unserved);
    for (const words of unserved) if (!this.unserved.includes(words)) log.warn({}, words);
    this.unserved = unserved;
    const before = this.listening;
    const now = new Set(this.parts.listening());
    const come = [...now].filter(each => !before.has(each));
    const gone = [...before].filter(each => !now.has(each));
    this.listening = now;
    const changed = 'the addresses of this machine have changed';
    if (come.length > 0) log.info({}, `${changed}: listening on ${shown(come)}`);
    if (gone.length > 0) log.info({}, `${changed}: no longer listening on ${shown(gone)}`);
  }
}

/** The most addresses that a line of the log names. */
const MOST_SHOWN = 16;

const shown = (all: readonly string[]): string =>
  all.length <= MOST_SHOWN
    ? all.join(', ')
    : `${all.slice(0, MOST_SHOWN).join(', ')} and ${all.length - MOST_SHOWN} others`;
