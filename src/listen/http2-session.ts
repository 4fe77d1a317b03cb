// One connection of a client over HTTP/2 (RFC 9113), by node:http2. What arrives passes through here before node:http2
// sees it, so that its frames can be counted, and nothing more is read while too much waits.

import { constants, performServerHandshake } from 'node:http2';
import type { IncomingHttpHeaders, SecureServerOptions, ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';

import type { MonoMs } from '../base/time.js';
import { MAX_MESSAGE_BYTES } from '../wire/header.js';
import { FrameBudget } from './http2-frames.js';
import {
  FIELDS_TOO_LARGE,
  headerBytes,
  type HttpReply,
  MOST_HEADER_BYTES,
  type RequestHead,
  TOO_LARGE,
} from './http-request.js';
import { ClientRequests, type Exchange, type HttpParts, type Peer, RequestBody } from './http-requests.js';
import { IDLE_MS, type Occupant, type Place } from './sessions.js';

/** The header fields of a request that are read. More reset the stream. */
const MOST_HEADERS = 128;
/**
 * Invalid frames, and refused streams, after which node:http2 ends the connection. A client may open many streams before
 * it knows how many there may be, so that their bound is FrameBudget.
 */
const MOST_INVALID_FRAMES = 1000;
/** A connection that needs more memory in node:http2, in megabytes, opens no more streams. */
const MOST_MEGABYTES = 4;
/** The octets of all bodies that are not complete. Queries have some hundred. */
const MOST_BODY_BYTES = 2 * MAX_MESSAGE_BYTES;
/** While more queries wait for their turn, nothing is read. */
const MOST_WAITING = 32;

const { NGHTTP2_CANCEL, NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } = constants;

type Options = SecureServerOptions & {
  readonly maxSessionInvalidFrames: number;
  readonly maxSessionRejectedStreams: number;
};

const optionsFor = (streams: number): Options => ({
  maxHeaderListPairs: MOST_HEADERS,
  maxSessionMemory: MOST_MEGABYTES,
  maxSessionInvalidFrames: MOST_INVALID_FRAMES,
  maxSessionRejectedStreams: MOST_INVALID_FRAMES,
  settings: {
    maxConcurrentStreams: streams,
    // Twice of what is served, so that there is a response to somewhat more.
    maxHeaderListSize: 2 * MOST_HEADER_BYTES,
    // The largest message.
    initialWindowSize: MAX_MESSAGE_BYTES,
  },
});

/** A connection. */
export class Http2Session implements Occupant {
  private readonly http: ServerHttp2Session;
  private readonly octets: CountedOctets;
  private readonly requests: ClientRequests;
  private readonly frames = new FrameBudget();
  /** The requests whose bodies are not complete, the oldest first; and the octets of these bodies. */
  private readonly incomplete = new Set<Incoming>();
  private bodyBytes = 0;

  /** @param first octets that were read already */
  constructor(
    private readonly socket: Socket,
    peer: Peer,
    place: Place,
    private readonly parts: HttpParts,
    first: Buffer | undefined,
  ) {
    place.occupant = this;
    this.requests = new ClientRequests(peer, place, parts, () => this.octets.hold('queue', false));
    this.octets = new CountedOctets(socket, chunk => this.mayRead(chunk));
    const octets: Duplex = this.octets;
    this.http = performServerHandshake(octets, optionsFor(parts.limits.inflightPerSession));
    this.http.on(
      'stream',
      (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, _flags: number, fields: string[]) =>
        this.receive(stream, headers, fields),
    );
    // Errors of the protocol end the connection. They only concern the client.
    this.http.on('error', () => undefined);
    this.http.on('close', () => socket.destroySoon());
    // The client sends no more, and may still wait for responses.
    socket.on('end', () => this.ended());
    socket.on('close', () => this.requests.close());
    if (first !== undefined) this.octets.arrived(first);
  }

  get owedBytes(): number {
    return this.requests.owedBytes;
  }

  close(): void {
    // Says goodbye, as far as the client reads.
    this.http.destroy();
    this.socket.destroy();
  }

  /** Takes no more requests, and closes after the last response. */
  finish(): void {
    this.http.close();
  }

  private ended(): void {
    for (const each of this.incomplete) each.cancel(NGHTTP2_CANCEL);
    this.http.close();
  }

  /** Counts octets that have come. @returns whether node:http2 may have them */
  private mayRead(chunk: Buffer): boolean {
    if (this.frames.spend(chunk)) return true;
    this.parts.observer.dropped('http_flood');
    // Without an error, it would say NO_ERROR.
    this.http.destroy(new Error('too many frames'), NGHTTP2_ENHANCE_YOUR_CALM);
    this.socket.destroySoon();
    return false;
  }

  private receive(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, fields: readonly string[]): void {
    // An error is followed by `close`.
    stream.on('error', () => undefined);
    this.endOldest();
    if (this.requests.isFull) return stream.close(NGHTTP2_REFUSED_STREAM);
    const incoming = new Incoming(stream, headOf(headers), this.requests, this.parts.clock.monotonicMs(), this.frames);
    if (headerBytes(fields) > MOST_HEADER_BYTES) return incoming.send(FIELDS_TOO_LARGE);
    if (!this.requests.take(incoming.head, incoming)) return this.holdIfMany();
    this.incomplete.add(incoming);
    stream.on('close', () => this.complete(incoming));
    stream.on('data', (chunk: Buffer) => this.receiveBody(incoming, chunk));
    stream.on('end', () => {
      if (!this.complete(incoming) || incoming.isOver) return;
      this.requests.takeBody(incoming.head, incoming.body.message, incoming);
      this.holdIfMany();
    });
  }

  private receiveBody(incoming: Incoming, chunk: Buffer): void {
    if (!this.incomplete.has(incoming)) return;
    this.bodyBytes += chunk.length;
    incoming.body.add(chunk);
    if (incoming.body.bytes > MAX_MESSAGE_BYTES) {
      this.complete(incoming);
      incoming.send(TOO_LARGE);
    } else if (this.bodyBytes > MOST_BODY_BYTES) incoming.cancel(NGHTTP2_ENHANCE_YOUR_CALM);
  }

  /** No more of a body is needed. @returns whether it was needed until now */
  private complete(incoming: Incoming): boolean {
    if (!this.incomplete.delete(incoming)) return false;
    this.bodyBytes -= incoming.body.bytes;
    return true;
  }

  /** A body that comes octet by octet must not be waited for as long as the connection is used for others. */
  private endOldest(): void {
    const [oldest] = this.incomplete;
    if (oldest !== undefined && this.parts.clock.monotonicMs() - oldest.since > IDLE_MS) oldest.cancel(NGHTTP2_CANCEL);
  }

  private holdIfMany(): void {
    if (this.requests.waiting > MOST_WAITING) this.octets.hold('queue', true);
  }
}

/** One request. */
class Incoming implements Exchange {
  readonly body = new RequestBody();
  /** Octets of the response that were not read yet. */
  private unread = 0;

  constructor(
    private readonly stream: ServerHttp2Stream,
    readonly head: RequestHead,
    private readonly requests: ClientRequests,
    readonly since: MonoMs,
    private readonly frames: FrameBudget,
  ) {}

  get isOver(): boolean {
    return this.stream.destroyed || this.stream.closed;
  }

  send({ status, contentType, cacheControl, body, allow }: HttpReply): void {
    const { stream } = this;
    if (this.isOver || stream.headersSent) return;
    const headers = {
      ':status': status,
      'content-type': contentType,
      'content-length': body.length,
      'cache-control': cacheControl,
      'x-content-type-options': 'nosniff',
      ...(allow === undefined ? {} : { allow }),
    };
    // Nobody wants the rest of the request (RFC 9113 §8.1).
    stream.on('finish', () => stream.readableEnded || stream.close(NGHTTP2_NO_ERROR));
    stream.on('close', () => {
      if (stream.rstCode === NGHTTP2_NO_ERROR) this.frames.earn();
      this.requests.paid(this.unread);
    });
    stream.resume();
    if (this.head.method === 'HEAD') stream.respond(headers, { endStream: true });
    else {
      stream.respond(headers);
      stream.end(body);
    }
    // May close the connection.
    this.unread = body.length;
    this.requests.owes(this.unread);
  }

  abandon(): void {
    this.cancel(NGHTTP2_CANCEL);
  }

  cancel(code: number): void {
    this.stream.close(code);
  }
}

const headOf = (headers: IncomingHttpHeaders): RequestHead => ({
  method: text(headers[':method']) ?? '',
  target: text(headers[':path']) ?? '',
  contentType: headers['content-type'],
  contentEncoding: headers['content-encoding'],
  contentLength: headers['content-length'],
  host: headers[':authority'] ?? headers.host,
  forwardedFor: text(headers['x-forwarded-for']),
});

const text = (field: string | string[] | undefined): string | undefined =>
  typeof field === 'string' ? field : field?.join(',');

/** The octets of a connection, as node:http2 needs them. */
class CountedOctets extends Duplex {
  /** Who does not want any more octets now: node:http2 itself, or the queue of requests. */
  private readonly holders = new Set<'reader' | 'queue'>();

  /** @param mayRead whether octets that have come may be read */
  constructor(
    private readonly socket: Socket,
    private readonly mayRead: (chunk: Buffer) => boolean,
  ) {
    super({ allowHalfOpen: false });
    socket.on('data', (chunk: Buffer) => this.arrived(chunk));
    socket.on('close', () => this.destroy());
    socket.resume();
  }

  arrived(chunk: Buffer): void {
    if (this.destroyed || !this.mayRead(chunk)) return;
    if (!this.push(chunk)) this.hold('reader', true);
  }

  hold(holder: 'reader' | 'queue', holds: boolean): void {
    if (holds) this.holders.add(holder);
    else this.holders.delete(holder);
    if (this.holders.size > 0) this.socket.pause();
    else if (this.socket.isPaused()) this.socket.resume();
  }

  override _read(): void {
    this.hold('reader', false);
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    // Until the kernel has taken it, node:http2 makes no more.
    this.socket.write(chunk, done);
  }

  override _writev(
    chunks: readonly { readonly chunk: Buffer; readonly encoding: BufferEncoding }[],
    done: (error?: Error | null) => void,
  ): void {
    // In one TLS record.
    this.socket.write(Buffer.concat(chunks.map(({ chunk }) => chunk)), done);
  }

  override _final(done: () => void): void {
    this.socket.end();
    done();
  }

  override _destroy(_error: Error | null, done: (error: Error | null) => void): void {
    this.socket.destroySoon();
    done(null);
  }
}
