// One request over HTTP/2: its stream, from its header fields to the end of the response (RFC 9113 §5.1).

import type { MonoMs } from '../base/time.js';
import { MAX_MESSAGE_BYTES } from '../wire/header.js';
import { type HttpReply, MessageReply, type RequestParts } from './http-request.js';
import type { Exchange, RequestBody } from './http-requests.js';
import { CODE, type Code } from './http2-frames.js';

/** What a body may have without a new window: one octet more than a message, so that it shows if it is larger. */
export const BODY_WINDOW = MAX_MESSAGE_BYTES + 1;

/** The session that a stream is of. */
export interface StreamSession {
  /** A stream has its response: as much of it leaves at once as can. @returns whether some of it is left */
  respond(stream: RequestStream, bytes: number): boolean;
  /** Ends a stream without a response, or within one. */
  reset(stream: RequestStream, code: Code): void;
}

/** One request. */
export class RequestStream implements Exchange {
  /** What has come of its body; undefined: nothing. */
  body: RequestBody | undefined = undefined;
  /** Whether the client has sent all of it. */
  isReceived = false;
  /** Whether it is closed. */
  isOver = false;
  /** What we let the client send on this stream. */
  bodyWindow = BODY_WINDOW;
  reply: HttpReply | undefined = undefined;
  /** Whether the header fields of the response are written, and how many octets of its body are not. */
  isBegun = false;
  unsent = 0;

  constructor(
    private readonly session: StreamSession,
    /** Its number. */
    readonly id: number,
    readonly head: RequestParts,
    /** What the client lets us send on this stream. */
    public window: number,
    readonly since: MonoMs,
  ) {}

  /** Whether it has its response. */
  get isAnswered(): boolean {
    return this.reply !== undefined;
  }

  /** Octets of its body that have come. */
  get bodyBytes(): number {
    return this.body?.bytes ?? 0;
  }

  send(reply: HttpReply): void {
    if (this.isOver || this.reply !== undefined) return;
    this.reply = reply;
    this.unsent = this.head.method === 'HEAD' ? 0 : reply.body.length;
    const isLeft = this.session.respond(this, this.unsent);
    // What could not leave at once was only lent.
    if (isLeft && reply instanceof MessageReply) this.reply = reply.kept;
  }

  abandon(): void {
    this.session.reset(this, CODE.CANCEL);
  }
}
