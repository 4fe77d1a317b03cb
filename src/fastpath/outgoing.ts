// Replies from the main thread to clients whose queries came in batches: collected, and sent in batches too.

import { u16At } from '../base/octets.js';
import { addressText } from '../base/address.js';
import { BATCH, Messages } from '../os/datagrams.js';
import { type Libc, LINUX } from '../os/libc.js';
import type { Client } from '../pipeline/query.js';
import { UDP_PAYLOAD_BYTES } from '../wire/edns.js';

/** How long replies wait for a full socket, ms. */
const RETRY_MS = 1;

/** The client that a route leads to. */
export function clientOf(route: Buffer): Client {
  const six = route[1] === LINUX.AF_INET6;
  return {
    address: addressText(route, six ? 9 : 5, six ? 16 : 4),
    port: u16At(route, 3),
    family: six ? 6 : 4,
    transport: 'udp',
  };
}

/** Replies on their way. */
export interface Outgoing {
  add(fd: number, route: Buffer, reply: Buffer): void;
  /** Sends what waits, now. */
  flush(): void;
}

/** Collects the replies of one turn of the event loop, and sends them in one call per socket. */
export function replies(libc: Libc): Outgoing {
  const messages = new Messages(libc, (UDP_PAYLOAD_BYTES + 3) & ~3);
  let waiting: { readonly fd: number; readonly route: Buffer; readonly reply: Buffer }[] = [];
  let scheduled = false;

  function flush(): void {
    scheduled = false;
    while (waiting.length > 0) {
      const fd = waiting[0]?.fd ?? -1;
      let count = 0;
      while (count < BATCH && waiting[count]?.fd === fd) {
        const each = waiting[count];
        if (each !== undefined) messages.fill(count, each.route, each.reply);
        count++;
      }
      const sent = messages.send(fd, count, false);
      waiting = waiting.slice(sent);
      if (sent < count) {
        // The socket is full: the rest a little later, when the kernel has made room. None is lost.
        scheduled = true;
        setTimeout(flush, RETRY_MS);
        return;
      }
    }
  }

  return {
    add(fd, route, reply) {
      waiting.push({ fd, route, reply });
      if (scheduled) return;
      scheduled = true;
      setImmediate(flush);
    },
    flush,
  };
}
