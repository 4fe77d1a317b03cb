// The fast path on the main thread: Node.js says when a socket has something, and the batches are ours. The smallest
// footprint, for little routers.

import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';

import { countedSince, FrontCounts } from '../base/front-counts.js';
import { openUdp, routeTo } from '../os/datagrams.js';
import { SharedNetworks } from '../policy/shared-networks.js';
import type { FrontThreads, HostParts } from './host.js';
import { clientOf, replies } from './outgoing.js';
import { PacketCache } from './packet-cache.js';
import { server } from './serve.js';

/** What serving on the main thread works with. */
export type InlineParts = HostParts & { readonly monotonicMs: () => number };

// After so many batches in a row other work gets its turn; Node.js will say again that there is more.
const MAX_ROUNDS = 8;

/**
 * Binds a socket per address, and serves them. Not for wildcard addresses: what Node.js reads by itself does not say
 * which address it was sent to.
 * @throws SystemError if an address can not be bound
 */
export async function serveInline(parts: InlineParts): Promise<FrontThreads> {
  const { libc, front } = parts;
  const memory = FrontCounts.memory();
  const counted = countedSince(memory);
  const outgoing = replies(libc);
  const networks = new SharedNetworks(parts.allow);
  const sockets: Socket[] = [];
  const fds: number[] = [];
  const serve = server({
    libc,
    packets: new PacketCache(parts.packets),
    allowed: () => networks.matcher(),
    counts: new FrontCounts(memory),
    nowSec: parts.nowSec,
    monotonicMs: parts.monotonicMs,
    missed(socket, queries, i) {
      const route = Buffer.allocUnsafe(queries.routeBytes(i));
      queries.copyRoute(i, route, 0);
      const message = Buffer.allocUnsafe(queries.bytes(i));
      queries.copyMessage(i, message, 0);
      front.handle(message, clientOf(route), reply => outgoing.add(fds[socket] ?? -1, route, reply), true);
    },
    done: () => undefined,
  });

  async function open(at: InlineParts['addresses'][number]): Promise<void> {
    const fd = openUdp(libc, at);
    const socket = createSocket(isIPv6(at.address) ? 'udp6' : 'udp4');
    const index = sockets.push(socket) - 1;
    fds.push(fd);
    const family = isIPv6(at.address) ? 6 : 4;
    // The first datagram of a wake-up is read by Node.js, all that came with it by us.
    socket.on('message', (message, from) => {
      front.handle(message, { address: from.address, port: from.port, family, transport: 'udp' }, reply => {
        // A link-local sender is found through its zone, which Node.js knows how to write.
        if (!from.address.includes('%')) outgoing.add(fds[index] ?? -1, routeTo(from), reply);
        else if (fds[index] !== undefined) socket.send(reply, from.port, from.address, () => undefined);
      });
      for (let rounds = 0; rounds < MAX_ROUNDS && serve(fd, index) > 0; rounds++);
    });
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.bind({ fd }, () => {
        socket.off('error', reject);
        socket.on('error', () => undefined);
        resolve();
      });
    });
  }

  let closed = false;
  async function close(): Promise<void> {
    if (closed) return;
    closed = true;
    outgoing.flush();
    fds.length = 0;
    await Promise.all(sockets.map(async socket => new Promise<void>(resolve => socket.close(() => resolve()))));
  }
  try {
    for (const at of parts.addresses) await open(at);
  } catch (error) {
    await close();
    throw error;
  }
  return { counted: () => [counted()], close };
}
