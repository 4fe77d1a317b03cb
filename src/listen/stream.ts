// Listens for sessions of clients over TCP, TLS and HTTPS. Addresses and certificate can be changed while sessions go on.

import type { Socket } from 'node:net';

import type { StreamObserver } from '../base/observer.js';
import type { Clock } from '../base/ports.js';
import { isSystemError } from '../base/system-error.js';
import type { Libc } from '../os/libc.js';
import {
  type ListenAddress,
  overlap,
  placeText,
  type Unopened,
  unopened,
  withoutSource,
} from '../os/listen-address.js';
import type { ServerCredentials } from '../os/openssl.js';
import type { Client } from '../pipeline/query.js';
import { addressOctets, type OwnPlace } from '../base/address.js';
import type { Connection, Door, Streams } from './connection.js';
import { nodeStreams } from './node-streams.js';
import { type ProxyHeader, readProxyHeader } from './proxy-header.js';
import { ClientSession, type SessionLimits, type SessionParts } from './session.js';
import type { Occupant, Place, SessionTable, StreamTransport } from './sessions.js';
import { isHandshake, TlsAcceptor } from './tls-acceptor.js';
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

/** Where a connection comes from, and the address of ours that it came to. */
export interface StreamOrigin {
  /** Of the client, also if a proxy has opened the connection for it and says so in a PROXY header. */
  readonly address: string;
  readonly port: number;
  /**
   * Of the connection as it came here, never of a PROXY header: its destination is an address of the proxy, and groups
   * of clients by listener name ours. A proxy that has several can connect to several of ours.
   */
  readonly at: OwnPlace;
}

/** What is spoken over the connections of a listener. */
export interface StreamProtocol<C extends Connection = Socket> {
  readonly transport: StreamTransport;
  /** The ALPN ids (RFC 7301) that clients may choose from over TLS. */
  readonly alpn: readonly string[];
  /** Begins a session over a connection whose TLS handshake, if there is one, is finished. */
  begin(connection: C, place: Place, from: StreamOrigin): OpenSession;
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
  /** Whether connections from an address must begin with a PROXY header, which then says who the client is. */
  readonly sendsProxyHeader?: (address: string) => boolean;
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
  /** The descriptor of the socket that was opened for an address; left out, or undefined: it is not told. */
  socketAt?(at: ListenAddress): number | undefined;
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
export const tlsListener = (parts: StreamParts, credentials: ServerCredentials | undefined): StreamListener =>
  streamListener(framedProtocol('tls', parts), parts, credentials);

/** Makes a listener for a protocol, which listens nowhere yet. @param credentials undefined: in cleartext */
export const streamListener = (
  protocol: StreamProtocol,
  parts: ListenerParts,
  credentials: ServerCredentials | undefined,
): StreamListener => listenerOver(nodeStreams(parts.libc), protocol, parts, credentials);

/** The same for connections from elsewhere. */
export const listenerOver = <C extends Connection>(
  streams: Streams<C>,
  protocol: StreamProtocol<C>,
  parts: ListenerParts,
  credentials: ServerCredentials | undefined,
): StreamListener => {
  const listener = new Listener(streams, protocol, parts);
  listener.setCredentials(credentials);
  return listener;
};

/** The ALPN id of DNS over TLS (RFC 7858 §10). */
export const DOT_ALPN = ['dot'] as const;

/** Those of both versions of HTTP (RFC 9113 §3.2, RFC 7301 §6). */
export const HTTPS_ALPN = ['h2', 'http/1.1'] as const;

/** Messages with their length in front (RFC 1035 §4.2.2), over TCP or TLS. */
export const framedProtocol = <C extends Connection = Socket>(
  transport: 'tcp' | 'tls',
  given: StreamParts,
): StreamProtocol<C> => {
  const parts = { ...given, limits: given.limits ?? SESSION_LIMITS };
  return {
    ...{ transport, alpn: DOT_ALPN },
    begin(connection, place, from) {
      return new ClientSession(connection, clientAt(from, transport), place, parts);
    },
  };
};

/** A client, one object for all of its messages. */
export class StreamClient implements Client {
  readonly address: string;
  readonly port: number;
  readonly family: 4 | 6;
  readonly at: OwnPlace;
  /** Private to JavaScript, too: it stays here when the client goes to another thread. */
  #octets: Buffer | undefined = undefined;

  constructor(
    { address, port, at }: StreamOrigin,
    readonly transport: StreamTransport,
  ) {
    this.address = address;
    this.port = port;
    this.family = address.includes(':') ? 6 : 4;
    this.at = at;
  }

  /** Those of the address; undefined: it cannot be read. */
  get octets(): Buffer | undefined {
    return (this.#octets ??= addressOctets(this.address));
  }
}

/** Makes a client. */
export const clientAt = (from: StreamOrigin, transport: StreamTransport): Client => new StreamClient(from, transport);

/** An accepted connection without a session. */
interface Arrival<C extends Connection> {
  /** The connection itself, or TLS over it. */
  readonly socket: C;
  /** The connection that was accepted. */
  readonly accepted: C;
  /** Its both ends, as text. */
  readonly ends: string;
  readonly from: StreamOrigin;
  readonly place: Place;
  /** Whether a PROXY header must come over TLS, as dnsdist sends it: before the handshake there was none. */
  readonly isUnannounced?: boolean;
}

interface BoundServer {
  readonly server: Door;
  /** The address as configured. */
  readonly key: string;
  readonly wanted: ListenAddress;
  readonly at: ListenAddress;
}

class Listener<C extends Connection> implements StreamListener {
  private servers: readonly BoundServer[] = [];
  private waiting: readonly Unopened[] = [];
  private readonly sessions = new Map<C, OpenSession>();
  /** Accepted connections whose PROXY header or TLS handshake is not finished, by both ends of them. */
  private readonly arrivals = new Map<string, Arrival<C>>();
  /** Undefined: connections are in cleartext. */
  private tls: TlsAcceptor<C> | undefined = undefined;
  private closed = false;

  constructor(
    private readonly streams: Streams<C>,
    private readonly protocol: StreamProtocol<C>,
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
      await this.reopen(inTheWay);
      throw error;
    }
    for (const each of go) if (!inTheWay.includes(each)) each.server.close();
    this.servers = [...stay, ...opened];
    this.waiting = waiting;
  }

  /** Opens once more what was closed for addresses that could not be opened. What it does not get back waits. */
  private async reopen(closed: readonly BoundServer[]): Promise<void> {
    this.servers = this.servers.filter(each => !closed.includes(each));
    for (const { wanted: at } of closed)
      try {
        this.servers = [...this.servers, await this.open(at)];
      } catch (error) {
        if (!isSystemError(error)) throw error;
        this.waiting = [...this.waiting, { at, error }];
      }
  }

  socketAt(at: ListenAddress): number | undefined {
    const key = placeText(at);
    return this.servers.find(each => each.key === key)?.server.descriptor;
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
    const { streams } = this;
    const { alpn } = this.protocol;
    this.tls = new TlsAcceptor({ clock, streams, alpn, secured: socket => this.secured(socket) }, credentials);
  }

  close(): void {
    this.stopListening();
    for (const session of this.sessions.values()) session.finish();
    this.endArrivals();
  }

  destroy(): void {
    this.stopListening();
    for (const socket of [...this.sessions.keys()]) socket.destroy();
    this.endArrivals();
  }

  private endArrivals(): void {
    for (const { socket } of [...this.arrivals.values()]) socket.destroy();
  }

  private stopListening(): void {
    this.closed = true;
    this.tls?.close();
    for (const { server } of this.servers) server.close();
    this.servers = [];
  }

  private async open(at: ListenAddress): Promise<BoundServer> {
    const { observer } = this.parts;
    const server = await this.streams.open(at, {
      accept: socket => this.accept(socket),
      lost: () => observer.dropped('connections'),
    });
    if (this.closed) server.close();
    // If it is opened once more, the listener that it was taken from is gone.
    const wanted = withoutSource(at);
    return { server, key: placeText(at), wanted, at: { ...wanted, port: server.port } };
  }

  private accept(socket: C): void {
    const { remoteAddress: address, remotePort: port = 0, localAddress = '', localPort = 0 } = socket;
    // It closed already.
    if (address === undefined || this.closed) return void socket.destroy();
    const ends = endsOf(socket);
    const from = { address, port, at: { address: localAddress, port: localPort } };
    // A reset before the session begins.
    socket.on('error', () => socket.destroy());
    // A client that was reset may be here again, from the same port.
    socket.once('close', () => {
      if (this.arrivals.get(ends)?.accepted === socket) this.arrivals.delete(ends);
    });
    // Until a proxy has said who the client is, the place is that of the proxy, which may connect in any case.
    const isAnnounced = this.parts.sendsProxyHeader?.(address) === true;
    const place = isAnnounced ? this.seat(socket, address, true) : this.admit(socket, address);
    if (place === undefined) return;
    const arrival = { socket, accepted: socket, ends, from, place };
    if (isAnnounced) this.readHeader(arrival);
    else this.arrive(arrival);
  }

  /** A place for a client; undefined: it may not ask, or there is none, and the connection is closed. */
  private admit(socket: C, address: string): Place | undefined {
    const { mayAsk, isProxy, observer } = this.parts;
    if (mayAsk(address, this.tls !== undefined)) return this.seat(socket, address, isProxy?.(address));
    observer.dropped('not_allowed');
    socket.destroy();
    return undefined;
  }

  private seat(socket: C, address: string, asksForMany?: boolean): Place | undefined {
    const waiting: Occupant = { owedBytes: 0, close: () => socket.destroy() };
    const place = this.parts.table.admit(address, waiting, asksForMany);
    if (place === undefined) socket.destroy();
    else socket.once('close', () => place.leave());
    return place;
  }

  /** Waits for a PROXY header. */
  private readHeader(arrival: Arrival<C>): void {
    const { socket, ends } = arrival;
    this.arrivals.set(ends, arrival);
    const wanted = (octets: Buffer): number => {
      const header = readProxyHeader(octets);
      return header.at === 'partial' ? header.wanted : 0;
    };
    this.streams.readFirst(socket, {
      wanted,
      then: (octets, take) => {
        const header = readProxyHeader(octets);
        if (header.at === 'header') {
          take(header.bytes);
          return this.announced(arrival, header);
        }
        const isInside = this.tls !== undefined && !this.streams.isSecured(socket) && isHandshake(octets);
        if (!isInside) return this.dropMalformed(socket);
        take(0);
        this.arrive({ ...arrival, isUnannounced: true });
      },
      // Some checks of health only connect.
      ended: bytes => (bytes > 0 ? this.dropMalformed(socket) : void socket.destroy()),
    });
  }

  private dropMalformed(socket: C): void {
    this.parts.observer.dropped('proxy_header');
    socket.destroy();
  }

  /** A PROXY header has come. */
  private announced(arrival: Arrival<C>, { client }: ProxyHeader & { at: 'header' }): void {
    const { socket, from } = arrival;
    // A check of health: version 1 has no other way to say so (§2.1).
    if (client === undefined || client.address === from.address) return this.arrive(arrival);
    arrival.place.leave();
    const place = this.admit(socket, client.address);
    if (place !== undefined) this.arrive({ ...arrival, from: { ...from, ...client }, place });
  }

  /** Begins what comes next: the TLS handshake, or the session. */
  private arrive(arrival: Arrival<C>): void {
    const { socket, ends } = arrival;
    if (this.tls === undefined || this.streams.isSecured(socket)) return this.begin(arrival);
    this.arrivals.set(ends, arrival);
    const { turns } = this.parts;
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
  private secured(socket: C): void {
    const arrival = this.arrivals.get(endsOf(socket));
    if (arrival === undefined) return void socket.destroy();
    if (arrival.isUnannounced !== true) return this.begin({ ...arrival, socket });
    socket.on('error', () => socket.destroy());
    this.readHeader({ ...arrival, socket });
  }

  private begin({ socket, ends, place, from }: Arrival<C>): void {
    this.arrivals.delete(ends);
    if (socket.remoteAddress === undefined || this.closed) return void socket.destroy();
    this.sessions.set(socket, this.protocol.begin(socket, place, from));
    socket.once('close', () => this.sessions.delete(socket));
  }
}

const endsOf = ({ remoteAddress = '', remotePort = 0, localAddress = '', localPort = 0 }: Connection): string =>
  `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
