// UDP over node:dgram: slower, and the only way if system calls are not available.

import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';

import type { FrontCounts } from '../base/front-counts.js';
import { isSystemError } from '../base/system-error.js';
import { openUdp, routeTo } from '../os/datagrams.js';
import type { Libc } from '../os/libc.js';
import { type ListenAddress, listenText, type Unopened } from '../os/listen-address.js';
import { descriptorOf } from '../os/stream-socket.js';
import { type DatagramHost, type DatagramParts, isPassed, type OpenSocket, socketsAt } from './datagram-host.js';
import { Outgoing, waitUntil } from './outgoing.js';
import { openEach } from './places.js';

// Room for bursts of a household; the kernel cuts it to net.core.rmem_max.
const SOCKET_BUFFER_BYTES = 1 << 20;
/** The most octets that wait in Node.js for room in a socket. */
const MAX_QUEUED_BYTES = 1 << 18;

/** One socket. */
interface Bound {
  /** Its descriptor; undefined: Node.js has opened it, and says so only with a warning. */
  readonly fd: number | undefined;
  readonly socket: Socket;
  /** The address that it was opened for, as text. */
  readonly key: string;
  readonly at: ListenAddress;
  /** Nothing can be sent through a closed one. */
  open: boolean;
  /** While the host closes: another descriptor, only for replies. */
  replyFd: number;
}

/** UDP over node:dgram. */
export class DgramHost implements DatagramHost {
  readonly isPerInterface = true;
  unopened: readonly Unopened[] = [];
  /** Several at one address, if front threads had several there. */
  private list: Bound[] = [];
  /** Those of them that are not read any more. */
  private readonly left: Bound[] = [];
  /** Queries that the front has taken and not yet answered. */
  private pending = 0;
  private closed = false;
  /** Sends replies for which node:dgram has no room, and those that come while the host closes. */
  private readonly outgoing: Outgoing | undefined;
  /** The last logged problem of each address: it is logged once. */
  private readonly troubles = new Map<string, string>();

  private constructor(private readonly parts: DatagramParts) {
    const { libc, front, observer } = parts;
    this.outgoing = libc && new Outgoing(libc, front, observer);
  }

  /**
   * Binds every address but those that may wait. @throws the system's error, if another one cannot be bound
   */
  static async open(parts: DatagramParts): Promise<DgramHost> {
    const host = new DgramHost(parts);
    const { addresses, replaces } = parts;
    try {
      host.unopened = await openEach(addresses, async at => {
        const there = socketsAt(replaces, at);
        if (there.length === 0) await host.bind(at, at.fd);
        for (const { fd, release } of there) if (release === undefined) await host.bind(at, fd);
      });
    } catch (error) {
      await host.close();
      throw error;
    }
    // From here on nothing can fail, so the old host gives its sockets away.
    for (const at of addresses)
      for (const { release, fd } of socketsAt(replaces, at)) if (release !== undefined) host.listen(release(), at, fd);
    return host;
  }

  get wanted(): readonly ListenAddress[] {
    return this.parts.addresses;
  }

  get bound(): readonly ListenAddress[] {
    return [...new Map(this.list.map(({ key, at }) => [key, at])).values()];
  }

  get sockets(): readonly OpenSocket[] {
    return this.list.map(bound => ({
      at: bound.at,
      fd: bound.fd ?? descriptorOf(bound.socket),
      release: () => {
        this.list = this.list.filter(each => each !== bound);
        return bound.socket.removeAllListeners('message').removeAllListeners('error');
      },
    }));
  }

  counted(): readonly FrontCounts[] {
    return [];
  }

  async close(graceMs = 0): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.leave();
    const closing = [...this.left, ...this.list];
    if (graceMs > 0) {
      // The event loop reads the datagrams that wait in the sockets before it continues here.
      await new Promise(resolve => setImmediate(resolve));
      const { libc } = this.parts;
      if (libc === undefined) for (const { socket } of closing) socket.removeAllListeners('message');
      else await this.keepForReplies(libc, this.list);
      await waitUntil(() => this.pending === 0, graceMs);
    }
    await this.outgoing?.close(graceMs);
    for (const { replyFd } of closing) if (replyFd >= 0) this.parts.libc?.close(replyFd);
    await Promise.all(closing.map(async bound => this.closeSocket(bound)));
  }

  async leave(): Promise<void> {
    const { libc } = this.parts;
    if (libc === undefined) return;
    const passed = this.list.filter(isPassed);
    this.left.push(...passed);
    await this.keepForReplies(libc, passed);
  }

  /**
   * Stops reading, because the host that takes over a socket would miss datagrams that Node.js reads. Replies leave
   * through a duplicate.
   */
  private async keepForReplies(libc: Libc, closing: readonly Bound[]): Promise<void> {
    for (const bound of closing) bound.replyFd = libc.dup(bound.fd ?? descriptorOf(bound.socket));
    await Promise.all(closing.map(async bound => this.closeSocket(bound)));
  }

  /** @param from a descriptor of a socket that is bound there already */
  private async bind(at: ListenAddress, from?: number): Promise<void> {
    const fd = this.descriptor(at, from);
    this.listen(await openSocket(at, fd), at, fd);
  }

  /** A bound descriptor of our own: a duplicate, or one that may share its port with a host that is replaced. */
  private descriptor(at: ListenAddress, from: number | undefined): number | undefined {
    const { libc } = this.parts;
    return libc && openUdp(libc, { ...at, ...(from === undefined ? {} : { fd: from }) });
  }

  private listen(socket: Socket, at: ListenAddress, fd?: number): void {
    const bound: Bound = {
      socket,
      key: listenText(at),
      at: { ...at, port: socket.address().port },
      fd,
      open: true,
      replyFd: -1,
    };
    this.list.push(bound);
    // Errors that the kernel reports on a bound socket concern one datagram, or are temporary (an interface that is
    // down). The socket stays.
    socket.on('error', error => this.trouble(at, error));
    socket.on('message', (message, from) => this.receive(bound, message, from));
  }

  private receive(bound: Bound, message: Buffer, from: RemoteInfo): void {
    const { at } = bound;
    const { front, observer } = this.parts;
    // Nothing can be received at port 0, and a query from our own address would be a loop.
    if (from.port === 0 || (from.port === at.port && from.address === at.address))
      return observer.dropped('source_port');
    const client = { address: from.address, port: from.port, family: from.family === 'IPv6' ? 6 : 4, at } as const;
    let waits = false;
    waits = front.handle(message, { ...client, transport: 'udp' }, reply => {
      if (waits) this.pending--;
      if (reply !== undefined) this.reply(bound, from, reply);
    });
    if (waits) this.pending++;
  }

  private reply({ open, socket, fd, replyFd }: Bound, to: RemoteInfo, reply: Buffer): void {
    const { outgoing } = this;
    const { libc, observer } = this.parts;
    // Node.js sends it later, and keeps whatever the kernel has no room for: it needs a copy. A client that is gone is no
    // error.
    if (open && socket.getSendQueueSize() < MAX_QUEUED_BYTES)
      socket.send(Buffer.from(reply), to.port, to.address, () => undefined);
    else if (libc === undefined || (open && fd === undefined)) observer.dropped('socket_full');
    else if (open || replyFd >= 0) outgoing?.add(open ? (fd ?? -1) : replyFd, routeTo(to, libc), reply);
  }

  private trouble(at: ListenAddress, error: unknown): void {
    const text = listenText(at);
    const words = error instanceof Error ? error.message : String(error);
    if (this.troubles.get(text) === words) return;
    this.troubles.set(text, words);
    this.parts.log.warn({ address: text }, `${text} (UDP): ${words}`);
  }

  private async closeSocket(bound: Bound): Promise<void> {
    this.list = this.list.filter(each => each !== bound);
    if (!bound.open) return;
    bound.open = false;
    if (bound.fd !== undefined) this.outgoing?.forget(bound.fd);
    await new Promise<void>(resolve => bound.socket.close(() => resolve()));
  }
}

/** Opens a socket, bound to an address or of a descriptor. @throws the system's error */
async function openSocket(at: ListenAddress, fd: number | undefined): Promise<Socket> {
  const six = at.address.includes(':');
  const socket = createSocket({ type: six ? 'udp6' : 'udp4', ipv6Only: six });
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void => {
      socket.close();
      reject(error);
    };
    socket.once('error', failed);
    const bound = (): void => {
      socket.off('error', failed);
      // A socket of a service manager may have more than the kernel allows others.
      if (socket.getRecvBufferSize() < SOCKET_BUFFER_BYTES) socket.setRecvBufferSize(SOCKET_BUFFER_BYTES);
      if (socket.getSendBufferSize() < SOCKET_BUFFER_BYTES) socket.setSendBufferSize(SOCKET_BUFFER_BYTES);
      resolve(socket);
    };
    if (fd !== undefined) socket.bind({ fd }, bound);
    else socket.bind(at.port, at.address, bound);
  });
}

/** Whether an address can be bound now, as far as node:dgram knows. */
export async function canBind(at: ListenAddress): Promise<boolean> {
  try {
    const socket = await openSocket(at, undefined);
    socket.close();
    return true;
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return false;
  }
}
