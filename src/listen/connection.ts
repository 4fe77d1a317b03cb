// What listeners and sessions need of connections, however these are made: by node:net and node:tls (node-streams), or by
// system calls and OpenSSL (native-streams).

import type { Duplex } from 'node:stream';

import type { ServerCredentials } from '../os/openssl.js';
import type { ListenAddress } from '../os/listen-address.js';

/** A connection that was accepted. A `Socket` of node:net is one. */
export interface Connection {
  /** Undefined: it is closed already. */
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
  readonly localAddress?: string | undefined;
  readonly localPort?: number | undefined;
  readonly destroyed: boolean;
  /** What was negotiated by ALPN (RFC 7301) over TLS, if anything was. */
  readonly alpnProtocol?: string | false | null | undefined;
  /** Octets that were written, and that the kernel has not taken. */
  readonly writableLength: number;
  /** Octets have come. They may be overwritten after the call. */
  on(event: 'data', then: (octets: Buffer) => void): unknown;
  /**
   * `end`: the client sends no more. `error`: something went wrong, and the connection must be destroyed. `close`: the
   * last event, after the call in which it was destroyed.
   */
  on(event: 'end' | 'error' | 'close', then: () => void): unknown;
  once(event: 'close', then: () => void): unknown;
  isPaused(): boolean;
  pause(): unknown;
  resume(): unknown;
  /**
   * Writes octets, which must stay as they are until they are taken. @param taken called then, later; it may be left out
   * if the kernel has taken all of them before `write` returns, so that `writableLength` is 0
   */
  write(octets: Buffer, taken: () => void): unknown;
  /** Sends what was written, and then the end. The client may go on sending. */
  end(): unknown;
  /** Closes it at once. */
  destroy(): unknown;
}

/** Where connections are accepted. */
export interface Door {
  /** The port that was chosen for port 0. */
  readonly port: number;
  /** Its descriptor; left out: nobody takes its place over. */
  readonly descriptor?: number | undefined;
  close(): void;
}

/** What becomes of connections at a door. */
export interface DoorEvents<C extends Connection> {
  accept(connection: C): void;
  /** One could not be accepted: there are no descriptors for it. */
  lost(): void;
}

/** What is read from a connection before it is known who reads the rest. */
export interface FirstOctets {
  /**
   * How many octets must have come, judging by those that have: at most as many, if these are enough. They may be
   * copied at each call, so that it must not grow by little for long.
   */
  wanted(octets: Buffer): number;
  /**
   * All octets that have come. They may be overwritten after the call.
   * @param take must be called before anything else reads: so many octets are done with, and the rest is read again
   */
  then(octets: Buffer, take: (bytes: number) => void): void;
  /** Called in place of `then`: the client sends no more, and has sent so many octets. */
  ended(bytes: number): void;
}

/** What a TLS server is made of. */
export interface TlsServerOptions<C extends Connection> {
  readonly credentials: ServerCredentials;
  /** Of TICKET_KEY_BYTES. */
  readonly ticketKey: Buffer;
  /** The protocols that clients may choose from, the preferred one first (RFC 7301). */
  readonly alpn: readonly string[];
  /** A handshake is finished. The connection may be another object than before. */
  readonly secured: (connection: C) => void;
}

/** Makes TLS sessions of connections. A handshake that fails concerns the client only: its connection closes. */
export interface TlsServer<C extends Connection> {
  /** For later handshakes. @throws the error of OpenSSL if certificate and key cannot be used together */
  setCredentials(credentials: ServerCredentials): void;
  /** Begins a handshake. */
  handshake(connection: C): void;
  /** It is not used any more. Its connections go on. */
  close(): void;
}

/** Where connections come from. */
export interface Streams<C extends Connection> {
  /** Accepts connections at an address. @throws the error of the system */
  open(at: ListenAddress, events: DoorEvents<C>): Promise<Door>;
  readFirst(connection: C, first: FirstOctets): void;
  /** Whether TLS protects what is read from it. */
  isSecured(connection: C): boolean;
  /** A connection as a stream of Node.js, which owns it from then on. */
  asDuplex(connection: C): Duplex;
  /** @throws the error of OpenSSL if certificate and key cannot be used together */
  tlsServer(options: TlsServerOptions<C>): TlsServer<C>;
}
