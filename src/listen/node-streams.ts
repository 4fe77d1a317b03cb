// Connections by node:net and node:tls.

import { constants } from 'node:crypto';
import { createServer as createTcpServer, type ListenOptions, type Socket } from 'node:net';
import { createServer as createTlsServer, TLSSocket } from 'node:tls';

import type { Libc } from '../os/libc.js';
import type { ListenAddress } from '../os/listen-address.js';
import type { ServerCredentials } from '../os/openssl.js';
import { boundRoom, descriptorOf, openTcp } from '../os/stream-socket.js';
import type { Door, DoorEvents, FirstOctets, Streams, TlsServer, TlsServerOptions } from './connection.js';

/** Node.js takes the name of a key of tickets, its HMAC key and its AES key, of 16 octets each. */
const TICKET_KEY_BYTES = 48;

/**
 * Connections in the event loop of Node.js.
 * @param libc undefined: system calls cannot be made, so Node.js binds, and only addresses that the machine has
 */
export const nodeStreams = (libc: Libc | undefined): Streams<Socket> => ({
  open: async (at, events) => open(at, libc, events),
  readFirst,
  isSecured: socket => socket instanceof TLSSocket,
  asDuplex: socket => socket,
  tlsServer,
});

async function open(at: ListenAddress, libc: Libc | undefined, { accept, lost }: DoorEvents<Socket>): Promise<Door> {
  // Half-open: a client may close its side and still wait for replies (RFC 7766 §6.2.4).
  const server = createTcpServer({ noDelay: true, allowHalfOpen: true }, socket => {
    if (at.fd !== undefined && libc !== undefined) boundRoom(libc, descriptorOf(socket));
    accept(socket);
  });
  const options = listenOptions(at, libc);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options, () => {
      server.off('error', reject);
      resolve();
    });
  });
  // For example EMFILE while accepting: that connection is lost, the listener stays.
  server.on('error', lost);
  const bound = server.address();
  return {
    descriptor: options.fd,
    port: bound !== null && typeof bound === 'object' ? bound.port : at.port,
    close: () => void server.close(),
  };
}

/** A socket of the service manager must not be closed here, so Node.js gets a duplicate of its descriptor. */
function listenOptions(at: ListenAddress, libc: Libc | undefined): ListenOptions & { readonly fd?: number } {
  const there = at.fd ?? at.from;
  if (there !== undefined) return { fd: libc?.dup(there) ?? there };
  if (libc !== undefined) return { fd: openTcp(libc, at) };
  return { port: at.port, host: at.address, ipv6Only: at.address.includes(':') };
}

function readFirst(socket: Socket, { wanted, then, ended }: FirstOctets): void {
  const chunks: Buffer[] = [];
  let bytes = 0;
  let least = 1;
  const end = (): void => ended(bytes);
  const look = (): void => {
    const chunk: unknown = socket.read();
    if (!(chunk instanceof Buffer)) return;
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes < least) return;
    const octets = Buffer.concat(chunks);
    least = wanted(octets);
    if (bytes < least) return;
    socket.off('readable', look).off('end', end);
    then(octets, taken => {
      if (taken < octets.length) socket.unshift(octets.subarray(taken));
    });
  };
  socket.on('readable', look).on('end', end);
}

function tlsServer({ credentials, ticketKey, alpn, secured }: TlsServerOptions<Socket>): TlsServer<Socket> {
  const ticketKeys = ticketKey.subarray(0, TICKET_KEY_BYTES);
  const options = { ...contextOptions(credentials), ticketKeys, ALPNProtocols: [...alpn] };
  const server = createTlsServer(options, socket => {
    // From here on, it may close its side and still wait for replies (RFC 7766 §6.2.4).
    socket.allowHalfOpen = true;
    secured(socket);
  })
    // A failed handshake only concerns the client.
    .on('tlsClientError', (_error, failed) => failed.destroy());
  return {
    setCredentials(next) {
      server.setSecureContext({ ...contextOptions(next), ticketKeys });
    },
    handshake(socket) {
      // Whoever sends no more before its handshake is finished asks nothing: the TLS socket closes on its end.
      socket.allowHalfOpen = false;
      server.emit('connection', socket);
    },
    close: () => undefined,
  };
}

const contextOptions = ({ cert, key }: ServerCredentials) => ({
  cert,
  key,
  minVersion: 'TLSv1.2' as const,
  // Of TLS 1.2: each one costs us a signature, and the client nothing (CVE-2011-1473).
  secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
});
