// Messages of the kernel about addresses, interfaces and neighbours (rtnetlink(7)). They wake nobody on an idle machine.

import { type Libc, LINUX } from './libc.js';

/** The groups of messages: RTMGRP_LINK, RTMGRP_NEIGH, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR. */
export const KERNEL_GROUP = { links: 0x1, neighbours: 0x4, ipv4Addresses: 0x10, ipv6Addresses: 0x100 } as const;

/** struct sockaddr_nl: family u16, two octets, port u32, groups u32. */
const SOCKADDR_NL_BYTES = 12;
const GROUPS_AT = 8;
const NETLINK_ROUTE = 0;
/** What the messages say does not matter, so they may be cut. */
const MESSAGE_BYTES = 16;
/** The most messages that are read at a time. If there are more, the kernel has reported them already. */
const MOST_MESSAGES = 1024;

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

/** Tells that there were messages, until it is closed. */
export class KernelMessages {
  private constructor(
    private readonly libc: Libc,
    private readonly fd: number,
    private readonly changed: () => void,
  ) {
    readers.add(this.read);
    // Before the first signal there may have been messages.
    this.read();
  }

  /**
   * Opens a socket for messages; undefined: there can be none.
   * @param groups KERNEL_GROUP, added up
   * @param changed called after each change, and perhaps without one
   */
  static open(libc: Libc, groups: number, changed: () => void): KernelMessages | undefined {
    const fd = routeSocket(libc, groups);
    if (fd < 0) return undefined;
    takeSignals();
    if (libc.signalInput(fd) >= 0) return new KernelMessages(libc, fd, changed);
    libc.close(fd);
    return undefined;
  }

  close(): void {
    if (readers.delete(this.read)) this.libc.close(this.fd);
  }

  private readonly read = (): void => {
    const message = Buffer.alloc(MESSAGE_BYTES);
    let any = false;
    for (let i = 0; i < MOST_MESSAGES; i++) {
      if (this.libc.receive(this.fd, message) === -LINUX.EAGAIN) break;
      // Below 0, for example because messages were lost (ENOBUFS): something has changed.
      any = true;
    }
    if (any) this.changed();
  };
}

/** A socket for questions and messages about routing. Below 0: there is none. @param groups see above; 0: no messages */
export function routeSocket(libc: Libc, groups: number): number {
  const fd = libc.socket(LINUX.AF_NETLINK, LINUX.SOCK_RAW | LINUX.SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) return fd;
  const address = Buffer.alloc(SOCKADDR_NL_BYTES);
  address.writeUInt16LE(LINUX.AF_NETLINK, 0);
  address.writeUInt32LE(groups, GROUPS_AT);
  if (libc.bind(fd, address) >= 0) return fd;
  libc.close(fd);
  return -1;
}
