// A front thread: gets its work in one message, then waits in poll(2) for datagrams or for the word to stop, and serves what
// is there. Its event loop does not run; all that it learns from outside stands in shared memory.

import { parentPort } from 'node:worker_threads';

import { ageClock } from '../base/age-clock.js';
import { ageAfter, type AgeSec, type WallMs } from '../base/time.js';
import { FrontCounts } from '../base/front-counts.js';
import { systemClock } from '../os/clock.js';
import { type Libc, LINUX, loadLibc } from '../os/libc.js';
import { SharedNetworks } from '../policy/shared-networks.js';
import { HandOver } from './hand-over.js';
import { PacketCache } from './packet-cache.js';
import { batchServer } from './serve.js';

/** What the main thread gives to a front thread. */
export interface WorkerData {
  readonly sockets: readonly number[];
  /** Becomes readable when the thread has to end. */
  readonly stopFd: number;
  readonly packets: SharedArrayBuffer;
  readonly counts: SharedArrayBuffer;
  readonly handOver: SharedArrayBuffer;
  readonly allow: SharedArrayBuffer;
  /** Where the age clock of the main thread stood, and the wall clock with it: threads take their time to start. */
  readonly age: AgeSec;
  readonly at: WallMs;
}

const POLLFD_BYTES = 8;

/** What a front thread says: that it waits for work, that it serves, that something was handed over to a reader at rest. */
export type WorkerNotice = 'started' | 'serving' | 'handed over';

function run(libc: Libc, data: WorkerData, say: (notice: WorkerNotice) => void): void {
  const age = ageClock(systemClock);
  const startedAt = ageAfter(data.age, Math.max(0, systemClock.wallMs() - data.at) / 1000);
  const counts = new FrontCounts(data.counts);
  const handOver = new HandOver(data.handOver);
  const networks = new SharedNetworks(data.allow);
  let handed = false;
  const serve = batchServer({
    libc,
    packets: new PacketCache(data.packets),
    allowed: () => networks.matcher(),
    counts,
    ageNow: () => ageAfter(startedAt, age()),
    monotonicMs: () => systemClock.monotonicMs(),
    missed(socket, queries, i) {
      if (handOver.write(socket, queries, i)) handed = true;
      else counts.dropped();
    },
    done() {
      if (handed && handOver.mustWake()) say('handed over');
      handed = false;
    },
  });

  const polled = [...data.sockets, data.stopFd];
  const pollFds = Buffer.alloc(POLLFD_BYTES * polled.length);
  polled.forEach((fd, i) => {
    pollFds.writeInt32LE(fd, i * POLLFD_BYTES);
    pollFds.writeInt16LE(LINUX.POLLIN, i * POLLFD_BYTES + 4);
  });
  // Ready replies must not wait for the main thread to finish its piece of work, where both share a core.
  libc.preferPromptness();
  say('serving');
  const stopAt = data.sockets.length * POLLFD_BYTES + 6;
  for (;;) {
    const ready = libc.poll(pollFds, polled.length, -1);
    if (ready < 0) {
      if (ready === -LINUX.EINTR) continue;
      throw new Error(`poll: errno ${-ready}`);
    }
    // Also once more after the word to stop: nobody else may read these sockets from then on.
    serveAll(data.sockets, serve);
    if (pollFds.readInt16LE(stopAt) !== 0) return;
  }
}

/** After so many batches in a row the word to stop is listened for, flood or not. */
const MAX_ROUNDS = 64;

/** Serves what waits. As long as there is something, another poll would only say so. */
function serveAll(sockets: readonly number[], serve: (fd: number, socket: number) => number): void {
  for (let busy = true, rounds = 0; busy && rounds < MAX_ROUNDS; rounds++) {
    busy = false;
    for (let socket = 0; socket < sockets.length; socket++) if (serve(sockets[socket] ?? -1, socket) > 0) busy = true;
  }
}

if (parentPort !== null) {
  const port = parentPort;
  // Loaded before there is work: that takes as long as all the rest.
  const libc = loadLibc();
  if ('unavailable' in libc) throw new Error(libc.unavailable);
  port.once('message', (data: WorkerData) => run(libc, data, notice => port.postMessage(notice)));
  port.postMessage('started' satisfies WorkerNotice);
}
