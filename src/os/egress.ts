// The way out of replies over UDP. It never waits: a socket without room for a reply must not stop the loop that serves
// all clients.
//
// All clients of a socket share its send buffer, and datagrams stay in there while the link that they leave over takes
// none. So one client behind a stuck link could fill it, and nobody would get a reply any more. Then replies leave
// through spare sockets at the same address, each for a share of the clients.

import { type Messages, NAME_BYTES, SOCKET_BUFFER_BYTES } from './datagrams.js';
import { type Libc, LINUX } from './libc.js';
import { Segments } from './segments.js';

/** Spare sockets for one, a power of two: a client that fills one of them takes it from one client in so many. */
const SPARES = 8;
const CLOSED = -1;
/** struct sockaddr_in */
const IPV4_NAME_BYTES = 16;

/** Sends replies. */
export class Egress {
  /** The spare sockets of those that were full once, by descriptor. */
  private readonly spares = new Map<number, Int32Array>();

  private readonly segments: Segments;

  constructor(private readonly libc: Libc) {
    this.segments = new Segments(libc);
  }

  /**
   * Sends slots [0, count).
   * @param fd the socket that their queries came to
   * @returns how many of them were lost, because there was no room for them
   */
  send(fd: number, messages: Messages, count: number): number {
    let lost = 0;
    const left = this.segments.send(fd, messages, count);
    for (let each = 0; each < left; each++) {
      const i = this.segments.left[each] ?? 0;
      const spare = this.spareOf(fd, messages.hashOfRecipient(i) & (SPARES - 1));
      if (spare < 0 || messages.send(spare, i, i + 1) === i) lost++;
    }
    return lost;
  }

  /** Closes the spare sockets of `fd`, which is about to be closed: its number may come back for another address. */
  forget(fd: number): void {
    for (const spare of this.spares.get(fd) ?? []) if (spare !== CLOSED) this.libc.close(spare);
    this.spares.delete(fd);
  }

  /** Closes all spare sockets. */
  close(): void {
    for (const fd of this.spares.keys()) this.forget(fd);
  }

  /** The spare socket for a share of the clients. Below 0: none can be opened now. */
  private spareOf(fd: number, share: number): number {
    let spares = this.spares.get(fd);
    if (spares === undefined) this.spares.set(fd, (spares = new Int32Array(SPARES).fill(CLOSED)));
    const open = spares[share] ?? CLOSED;
    return open === CLOSED ? (spares[share] = this.open(fd)) : open;
  }

  /** Opens a socket at the same address. It is connected to itself, so that the kernel gives it no queries. */
  private open(fd: number): number {
    const { libc } = this;
    const room = Buffer.alloc(NAME_BYTES);
    if (libc.getsockname(fd, room) < 0) return CLOSED;
    const six = room.readUInt16LE(0) === LINUX.AF_INET6;
    const at = six ? room : room.subarray(0, IPV4_NAME_BYTES);
    const spare = libc.socket(six ? LINUX.AF_INET6 : LINUX.AF_INET, LINUX.SOCK_DGRAM | LINUX.SOCK_CLOEXEC, 0);
    if (spare < 0) return CLOSED;
    // A socket of the service manager does not share its port by itself.
    libc.setsockopt(fd, LINUX.SOL_SOCKET, LINUX.SO_REUSEPORT, 1);
    libc.setsockopt(spare, LINUX.SOL_SOCKET, LINUX.SO_REUSEPORT, 1);
    libc.setsockopt(spare, LINUX.SOL_SOCKET, LINUX.SO_SNDBUF, SOCKET_BUFFER_BYTES);
    if (six) libc.setsockopt(spare, LINUX.IPPROTO_IPV6, LINUX.IPV6_V6ONLY, 1);
    if (libc.bind(spare, at) === 0 && libc.connect(spare, at) === 0) return spare;
    libc.close(spare);
    return CLOSED;
  }
}
