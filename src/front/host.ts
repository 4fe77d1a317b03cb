// Front threads, from the main thread's side: their sockets, what they hand over, and the replies to that.

import { Worker } from 'node:worker_threads';

import { countedSince, FrontCounts } from '../base/front-counts.js';
import { addressText } from '../base/address.js';
import type { Client } from '../pipeline/stage.js';
import type { Network } from '../policy/access.js';
import { type BindAddress, BATCH, Messages, openUdp } from '../os/datagrams.js';
import { type Libc, LINUX } from '../os/libc.js';
import { UDP_PAYLOAD_BYTES } from '../wire/edns.js';
import type { Front } from './front.js';
import { unpackBatch } from './hand-over.js';
import type { FrontThreadData } from './worker.js';

/** What the threads are made from. */
export interface HostParts {
  readonly libc: Libc;
  readonly threads: number;
  readonly addresses: readonly BindAddress[];
  readonly allow: readonly Network[];
  readonly packets: SharedArrayBuffer;
  readonly front: Front;
  /** The age clock of the main thread, seconds. */
  readonly nowSec: () => number;
}

/** Running threads. */
export interface FrontThreads {
  /** What they have counted since the last call. */
  counted(): FrontCounts[];
  /** Ends them; may be called twice. */
  close(): Promise<void>;
}

/** How long replies wait for a full socket, ms. */
const RETRY_MS = 1;

/**
 * Binds a socket per address and thread, and starts the threads.
 * @throws SystemError if an address can not be bound
 */
export async function startFrontThreads(parts: HostParts): Promise<FrontThreads> {
  const { libc, front } = parts;
  const sockets: number[][] = [];
  const closeSockets = (): void => sockets.flat().forEach(fd => libc.close(fd));
  try {
    for (let i = 0; i < parts.threads; i++) {
      sockets.push([]);
      for (const at of parts.addresses) sockets[i]?.push(openUdp(libc, at));
    }
  } catch (error) {
    closeSockets();
    throw error;
  }
  const stopFd = libc.eventfd();
  // A thread that waits in the kernel would keep a crashing process from ending.
  const wake = (): void => libc.wake(stopFd);
  process.once('exit', wake);

  const counters: (() => FrontCounts)[] = [];
  const ended: Promise<void>[] = [];
  const outgoing = replies(libc);
  for (const own of sockets) {
    const counts = FrontCounts.memory();
    counters.push(countedSince(counts));
    const data: FrontThreadData = { sockets: own, stopFd, packets: parts.packets, counts, allow: parts.allow, ageSec: parts.nowSec() };
    const worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: data });
    ended.push(new Promise(resolve => worker.once('exit', () => resolve())));
    let running = false;
    worker.on('message', (memory: ArrayBuffer | 'serving') => {
      if (memory === 'serving') return;
      for (const { socket, route, message } of unpackBatch(memory)) {
        const fd = own[socket] ?? -1;
        front.handle(message, clientOf(route), reply => outgoing.add(fd, route, reply));
      }
    });
    await new Promise<void>((resolve, reject) => {
      // The first message says that it serves.
      worker.once('message', () => {
        running = true;
        resolve();
      });
      // A thread that breaks is a bug: the daemon goes down with it instead of going deaf.
      worker.on('error', error => {
        if (!running) return reject(error);
        process.nextTick(() => {
          throw error;
        });
      });
    });
  }

  let closing: Promise<void> | undefined;
  async function close(): Promise<void> {
    outgoing.flush();
    process.off('exit', wake);
    wake();
    await Promise.all(ended);
    closeSockets();
    libc.close(stopFd);
  }
  return {
    counted: () => counters.map(each => each()),
    close: async () => (closing ??= close()),
  };
}

/** The client that a route leads to. */
function clientOf(route: Buffer): Client {
  const six = route[1] === LINUX.AF_INET6;
  return {
    address: addressText(route, six ? 9 : 5, six ? 16 : 4),
    port: route.readUInt16BE(3),
    family: six ? 6 : 4,
    transport: 'udp',
  };
}

interface Outgoing {
  add(fd: number, route: Buffer, reply: Buffer): void;
  flush(): void;
}

/** Collects the replies of one turn of the event loop, and sends them in one call per socket. */
function replies(libc: Libc): Outgoing {
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
      const sent = messages.send(fd, 0, count, LINUX.MSG_DONTWAIT);
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
