// One connection of a client over HTTP/1.1 (RFC 9112), by node:http, which reads heads strictly: no bare CR, no length
// beside chunks, no header fields above the limit.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

import { MAX_MESSAGE_BYTES } from '../wire/header.js';
import {
  DNS_MESSAGE,
  FIELDS_TOO_LARGE,
  headerBytes,
  type HttpReply,
  MOST_HEADER_BYTES,
  type RequestHead,
  TOO_LARGE,
} from './http-request.js';
import { ClientRequests, type Exchange, type HttpParts, type Peer, RequestBody } from './http-requests.js';
import type { Occupant, Place } from './sessions.js';

/** A request takes as long as some cached answers over UDP, because of node:http. */
const WORK_OF_REQUEST = 32;
/** The status of what node:http cannot read; of everything else it is that one. */
const MALFORMED = '400 Bad Request';
const STATUS_OF: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: '413 Payload Too Large',
};

/** Reads HTTP/1.1 from the connections that it is given. */
export class Http1Reader {
  private readonly sessions = new WeakMap<Duplex, Http1Session>();
  /** Does not listen itself, so that it has no timers: the table of sessions closes what is idle. */
  private readonly server: Server;

  constructor() {
    this.server = createServer({ maxHeaderSize: MOST_HEADER_BYTES, keepAliveTimeout: 0 }, (request, response) => {
      const session = this.sessions.get(request.socket);
      if (session === undefined) request.socket.destroy();
      else session.receive(request, response);
    });
    // By itself, node:http closes at once, and its response may never leave.
    this.server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      // Its backpressure fails now and then: it reads from a client that pipelines much and takes few of the responses,
      // although it has stopped its parser. That client has sent nothing wrong.
      if (error.code === 'HPE_PAUSED') return void this.sessions.get(socket)?.flooded();
      if (socket.writableEnded) return;
      socket.end(`HTTP/1.1 ${STATUS_OF[error.code ?? ''] ?? MALFORMED}\r\nConnection: close\r\n\r\n`, () =>
        socket.destroy(),
      );
    });
    // What is left out could be the field in which a proxy says who asks. `maxHeaderSize` bounds all of them.
    this.server.maxHeadersCount = 0;
  }

  /** Reads requests from a connection. */
  read(session: Http1Session, socket: Duplex): void {
    this.sessions.set(socket, session);
    this.server.emit('connection', socket);
    socket.resume();
  }
}

/** A connection. */
export class Http1Session implements Occupant {
  private readonly requests: ClientRequests;
  /** Requests without a whole response. */
  private readonly open = new Set<Incoming>();
  private finishing = false;

  constructor(
    private readonly socket: Duplex,
    peer: Peer,
    place: Place,
    private readonly parts: HttpParts,
  ) {
    place.occupant = this;
    this.requests = new ClientRequests(peer, place, parts, { work: WORK_OF_REQUEST, drained: () => undefined });
    socket.on('close', () => this.requests.close());
  }

  get owedBytes(): number {
    return this.requests.owedBytes;
  }

  close(): void {
    this.socket.destroy();
  }

  /** Closes after the last response. */
  finish(): void {
    this.finishing = true;
    for (const each of this.open) each.isLast = true;
    if (this.open.size === 0) this.socket.end();
  }

  /** Closes a connection over which more is asked than is taken. */
  flooded(): void {
    if (this.socket.destroyed) return;
    this.parts.observer.dropped('http_flood');
    this.socket.destroy();
  }

  /** A request has come, with its body to follow. */
  receive(request: IncomingMessage, response: ServerResponse): void {
    // One more of the octets that have come before it was closed.
    if (this.socket.destroyed) return;
    const incoming = new Incoming(request, response, this.requests);
    incoming.isLast = this.finishing;
    // More pipelined requests than a connection may have are read all the same: node:http takes what has come at once.
    if (this.open.size >= this.parts.limits.inflightPerSession) return this.flooded();
    this.open.add(incoming);
    response.on('close', () => {
      this.open.delete(incoming);
      incoming.closed();
    });
    if (headerBytes(request.rawHeaders) > MOST_HEADER_BYTES) return incoming.send(FIELDS_TOO_LARGE);
    if (!this.requests.take(incoming.head, incoming)) return void request.resume();
    request.on('data', (chunk: Buffer) => {
      if (incoming.isAnswered) return;
      incoming.body.add(chunk);
      if (incoming.body.bytes <= MAX_MESSAGE_BYTES) return;
      // The rest is not read.
      incoming.isLast = true;
      incoming.send(TOO_LARGE);
    });
    request.on('end', () => {
      if (!incoming.isAnswered) this.requests.takeBody(incoming.head, incoming.body.message, incoming);
    });
  }
}

/** One request. */
class Incoming implements Exchange {
  readonly head: RequestHead;
  readonly body = new RequestBody();
  /** Whether the connection closes after it. */
  isLast = false;
  isAnswered = false;
  /** Octets of the response that were not read yet. */
  private unread = 0;
  /** Whether it has a reply to a query. */
  private hasReply = false;

  constructor(
    request: IncomingMessage,
    private readonly response: ServerResponse,
    private readonly requests: ClientRequests,
  ) {
    const { method = '', url: target = '', headers } = request;
    const forwarded = headers['x-forwarded-for'];
    this.head = {
      ...{ method, target },
      contentType: headers['content-type'],
      contentEncoding: headers['content-encoding'],
      contentLength: headers['content-length'],
      host: headers.host,
      forwardedFor: typeof forwarded === 'string' ? forwarded : forwarded?.join(','),
    };
    // A client that goes away.
    request.on('error', () => undefined);
    response.on('error', () => undefined);
  }

  get isOver(): boolean {
    return this.response.destroyed || this.isAnswered;
  }

  send({ status, contentType, cacheControl, body, allow }: HttpReply): void {
    const { response } = this;
    if (this.isOver) return;
    this.isAnswered = true;
    response.writeHead(status, {
      'content-type': contentType,
      'content-length': body.length,
      'cache-control': cacheControl,
      'x-content-type-options': 'nosniff',
      ...(allow === undefined ? {} : { allow }),
      // A body that is too large is not read to its end.
      ...(this.isLast || status === 413 ? { connection: 'close' } : {}),
    });
    // Node.js copies what the kernel does not take at once no sooner than later, and a message is only lent.
    response.end(Buffer.from(body));
    // May close the connection.
    this.unread = body.length;
    this.hasReply = contentType === DNS_MESSAGE;
    this.requests.owes(this.unread);
  }

  abandon(): void {
    this.response.destroy();
  }

  /** The response has left, or the connection is closed. */
  closed(): void {
    if (this.hasReply) this.requests.progressed();
    if (this.isAnswered) this.requests.paid(this.unread);
  }
}
