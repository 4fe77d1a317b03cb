// One HTTP connection (RFC 9112): reads a request, writes its reply, and only then reads the next one. node:http is not
// used for this: it parses all requests that arrive together, so that 64 KiB of pipelined ones hold up every query for
// 0.2 s, whatever is done with them.

import type { Socket } from 'node:net';

import type { Cancel, Clock } from '../base/ports.js';
import { monoAfter, type MonoMs } from '../base/time.js';
import { type HttpRequest, MOST_HEAD_BYTES, readHead } from './http-head.js';
import { type Occupant, PACE_MS } from './http-places.js';

/** A reply. */
export interface HttpReply {
  readonly status: keyof typeof REASONS;
  readonly contentType: string;
  readonly body: string | Buffer;
}

/** The parts of a connection. */
export interface ConnectionParts {
  readonly clock: Clock;
  /** Called for one request at a time. Must not reject. */
  readonly answer: (request: HttpRequest) => Promise<HttpReply>;
  /** More fields for every reply. */
  readonly fields: Readonly<Record<string, string>>;
}

/** For a whole request, from the start of the connection or the end of the reply before it. */
const REQUEST_MS = 5000;
/** For the reply, until the client has taken it. */
const ANSWER_MS = 10_000;
/** For the client to take the reply and close its side, after the last reply (RFC 9112 §9.6). */
const LINGER_MS = 500;

const REASONS = {
  200: 'OK',
  400: 'Bad Request',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
} as const;

/** A reply of plain text. */
export const plainText = (status: HttpReply['status'], text: string): HttpReply => ({
  status,
  contentType: 'text/plain; charset=utf-8',
  body: `${text}\n`,
});

type State =
  /** `heard`: the head so far, one character per octet. */
  { readonly at: 'reading'; heard: string } | { readonly at: 'answering' | 'closing' | 'closed' };

/** A connection. */
export class HttpConnection implements Occupant {
  private state: State = { at: 'reading', heard: '' };
  private cancel: Cancel = () => undefined;
  /** Whether it ever had a request. */
  hasAsked = false;
  /** Since when it has been in its state. */
  since: MonoMs;
  /** Replies are at least `PACE_MS` apart. */
  private nextReplyAt: MonoMs;

  /**
   * Begins to read.
   * @param socket half-open: a client may close its side after its request
   */
  constructor(
    private readonly socket: Socket,
    private readonly parts: ConnectionParts,
  ) {
    this.since = this.nextReplyAt = parts.clock.monotonicMs();
    socket.on('error', () => this.destroy());
    socket.on('close', () => this.destroy());
    socket.on('data', chunk => this.data(chunk));
    socket.on('end', () => this.destroy());
    this.enter(this.state, REQUEST_MS);
  }

  get isClosed(): boolean {
    return this.state.at === 'closed';
  }

  get isAnswering(): boolean {
    return this.state.at === 'answering';
  }

  /** Closes it now. */
  destroy(): void {
    this.cancel();
    this.state = { at: 'closed' };
    this.socket.destroy();
  }

  /** Enters a state, which may last this long. */
  private enter(state: State, mostMs: number): void {
    this.cancel();
    this.state = state;
    this.since = this.parts.clock.monotonicMs();
    this.cancel = this.parts.clock.after(mostMs, () => this.destroy());
  }

  private data(chunk: Buffer): void {
    const { state } = this;
    // More octets after the last request: the client gets time to take the reply, and nothing more is read.
    if (state.at !== 'reading') return void this.socket.pause();
    const before = state.heard.length;
    state.heard += chunk.toString('latin1', 0, MOST_HEAD_BYTES + END.length - before);
    const end = state.heard.indexOf(END, Math.max(0, before - END.length));
    if (end === -1) {
      if (state.heard.length < MOST_HEAD_BYTES + END.length) return;
      return void this.answer(undefined, plainText(431, `at most ${MOST_HEAD_BYTES} octets`));
    }
    const request = readHead(state.heard.slice(0, end));
    if (request === undefined) return void this.answer(undefined, plainText(400, 'this is no HTTP/1.1 request'));
    // Requests that arrive together: the client may ask for the others again (RFC 9112 §9.3.2).
    const isLast = !request.isPersistent || request.hasContent || before + chunk.length > end + END.length;
    void this.answer(request, undefined, isLast);
  }

  /** Answers a request, or replies to what is none. Nothing is read meanwhile. */
  private async answer(request: HttpRequest | undefined, refusal?: HttpReply, isLast = true): Promise<void> {
    const { clock, answer } = this.parts;
    this.hasAsked = true;
    this.socket.pause();
    this.enter({ at: 'answering' }, ANSWER_MS);
    const waitMs = this.nextReplyAt - clock.monotonicMs();
    if (waitMs > 0) await new Promise<void>(resolve => void clock.after(waitMs, resolve));
    const reply = refusal ?? (request && (await answer(request)));
    if (this.state.at !== 'answering' || reply === undefined) return;
    this.nextReplyAt = monoAfter(clock.monotonicMs(), PACE_MS);
    this.write(reply, request?.method === 'HEAD', isLast);
  }

  private write({ status, contentType, body }: HttpReply, isHead: boolean, isLast: boolean): void {
    const octets = typeof body === 'string' ? Buffer.from(body) : body;
    const fields = {
      date: new Date(this.parts.clock.wallMs()).toUTCString(),
      connection: isLast ? 'close' : 'keep-alive',
      'content-type': contentType,
      'content-length': String(octets.length),
      ...(status === 405 ? { allow: 'GET, HEAD' } : {}),
      ...this.parts.fields,
    };
    const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}`);
    this.socket.cork();
    this.socket.write(`HTTP/1.1 ${status} ${REASONS[status]}\r\n${lines.join('\r\n')}${END}`, 'latin1');
    this.socket.write(isHead ? '' : octets, () => this.written(isLast));
    this.socket.uncork();
  }

  /** The kernel has taken the whole reply. */
  private written(isLast: boolean): void {
    if (this.state.at !== 'answering') return;
    if (isLast) {
      this.enter({ at: 'closing' }, LINGER_MS);
      this.socket.end();
    } else {
      this.enter({ at: 'reading', heard: '' }, REQUEST_MS);
    }
    this.socket.resume();
  }
}

const END = '\r\n\r\n';
