// The fast path on the main thread: Node.js reports when a socket is readable, and batches are read here. It uses the
// least memory, which suits small routers.

import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';

import { countedSince, FrontCounts } from '../base/front-counts.js';
import { processSeconds } from '../os/clock.js';
import { openUdp, portOf, routeTo } from '../os/datagrams.js';
import type { Libc } from '../os/libc.js';
import { type ListenAddress, type Unopened, ZoneIndexes } from '../os/listen-address.js';
import { Admission } from '../policy/admission.js';
import { type DatagramHost, type DatagramParts, isPassed, type OpenSocket, socketsAt } from './datagram-host.js';
import { Outgoing } from './outgoing.js';
import { PacketCache } from './packet-cache.js';
import { openEach } from './places.js';
import { type BatchServer, batchServer } from './serve.js';

/** After this many batches, other work gets its turn. Node.js reports again that there is more. */
const MAX_ROUNDS = 4;
/** And so many are read of a socket that is closed, because nobody reads what stays. */
const LAST_ROUNDS = 8;
const NO_PLACE = { address: '', port: 0 };

/** One socket: our descriptor, for batches and replies, and another one that Node.js watches. */
interface WatchedSocket extends OpenSocket {
  readonly watched: Socket;
  /** Whether nothing is read from it any more. */
  isLeft: boolean;
  /** Batches that may still be read in this turn of the event loop, or until nothing is left to read. */
  rounds: number;
}

/** UDP in batches on the main thread. */
export class InlineHost implements DatagramHost {
  readonly isPerInterface = true;
  readonly wanted: readonly ListenAddress[];
  unopened: readonly Unopened[] = [];
  private readonly open: WatchedSocket[] = [];
  private readonly libc: Libc;
  private readonly zones: ZoneIndexes;
  private readonly front: DatagramParts['front'];
  private readonly outgoing: Outgoing;
  private readonly batches: BatchServer;
  private readonly countedSince: () => FrontCounts;
  private closing: Promise<void> | undefined;

  private constructor(parts: DatagramParts & { readonly libc: Libc }) {
    const memory = FrontCounts.memory();
    this.wanted = parts.addresses;
    this.libc = parts.libc;
    this.zones = new ZoneIndexes(parts.libc, parts.monotonicMs);
    this.front = parts.front;
    this.countedSince = countedSince(memory);
    this.outgoing = new Outgoing(parts.libc, parts.front, parts.observer);
    this.batches = batchServer({
      libc: parts.libc,
      packets: new PacketCache(parts.packets),
      admission: new Admission(parts.admission, parts.wallSec),
      counts: new FrontCounts(memory),
      ageNow: parts.ageNow,
      wallSec: parts.wallSec,
      monotonicMs: parts.monotonicMs,
      nowSec: processSeconds,
      placeOf: socket => this.open[socket]?.at ?? NO_PLACE,
      missed: (socket, queries, i) => {
        const route = this.outgoing.routes.take();
        queries.copyRoute(i, route, 0);
        const message = Buffer.allocUnsafe(queries.bytes(i));
        queries.copyMessage(i, message, 0);
        this.outgoing.answer(this.open[socket], route, message);
      },
      done: () => undefined,
    });
  }

  /**
   * Opens a socket per address, and serves them. Not for wildcard addresses: the first datagram, which Node.js reads,
   * does not show which address it was sent to. @throws SystemError if an address cannot be bound
   */
  static async open(parts: DatagramParts & { readonly libc: Libc }): Promise<InlineHost> {
    const host = new InlineHost(parts);
    try {
      host.unopened = await openEach(parts.addresses, async at => {
        const taken = socketsAt(parts.replaces, at);
        // All of them: closing one would lose the datagrams that wait in it.
        if (taken.length === 0) await host.bind(at, at.fd);
        for (const { fd } of taken) await host.bind(at, fd);
      });
    } catch (error) {
      await host.close();
      throw error;
    }
    return host;
  }

  get bound(): readonly ListenAddress[] {
    return [...new Map(this.open.map(({ at }) => [`${at.address} ${at.port}`, at])).values()];
  }

  get sockets(): readonly OpenSocket[] {
    return this.open;
  }

  counted(): readonly FrontCounts[] {
    return [this.countedSince()];
  }

  async close(graceMs = 0): Promise<void> {
    await (this.closing ??= this.closeOnce(graceMs));
  }

  private async bind(at: ListenAddress, from: number | undefined): Promise<void> {
    const { libc } = this;
    const fd = openUdp(libc, { ...at, ...(from === undefined ? {} : { fd: from }) });
    let watchedFd: number;
    try {
      watchedFd = openUdp(libc, { ...at, fd });
    } catch (error) {
      libc.close(fd);
      throw error;
    }
    const watched = createSocket(at.address.includes(':') ? 'udp6' : 'udp4');
    const index =
      this.open.push({ at: { ...at, port: portOf(libc, fd) }, fd, watched, isLeft: false, rounds: MAX_ROUNDS }) - 1;
    watched.on('message', (message, sender) => this.receive(message, sender, index));
    await new Promise<void>((resolve, reject) => {
      watched.once('error', reject);
      watched.bind({ fd: watchedFd }, () => {
        watched.off('error', reject);
        // An error that the kernel reports concerns one datagram: the socket stays.
        watched.on('error', () => undefined);
        resolve();
      });
    });
  }

  /**
   * Node.js reads the first datagram of a wake-up, and the batches are those after it. While there are more, it reads
   * another 31 in the same turn, each of which would be followed by batches.
   */
  private receive(message: Buffer, { address, port }: RemoteInfo, index: number): void {
    const { front, outgoing, libc, zones } = this;
    const socket = this.open[index];
    if (socket === undefined) return;
    const { fd, at } = socket;
    const family = address.includes(':') ? 6 : 4;
    let waits = false;
    waits = front.handle(message, { address, port, family, transport: 'udp', at }, reply => {
      if (waits) outgoing.pending--;
      if (reply !== undefined) outgoing.add(fd, routeTo(zones.withScope({ address, port }), libc), reply);
    });
    if (waits) outgoing.pending++;
    while (socket.rounds > 0) {
      if (this.batches.serve(fd, index) === 0) {
        socket.rounds = MAX_ROUNDS;
        break;
      }
      if (--socket.rounds === 0) setImmediate(() => void (socket.rounds = MAX_ROUNDS));
    }
    // Node.js goes on reading as long as there is something: what is ready must not wait for the end of a flood.
    outgoing.flush();
  }

  async leave(): Promise<void> {
    await Promise.all(this.open.filter(isPassed).map(async each => unwatch(each)));
  }

  private async closeOnce(graceMs: number): Promise<void> {
    const { open, libc } = this;
    await this.leave();
    await Promise.all(
      open.map(async (each, index) => {
        if (each.isLeft) return;
        for (let rounds = 0; rounds < LAST_ROUNDS && this.batches.serve(each.fd, index) > 0; rounds++);
        await unwatch(each);
      }),
    );
    await this.outgoing.close(graceMs);
    this.batches.close();
    for (const { fd } of open.splice(0)) libc.close(fd);
  }
}

/** Has Node.js watch a socket no longer. Replies still leave through its other descriptor. */
async function unwatch(socket: WatchedSocket): Promise<void> {
  if (socket.isLeft) return;
  socket.isLeft = true;
  await new Promise<void>(resolve => socket.watched.close(() => resolve()));
}
