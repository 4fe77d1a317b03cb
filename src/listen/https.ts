// DNS over HTTPS (RFC 8484): over TLS, ALPN says which version of HTTP a client speaks. In cleartext, from reverse
// proxies and on this machine, its first octets do (RFC 9113 §3.3).

import type { Connection, Streams } from './connection.js';
import { Http1Reader, Http1Session } from './http1-session.js';
import { Http2Session, Http2Shared } from './http2-session.js';
import type { HttpParts } from './http-requests.js';
import { HTTPS_ALPN, type OpenSession, type StreamOrigin, type StreamProtocol } from './stream.js';
import type { Occupant, Place } from './sessions.js';

/** What HTTP/2 begins with and no method of HTTP/1.1 does. */
const HTTP2_BEGINS = Buffer.from('PRI ');

/** Makes the protocol for a listener. */
export function httpsProtocol<C extends Connection>(streams: Streams<C>, parts: HttpParts): StreamProtocol<C> {
  const reader = new Http1Reader();
  const shared = new Http2Shared();
  return {
    transport: 'https',
    alpn: HTTPS_ALPN,
    begin: (connection, place, from) => new HttpConnection({ connection, place, from, parts, streams, reader, shared }),
  };
}

/** The parts of a connection. */
interface ConnectionParts<C extends Connection> {
  readonly connection: C;
  readonly place: Place;
  readonly from: StreamOrigin;
  readonly parts: HttpParts;
  readonly streams: Streams<C>;
  readonly reader: Http1Reader;
  readonly shared: Http2Shared;
}

/** A connection, before and after its version of HTTP is known. */
class HttpConnection<C extends Connection> implements OpenSession, Occupant {
  private session: Http1Session | Http2Session | undefined = undefined;

  constructor(private readonly own: ConnectionParts<C>) {
    const { connection, place, streams } = own;
    place.occupant = this;
    connection.on('error', () => connection.destroy());
    if (streams.isSecured(connection)) this.begin(connection.alpnProtocol === 'h2');
    else this.look();
  }

  /** Waits for the first octets. */
  private look(): void {
    const { streams, connection } = this.own;
    streams.readFirst(connection, {
      wanted: octets => (isHttp2(octets) ? HTTP2_BEGINS.length : 1),
      then: (octets, take) => {
        const begins = isHttp2(octets);
        take(0);
        this.begin(begins);
      },
      ended: () => connection.destroy(),
    });
  }

  readonly owedBytes = 0;

  close(): void {
    this.own.connection.destroy();
  }

  finish(): void {
    if (this.session === undefined) this.own.connection.destroy();
    else this.session.finish();
  }

  private begin(isHttp2: boolean): void {
    const { connection, place, parts, streams, reader, shared, from } = this.own;
    const { address, port, at } = from;
    const peer = { address, port, at, overTls: streams.isSecured(connection) };
    if (isHttp2) {
      this.session = new Http2Session(connection, peer, place, parts, shared);
      return;
    }
    const socket = streams.asDuplex(connection);
    this.session = new Http1Session(socket, peer, place, parts);
    reader.read(this.session, socket);
  }
}

/** Whether octets may be the first ones of HTTP/2. */
const isHttp2 = (octets: Buffer): boolean => {
  const compared = Math.min(octets.length, HTTP2_BEGINS.length);
  return octets.subarray(0, compared).equals(HTTP2_BEGINS.subarray(0, compared));
};
