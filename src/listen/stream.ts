// TCP and DoT sessions of clients (RFC 7766, RFC 7858): pipelined queries, replies in any order, and limits, so that
// neither many idle connections nor a slow reader cost others anything.

import { createServer as createTcpServer, isIPv6, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';

import type { Observer } from '../base/observer.js';
import type { Front } from '../front/front.js';
import { framed, frameReader } from '../wire/frame.js';
import type { ListenAddress } from '../os/listen-address.js';

/** Bounds of client sessions. */
export interface StreamLimits {
  /** A session without a query in flight is closed after this long. */
  readonly idleMs: number;
  /** Queries in flight on one session; more are read when some are answered (RFC 7766 §6.2.1.1). */
  readonly inflightPerSession: number;
  readonly sessionsPerClient: number;
  readonly sessions: number;
  /** Unread reply octets above which nothing more is read from the client. */
  readonly unreadBytes: number;
}

export const STREAM_LIMITS: StreamLimits = {
  idleMs: 10_000,
  inflightPerSession: 100,
  sessionsPerClient: 20,
  sessions: 1000,
  unreadBytes: 256 * 1024,
};

/** Certificate and key, PEM. */
export interface Credentials {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** Open stream listeners. */
export interface StreamListener {
  readonly bound: readonly ListenAddress[];
  /** Open sessions. */
  readonly open: number;
  /** Takes no new sessions; those that are idle close, the others when their queries are answered. */
  close(): void;
  destroy(): void;
}

/** Open sessions, counted over all listeners of a daemon. */
export interface SessionTable {
  readonly perClient: Map<string, number>;
  total: number;
}
export const sessionTable = (): SessionTable => ({ perClient: new Map(), total: 0 });

/**
 * Listens on every address; with `credentials`, for TLS.
 * @throws the system's error if an address can not be bound
 */
export async function listenStream(
  addresses: readonly ListenAddress[],
  credentials: Credentials | undefined,
  front: Front,
  observer: Observer,
  table: SessionTable,
  limits: StreamLimits = STREAM_LIMITS,
): Promise<StreamListener> {
  const servers: { readonly server: Server; readonly at: ListenAddress }[] = [];
  const sessions = new Set<Session>();
  const transport = credentials === undefined ? 'tcp' : 'tls';

  function accept(socket: Socket): void {
    const address = socket.remoteAddress;
    // Gone before it was looked at.
    if (address === undefined) return void socket.destroy();
    const mine = table.perClient.get(address) ?? 0;
    if (table.total >= limits.sessions || mine >= limits.sessionsPerClient) {
      observer.dropped('connections');
      return void socket.destroy();
    }
    table.total++;
    table.perClient.set(address, mine + 1);
    const opened = session(
      socket,
      { address, port: socket.remotePort ?? 0, family: isIPv6(address) ? 6 : 4, transport },
      front,
      observer,
      limits,
    );
    sessions.add(opened);
    socket.once('close', () => {
      sessions.delete(opened);
      table.total--;
      const left = (table.perClient.get(address) ?? 1) - 1;
      if (left > 0) table.perClient.set(address, left);
      else table.perClient.delete(address);
    });
  }

  async function open(at: ListenAddress): Promise<void> {
    // Half-open: a client may close its side and still wait for replies (RFC 7766 §6.2.4).
    const options = { noDelay: true, allowHalfOpen: true };
    const server: Server =
      credentials === undefined
        ? createTcpServer(options, accept)
        : createTlsServer(
            {
              ...options,
              ...credentials,
              minVersion: 'TLSv1.2',
              ALPNProtocols: ['dot'],
              handshakeTimeout: limits.idleMs,
            },
            accept,
          )
            // A handshake that fails is the client's affair.
            .on('tlsClientError', () => undefined);
    // Also bounds the handshakes under way, which are no sessions yet.
    server.maxConnections = limits.sessions;
    server.on('drop', () => observer.dropped('connections'));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(
        at.fd !== undefined ? { fd: at.fd } : { port: at.port, host: at.address, ipv6Only: isIPv6(at.address) },
        () => {
          server.off('error', reject);
          resolve();
        },
      );
    });
    // E.g. EMFILE while accepting: that connection is lost, the listener stays.
    server.on('error', () => observer.dropped('connections'));
    const bound = server.address();
    const port = bound !== null && typeof bound === 'object' ? bound.port : at.port;
    servers.push({ server, at: { address: at.address, port } });
  }

  function stopListening(): void {
    for (const { server } of servers) server.close();
  }

  try {
    for (const at of addresses) await open(at);
  } catch (error) {
    stopListening();
    throw error;
  }
  return {
    bound: servers.map(({ at }) => at),
    get open() {
      return sessions.size;
    },
    close() {
      stopListening();
      for (const each of sessions) each.finish();
    },
    destroy() {
      stopListening();
      for (const each of sessions) each.destroy();
    },
  };
}

interface Session {
  /** Closes once everything is answered. */
  finish(): void;
  destroy(): void;
}

function session(
  socket: Socket,
  client: Parameters<Front['handle']>[1],
  front: Front,
  observer: Observer,
  limits: StreamLimits,
): Session {
  const frames = frameReader();
  let inflight = 0;
  let ended = false;
  let finishing = false;
  // Replies of one turn leave in one write.
  let replies: Buffer[] = [];
  // Read with the last chunk, but over the limit of what may be in flight; reading stops while there are any.
  const held: Buffer[] = [];
  let slowTimer: NodeJS.Timeout | undefined;
  let frameTimer: NodeJS.Timeout | undefined;

  function flush(): void {
    const bytes = replies.length === 1 ? replies[0] : Buffer.concat(replies);
    replies = [];
    if (bytes === undefined || socket.destroyed) return;
    socket.write(bytes);
    throttle();
    closeIfDone();
  }

  function respond(reply: Buffer): void {
    if (replies.push(framed(reply)) === 1) setImmediate(flush);
  }

  /** Reads on only while the client takes its replies and waits for few enough of them. */
  function throttle(): void {
    const slow = socket.writableLength > limits.unreadBytes;
    if (slow || inflight >= limits.inflightPerSession) socket.pause();
    else if (socket.isPaused()) socket.resume();
    if (slow && slowTimer === undefined) {
      slowTimer = setTimeout(() => {
        observer.dropped('slow_client');
        socket.destroy();
      }, limits.idleMs).unref();
    } else if (!slow && slowTimer !== undefined) {
      clearTimeout(slowTimer);
      slowTimer = undefined;
    }
  }

  function closeIfDone(): void {
    if ((ended || finishing) && inflight === 0 && held.length === 0 && replies.length === 0) socket.end();
  }

  function handle(message: Buffer): void {
    let waits = false;
    waits = front.handle(message, client, reply => {
      respond(reply);
      if (!waits) return;
      inflight--;
      while (inflight < limits.inflightPerSession && held.length > 0) {
        const next = held.shift();
        if (next !== undefined) handle(next);
      }
      throttle();
    });
    if (waits) inflight++;
  }

  function receive(message: Buffer): void {
    watchFrame();
    // May be held until upstream answers, when the chunk's memory has long been reused.
    const own = Buffer.from(message);
    if (inflight < limits.inflightPerSession) handle(own);
    else held.push(own);
  }

  /** A frame that was begun has to be completed in time: octet by octet must not keep a session for ever. */
  function watchFrame(): void {
    if (frameTimer !== undefined) frameTimer.refresh();
    else frameTimer = setTimeout(() => frames.partial && socket.destroy(), limits.idleMs).unref();
  }

  socket.setTimeout(limits.idleMs);
  socket.on('timeout', () => {
    if (inflight > 0) return;
    socket.destroy();
  });
  socket.on('data', (chunk: Buffer) => {
    if (!frames.partial) watchFrame();
    frames.push(chunk, receive);
    throttle();
  });
  socket.on('drain', throttle);
  socket.on('end', () => {
    ended = true;
    closeIfDone();
  });
  socket.on('error', () => socket.destroy());
  socket.on('close', () => {
    clearTimeout(slowTimer);
    clearTimeout(frameTimer);
  });

  return {
    finish() {
      finishing = true;
      closeIfDone();
    },
    destroy: () => void socket.destroy(),
  };
}
