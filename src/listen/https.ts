// DNS over HTTPS (RFC 8484): over TLS, ALPN says which version of HTTP a client speaks. In cleartext, from reverse
// proxies and on this machine, its first octets do (RFC 9113 §3.3).

import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

import { Http1Reader, Http1Session } from './http1-session.js';
import { Http2Session } from './http2-session.js';
import type { HttpParts } from './http-requests.js';
import type { OpenSession, StreamOrigin, StreamProtocol } from './stream.js';
import type { Occupant, Place } from './sessions.js';

/** What HTTP/2 begins with and no method of HTTP/1.1 does. */
const HTTP2_BEGINS = Buffer.from('PRI ');

/** Makes the protocol for a listener. */
export function httpsProtocol(parts: HttpParts): StreamProtocol {
  const reader = new Http1Reader();
  return {
    transport: 'https',
    alpn: ['h2', 'http/1.1'],
    begin: (socket, place, from) => new HttpConnection(socket, place, from, parts, reader),
  };
}

/** A connection, before and after its version of HTTP is known. */
class HttpConnection implements OpenSession, Occupant {
  private session: Http1Session | Http2Session | undefined;
  /** Its first octets, in cleartext. */
  private first: Buffer = Buffer.alloc(0);

  constructor(
    private readonly socket: Socket,
    private readonly place: Place,
    private readonly from: StreamOrigin,
    private readonly parts: HttpParts,
    private readonly reader: Http1Reader,
  ) {
    place.occupant = this;
    socket.on('error', () => socket.destroy());
    if (socket instanceof TLSSocket) this.begin(socket.alpnProtocol === 'h2', undefined);
    else {
      socket.on('data', this.look);
      socket.once('end', () => this.session === undefined && socket.end());
    }
  }

  readonly owedBytes = 0;

  close(): void {
    this.socket.destroy();
  }

  finish(): void {
    if (this.session === undefined) this.socket.destroy();
    else this.session.finish();
  }

  private readonly look = (chunk: Buffer): void => {
    this.first = this.first.length === 0 ? chunk : Buffer.concat([this.first, chunk]);
    const compared = Math.min(this.first.length, HTTP2_BEGINS.length);
    const isHttp2 = this.first.subarray(0, compared).equals(HTTP2_BEGINS.subarray(0, compared));
    if (isHttp2 && compared < HTTP2_BEGINS.length) return;
    this.socket.off('data', this.look);
    this.socket.pause();
    this.begin(isHttp2, this.first);
  };

  private begin(isHttp2: boolean, first: Buffer | undefined): void {
    const { socket, place, parts } = this;
    const peer = { ...this.from, overTls: socket instanceof TLSSocket };
    if (isHttp2) {
      this.session = new Http2Session(socket, peer, place, parts, first);
      return;
    }
    const session = new Http1Session(socket, peer, place, parts);
    this.session = session;
    if (first !== undefined) socket.unshift(first);
    this.reader.read(session, socket);
  }
}
