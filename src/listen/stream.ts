// Listens for sessions of clients over TCP, TLS and HTTPS. Addresses and certificate can be changed while sessions go on.

import { createServer as createTcpServer, type ListenOptions, type Server, type Socket } from 'node:net';

import type { StreamObserver } from '../base/observer.js';
import type { Clock } from '../base/ports.js';
import type { Libc } from '../os/libc.js';
import { type ListenAddress, overlap, placeText, type Unopened, unopened } from '../os/listen-address.js';
import type { OwnPlace } from '../base/address.js';
import { openTcp } from '../os/stream-socket.js';
import { ClientSession, type SessionLimits, type SessionParts } from './session.js';
import type { Occupant, Place, SessionTable, StreamTransport } from './sessions.js';
import { type ServerCredentials, TlsAcceptor } from './tls-acceptor.js';
import type { Turns, Worker } from './turns.js';

/** A handshake takes as long as some hundred cached answers. */
const WORK_OF_HANDSHAKE = 128;

export const SESSION_LIMITS: SessionLimits = {
  inflightPerSession: 100,
  unreadBytes: 64 * 1024,
};

/** A session. */
export interface OpenSession {
  /** Closes after the last reply. */
  finish(): void;
}

/** What is spoken over the connections of a listener. */
export interface StreamProtocol {
  readonly transport: StreamTransport;
  /** The ALPN ids (RFC 7301) that clients may choose from over TLS. */
  readonly alpn: readonly string[];
  /** Begins a session over a connection whose TLS handshake, if there is one, is finished. */
  begin(socket: Socket, place: Place): OpenSession;
}

/** The parts that a listener uses. */
export interface ListenerParts {
  readonly observer: StreamObserver;
  readonly turns: Turns;
  /** For the keys of TLS tickets. */
  readonly clock: Clock;
  readonly table: SessionTable;
  /**
   * Whether an address may ask (access.allow), over TLS or in cleartext. Connections from others are closed at once.
   */
  readonly mayAsk: (address: string, overTls: boolean) => boolean;
  /** Whether an address is that of a reverse proxy, which asks for many. */
  readonly isProxy?: (address: string) => boolean;
  /** Undefined: system calls cannot be made, so Node.js binds, and only addresses that the machine has. */
  readonly libc?: Libc | undefined;
}

/** The parts that listeners for TCP and for DNS over TLS use. */
export interface StreamParts extends ListenerParts, Omit<SessionParts, 'limits'> {
  readonly limits?: SessionLimits;
}

/** Listens for sessions over one transport. */
export interface StreamListener {
  /** The addresses that are bound, with the port that was chosen for port 0. */
  readonly bound: readonly ListenAddress[];
  /** The addresses that could not be bound, and wait for the next `set`. */
  readonly unopened: readonly Unopened[];
  /**
   * Listens at these addresses, and no others. New ones are opened first; sessions at removed ones go on until their
   * clients end them. With an empty list it listens nowhere. Those that the machine does not have now wait. @throws the
   * system's error if another address cannot be bound; then it listens where it did before
   */
  set(addresses: readonly ListenAddress[]): Promise<void>;
  /** Listens at no others than these, and opens none. */
  keep(addresses: readonly ListenAddress[]): void;
  /**
   * Later connections use this certificate, or, without one, no TLS. Tickets of before are still accepted. @throws if
   * certificate and key do not match; then nothing has changed
   */
  setCredentials(credentials: ServerCredentials | undefined): void;
  /** Resolved when another thread has done what it was told; left out: all is done at once. */
  settled?(): Promise<unknown>;
  /** Accepts no new sessions. Idle sessions close now, all others after their last reply. */
  close(): void;
  /** The same as `close`, but closes all sessions at once. */
  destroy(): void;
}

/** Makes a listener for TCP, which listens nowhere yet. */
export const tcpListener = (parts: StreamParts): StreamListener =>
  streamListener(framedProtocol('tcp', parts), parts, undefined);

/** Makes a listener for DNS over TLS, which listens nowhere yet. */
export const tlsListener = (parts: StreamParts, credentials: ServerCredentials): StreamListener =>
  streamListener(framedProtocol('tls', parts), parts, credentials);

/** Makes a listener for a protocol, which listens nowhere yet. @param credentials undefined: in cleartext */
export const streamListener = (
  protocol: StreamProtocol,
  parts: ListenerParts,
  credentials: ServerCredentials | undefined,
): StreamListener => {
  const listener = new Listener(protocol, parts);
  listener.setCredentials(credentials);
  return listener;
};

/** Messages with their length in front (RFC 1035 §4.2.2), over TCP or TLS. */
export const framedProtocol = (transport: 'tcp' | 'tls', given: StreamParts): StreamProtocol => {
  const parts = { ...given, limits: given.limits ?? SESSION_LIMITS };
  return {
    ...{ transport, alpn: ['dot'] },
    begin(socket, place) {
      const { remoteAddress: address = '', remotePort: port = 0 } = socket;
      const family = address.includes(':') ? (6 as const) : (4 as const);
      const client = { address, port, transport, family, at: ownPlaceOf(socket) };
      return new ClientSession(socket, client, place, parts);
    },
  };
};

/** The address of ours that a connection came to. */
export const ownPlaceOf = ({ localAddress: address = '', localPort: port = 0 }: Socket): OwnPlace => ({
  address,
  port,
});

interface BoundServer {
  readonly server: Server;
  /** The address as configured. */
  readonly key: string;
  readonly wanted: ListenAddress;
  readonly at: ListenAddress;
}

class Listener implements StreamListener {
  private servers: readonly BoundServer[] = [];
  private waiting: readonly Unopened[] = [];
  private readonly sessions = new Map<Socket, OpenSession>();
  /** Accepted connections whose handshake is not finished, by both ends of them. */
  private readonly handshakes = new Map<string, { readonly socket: Socket; readonly place: Place }>();
  /** Undefined: connections are in cleartext. */
  private tls: TlsAcceptor | undefined;
  private closed = false;

  constructor(
    private readonly protocol: StreamProtocol,
    private readonly parts: ListenerParts,
  ) {}

  get bound(): readonly ListenAddress[] {
    return this.servers.map(({ at }) => at);
  }

  get unopened(): readonly Unopened[] {
    return this.waiting;
  }

  async set(addresses: readonly ListenAddress[]): Promise<void> {
    const wanted = new Map(addresses.map(at => [placeText(at), at]));
    const before = this.servers;
    const stay = before.filter(({ key }) => wanted.has(key));
    const go = before.filter(({ key }) => !wanted.has(key));
    const come = [...wanted].filter(([key]) => !before.some(each => each.key === key)).map(([, at]) => at);
    // The kernel does not allow a wildcard and a single address on one port at the same time.
    const inTheWay = go.filter(({ wanted: old }) => come.some(at => overlap(old, at)));
    for (const { server } of inTheWay) server.close();
    const opened: BoundServer[] = [];
    const waiting: Unopened[] = [];
    try {
      for (const at of come) {
        const server = await this.open(at).catch((error: unknown) => unopened(at, error));
        if ('error' in server) waiting.push(server);
        else opened.push(server);
      }
    } catch (error) {
      for (const { server } of opened) server.close();
      const again: BoundServer[] = [];
      for (const { wanted: old } of inTheWay) again.push(await this.open(old));
      this.servers = [...before.filter(each => !inTheWay.includes(each)), ...again];
      throw error;
    }
    for (const each of go) if (!inTheWay.includes(each)) each.server.close();
    this.servers = [...stay, ...opened];
    this.waiting = waiting;
  }

  keep(addresses: readonly ListenAddress[]): void {
    const wanted = new Set(addresses.map(placeText));
    for (const { server, key } of this.servers) if (!wanted.has(key)) server.close();
    this.servers = this.servers.filter(({ key }) => wanted.has(key));
    this.waiting = this.waiting.filter(({ at }) => wanted.has(placeText(at)));
  }

  setCredentials(credentials: ServerCredentials | undefined): void {
    if (credentials === undefined) {
      this.tls?.close();
      this.tls = undefined;
      return;
    }
    if (this.tls !== undefined) return this.tls.setCredentials(credentials);
    const { clock } = this.parts;
    const { alpn } = this.protocol;
    this.tls = new TlsAcceptor({ clock, alpn, secured: socket => this.secured(socket) }, credentials);
  }

  close(): void {
    this.stopListening();
    for (const session of this.sessions.values()) session.finish();
    this.endHandshakes();
  }

  destroy(): void {
    this.stopListening();
    for (const socket of [...this.sessions.keys()]) socket.destroy();
    this.endHandshakes();
  }

  private endHandshakes(): void {
    for (const { socket } of [...this.handshakes.values()]) socket.destroy();
  }

  private stopListening(): void {
    this.closed = true;
    this.tls?.close();
    for (const { server } of this.servers) server.close();
    this.servers = [];
  }

  private async open(at: ListenAddress): Promise<BoundServer> {
    // Half-open: a client may close its side and still wait for replies (RFC 7766 §6.2.4).
    const server = createTcpServer({ noDelay: true, allowHalfOpen: true }, socket => this.accept(socket));
    const options = this.listenOptions(at);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(options, () => {
        server.off('error', reject);
        resolve();
      });
    });
    // For example EMFILE while accepting: that connection is lost, the listener stays.
    server.on('error', () => this.parts.observer.dropped('connections'));
    if (this.closed) server.close();
    const bound = server.address();
    const port = bound !== null && typeof bound === 'object' ? bound.port : at.port;
    return { server, key: placeText(at), wanted: at, at: { ...at, port } };
  }

  /** A socket of the service manager must not be closed here, so Node.js gets a duplicate of its descriptor. */
  private listenOptions(at: ListenAddress): ListenOptions | { readonly fd: number } {
    const { libc } = this.parts;
    if (at.fd !== undefined) return { fd: libc?.dup(at.fd) ?? at.fd };
    if (libc !== undefined) return { fd: openTcp(libc, at) };
    return { port: at.port, host: at.address, ipv6Only: at.address.includes(':') };
  }

  private accept(socket: Socket): void {
    const { table, mayAsk, isProxy, observer, turns } = this.parts;
    const { remoteAddress: address } = socket;
    // It closed already.
    if (address === undefined || this.closed) return void socket.destroy();
    if (!mayAsk(address, this.tls !== undefined)) {
      observer.dropped('not_allowed');
      return void socket.destroy();
    }
    const waiting: Occupant = { owedBytes: 0, close: () => socket.destroy() };
    const place = table.admit(address, waiting, isProxy?.(address));
    if (place === undefined) return void socket.destroy();
    socket.once('close', () => place.leave());
    // A reset before the session begins.
    socket.on('error', () => socket.destroy());
    if (this.tls === undefined) return this.begin(socket, place);
    const ends = endsOf(socket);
    this.handshakes.set(ends, { socket, place });
    socket.once('close', () => this.handshakes.delete(ends));
    this.tls.accept(socket, handshake => {
      const worker: Worker = {
        takeTurn: () => {
          turns.spend(WORK_OF_HANDSHAKE);
          handshake();
        },
      };
      turns.add(worker);
      socket.once('close', () => turns.remove(worker));
    });
  }

  /** A handshake is finished. */
  private secured(secured: Socket): void {
    const ends = endsOf(secured);
    const handshake = this.handshakes.get(ends);
    this.handshakes.delete(ends);
    if (handshake === undefined) secured.destroy();
    else this.begin(secured, handshake.place);
  }

  private begin(socket: Socket, place: Place): void {
    if (socket.remoteAddress === undefined || this.closed) return void socket.destroy();
    this.sessions.set(socket, this.protocol.begin(socket, place));
    socket.once('close', () => this.sessions.delete(socket));
  }
}

const endsOf = ({ remoteAddress = '', remotePort = 0, localAddress = '', localPort = 0 }: Socket): string =>
  `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
