// An HTTP server for a few people and programs: connections in bounded places, and what every reply says.

import { createServer } from 'node:net';

import type { Clock } from '../base/ports.js';
import { HttpConnection, type HttpReply } from './http-connection.js';
import type { HttpRequest } from './http-head.js';
import { HttpPlaces } from './http-places.js';

/** The parts that it uses. */
export interface HttpServerParts {
  readonly clock: Clock;
  /** Whether a client may connect; left out: everybody may. */
  readonly admits?: (address: string) => boolean;
  /** Called for one request of a connection at a time. Must not reject. */
  readonly answer: (request: HttpRequest, address: string) => Promise<HttpReply>;
  /** Fields of every reply. */
  readonly fields: Readonly<Record<string, string>>;
  /** Enough for the clients that are expected. */
  readonly maxConnections: number;
  /** Called for each connection that is closed for another, or gets no place. */
  readonly dropped: () => void;
  /** Called with an error while connections are accepted, such as EMFILE: that one is lost, the server stays. */
  readonly failed: (message: string) => void;
}

/** The open server. */
export interface HttpListener {
  readonly port: number;
  /** Closes it, with all connections. */
  close(): void;
}

/** For every reply: no cache keeps it, and no browser takes it for something else or tells where a link was. */
export const COMMON_FIELDS = {
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
} as const;

/**
 * Listens for HTTP.
 * @param at `fd`: a socket that is bound there, and is closed with the server @throws the system's error if the address
 * cannot be bound
 */
export async function openHttp(
  at: { readonly address: string; readonly port: number; readonly fd?: number },
  parts: HttpServerParts,
): Promise<HttpListener> {
  const { clock, fields } = parts;
  const places = new HttpPlaces(clock, parts.maxConnections, parts.dropped);
  const connections = new Set<HttpConnection>();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, socket => {
    const { remoteAddress: address } = socket;
    // It closed already, or may not connect.
    if (address === undefined || parts.admits?.(address) === false) return void socket.destroy();
    const open = (): HttpConnection => {
      const answer = async (request: HttpRequest): Promise<HttpReply> => parts.answer(request, address);
      const connection = new HttpConnection(socket, { clock, fields, answer });
      connections.add(connection);
      socket.once('close', () => connections.delete(connection));
      return connection;
    };
    if (!places.take(address, open)) socket.destroy();
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(at.fd === undefined ? { port: at.port, host: at.address } : { fd: at.fd }, () => {
      server.off('error', reject);
      server.on('error', ({ message }) => parts.failed(message));
      resolve();
    });
  });
  const bound = server.address();
  return {
    port: bound !== null && typeof bound === 'object' ? bound.port : at.port,
    close() {
      server.close();
      for (const each of connections) each.destroy();
    },
  };
}
