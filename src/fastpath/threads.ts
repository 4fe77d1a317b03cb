// Front threads, seen from the main thread: their sockets, the queries that they hand over, and the replies to those.

import { Worker } from 'node:worker_threads';

import { countedSince, FrontCounts } from '../base/front-counts.js';
import { SystemError } from '../base/system-error.js';
import { systemClock } from '../os/clock.js';
import { openUdp, portOf } from '../os/datagrams.js';
import type { Libc } from '../os/libc.js';
import type { ListenAddress, Unopened } from '../os/listen-address.js';
import {
  type DatagramHost,
  type DatagramParts,
  isPassed,
  type OpenSocket,
  socketsAt,
  socketsWithin,
} from './datagram-host.js';
import { HandOver, type Take } from './hand-over.js';
import { Outgoing } from './outgoing.js';
import { openEach } from './places.js';
import type { WorkerData, WorkerNotice } from './worker.js';

/**
 * Threads that were started and wait for work. Starting takes them some time, in which the main thread does other
 * things.
 */
export class FrontWorkers {
  readonly workers: readonly Worker[];
  /** Resolved when all of them wait for work; rejected if one could not be started. */
  readonly started: Promise<unknown>;
  /** Resolved when all of them have ended. */
  readonly ended: Promise<unknown>;
  /** Whether they serve sockets. From then on, an error of one of them ends the daemon. */
  private serving = false;
  /** Those that have work. */
  private readonly busy = new Set<Worker>();

  /**
   * @param script the script of a thread: `worker` in this folder
   */
  constructor(threads: number, script = new URL('./worker.js', import.meta.url)) {
    this.workers = Array.from({ length: threads }, () => new Worker(script));
    this.ended = Promise.all(
      this.workers.map(async worker => new Promise<void>(resolve => worker.once('exit', () => resolve()))),
    );
    this.started = Promise.all(this.workers.map(async worker => this.notice(worker, 'started')));
    // It is awaited later, when a host is opened; until then a rejection must not count as unhandled.
    this.started.catch(() => undefined);
    for (const worker of this.workers) {
      worker.on('error', error => {
        // The daemon must not go on without the thread, even if a system error has ended it.
        if (this.serving) process.nextTick(brokenThread, error);
      });
    }
  }

  /** Gives thread i its work; resolved when it serves. From then on, its signal to stop ends it. */
  async serve(i: number, data: WorkerData): Promise<void> {
    const worker = this.workers[i];
    if (worker === undefined) return;
    worker.postMessage(data);
    this.busy.add(worker);
    await this.notice(worker, 'serving');
  }

  /** Notes that all of them serve. */
  allServe(): void {
    this.serving = true;
  }

  /** Ends the threads without work. */
  async close(): Promise<void> {
    const idle = this.workers.filter(each => !this.busy.has(each));
    if (idle.length === 0) return;
    // Native code that a thread is loading, or is in, when it is ended may end the process.
    await this.started.catch(() => undefined);
    await Promise.all(idle.map(async each => each.terminate()));
  }

  /** Waits for a notice. */
  private async notice(worker: Worker, wanted: WorkerNotice): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const onMessage = (said: WorkerNotice): void => {
        if (said !== wanted) return;
        worker.off('message', onMessage);
        worker.off('error', reject);
        worker.off('exit', onExit);
        resolve();
      };
      const onExit = (): void => reject(new Error('a front thread has ended before it served'));
      worker.on('message', onMessage);
      worker.on('error', reject);
      worker.on('exit', onExit);
    });
  }
}

function brokenThread(error: unknown): void {
  throw new Error('a front thread has ended', { cause: error });
}

/** The sockets of all threads. */
class ThreadSockets {
  readonly open: OpenSocket[] = [];
  /** Those that each thread serves. */
  readonly ofThread: OpenSocket[][];

  constructor(
    private readonly libc: Libc,
    threads: number,
  ) {
    this.ofThread = Array.from({ length: threads }, () => []);
  }

  /**
   * Opens a socket for each thread, or takes over those of the old host. If the old host had more sockets than there
   * are threads now, some threads serve several: closing one would lose the datagrams that wait in it.
   */
  bind(at: ListenAddress, taken: readonly OpenSocket[]): void {
    const threads = this.ofThread.length;
    let { port } = at;
    for (let i = 0; i < Math.max(threads, taken.length); i++) {
      const from = taken[i]?.fd ?? at.fd;
      const fd = openUdp(this.libc, { ...at, port, ...(from === undefined ? {} : { fd: from }) });
      if (port === 0) port = portOf(this.libc, fd);
      const opened = { at: { ...at, port }, fd };
      this.ofThread[i % threads]?.push(opened);
      this.open.push(opened);
    }
  }

  /**
   * Takes over sockets of single addresses that a wildcard covers: closing one would lose the datagrams that wait in
   * it.
   */
  keep(taken: readonly OpenSocket[]): void {
    taken.forEach(({ at, fd: from }, i) => {
      const fd = openUdp(this.libc, { ...at, fd: from });
      this.ofThread[i % this.ofThread.length]?.push({ at, fd });
      this.open.push({ at, fd });
    });
  }

  close(): void {
    for (const { fd } of this.open.splice(0)) this.libc.close(fd);
  }
}

/** UDP served by front threads. */
export class ThreadHost implements DatagramHost {
  readonly isPerInterface = false;
  readonly wanted: readonly ListenAddress[];
  readonly bound: readonly ListenAddress[];
  private readonly libc: Libc;
  private readonly outgoing: Outgoing;
  private readonly counters: (() => FrontCounts)[] = [];
  /** For each thread, a function that reads all that it has handed over. */
  private readonly readers: ((all: boolean) => void)[] = [];
  private stopping: Promise<void> | undefined;
  private closing: Promise<void> | undefined;

  private constructor(
    parts: DatagramParts & { readonly libc: Libc },
    private readonly workers: FrontWorkers,
    private readonly threadSockets: ThreadSockets,
    readonly unopened: readonly Unopened[],
    /** Becomes readable when the threads must end. */
    private readonly stopFd: number,
  ) {
    this.libc = parts.libc;
    this.wanted = parts.addresses;
    this.outgoing = new Outgoing(parts.libc, parts.front, parts.observer);
    this.bound = parts.addresses
      .map(
        ({ address, port }) =>
          threadSockets.open.find(({ at }) => at.address === address && (at.port === port || port === 0))?.at,
      )
      .filter(at => at !== undefined);
  }

  /**
   * Opens the sockets, and gives the threads their work. @throws SystemError if an address cannot be bound
   */
  static async open(parts: DatagramParts & { readonly libc: Libc }, workers: FrontWorkers): Promise<ThreadHost> {
    const { libc, replaces } = parts;
    // First of all: a socket that is bound beside others of its port, and closed again, loses what has come to it.
    const stopFd = libc.eventfd();
    const sockets = new ThreadSockets(libc, workers.workers.length);
    let host: ThreadHost | undefined;
    try {
      if (stopFd < 0) throw new SystemError('eventfd', stopFd, { address: '', port: 0 });
      const unopened = await openEach(parts.addresses, at => sockets.bind(at, socketsAt(replaces, at)));
      sockets.keep(socketsWithin(replaces, parts.addresses));
      host = new ThreadHost(parts, workers, sockets, unopened, stopFd);
      await host.start(parts);
      workers.allServe();
      return host;
    } catch (error) {
      if (host !== undefined) await host.close();
      else if (stopFd >= 0) libc.close(stopFd);
      sockets.close();
      await workers.close();
      throw error;
    }
  }

  get sockets(): readonly OpenSocket[] {
    return this.threadSockets.open;
  }

  counted(): readonly FrontCounts[] {
    return this.counters.map(each => each());
  }

  async close(graceMs = 0): Promise<void> {
    await (this.closing ??= this.closeOnce(graceMs));
  }

  private async start(parts: DatagramParts): Promise<void> {
    // A thread that waits in the kernel would keep a crashing process from ending.
    process.once('exit', this.wake);
    await Promise.all(
      this.workers.workers.map(async (worker, i) => {
        const counts = FrontCounts.memory();
        this.counters.push(countedSince(counts));
        const memory = HandOver.memory();
        const own = this.threadSockets.ofThread[i] ?? [];
        const read = this.reader(new HandOver(memory), own);
        this.readers.push(read);
        worker.on('message', (notice: WorkerNotice) => {
          if (notice === 'handed over') read(false);
        });
        await this.workers.serve(i, {
          sockets: own.map(({ at: { address, port }, fd }) => ({ at: { address, port }, fd })),
          stopFd: this.stopFd,
          leaves: own.every(isPassed),
          packets: parts.packets,
          counts,
          handOver: memory,
          admission: parts.admission,
          age: parts.ageNow(),
          at: systemClock.wallMs(),
        });
      }),
    );
  }

  /**
   * Makes a function that reads the queries that a thread has handed over: all of them, or some now and the rest a
   * little later.
   */
  private reader(handOver: HandOver, own: readonly OpenSocket[]): (all: boolean) => void {
    const { outgoing } = this;
    const take: Take = (socket, route, message) => outgoing.answer(own[socket], route, message);
    const readSome = (): void => {
      let rests = false;
      try {
        rests = handOver.read(outgoing.routes, take);
      } finally {
        // Also after an exception: a reader that is not at rest is not woken.
        if (!rests) setImmediate(readSome);
      }
    };
    return all => {
      if (!all) return readSome();
      while (!handOver.read(outgoing.routes, take));
    };
  }

  private readonly wake = (): void => this.libc.wake(this.stopFd);

  async leave(): Promise<void> {
    if (this.sockets.every(isPassed)) await this.stopThreads();
  }

  /** Ends the threads, and hands all that they have read to the front. */
  private async stopThreads(): Promise<void> {
    await (this.stopping ??= this.stopOnce());
  }

  private async stopOnce(): Promise<void> {
    this.wake();
    // Those that have got no work, because another one's could not be made, do not look for the signal.
    await this.workers.close();
    await this.workers.ended;
    process.off('exit', this.wake);
    for (const read of this.readers) read(true);
  }

  private async closeOnce(graceMs: number): Promise<void> {
    await this.stopThreads();
    await this.outgoing.close(graceMs);
    this.threadSockets.close();
    this.libc.close(this.stopFd);
  }
}
