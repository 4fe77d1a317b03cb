// TLS handshakes with clients, over connections that a listener has accepted. Session tickets (RFC 5077, RFC 8446 §4.6.1)
// outlive an exchange of the certificate: their keys are made here, at random, and stay in memory only. They change in
// time, because whoever learns one can read all sessions that were resumed with it.
//
// A TLS server knows one key. So there are two servers, one with the key in force and one with the key before, and the
// name of its key in the first record of a client decides which of them gets the connection.

import { randomBytes } from 'node:crypto';

import type { Cancel, Clock } from '../base/ports.js';
import { type ServerCredentials, TICKET_KEY_BYTES } from '../os/openssl.js';
import type { Connection, Streams, TlsServer } from './connection.js';

/** How long tickets are made with one key, ms. They are accepted for as long once more. */
export const TICKET_KEY_MS = 12 * 3_600_000;
/** The name of the key, with which a ticket begins. */
const KEY_NAME_BYTES = 16;

/** The parts that an acceptor uses. */
export interface TlsAcceptorParts<C extends Connection> {
  readonly clock: Clock;
  readonly streams: Pick<Streams<C>, 'readFirst' | 'tlsServer'>;
  /** The protocols that are offered, the preferred one first (RFC 7301). */
  readonly alpn: readonly string[];
  /** A handshake is finished. */
  readonly secured: (connection: C) => void;
}

/** A TLS server, and the key of its tickets. */
interface KeyedServer<C extends Connection> {
  readonly server: TlsServer<C>;
  readonly ticketKey: Buffer;
}

/** Makes TLS sessions of connections. */
export class TlsAcceptor<C extends Connection> {
  private credentials: ServerCredentials;
  private current: KeyedServer<C>;
  /** The one with the key before; undefined: the first key is in force. */
  private previous: KeyedServer<C> | undefined = undefined;
  private cancel: Cancel;

  /** @throws the error of OpenSSL if certificate and key cannot be used together */
  constructor(
    private readonly parts: TlsAcceptorParts<C>,
    credentials: ServerCredentials,
  ) {
    this.credentials = credentials;
    this.current = this.keyed();
    this.cancel = this.rotateLater();
  }

  /**
   * Later handshakes use this certificate. Sessions are not touched, and their tickets are still accepted. Most reloads
   * change no certificate, and to read one takes milliseconds: those in force are not read again.
   * @throws the error of OpenSSL if certificate and key cannot be used together; then nothing has changed
   */
  setCredentials(credentials: ServerCredentials): void {
    if (areSame(credentials, this.credentials)) return;
    this.current.server.setCredentials(credentials);
    this.previous?.server.setCredentials(credentials);
    this.credentials = credentials;
  }

  /**
   * Waits for the first record of a client. What is not TLS is not waited for.
   * @param ready gets the function that begins the handshake; not called if the connection closes before
   */
  accept(connection: C, ready: (handshake: () => void) => void): void {
    this.parts.streams.readFirst(connection, {
      wanted: recordBytes,
      then: (octets, take) => {
        const isBefore = this.previous !== undefined && octets.includes(nameOf(this.previous));
        take(0);
        ready(() => ((isBefore ? this.previous : undefined) ?? this.current).server.handshake(connection));
      },
      ended: () => connection.destroy(),
    });
  }

  /** No handshakes begin any more. */
  close(): void {
    this.cancel();
    this.current.server.close();
    this.previous?.server.close();
  }

  private rotateLater(): Cancel {
    return this.parts.clock.after(TICKET_KEY_MS, () => {
      this.previous?.server.close();
      this.previous = this.current;
      this.current = this.keyed();
      this.cancel = this.rotateLater();
    });
  }

  private keyed(): KeyedServer<C> {
    const { alpn, secured, streams } = this.parts;
    const ticketKey = randomBytes(TICKET_KEY_BYTES);
    return { server: streams.tlsServer({ credentials: this.credentials, ticketKey, alpn, secured }), ticketKey };
  }
}

const nameOf = ({ ticketKey }: { readonly ticketKey: Buffer }): Buffer => ticketKey.subarray(0, KEY_NAME_BYTES);

const RECORD_HEADER_BYTES = 5;
/** The type of a record with a ClientHello (RFC 8446 §5.1). */
const HANDSHAKE = 22;
/** The most octets of a record in cleartext. */
const MOST_RECORD_BYTES = 1 << 14;

/** Whether the first octets of a connection are those of a TLS handshake. */
export const isHandshake = (octets: Buffer): boolean => octets[0] === HANDSHAKE;

/** How long the record is that begins here; 0: it is none that a handshake begins with. */
function recordBytes(octets: Buffer): number {
  if (octets.length < RECORD_HEADER_BYTES) return RECORD_HEADER_BYTES;
  const bytes = octets.readUInt16BE(3);
  return isHandshake(octets) && bytes <= MOST_RECORD_BYTES ? RECORD_HEADER_BYTES + bytes : 0;
}

const areSame = (a: ServerCredentials, b: ServerCredentials): boolean =>
  Buffer.from(a.cert).equals(Buffer.from(b.cert)) && Buffer.from(a.key).equals(Buffer.from(b.key));
