// Front threads, from the main thread's side: their sockets, what they hand over, and the replies to that.

import { Worker } from 'node:worker_threads';

import { countedSince, FrontCounts } from '../base/front-counts.js';
import type { AgeSec } from '../base/time.js';
import { systemClock } from '../os/clock.js';
import { type BindAddress, openUdp } from '../os/datagrams.js';
import type { Libc } from '../os/libc.js';
import type { Front } from '../front/front.js';
import { HandOver, type Take } from './hand-over.js';
import { clientOf, replies } from './outgoing.js';
import type { FrontThreadData, FrontThreadWord } from './worker.js';

/** What the threads are made from. */
export interface HostParts {
  readonly libc: Libc;
  readonly addresses: readonly BindAddress[];
  /** Of SharedNetworks. */
  readonly allow: SharedArrayBuffer;
  readonly packets: SharedArrayBuffer;
  readonly front: Front;
  /** The age clock of the main thread, seconds. */
  readonly ageNow: () => AgeSec;
}

/** Running threads. */
export interface FrontThreads {
  /** What they have counted since the last call. */
  counted(): FrontCounts[];
  /** Ends them; may be called twice. */
  close(): Promise<void>;
}

/** Threads that have been started and wait for their work: starting takes them a while, in which other things get done. */
export interface Recruits {
  /**
   * Binds a socket per address and thread, and puts the threads to work.
   * @throws SystemError if an address can not be bound
   */
  serve(parts: HostParts): Promise<FrontThreads>;
  /** Ends those that never got any work; may be called at any time. */
  dismiss(): Promise<void>;
}

/** Starts threads. */
export function recruit(threads: number): Recruits {
  const workers = Array.from({ length: threads }, () => new Worker(new URL('./worker.js', import.meta.url)));
  let serving = false;
  return {
    async serve(parts) {
      const running = await putToWork(workers, parts);
      serving = true;
      return running;
    },
    async dismiss() {
      if (!serving) await Promise.all(workers.map(each => each.terminate()));
    },
  };
}

async function putToWork(workers: readonly Worker[], parts: HostParts): Promise<FrontThreads> {
  const { libc, front } = parts;
  const fds: number[] = [];
  const closeSockets = (): void => fds.forEach(fd => libc.close(fd));
  let sockets: number[][];
  try {
    sockets = workers.map(() =>
      parts.addresses.map(at => {
        const fd = openUdp(libc, at);
        fds.push(fd);
        return fd;
      }),
    );
  } catch (error) {
    closeSockets();
    throw error;
  }
  const stopFd = libc.eventfd();
  // A thread that waits in the kernel would keep a crashing process from ending.
  const wake = (): void => libc.wake(stopFd);
  process.once('exit', wake);

  const counters: (() => FrontCounts)[] = [];
  const ended = workers.map(async worker => new Promise<void>(resolve => worker.once('exit', () => resolve())));
  const outgoing = replies(libc);
  await Promise.all(
    workers.map(async (worker, i) => {
      const own = sockets[i] ?? [];
      const counts = FrontCounts.memory();
      counters.push(countedSince(counts));
      const memory = HandOver.memory();
      const handOver = new HandOver(memory);
      const take: Take = (socket, route, message) => {
        const fd = own[socket] ?? -1;
        front.handle(message, clientOf(route), reply => outgoing.add(fd, route, reply), true);
      };
      const read = (): void => {
        if (!handOver.read(take)) setImmediate(read);
      };
      const state = { running: false };
      await new Promise<void>((resolve, reject) => {
        worker.on('message', (word: FrontThreadWord) => {
          if (word === 'handed over') return read();
          state.running = true;
          resolve();
        });
        // A thread that breaks is a bug: the daemon goes down with it instead of going deaf.
        worker.on('error', error => {
          if (!state.running) return reject(error);
          process.nextTick(() => {
            throw error;
          });
        });
        const data: FrontThreadData = {
          sockets: own,
          stopFd,
          packets: parts.packets,
          counts,
          handOver: memory,
          allow: parts.allow,
          age: parts.ageNow(),
          at: systemClock.wallMs(),
        };
        worker.postMessage(data);
      });
    }),
  );

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
