// Front threads, from the main thread's side: their sockets, what they hand over, and the replies to that.

import { Worker } from 'node:worker_threads';

import { countedSince, FrontCounts } from '../base/front-counts.js';
import type { Network } from '../policy/access.js';
import { type BindAddress, openUdp } from '../os/datagrams.js';
import type { Libc } from '../os/libc.js';
import type { Front } from './front.js';
import { HandOver, type Take } from './hand-over.js';
import { clientOf, replies } from './outgoing.js';
import type { FrontThreadData, FrontThreadWord } from './worker.js';

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
    const memory = HandOver.memory();
    const handOver = new HandOver(memory);
    const data: FrontThreadData = { sockets: own, stopFd, packets: parts.packets, counts, handOver: memory, allow: parts.allow, ageSec: parts.nowSec(), atWallMs: Date.now() };
    const worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: data });
    ended.push(new Promise(resolve => worker.once('exit', () => resolve())));
    let running = false;
    const take: Take = (socket, route, message) => {
      const fd = own[socket] ?? -1;
      front.handle(message, clientOf(route), reply => outgoing.add(fd, route, reply), true);
    };
    const read = (): void => {
      if (!handOver.read(take)) setImmediate(read);
    };
    worker.on('message', (word: FrontThreadWord) => {
      if (word === 'handed over') read();
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
