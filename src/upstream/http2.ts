// HTTP/2 sessions (RFC 9113) by node:http2, over streams of the Dial port. The stream verifies the server, so that no
// request is made before the server has proved its identity. Requests have the header fields that RFC 8484 §4.1 needs,
// and none that tells clients apart: no cookies, no user agent, no language.

import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';
import type { IncomingHttpHeaders, IncomingHttpStatusHeader, SecureClientSessionOptions, Settings } from 'node:http2';
import { Duplex } from 'node:stream';

import type { Cancel, Connected, Dial, Stream } from '../base/ports.js';
import { MAX_MESSAGE_BYTES } from '../wire/header.js';
import { DNS_MESSAGE } from './https-response.js';
import type { DialHttps, HttpOutcome, HttpsSession, HttpsSessionEvents, HttpsSessionTarget } from './https-session.js';

/** What a server may send on all streams before it has to wait for us, octets (RFC 9113 §5.2). */
const SESSION_WINDOW_BYTES = 1 << 20;
/** The header fields of a response that are read. More reset the stream. */
const MOST_HEADERS = 32;
const MOST_HEADER_BYTES = 8192;
/** Invalid frames from the server, after which the session ends. */
const MOST_INVALID_FRAMES = 20;
/** A session that needs more memory in node:http2, in megabytes, opens no more streams. */
const MOST_MEGABYTES = 4;

const OPTIONS: SecureClientSessionOptions & { readonly maxSessionInvalidFrames: number } = {
  maxHeaderListPairs: MOST_HEADERS,
  maxSessionMemory: MOST_MEGABYTES,
  maxSessionInvalidFrames: MOST_INVALID_FRAMES,
  settings: {
    // A server that pushes nevertheless breaks the protocol, which ends the session (RFC 9113 §8.4).
    enablePush: false,
    maxHeaderListSize: MOST_HEADER_BYTES,
    // The largest message. A server cannot send more on a stream before we have read some of it.
    initialWindowSize: MAX_MESSAGE_BYTES,
  },
};

/** Error codes (RFC 9113 §7). Those of node:http2 would be read at the start, and that module with them. */
const NO_ERROR = 0;
const REFUSED_STREAM = 7;
const CANCEL = 8;

/** Makes the DialHttps port, over streams that `dial` opens. */
export const http2Dialer =
  (dial: Dial): DialHttps =>
  (target, events) =>
    new Http2Session(dial, target, events);

class Http2Session implements HttpsSession {
  private readonly stream: Stream;
  /** Undefined: not connected yet. */
  private http: ClientHttp2Session | undefined = undefined;
  private readonly octets: StreamOctets;
  /** Why node:http2 has ended the session; undefined: it has not. */
  private error: Error | undefined = undefined;
  private isOver = false;

  constructor(
    dial: Dial,
    private readonly target: HttpsSessionTarget,
    private readonly events: HttpsSessionEvents,
  ) {
    const { address, port, security } = target;
    this.stream = dial(
      { address, port, security, alpn: 'h2' },
      {
        connected: info => this.connected(info),
        bytes: chunk => {
          if (this.isOver) return;
          events.heard(chunk.length);
          // The memory of `chunk` is reused.
          this.octets.push(Buffer.from(chunk));
        },
        closed: why => this.end(why),
      },
    );
    this.octets = new StreamOctets(this.stream);
  }

  post(message: Buffer, done: (outcome: HttpOutcome) => void): Cancel {
    const { http, target } = this;
    if (http === undefined || http.closed || http.destroyed) {
      const cancel = setImmediate(() => this.isOver || done({ at: 'unprocessed' }));
      return () => clearImmediate(cancel);
    }
    const request = http.request({
      ':method': 'POST',
      ':scheme': 'https',
      ':authority': target.authority,
      ':path': target.path,
      accept: DNS_MESSAGE,
      'content-type': DNS_MESSAGE,
      'content-length': message.length,
    });
    const response = new Response(request, outcome => {
      // If the whole session has ended, `closed` says so.
      if (!this.isOver && !http.destroyed) done(outcome);
    });
    request.end(message);
    return () => response.cancel();
  }

  close(): void {
    if (this.isOver) return;
    this.isOver = true;
    if (this.http === undefined) this.stream.close();
    // Sends GOAWAY, then ends `octets`, which closes the stream.
    else this.http.close();
  }

  destroy(): void {
    this.isOver = true;
    this.http?.destroy();
    this.octets.destroy();
    this.stream.destroy();
  }

  private connected(info: Connected): void {
    if (this.isOver) return;
    // `:scheme` and `:authority` come with each request, so the name here does not matter.
    const http = connect('https://dns.invalid', { ...OPTIONS, createConnection: () => this.octets });
    this.http = http;
    http.on('connect', () => http.setLocalWindowSize(SESSION_WINDOW_BYTES));
    http.on('remoteSettings', ({ maxConcurrentStreams }: Settings) => {
      if (!this.isOver && maxConcurrentStreams !== undefined) this.events.limited(maxConcurrentStreams);
    });
    http.on('goaway', (code: number) => {
      // With another code node:http2 ends the session.
      if (!this.isOver && code === NO_ERROR) this.events.leaving();
    });
    http.on('stream', (pushed: ClientHttp2Stream) => pushed.close(REFUSED_STREAM));
    http.on('error', (error: Error) => (this.error = error));
    http.on('close', () => {
      const { error } = this;
      this.end(error === undefined ? undefined : { code: 'closed', detail: this.wordsFor(error) });
    });
    this.events.connected(info);
  }

  private wordsFor(error: Error): string {
    return `${this.target.address} port ${this.target.port}: HTTP/2: ${error.message}`;
  }

  private end(why: Parameters<HttpsSessionEvents['closed']>[0]): void {
    const wasOver = this.isOver;
    this.destroy();
    if (!wasOver) this.events.closed(why);
  }
}

/** The octets of a stream, as node:http2 needs them. */
class StreamOctets extends Duplex {
  constructor(private readonly stream: Stream) {
    super({ allowHalfOpen: false });
  }

  override _read(): void {
    // Octets are pushed when they come. Windows of HTTP/2 bound them.
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    // It copies them: node:http2 may use the memory again after `done`.
    this.stream.send(chunk);
    done();
  }

  override _final(done: () => void): void {
    this.stream.close();
    done();
  }

  override _destroy(_error: Error | null, done: (error: Error | null) => void): void {
    this.stream.close();
    // The stream itself reports why it broke.
    done(null);
  }
}

/** The response to one request. */
class Response {
  private headers: (IncomingHttpHeaders & IncomingHttpStatusHeader) | undefined = undefined;
  private readonly chunks: Buffer[] = [];
  private bytes = 0;
  private isOver = false;

  constructor(
    private readonly request: ClientHttp2Stream,
    private readonly done: (outcome: HttpOutcome) => void,
  ) {
    request.on('response', headers => this.started(headers));
    request.on('data', (chunk: Buffer) => this.received(chunk));
    request.on('end', () => this.ended());
    // `close` follows, with the code.
    request.on('error', () => undefined);
    request.on('close', () => {
      this.finish(
        request.rstCode === REFUSED_STREAM
          ? { at: 'unprocessed' }
          : { at: 'broken', detail: `the server ended the request (${codeName(request.rstCode)})` },
      );
    });
  }

  cancel(): void {
    this.isOver = true;
    this.request.close(CANCEL);
  }

  private started(headers: IncomingHttpHeaders & IncomingHttpStatusHeader): void {
    if (this.isOver) return;
    this.headers = headers;
    const { ':status': status = 0 } = headers;
    if (status < 200 || status > 299) {
      this.ended();
      this.request.close(CANCEL);
    } else if (Number(headers['content-length'] ?? 0) > MAX_MESSAGE_BYTES) this.tooLarge();
  }

  private received(chunk: Buffer): void {
    if (this.isOver) return;
    this.bytes += chunk.length;
    if (this.bytes > MAX_MESSAGE_BYTES) return this.tooLarge();
    this.chunks.push(chunk);
  }

  private tooLarge(): void {
    this.request.close(CANCEL);
    this.finish({ at: 'broken', detail: `the response is larger than ${MAX_MESSAGE_BYTES} octets` });
  }

  private ended(): void {
    const { headers } = this;
    if (headers === undefined) return;
    this.finish({
      at: 'response',
      status: headers[':status'] ?? 0,
      contentType: headers['content-type'],
      location: headers.location,
      ageSec: /^\d{1,9}$/.test(headers.age ?? '') ? Number(headers.age) : 0,
      body: Buffer.concat(this.chunks),
    });
  }

  private finish(outcome: HttpOutcome): void {
    if (this.isOver) return;
    this.isOver = true;
    this.done(outcome);
  }
}

/** The names of error codes, from 0 (RFC 9113 §7). */
const ERROR_NAMES: readonly string[] = [
  'NO_ERROR',
  'PROTOCOL_ERROR',
  'INTERNAL_ERROR',
  'FLOW_CONTROL_ERROR',
  'SETTINGS_TIMEOUT',
  'STREAM_CLOSED',
  'FRAME_SIZE_ERROR',
  'REFUSED_STREAM',
  'CANCEL',
  'COMPRESSION_ERROR',
  'CONNECT_ERROR',
  'ENHANCE_YOUR_CALM',
  'INADEQUATE_SECURITY',
  'HTTP_1_1_REQUIRED',
];

const codeName = (code = 0): string => ERROR_NAMES[code] ?? `code ${code}`;
