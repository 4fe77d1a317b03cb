// Notices that addresses or interfaces of this machine come, go or become usable: by the messages of the kernel
// (rtnetlink(7)), which wake nobody on an idle machine, or by looking every second where system calls are not available.

import { networkInterfaces } from 'node:os';

import { isSystemError } from '../base/system-error.js';
import { type Libc, LINUX } from './libc.js';

/** struct sockaddr_nl: family u16, two octets, port u32, groups u32. */
const SOCKADDR_NL_BYTES = 12;
const GROUPS_AT = 8;
/** RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR. */
const GROUPS = 0x1 | 0x10 | 0x100;
const NETLINK_ROUTE = 0;
/** What the messages say does not matter, so they may be cut. */
const MESSAGE_BYTES = 16;
/** The most messages that are read at a time. If there are more, the kernel has reported them already. */
const MOST_MESSAGES = 1024;
/** How often addresses are looked at if there are no messages, ms. */
const LOOK_MS = 1000;

/** Those that read at SIGIO. */
const readers = new Set<() => void>();
/** Whether SIGIO is handled. */
let takesSignals = false;

/** Handles SIGIO, for ever: without a handler, a signal that is still on its way would end the process. */
function takeSignals(): void {
  if (takesSignals) return;
  takesSignals = true;
  process.on('SIGIO', () => {
    for (const read of readers) read();
  });
}

/** Watches the addresses of this machine until it is closed. */
export class AddressWatch {
  /** The socket that gets messages; undefined: there is none. */
  private readonly fd: number | undefined;
  private readonly timer: NodeJS.Timeout | undefined;
  /** The addresses as last looked at. */
  private seen = '';

  /**
   * @param changed called after each change, and perhaps without one
   */
  constructor(
    private readonly libc: Libc | undefined,
    private readonly changed: () => void,
  ) {
    this.fd = libc && openMessages(libc);
    if (this.fd !== undefined) {
      readers.add(this.read);
      // Before the first signal there may have been messages.
      this.read();
      return;
    }
    this.seen = addressesText('');
    this.timer = setInterval(() => this.look(), LOOK_MS).unref();
  }

  /** Stops watching. */
  close(): void {
    clearInterval(this.timer);
    if (this.fd !== undefined && readers.delete(this.read)) this.libc?.close(this.fd);
  }

  private readonly read = (): void => {
    const { libc, fd } = this;
    if (libc === undefined || fd === undefined) return;
    const message = Buffer.alloc(MESSAGE_BYTES);
    let any = false;
    for (let i = 0; i < MOST_MESSAGES; i++) {
      const result = libc.receive(fd, message);
      if (result === -LINUX.EAGAIN) break;
      // Below 0, for example because messages were lost (ENOBUFS): something has changed.
      any = true;
    }
    if (any) this.changed();
  };

  private look(): void {
    const now = addressesText(this.seen);
    if (now === this.seen) return;
    this.seen = now;
    this.changed();
  }
}

/** A socket that raises SIGIO at each message; undefined: there can be none. */
function openMessages(libc: Libc): number | undefined {
  const fd = libc.socket(LINUX.AF_NETLINK, LINUX.SOCK_RAW | LINUX.SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) return undefined;
  const address = Buffer.alloc(SOCKADDR_NL_BYTES);
  address.writeUInt16LE(LINUX.AF_NETLINK, 0);
  address.writeUInt32LE(GROUPS, GROUPS_AT);
  takeSignals();
  if (libc.bind(fd, address) >= 0 && libc.signalInput(fd) >= 0) return fd;
  libc.close(fd);
  return undefined;
}

/** All addresses as a text. If the system does not list them, they count as before. */
function addressesText(before: string): string {
  try {
    return JSON.stringify(networkInterfaces());
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return before;
  }
}
