// Listens for TCP and DoT sessions of clients. Addresses and certificate can be exchanged while sessions go on.

import { createServer as createTcpServer, isIPv6, type ListenOptions, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:tls';

import { isAnyAddress, type ListenAddress, listenText } from '../os/listen-address.js';
import { ClientSession, type SessionLimits, type SessionParts } from './session.js';
import type { SessionTable, StreamTransport } from './sessions.js';

export const SESSION_LIMITS: SessionLimits = {
  idleMs: 10_000,
  inflightPerSession: 100,
  unreadBytes: 256 * 1024,
};

/** Certificate chain and key, PEM. */
export interface ServerCredentials {
  readonly cert: Buffer | string;
  readonly key: Buffer | string;
}

/** What a listener works with. */
export interface StreamParts extends Omit<SessionParts, 'limits'> {
  readonly limits?: SessionLimits;
  readonly table: SessionTable;
  /** Makes another descriptor of a socket; needed for those that the service manager has opened. */
  readonly duplicate?: ((fd: number) => number) | undefined;
}

/** Listens for sessions over one transport. */
export interface StreamListener {
  /** Where it really listens (port 0 in the configuration means any). */
  readonly bound: readonly ListenAddress[];
  /**
   * Listens at these addresses, and no others. Those that came are opened first; sessions at those that went are finished
   * by their clients. None: it listens nowhere.
   * @throws the system's error if an address cannot be bound; then it listens where it did before
   */
  set(addresses: readonly ListenAddress[]): Promise<void>;
  /** TLS only: handshakes from now on show this certificate. @throws if certificate and key do not go together */
  setCredentials(credentials: ServerCredentials): void;
  /** Takes no new sessions; those that are idle close, the others when their queries are answered. */
  close(): void;
  /** Cuts all sessions, too. */
  destroy(): void;
}

/** Makes a listener for TCP, which listens nowhere yet. */
export const tcpListener = (parts: StreamParts): StreamListener => new Listener('tcp', parts);

/** Makes a listener for DNS over TLS, which listens nowhere yet. */
export const tlsListener = (parts: StreamParts, credentials: ServerCredentials): StreamListener => {
  const listener = new Listener('tls', parts);
  listener.setCredentials(credentials);
  return listener;
};

interface BoundServer {
  readonly server: Server;
  /** As it was asked for. */
  readonly key: string;
  readonly wanted: ListenAddress;
  readonly at: ListenAddress;
}

class Listener implements StreamListener {
  private servers: readonly BoundServer[] = [];
  private readonly sessions = new Map<Socket, ClientSession>();
  /** Accepted, and their handshake is not finished. */
  private readonly handshakes = new Set<Socket>();
  /** Listens nowhere itself: it is given connections. */
  private tls: TlsServer | undefined;
  private closed = false;
  private readonly parts: StreamParts & SessionParts;

  constructor(
    private readonly transport: StreamTransport,
    parts: StreamParts,
  ) {
    this.parts = { ...parts, limits: parts.limits ?? SESSION_LIMITS };
  }

  get bound(): readonly ListenAddress[] {
    return this.servers.map(({ at }) => at);
  }

  async set(addresses: readonly ListenAddress[]): Promise<void> {
    const wanted = new Map(addresses.map(at => [keyOf(at), at]));
    const before = this.servers;
    const stay = before.filter(({ key }) => wanted.has(key));
    const go = before.filter(({ key }) => !wanted.has(key));
    const come = [...wanted].filter(([key]) => !before.some(each => each.key === key)).map(([, at]) => at);
    // The kernel does not let a wildcard and a single address listen on one port side by side.
    const inTheWay = go.filter(({ wanted: old }) => come.some(at => overlap(old, at)));
    for (const { server } of inTheWay) server.close();
    const opened: BoundServer[] = [];
    try {
      for (const at of come) opened.push(await this.open(at));
    } catch (error) {
      for (const { server } of opened) server.close();
      const again: BoundServer[] = [];
      for (const { wanted: old } of inTheWay) again.push(await this.open(old));
      this.servers = [...before.filter(each => !inTheWay.includes(each)), ...again];
      throw error;
    }
    for (const each of go) if (!inTheWay.includes(each)) each.server.close();
    this.servers = [...stay, ...opened];
  }

  setCredentials(credentials: ServerCredentials): void {
    if (this.tls !== undefined) {
      this.tls.setSecureContext(tlsOptions(credentials));
      return;
    }
    this.tls = createTlsServer(
      {
        ...tlsOptions(credentials),
        allowHalfOpen: true,
        ALPNProtocols: ['dot'],
        handshakeTimeout: this.parts.limits.idleMs,
      },
      secured => this.begin(secured),
    )
      // A handshake that fails is the client's affair.
      .on('tlsClientError', (_error, secured) => secured.destroy());
  }

  close(): void {
    this.stopListening();
    for (const session of this.sessions.values()) session.finish();
    for (const socket of this.handshakes) socket.destroy();
  }

  destroy(): void {
    this.stopListening();
    for (const socket of [...this.sessions.keys(), ...this.handshakes]) socket.destroy();
  }

  private stopListening(): void {
    this.closed = true;
    for (const { server } of this.servers) server.close();
    this.servers = [];
  }

  private async open(at: ListenAddress): Promise<BoundServer> {
    // Half-open: a client may close its side and still wait for replies (RFC 7766 §6.2.4).
    const server = createTcpServer({ noDelay: true, allowHalfOpen: true }, socket => this.accept(socket));
    // A flood is turned away before there is an object for each connection.
    server.maxConnections = this.parts.table.max;
    server.on('drop', () => this.parts.observer.dropped('connections'));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.listenOptions(at), () => {
        server.off('error', reject);
        resolve();
      });
    });
    // E.g. EMFILE while accepting: that connection is lost, the listener stays.
    server.on('error', () => this.parts.observer.dropped('connections'));
    if (this.closed) server.close();
    const bound = server.address();
    const port = bound !== null && typeof bound === 'object' ? bound.port : at.port;
    return { server, key: keyOf(at), wanted: at, at: { address: at.address, port } };
  }

  /** A socket of the service manager is not ours to close: Node.js gets a descriptor of its own. */
  private listenOptions({ address, port, fd }: ListenAddress): ListenOptions | { readonly fd: number } {
    if (fd === undefined) return { port, host: address, ipv6Only: isIPv6(address) };
    return { fd: this.parts.duplicate?.(fd) ?? fd };
  }

  private accept(socket: Socket): void {
    const { remoteAddress: address } = socket;
    // Gone before it was looked at, or one too many.
    if (address === undefined || this.closed || !this.parts.table.admit(socket, address, this.transport))
      return void socket.destroy();
    // A reset before there is a session.
    socket.on('error', () => socket.destroy());
    if (this.transport === 'tcp') return this.begin(socket);
    this.handshakes.add(socket);
    socket.once('close', () => this.handshakes.delete(socket));
    this.tls?.emit('connection', socket);
  }

  private begin(socket: Socket): void {
    const { remoteAddress: address } = socket;
    if (address === undefined || this.closed) return void socket.destroy();
    const client = { address, port: socket.remotePort ?? 0, family: isIPv6(address) ? 6 : 4 } as const;
    this.sessions.set(socket, new ClientSession(socket, { ...client, transport: this.transport }, this.parts));
    socket.once('close', () => this.sessions.delete(socket));
  }
}

const tlsOptions = ({ cert, key }: ServerCredentials) => ({ cert, key, minVersion: 'TLSv1.2' as const });

const keyOf = (at: ListenAddress): string => (at.fd === undefined ? listenText(at) : `${listenText(at)} ${at.fd}`);

/** Whether two listening sockets cannot be open at one time. */
const overlap = (one: ListenAddress, other: ListenAddress): boolean =>
  one.fd === undefined &&
  other.fd === undefined &&
  one.port === other.port &&
  isIPv6(one.address) === isIPv6(other.address) &&
  (isAnyAddress(one.address) || isAnyAddress(other.address));
