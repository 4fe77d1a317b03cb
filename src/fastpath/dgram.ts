// UDP over node:dgram: slower, and the only way if system calls are not available. Wildcard addresses are bound
// interface by interface, and the sockets follow as interfaces come and go.

import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';

import type { FrontCounts } from '../base/front-counts.js';
import { isSystemError } from '../base/system-error.js';
import { openUdp, routeTo } from '../os/datagrams.js';
import type { Libc } from '../os/libc.js';
import { expand, isAnyAddress, type ListenAddress, listenText } from '../os/listen-address.js';
import { type DatagramHost, type DatagramParts, type OpenSocket, socketsAt } from './datagram-host.js';
import { Outgoing, waitUntil } from './outgoing.js';

/** How often wildcard listeners check for addresses that came or went. */
const RESCAN_MS = 5000;
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
  /** Several at one address, if front threads had several there. */
  private list: Bound[] = [];
  /** Queries that the front has taken and not yet answered. */
  private pending = 0;
  private closed = false;
  private rescan: NodeJS.Timeout | undefined;
  /** Sends replies for which node:dgram has no room, and those that come while the host closes. */
  private readonly outgoing: Outgoing | undefined;
  /** The last logged problem of each address that cannot be bound: it is tried every few seconds, and logged once. */
  private readonly troubles = new Map<string, string>();

  private constructor(private readonly parts: DatagramParts) {
    const { libc, front, observer } = parts;
    this.outgoing = libc && new Outgoing(libc, front, observer);
  }

  /**
   * Binds every address. An address that a wildcard stands for may not be ready: an IPv6 address is not before the
   * kernel has made sure that nobody else has it (RFC 4862 §5.4). It is bound later.
   * @throws the system's error, if another address cannot be bound
   */
  static async open(parts: DatagramParts): Promise<DgramHost> {
    const host = new DgramHost(parts);
    const wanted = parts.addresses.flatMap(expand);
    try {
      for (const at of wanted) {
        const taken = socketsAt(parts.replaces, at).filter(({ release }) => release === undefined);
        if (socketsAt(parts.replaces, at).length === 0) await host.bindFirst(at);
        for (const { fd } of taken) await host.bind(at, fd);
      }
    } catch (error) {
      await host.close();
      throw error;
    }
    // From here on nothing can fail, so the old host gives its sockets away.
    for (const at of wanted)
      for (const { release, fd } of socketsAt(parts.replaces, at))
        if (release !== undefined) host.listen(release(), at, fd);
    if (parts.addresses.some(({ address }) => isAnyAddress(address)))
      host.rescan = setInterval(() => void host.follow(), RESCAN_MS).unref();
    return host;
  }

  get bound(): readonly ListenAddress[] {
    return [...new Map(this.list.map(({ key, at }) => [key, at])).values()];
  }

  get sockets(): readonly OpenSocket[] {
    return this.list.map(bound => ({
      at: bound.at,
      fd: bound.fd ?? fdOf(bound.socket),
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
    clearInterval(this.rescan);
    const closing = this.list;
    if (graceMs > 0) {
      // The event loop reads the datagrams that wait in the sockets before it continues here.
      await new Promise(resolve => setImmediate(resolve));
      const { libc } = this.parts;
      if (libc === undefined) for (const { socket } of closing) socket.removeAllListeners('message');
      else await this.keepForReplies(libc, closing);
      await waitUntil(() => this.pending === 0, graceMs);
    }
    await this.outgoing?.close(graceMs);
    for (const { replyFd } of closing) if (replyFd >= 0) this.parts.libc?.close(replyFd);
    await Promise.all(closing.map(async bound => this.closeSocket(bound)));
  }

  /**
   * Stops reading, because the host that takes over a socket would miss datagrams that Node.js reads. Replies leave
   * through a duplicate.
   */
  private async keepForReplies(libc: Libc, closing: readonly Bound[]): Promise<void> {
    for (const bound of closing) bound.replyFd = libc.dup(bound.fd ?? fdOf(bound.socket));
    await Promise.all(closing.map(async bound => this.closeSocket(bound)));
  }

  private async bindFirst(at: ListenAddress): Promise<void> {
    try {
      await this.bind(at, at.fd);
    } catch (error) {
      const isOfWildcard = !this.parts.addresses.includes(at);
      if (!isOfWildcard || !isSystemError(error) || error.code !== 'EADDRNOTAVAIL') throw error;
      this.trouble(at, error);
    }
  }

  /** @param from a descriptor of a socket that is bound there already */
  private async bind(at: ListenAddress, from?: number): Promise<void> {
    const fd = this.descriptor(at, from);
    const socket = createSocket({
      type: isIPv6(at.address) ? 'udp6' : 'udp4',
      ipv6Only: isIPv6(at.address),
      recvBufferSize: SOCKET_BUFFER_BYTES,
      sendBufferSize: SOCKET_BUFFER_BYTES,
    });
    await new Promise<void>((resolve, reject) => {
      const failed = (error: Error): void => {
        socket.close();
        reject(error);
      };
      socket.once('error', failed);
      const bound = (): void => {
        socket.off('error', failed);
        resolve();
      };
      if (fd !== undefined) socket.bind({ fd }, bound);
      else socket.bind(at.port, at.address, bound);
    });
    this.listen(socket, at, fd);
  }

  /** A bound descriptor of our own: a duplicate, or one that may share its port with a host that is replaced. */
  private descriptor({ address, port }: ListenAddress, from: number | undefined): number | undefined {
    const { libc } = this.parts;
    if (libc === undefined) return undefined;
    return openUdp(libc, { address, port, ...(from === undefined ? {} : { fd: from }) });
  }

  private listen(socket: Socket, at: ListenAddress, fd?: number): void {
    const bound: Bound = {
      socket,
      key: listenText(at),
      at: { address: at.address, port: socket.address().port },
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
    const client = { address: from.address, port: from.port, family: from.family === 'IPv6' ? 6 : 4 } as const;
    let waits = false;
    waits = front.handle(message, { ...client, transport: 'udp' }, reply => {
      if (waits) this.pending--;
      this.reply(bound, from, reply);
    });
    if (waits) this.pending++;
  }

  private reply({ open, socket, fd, replyFd }: Bound, to: RemoteInfo, reply: Buffer): void {
    const { outgoing } = this;
    // Node.js keeps whatever the kernel has no room for. A client that is gone is no error.
    if (open && socket.getSendQueueSize() < MAX_QUEUED_BYTES) socket.send(reply, to.port, to.address, () => undefined);
    else if (open && (fd === undefined || outgoing === undefined)) this.parts.observer.dropped('socket_full');
    else if (open || replyFd >= 0) outgoing?.add(open ? (fd ?? -1) : replyFd, routeTo(to), reply);
  }

  /** Opens and closes sockets as the addresses of interfaces come and go. */
  private async follow(): Promise<void> {
    const { addresses } = this.parts;
    try {
      const wanted = addresses.filter(({ address }) => isAnyAddress(address)).flatMap(expand);
      const keys = new Set([...addresses, ...wanted].map(listenText));
      for (const bound of this.list) if (!keys.has(bound.key)) void this.closeSocket(bound);
      for (const at of wanted) {
        if (this.closed || this.list.some(({ key }) => key === listenText(at))) continue;
        await this.bind(at).then(
          () => this.troubles.delete(listenText(at)),
          (error: unknown) => this.trouble(at, error),
        );
      }
    } catch (error) {
      // The system did not list its addresses: the bound ones stay, and the next check comes soon.
      for (const at of addresses) this.trouble(at, error);
    }
  }

  private trouble(at: ListenAddress, error: unknown): void {
    const text = listenText(at);
    const words = troubleWords(error);
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

function troubleWords(error: unknown): string {
  if (isSystemError(error) && error.code === 'EADDRNOTAVAIL')
    return `the address is not ready, and is tried again every ${RESCAN_MS / 1000} s`;
  return error instanceof Error ? error.message : String(error);
}

/** The descriptor of a socket. Node.js has no public API for it. */
function fdOf(socket: Socket): number {
  const { fd } = (socket as unknown as { readonly _handle?: { readonly fd?: number } | null })._handle ?? {};
  return fd ?? -1;
}
