// Notices that addresses or interfaces of this machine come, go or become usable: by the messages of the kernel, or by
// looking every second where system calls are not available.

import { networkInterfaces } from 'node:os';

import { isSystemError } from '../base/system-error.js';
import { KERNEL_GROUP, KernelMessages } from './kernel-messages.js';
import type { Libc } from './libc.js';

const GROUPS = KERNEL_GROUP.links | KERNEL_GROUP.ipv4Addresses | KERNEL_GROUP.ipv6Addresses;
/** How often addresses are looked at if there are no messages, ms. */
const LOOK_MS = 1000;

/** Watches the addresses of this machine until it is closed. */
export class AddressWatch {
  /** Undefined: there are none. */
  private readonly messages: KernelMessages | undefined;
  private readonly timer: NodeJS.Timeout | undefined;
  /** The addresses as last looked at. */
  private seen = '';

  /**
   * @param changed called after each change, and perhaps without one
   */
  constructor(
    libc: Libc | undefined,
    private readonly changed: () => void,
  ) {
    this.messages = libc && KernelMessages.open(libc, GROUPS, changed);
    if (this.messages !== undefined) return;
    this.seen = addressesText('');
    this.timer = setInterval(() => this.look(), LOOK_MS).unref();
  }

  /** Stops watching. */
  close(): void {
    clearInterval(this.timer);
    this.messages?.close();
  }

  private look(): void {
    const now = addressesText(this.seen);
    if (now === this.seen) return;
    this.seen = now;
    this.changed();
  }
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
