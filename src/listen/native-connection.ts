// A connection that was accepted by a system call, and TLS over it by OpenSSL. It has the descriptor and the TLS session
// alone: both are closed once, in `destroy`, and nothing is called for them afterwards.
//
// epoll is told of a change only when it would report what nobody waits for, or would not report what somebody does: a
// query and its reply change nothing.

import type { Beginnings } from '../base/octets.js';
import { type Libc, LINUX, type Room } from '../os/libc.js';
import { ENDED, FAILED, TlsConnection, type TlsContext, WANTS_READ, WANTS_WRITE } from '../os/openssl.js';
import type { Connection, FirstOctets } from './connection.js';
import type { EventLoop, Watcher } from './event-loop.js';

/** The parts that all connections of a loop share. */
export interface NativeParts {
  readonly libc: Libc;
  readonly loop: EventLoop;
  /** What is read, for as long as somebody looks at it: the largest record of TLS has room. */
  readonly room: Room;
  /** Views of it. */
  readonly beginnings: Beginnings;
}

/** Both ends of a connection. */
export interface Ends {
  readonly address: string;
  readonly port: number;
  readonly localAddress: string;
  readonly localPort: number;
}

type Phase =
  /** In cleartext: only its first octets are looked at. */
  | 'clear'
  | 'handshake'
  | 'open'
  /** Our end is sent. What still comes is ignored, until the client's end comes. */
  | 'ending'
  | 'closed';

/** Both say that there is something to read, an end included. */
const INPUT = LINUX.EPOLLIN | LINUX.EPOLLRDHUP;
const BROKEN = LINUX.EPOLLERR | LINUX.EPOLLHUP;
const LATER_MS = 50;
/** What a client may still send after our end, so that it sees what came before: then the connection is reset. */
const MOST_IGNORED_BYTES = 1 << 17;

/** The connection. */
export class NativeConnection implements Connection, Watcher {
  use = 0;
  private phase: Phase = 'clear';
  /** What octets go through: TLS, or from the first read on, nothing. */
  private tls: TlsConnection | ClearOctets | undefined = undefined;
  /** What epoll waits for. */
  private interest: number = INPUT;
  /** How many octets must be there before epoll says so. */
  private least = 1;
  private secured: ((connection: this) => void) | undefined = undefined;
  /** Whoever waits for first octets; */
  private first: FirstOctets | undefined = undefined;
  /** those that came over TLS and were not taken. */
  private unread: Buffer | undefined = undefined;
  private data: ((octets: Buffer) => void) | undefined = undefined;
  private ended: (() => void) | undefined = undefined;
  private closers: (() => void)[] = [];
  private isHeld = false;
  /** Whether the client sends no more. */
  private hasEnded = false;
  /** What the kernel has not taken of a write, and who is told when it has. */
  private pending: Buffer | undefined = undefined;
  private taken: (() => void) | undefined = undefined;
  /** Whether our end follows what is pending. */
  private isEnding = false;
  /** Whether OpenSSL must write before it can read. */
  private readNeedsRoom = false;
  /** Whether it has octets that the kernel does not tell of any more, and whether a read of them is scheduled. */
  private hasMore = false;
  private readsSoon = false;
  /** Octets that have come after our end. */
  private ignored = 0;

  /** `begin` must follow. */
  constructor(
    private readonly fd: number,
    private readonly ends: Ends,
    private readonly parts: NativeParts,
  ) {}

  /** Waits for what comes. @returns false: there is no memory for that, and it is closed */
  begin(): boolean {
    if (this.parts.loop.watch(this.fd, this, this.interest)) return true;
    this.destroy();
    return false;
  }

  get remoteAddress(): string | undefined {
    return this.destroyed ? undefined : this.ends.address;
  }

  get remotePort(): number {
    return this.ends.port;
  }

  get localAddress(): string {
    return this.ends.localAddress;
  }

  get localPort(): number {
    return this.ends.localPort;
  }

  get destroyed(): boolean {
    return this.phase === 'closed';
  }

  get writableLength(): number {
    return this.pending?.length ?? 0;
  }

  get isNew(): boolean {
    return this.phase === 'clear' || this.phase === 'handshake';
  }

  /** Whether TLS protects what is read. */
  get isSecured(): boolean {
    return this.tls instanceof TlsConnection;
  }

  on(event: 'data', then: (octets: Buffer) => void): this;
  on(event: 'end' | 'error' | 'close', then: () => void): this;
  on(event: 'data' | 'end' | 'error' | 'close', then: ((octets: Buffer) => void) | (() => void)): this {
    if (event === 'data') {
      this.data = then;
      if (this.phase === 'clear') {
        this.tls = new ClearOctets(this.fd, this.parts.libc);
        this.phase = 'open';
      }
      this.readOn();
    } else if (event === 'end') this.ended = then as () => void;
    else if (event === 'close') this.closers.push(then as () => void);
    // It is destroyed after an error, and does not tell.
    return this;
  }

  once(event: 'close', then: () => void): this {
    return this.on(event, then);
  }

  get alpnProtocol(): string | undefined {
    return this.tls instanceof TlsConnection ? this.tls.alpnProtocol : undefined;
  }

  isPaused(): boolean {
    return this.isHeld;
  }

  pause(): void {
    this.isHeld = true;
  }

  resume(): void {
    this.isHeld = false;
    this.readOn();
  }

  /** See Streams. */
  readFirst(first: FirstOctets): void {
    this.first = first;
    this.readOn();
  }

  /** Begins a handshake. @param secured called when it is finished; one that fails closes the connection */
  secure(context: TlsContext, secured: (connection: this) => void): void {
    if (this.phase !== 'clear') return;
    this.tls = context.open(this.fd);
    if (this.tls === undefined) return this.destroy();
    this.secured = secured;
    this.phase = 'handshake';
    this.shakeHands();
  }

  write(octets: Buffer, taken: () => void): void {
    if (this.phase !== 'open' || this.isEnding) return;
    this.pending = octets;
    this.taken = taken;
    this.flush();
  }

  end(): void {
    if (this.phase !== 'open' || this.isEnding) return;
    this.isEnding = true;
    if (this.pending === undefined) this.sendEnd();
  }

  destroy(): void {
    if (this.phase === 'closed') return;
    // Within a record it could not be said.
    if (this.phase === 'open' && this.pending === undefined) this.tls?.shutdown();
    this.phase = 'closed';
    this.tls?.free();
    this.tls = undefined;
    this.parts.loop.forget(this.fd);
    this.parts.libc.close(this.fd);
    this.first = this.unread = this.pending = this.taken = this.secured = undefined;
    this.parts.loop.soon(this.tellClosed);
  }

  ready(events: number): void {
    if ((events & BROKEN) !== 0) return this.fail();
    if ((events & LINUX.EPOLLOUT) !== 0) this.writeOn();
    if ((events & INPUT) === 0) return;
    switch (this.phase) {
      case 'clear':
        return this.peekFirst((events & LINUX.EPOLLRDHUP) !== 0);
      case 'handshake':
        return this.shakeHands();
      case 'open':
        return this.read();
      case 'ending':
        return this.ignore();
      case 'closed':
    }
  }

  private peekFirst(hasHungUp: boolean): void {
    const { first } = this;
    if (first === undefined) return this.waitFor(0);
    const { libc, room } = this.parts;
    const bytes = libc.peek(this.fd, room.octets);
    if (bytes === -LINUX.EAGAIN || bytes === -LINUX.EINTR) return;
    if (bytes < 0) return this.destroy();
    const octets = room.octets.subarray(0, bytes);
    const wanted = bytes < this.least ? this.least : first.wanted(octets);
    if (bytes > 0 && bytes >= wanted) {
      this.first = undefined;
      this.waitForBytes(1);
      // The same octets in the same place.
      first.then(octets, taken => void (taken > 0 && libc.receive(this.fd, room.octets.subarray(0, taken))));
    } else if (hasHungUp || bytes === 0) {
      this.first = undefined;
      first.ended(bytes);
    } else if (bytes < this.least) this.lookLater();
    else this.waitForBytes(wanted);
  }

  /** The kernel reports less than it was told to, as it may without memory, and would do so again at once. */
  private lookLater(): void {
    this.waitFor(0);
    this.parts.loop.after(LATER_MS, () => {
      if (this.phase === 'clear') this.waitFor(INPUT);
    });
  }

  /** Octets that were only looked at are still there, and would be reported again and again. */
  private waitForBytes(least: number): void {
    if (least === this.least) return;
    this.least = least;
    this.parts.libc.setsockopt(this.fd, LINUX.SOL_SOCKET, LINUX.SO_RCVLOWAT, least);
  }

  private shakeHands(): void {
    const { tls } = this;
    const result = tls instanceof TlsConnection ? tls.handshake() : FAILED;
    if (result === WANTS_READ) return this.waitFor(INPUT);
    if (result === WANTS_WRITE) return this.waitFor(LINUX.EPOLLOUT);
    if (result <= 0) return this.fail();
    const { secured } = this;
    this.phase = 'open';
    this.secured = undefined;
    this.waitFor(INPUT);
    // A client may send its first query with the end of the handshake.
    this.hasMore = this.tls?.hasMore === true;
    secured?.(this);
    this.readMore();
  }

  private read(): void {
    const { room } = this.parts;
    if (!this.reads) return this.waitFor(this.interest & ~INPUT);
    // One record at most.
    const bytes = this.tls?.read(room) ?? ENDED;
    this.hasMore = bytes > 0 && this.tls?.hasMore === true;
    if (bytes > 0) {
      this.give(this.parts.beginnings.of(bytes));
      return this.readMore();
    }
    if (bytes === WANTS_READ) return;
    if (bytes === WANTS_WRITE) {
      this.readNeedsRoom = true;
      return this.waitFor((this.interest & ~INPUT) | LINUX.EPOLLOUT);
    }
    if (bytes !== ENDED) return this.fail();
    this.hasEnded = true;
    this.waitFor(this.interest & ~INPUT);
    const { first, unread } = this;
    this.first = undefined;
    if (first !== undefined) first.ended(unread?.length ?? 0);
    else this.ended?.();
  }

  /** Reads what OpenSSL has already, soon: others come in between. */
  private readMore(): void {
    if (!this.hasMore || this.readsSoon || this.phase !== 'open' || !this.reads) return;
    this.readsSoon = true;
    this.parts.loop.soon(() => {
      this.readsSoon = false;
      if (this.hasMore && this.phase === 'open' && this.reads) this.read();
    });
  }

  /** Passes on what came over TLS. */
  private give(octets: Buffer): void {
    const { first, unread } = this;
    if (first === undefined) return this.data?.(octets);
    const all = Buffer.concat([unread ?? NOTHING, octets]);
    this.unread = all;
    if (all.length < first.wanted(all)) return;
    this.first = undefined;
    first.then(all, taken => (this.unread = taken < all.length ? all.subarray(taken) : undefined));
  }

  /** Whether somebody waits for what is to be read. */
  private get reads(): boolean {
    // OpenSSL may have to answer what it reads, and cannot begin another record before the last is written.
    if (this.hasEnded || this.pending !== undefined) return false;
    return this.first !== undefined || (this.data !== undefined && !this.isHeld && this.unread === undefined);
  }

  /** Somebody may wait for more from now on. */
  private readOn(): void {
    if (this.phase !== 'clear' && this.phase !== 'open') return;
    if (this.unread !== undefined) this.parts.loop.soon(this.giveUnread);
    if (this.phase === 'clear' || this.reads) this.waitFor(this.interest | INPUT);
    this.readMore();
  }

  private readonly giveUnread = (): void => {
    const { unread, data } = this;
    if (unread === undefined || data === undefined || this.isHeld || this.phase !== 'open') return;
    this.unread = undefined;
    data(unread);
    this.readOn();
  };

  private flush(): void {
    while (this.pending !== undefined) {
      const { pending } = this;
      const bytes = this.tls?.write(pending) ?? 0;
      if (bytes === WANTS_WRITE) return this.waitFor(this.interest | LINUX.EPOLLOUT);
      if (bytes <= 0) return this.fail();
      this.pending = bytes < pending.length ? pending.subarray(bytes) : undefined;
    }
  }

  private writeOn(): void {
    if (this.phase === 'handshake') return this.shakeHands();
    if (this.phase !== 'open') return;
    this.flush();
    if (this.pending !== undefined || this.destroyed) return;
    this.waitFor(this.interest & ~LINUX.EPOLLOUT);
    if (!this.tellTaken()) return;
    if (this.isEnding) return this.sendEnd();
    this.readOn();
    if (!this.readNeedsRoom) return;
    this.readNeedsRoom = false;
    this.waitFor(this.interest | INPUT);
    this.read();
  }

  /** Tells whoever has written, and may write more. @returns false: not all of that was taken, or it is closed */
  private tellTaken(): boolean {
    const { taken } = this;
    this.taken = undefined;
    taken?.();
    return this.pending === undefined && !this.destroyed;
  }

  private sendEnd(): void {
    if (this.phase !== 'open') return;
    // The client has ended, too: nothing more is to be read.
    if (this.hasEnded) return this.destroy();
    this.tls?.shutdown();
    this.tls?.free();
    this.tls = undefined;
    this.phase = 'ending';
    this.parts.libc.endSending(this.fd);
    this.waitFor(INPUT);
  }

  private ignore(): void {
    const bytes = this.parts.libc.receive(this.fd, this.parts.room.octets);
    if (bytes === -LINUX.EAGAIN || bytes === -LINUX.EINTR) return;
    this.ignored += Math.max(0, bytes);
    if (bytes <= 0 || this.ignored > MOST_IGNORED_BYTES) this.destroy();
  }

  /** After a failure of TLS or of the connection, nothing can be said any more. */
  private fail(): void {
    this.tls?.free();
    this.tls = undefined;
    this.destroy();
  }

  private waitFor(events: number): void {
    if (events === this.interest || this.phase === 'closed') return;
    this.interest = events;
    this.parts.loop.change(this.fd, events);
  }

  private readonly tellClosed = (): void => {
    const { closers } = this;
    this.closers = [];
    this.data = this.ended = undefined;
    for (const each of closers) each();
  };
}

const NOTHING = Buffer.alloc(0);

/** The octets of a connection in cleartext, as `TlsConnection` reads and writes those over TLS. */
class ClearOctets {
  /** The kernel tells of all that was not read. */
  readonly hasMore = false;

  constructor(
    private readonly fd: number,
    private readonly libc: Libc,
  ) {}

  read({ octets }: Room): number {
    return resultOf(this.libc.receive(this.fd, octets), WANTS_READ);
  }

  write(octets: Buffer): number {
    return resultOf(this.libc.send(this.fd, octets), WANTS_WRITE);
  }

  /** Nothing says that nothing follows but the end itself. */
  shutdown(): void {}

  /** The connection closes its descriptor. */
  free(): void {}
}

const resultOf = (result: number, wants: number): number => {
  if (result >= 0) return result;
  return result === -LINUX.EAGAIN || result === -LINUX.EINTR ? wants : FAILED;
};
