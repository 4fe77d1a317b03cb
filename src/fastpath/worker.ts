// A front thread. It gets its work in one message, then waits in poll(2) for datagrams or for the signal to stop, and
// serves. Its event loop does not run: all later information is in shared memory.

import { parentPort } from 'node:worker_threads';

import { AgeClock } from '../base/age-clock.js';
import { ageAfter, type AgeSec, type WallMs } from '../base/time.js';
import { FrontCounts } from '../base/front-counts.js';
import { processSeconds, systemClock } from '../os/clock.js';
import { type Libc, LINUX, loadLibcInThread } from '../os/libc.js';
import { Admission, type AdmissionMemory } from '../policy/admission.js';
import type { OwnPlace } from '../base/address.js';
import { HandOver } from './hand-over.js';
import { PacketCache } from './packet-cache.js';
import { batchServer } from './serve.js';

/** The work of a front thread. */
export interface WorkerData {
  readonly sockets: readonly { readonly fd: number; readonly at: OwnPlace }[];
  /** Becomes readable when the thread must end. */
  readonly stopFd: number;
  /** Whether somebody else reads these sockets from then on: what waits in them is left there. */
  readonly leaves: boolean;
  readonly packets: SharedArrayBuffer;
  readonly counts: SharedArrayBuffer;
  readonly handOver: SharedArrayBuffer;
  readonly admission: AdmissionMemory;
  /**
   * The time on the age clock of the main thread, and the wall clock at that moment: threads take some time to start.
   */
  readonly age: AgeSec;
  readonly at: WallMs;
}

const POLLFD_BYTES = 8;
const NO_PLACE: OwnPlace = { address: '', port: 0 };

/** Notices of a front thread: it waits for work, it serves, or it has handed something over to a reader at rest. */
export type WorkerNotice = 'started' | 'serving' | 'handed over';

function run(libc: Libc, data: WorkerData, say: (notice: WorkerNotice) => void): void {
  const age = new AgeClock(systemClock);
  const startedAt = ageAfter(data.age, Math.max(0, systemClock.wallMs() - data.at) / 1000);
  const counts = new FrontCounts(data.counts);
  const handOver = new HandOver(data.handOver);
  let handed = false;
  const { serve, close } = batchServer({
    libc,
    packets: new PacketCache(data.packets),
    admission: new Admission(data.admission, () => Math.floor(systemClock.wallMs() / 1000)),
    counts,
    ageNow: () => ageAfter(startedAt, age.now()),
    wallSec: () => age.wallSec,
    monotonicMs: () => systemClock.monotonicMs(),
    nowSec: processSeconds,
    placeOf: socket => data.sockets[socket]?.at ?? NO_PLACE,
    missed(socket, queries, i) {
      if (handOver.write(socket, queries, i)) handed = true;
      else counts.dropped();
    },
    done() {
      if (handed && handOver.mustWake()) say('handed over');
      handed = false;
    },
  });

  const fds = data.sockets.map(({ fd }) => fd);
  const polled = [...fds, data.stopFd];
  const pollFds = Buffer.alloc(POLLFD_BYTES * polled.length);
  polled.forEach((fd, i) => {
    pollFds.writeInt32LE(fd, i * POLLFD_BYTES);
    pollFds.writeInt16LE(LINUX.POLLIN, i * POLLFD_BYTES + 4);
  });
  // If both share a core, ready replies must not wait until the main thread has finished its work.
  libc.preferPromptness();
  say('serving');
  const stopAt = data.sockets.length * POLLFD_BYTES + 6;
  for (;;) {
    const ready = libc.poll(pollFds, polled.length, -1);
    if (ready < 0) {
      if (ready === -LINUX.EINTR) continue;
      throw new Error(`poll: errno ${-ready}`);
    }
    const isLast = pollFds.readInt16LE(stopAt) !== 0;
    // Once more after the signal to stop, unless somebody else reads these sockets from then on.
    if (!isLast || !data.leaves) serveAll(fds, serve);
    if (isLast) return close();
  }
}

/** After this many batches in a row, the signal to stop is checked, even during a flood. */
const MAX_ROUNDS = 64;

/** Serves waiting datagrams. While there are some, another poll would only report that. */
function serveAll(sockets: readonly number[], serve: (fd: number, socket: number) => number): void {
  for (let busy = true, rounds = 0; busy && rounds < MAX_ROUNDS; rounds++) {
    busy = false;
    for (let socket = 0; socket < sockets.length; socket++) if (serve(sockets[socket] ?? -1, socket) > 0) busy = true;
  }
}

if (parentPort !== null) {
  const port = parentPort;
  // Loaded before there is work: it takes as long as the rest of the start.
  const libc = loadLibcInThread();
  port.once('message', (data: WorkerData) => run(libc, data, notice => port.postMessage(notice)));
  port.postMessage('started' satisfies WorkerNotice);
}
