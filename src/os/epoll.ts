// Waits for many descriptors at once (epoll(7), level-triggered). An event says which descriptor it is for, and for which
// use of it: the number of a descriptor that is closed is given out again at once.

import { SystemError } from '../base/system-error.js';
import { type Libc, LINUX, type Room } from './libc.js';

/** The most events of one look. */
const MOST_EVENTS = 256;
/** struct epoll_event: events u32, data u64. It is packed on x86-64 alone (and on 32-bit x86, which aligns u64 to 4). */
const IS_PACKED = process.arch === 'x64' || process.arch === 'ia32';
const DATA_AT = IS_PACKED ? 4 : 8;
const EVENT_BYTES = DATA_AT + 8;
/** In words of 32 bits. */
const EVENT_WORDS = EVENT_BYTES >> 2;
const DATA_WORD = DATA_AT >> 2;
const NOWHERE = { address: '', port: 0 };

/** A set of descriptors that are waited for. */
export class Epoll {
  private readonly epoll: number;
  private readonly event = Buffer.alloc(EVENT_BYTES);
  private readonly events: Room;
  private readonly words: Uint32Array;

  /** @throws SystemError without descriptors */
  constructor(private readonly libc: Libc) {
    this.events = libc.room(MOST_EVENTS * EVENT_BYTES);
    const { octets } = this.events;
    this.words = new Uint32Array(octets.buffer, octets.byteOffset, MOST_EVENTS * EVENT_WORDS);
    this.epoll = libc.epoll();
    if (this.epoll < 0) throw new SystemError('epoll_create1', this.epoll, NOWHERE);
  }

  /**
   * Waits for `events` of a descriptor. It leaves the set when it is closed, and all duplicates of it are.
   * @returns below 0: `-errno`
   */
  add(fd: number, use: number, events: number): number {
    return this.control(LINUX.EPOLL_CTL_ADD, fd, use, events);
  }

  /** Waits for other events of it. */
  change(fd: number, use: number, events: number): number {
    return this.control(LINUX.EPOLL_CTL_MOD, fd, use, events);
  }

  /** Takes it out of the set. */
  remove(fd: number): void {
    this.control(LINUX.EPOLL_CTL_DEL, fd, 0, 0);
  }

  /** Waits until there are events, or for some time; -1: for ever. @returns how many there are */
  wait(timeoutMs: number): number {
    const count = this.libc.epollWait(this.epoll, this.events, MOST_EVENTS, timeoutMs);
    if (count < 0 && count !== -LINUX.EINTR) throw new SystemError('epoll_wait', count, NOWHERE);
    return Math.max(0, count);
  }

  /** What event i is, */
  eventsOf(i: number): number {
    return this.words[i * EVENT_WORDS] ?? 0;
  }

  /** for which descriptor, */
  fdOf(i: number): number {
    return this.words[i * EVENT_WORDS + DATA_WORD] ?? 0;
  }

  /** and for which use of it. */
  useOf(i: number): number {
    return this.words[i * EVENT_WORDS + DATA_WORD + 1] ?? 0;
  }

  close(): void {
    this.libc.close(this.epoll);
  }

  private control(operation: number, fd: number, use: number, events: number): number {
    const { event } = this;
    event.writeUInt32LE(events, 0);
    event.writeInt32LE(fd, DATA_AT);
    event.writeUInt32LE(use, DATA_AT + 4);
    return this.libc.epollControl(this.epoll, operation, fd, event);
  }
}
