// TLS handshakes with clients, over connections that a listener has accepted. Session tickets (RFC 5077, RFC 8446 §4.6.1)
// outlive an exchange of the certificate: their keys are made here, at random, and stay in memory only. They change in
// time, because whoever learns one can read all sessions that were resumed with it.
//
// A TLS server of Node.js knows one key. So there are two servers, one with the key in force and one with the key before,
// and the name of its key in the first record of a client decides which of them gets the connection.

import { constants, randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';

import type { Cancel, Clock } from '../base/ports.js';
import { readFirst } from './first-octets.js';

/** How long tickets are made with one key, ms. They are accepted for as long once more. */
export const TICKET_KEY_MS = 12 * 3_600_000;
/** The name of a key, its HMAC key and its AES key, as Node.js expects them. */
const TICKET_KEY_BYTES = 48;
/** The name of the key, with which a ticket begins. */
const KEY_NAME_BYTES = 16;

/** Certificate chain and key, PEM. */
export interface ServerCredentials {
  readonly cert: Buffer | string;
  readonly key: Buffer | string;
}

/** The parts that an acceptor uses. */
export interface TlsAcceptorParts {
  readonly clock: Clock;
  /** The protocols that are offered, the preferred one first (RFC 7301). */
  readonly alpn: readonly string[];
  /** A handshake is finished. */
  readonly secured: (socket: TLSSocket) => void;
}

/** A TLS server that does not listen itself, and the key of its tickets. */
interface KeyedServer {
  readonly server: Server;
  readonly ticketKey: Buffer;
}

/** Makes TLS sessions of connections. */
export class TlsAcceptor {
  private credentials: ServerCredentials;
  private current: KeyedServer;
  /** The one with the key before; undefined: the first key is in force. */
  private previous: KeyedServer | undefined;
  private cancel: Cancel;

  /** @throws the error of OpenSSL if certificate and key cannot be used together */
  constructor(
    private readonly parts: TlsAcceptorParts,
    credentials: ServerCredentials,
  ) {
    this.credentials = credentials;
    this.current = this.keyed();
    this.cancel = this.rotateLater();
  }

  /**
   * Later handshakes use this certificate. Sessions are not touched, and their tickets are still accepted.
   * @throws the error of OpenSSL if certificate and key cannot be used together; then nothing has changed
   */
  setCredentials(credentials: ServerCredentials): void {
    this.current.server.setSecureContext({ ...tlsOptions(credentials), ticketKeys: this.current.ticketKey });
    this.previous?.server.setSecureContext({ ...tlsOptions(credentials), ticketKeys: this.previous.ticketKey });
    this.credentials = credentials;
  }

  /**
   * Waits for the first record of a client.
   * @param ready gets the function that begins the handshake; not called if the connection closes before
   */
  accept(socket: Socket, ready: (handshake: () => void) => void): void {
    readFirstRecord(socket, record => {
      ready(() => {
        // Whoever sends no more before its handshake is finished asks nothing: the TLS socket closes on its end.
        socket.allowHalfOpen = false;
        this.serverFor(record).emit('connection', socket);
      });
    });
  }

  /** Ends the changes of keys. */
  close(): void {
    this.cancel();
  }

  private serverFor(record: Buffer): Server {
    const { current, previous } = this;
    const isBefore = previous !== undefined && record.includes(previous.ticketKey.subarray(0, KEY_NAME_BYTES));
    return isBefore ? previous.server : current.server;
  }

  private rotateLater(): Cancel {
    return this.parts.clock.after(TICKET_KEY_MS, () => {
      this.previous = this.current;
      this.current = this.keyed();
      this.cancel = this.rotateLater();
    });
  }

  private keyed(): KeyedServer {
    const { alpn, secured } = this.parts;
    const ticketKey = randomBytes(TICKET_KEY_BYTES);
    const options = { ...tlsOptions(this.credentials), ticketKeys: ticketKey };
    const server = createServer({ ...options, ALPNProtocols: [...alpn] }, socket => {
      // From here on, it may close its side and still wait for replies (RFC 7766 §6.2.4).
      socket.allowHalfOpen = true;
      secured(socket);
    })
      // A failed handshake only concerns the client.
      .on('tlsClientError', (_error, failed) => failed.destroy());
    return { server, ticketKey };
  }
}

const tlsOptions = ({ cert, key }: ServerCredentials) => ({
  cert,
  key,
  minVersion: 'TLSv1.2' as const,
  // Of TLS 1.2: each one costs us a signature, and the client nothing (CVE-2011-1473).
  secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
});

const RECORD_HEADER_BYTES = 5;
/** The type of a record with a ClientHello (RFC 8446 §5.1). */
const HANDSHAKE = 22;
/** The most octets of a record in cleartext. */
const MOST_RECORD_BYTES = 1 << 14;

/** Whether the first octets of a connection are those of a TLS handshake. */
export const isHandshake = (octets: Buffer): boolean => octets[0] === HANDSHAKE;

/** Reads the first record of a client, and puts it back for the handshake. What is not TLS is not waited for. */
function readFirstRecord(socket: Socket, then: (record: Buffer) => void): void {
  readFirst(socket, recordBytes, {
    then: octets => {
      socket.unshift(octets);
      then(octets);
    },
    ended: () => socket.destroy(),
  });
}

/** How long the record is that begins here; 0: it is none that a handshake begins with. */
function recordBytes(octets: Buffer): number {
  if (octets.length < RECORD_HEADER_BYTES) return RECORD_HEADER_BYTES;
  const bytes = octets.readUInt16BE(3);
  return isHandshake(octets) && bytes <= MOST_RECORD_BYTES ? RECORD_HEADER_BYTES + bytes : 0;
}
