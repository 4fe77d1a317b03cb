// TCP sockets that are bound here instead of by Node.js, which cannot bind an address that the machine does not have yet,
// and does not know the zones of all interface names; and the room that sessions have in the kernel.

import type { Socket as DatagramSocket } from 'node:dgram';
import type { Socket } from 'node:net';

import { SystemError } from '../base/system-error.js';
import { bindEvenAhead, type BindAddress } from './datagrams.js';
import { type Libc, LINUX } from './libc.js';

/** Opens and binds a TCP socket, which does not listen yet. @throws SystemError */
export function openTcp(libc: Libc, at: BindAddress): number {
  const six = at.address.includes(':');
  const fd = libc.socket(six ? LINUX.AF_INET6 : LINUX.AF_INET, LINUX.SOCK_STREAM | LINUX.SOCK_CLOEXEC, 0);
  if (fd < 0) throw new SystemError('socket', fd, at);
  libc.setsockopt(fd, LINUX.SOL_SOCKET, LINUX.SO_REUSEADDR, 1);
  const only = six ? libc.setsockopt(fd, LINUX.IPPROTO_IPV6, LINUX.IPV6_V6ONLY, 1) : 0;
  const bound = only < 0 ? only : bindEvenAhead(libc, fd, at);
  if (bound >= 0) {
    boundRoom(libc, fd);
    return fd;
  }
  libc.close(fd);
  throw new SystemError('bind', bound, at);
}

/**
 * The room of a session for octets that wait, in each direction. The kernel counts twice of it: that is what
 * net.ipv4.tcp_rmem gives by default. What it has no room for waits here, where it is counted.
 */
const SESSION_ROOM_BYTES = 1 << 16;

/**
 * Bounds the room of a session in the kernel. For replies that a client does not take it would grow to megabytes
 * (net.ipv4.tcp_wmem), for each session. ReceiveBuffer= of a socket unit is for queries over UDP that wait, and counts
 * for all its sockets. Connections inherit both as they arrive, so that those which came before the daemon have it, too.
 * @param fd of a socket that listens, or of a connection
 */
export function boundRoom(libc: Libc, fd: number): void {
  if (libc.getsockopt(fd, LINUX.SOL_SOCKET, LINUX.SO_RCVBUF) > 2 * SESSION_ROOM_BYTES)
    libc.setsockopt(fd, LINUX.SOL_SOCKET, LINUX.SO_RCVBUF, SESSION_ROOM_BYTES);
  // Without this, what it has now is only where its growth begins.
  libc.setsockopt(fd, LINUX.SOL_SOCKET, LINUX.SO_SNDBUF, SESSION_ROOM_BYTES);
}

/** The descriptor of a socket of Node.js, which has no public API for it; -1: it has none. */
export function descriptorOf(socket: Socket | DatagramSocket): number {
  const { fd } = (socket as unknown as { readonly _handle?: { readonly fd?: number } | null })._handle ?? {};
  return fd ?? -1;
}
