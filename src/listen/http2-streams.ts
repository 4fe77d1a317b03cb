// The streams of one connection over HTTP/2 (RFC 9113 §5.1): opens one for each request, gathers its body, and forgets it
// when its response has left or either side has reset it.

import { u32At } from '../base/octets.js';
import { MAX_MESSAGE_BYTES } from '../wire/header.js';
import { FIELDS_TOO_LARGE, type RequestHead, type RequestParts, TOO_LARGE } from './http-request.js';
import { type ClientRequests, type HttpParts, RequestBody } from './http-requests.js';
import type { RequestBlocks } from './http2-blocks.js';
import type { RequestFields } from './http2-fields.js';
import { CODE, type Code, FRAME, type Frame, frameOf, HAS, MOST_31, unpad } from './http2-frames.js';
import { RequestStream, type StreamSession } from './http2-stream.js';
import type { Http2Writer } from './http2-writer.js';
import { IDLE_MS } from './sessions.js';

/** The octets of all bodies that are not complete. Queries have some hundred. */
const MOST_BODY_BYTES = 2 * MAX_MESSAGE_BYTES;

/** The parts that they use, and the blocks of their requests. */
export interface StreamsParts {
  /** Those that connections share: a copy with the others would have a shape of its own for each connection. */
  readonly shared: HttpParts;
  readonly requests: ClientRequests;
  readonly writer: Http2Writer;
  readonly blocks: RequestBlocks;
  /** A request was taken. */
  readonly taken: () => void;
}

/** The streams. */
export class RequestStreams implements StreamSession {
  /** Requests whose stream is not closed, the oldest first. */
  private readonly streams = new Map<number, RequestStream>();
  /** Those of them whose bodies are not complete, and the octets of these bodies. */
  private readonly incomplete = new Set<RequestStream>();
  private bodyBytes = 0;
  /** The last stream that the client has opened, and the last one that may be answered. */
  private last = 0;
  lastTaken = 0;
  /** No more requests are taken. */
  areLast = false;
  /** Whether octets of the client are being handled: then a response leaves at once if it can. */
  isReading = false;

  constructor(private readonly parts: StreamsParts) {}

  /** Streams that are not closed. */
  get open(): number {
    return this.streams.size;
  }

  /**
   * All header fields of a request, or of trailers, in octets [from, to). They are read in any case, because of the table.
   * @returns the code of an error that ends the connection
   */
  receiveBlock(stream: number, isLast: boolean, octets: Buffer, from: number, to: number): Code | undefined {
    const { blocks } = this.parts;
    const known = blocks.recognise(octets, from, to);
    const fields = known === undefined ? blocks.read(octets, from, to) : undefined;
    if (known === undefined && fields === undefined) return CODE.COMPRESSION_ERROR;
    if (stream <= this.last) {
      this.receiveTrailers(stream, isLast && fields?.areTrailers === true);
      return undefined;
    }
    this.last = stream;
    // After GOAWAY, the client asks again elsewhere (§6.8).
    if (this.areLast) return undefined;
    this.lastTaken = stream;
    const head = known?.at === 'message' ? undefined : (known?.parts ?? fields?.head);
    const opened = this.openFor(stream, known?.parts ?? head, isLast);
    if (opened === undefined) return undefined;
    if (head === undefined) this.takeMessage(opened, blocks.message);
    else this.take(opened, head, fields);
    return undefined;
  }

  private receiveTrailers(stream: number, areTrailers: boolean): void {
    const known = this.streams.get(stream);
    // Of one that is closed: they were sent before the client knew.
    if (known === undefined) return;
    if (areTrailers) this.completed(known);
    else this.reset(known, CODE.PROTOCOL_ERROR);
  }

  /** Opens a stream. @returns undefined: the request is malformed, or not taken */
  private openFor(stream: number, head: RequestParts | undefined, isLast: boolean): RequestStream | undefined {
    const { requests, writer, shared } = this.parts;
    const { limits, clock } = shared;
    if (this.incomplete.size > 0) this.endOldest();
    // Without a body, it has no octets.
    const isWrong = head === undefined || (isLast && Number(head.contentLength ?? 0) !== 0);
    if (isWrong) {
      writer.queue(frameOf(FRAME.RST_STREAM, 0, stream, CODE.PROTOCOL_ERROR));
      return undefined;
    }
    if (requests.isFull || this.streams.size >= limits.inflightPerSession) {
      writer.queue(frameOf(FRAME.RST_STREAM, 0, stream, CODE.REFUSED_STREAM));
      return undefined;
    }
    const opened = new RequestStream(this, stream, head, writer.streamWindow, clock.monotonicMs());
    opened.isReceived = isLast;
    return opened;
  }

  /** Takes a request like the one before, with the message in its target. */
  private takeMessage(opened: RequestStream, message: Buffer): void {
    this.parts.requests.takeMessage(opened.head, message, opened);
    this.keep(opened);
    this.parts.taken();
  }

  /** Takes the head of a request. @param fields left out: it is that of the one before */
  private take(opened: RequestStream, head: RequestHead, fields: RequestFields | undefined): void {
    const { requests, writer, taken } = this.parts;
    if (fields?.isTooLarge === true) opened.send(FIELDS_TOO_LARGE);
    const needsBody = !opened.isAnswered && requests.take(head, opened);
    this.keep(opened);
    if (!needsBody) return taken();
    this.incomplete.add(opened);
    if (opened.isReceived) this.completed(opened);
    else if (fields?.expectsContinue === true) writer.sendContinue(opened.id);
  }

  /** Remembers a stream, unless its response was written already. */
  private keep(opened: RequestStream): void {
    if (!opened.isOver) this.streams.set(opened.id, opened);
  }

  /** @returns the code of an error that ends the connection */
  receiveData(frame: Frame): Code | undefined {
    const { stream, flags, bytes } = frame;
    if (!unpad(frame) || stream === 0 || stream > this.last) return CODE.PROTOCOL_ERROR;
    if (!this.parts.writer.took(bytes)) return CODE.FLOW_CONTROL_ERROR;
    const opened = this.streams.get(stream);
    if (opened === undefined) return undefined;
    if (opened.isReceived) {
      this.reset(opened, CODE.STREAM_CLOSED);
      return undefined;
    }
    opened.bodyWindow -= bytes;
    if (opened.bodyWindow < 0) {
      this.reset(opened, CODE.FLOW_CONTROL_ERROR);
      return undefined;
    }
    this.receiveBody(opened, frame);
    if (opened.isOver) return undefined;
    const padding = bytes - frame.bytes;
    if ((flags & HAS.END_STREAM) !== 0) this.completed(opened);
    else if (padding > 0) {
      opened.bodyWindow += padding;
      this.parts.writer.queue(frameOf(FRAME.WINDOW_UPDATE, 0, stream, padding));
    }
    return undefined;
  }

  private receiveBody(opened: RequestStream, frame: Frame): void {
    if (!this.incomplete.has(opened)) return;
    this.bodyBytes += frame.bytes;
    opened.body ??= new RequestBody();
    opened.body.add(Buffer.from(frame.payload));
    if (opened.bodyBytes > MAX_MESSAGE_BYTES) {
      this.stopBody(opened);
      opened.send(TOO_LARGE);
    } else if (this.bodyBytes > MOST_BODY_BYTES) this.reset(opened, CODE.ENHANCE_YOUR_CALM);
  }

  /** The client has sent all of a request. */
  private completed(opened: RequestStream): void {
    opened.isReceived = true;
    if (!this.stopBody(opened)) return;
    const { body, bodyBytes, head } = opened;
    const { contentLength } = head;
    if (contentLength !== undefined && Number(contentLength) !== bodyBytes)
      return this.reset(opened, CODE.PROTOCOL_ERROR);
    this.parts.requests.takeBody(head, body?.message ?? NOTHING, opened);
    this.parts.taken();
  }

  /** No more of a body is needed. @returns whether it was needed until now */
  private stopBody(opened: RequestStream): boolean {
    if (!this.incomplete.delete(opened)) return false;
    this.bodyBytes -= opened.bodyBytes;
    return true;
  }

  /** A body that comes octet by octet must not be waited for as long as the connection is used for others. */
  private endOldest(): void {
    const [oldest] = this.incomplete;
    if (oldest !== undefined && this.parts.shared.clock.monotonicMs() - oldest.since > IDLE_MS)
      this.reset(oldest, CODE.CANCEL);
  }

  /** @returns the code of an error that ends the connection */
  receiveReset({ stream, bytes }: Frame): Code | undefined {
    if (bytes !== 4) return CODE.FRAME_SIZE_ERROR;
    if (stream === 0 || stream > this.last) return CODE.PROTOCOL_ERROR;
    const opened = this.streams.get(stream);
    if (opened !== undefined) this.drop(opened);
    this.parts.shared.turns.add(this.parts.writer);
    return undefined;
  }

  /** @returns the code of an error that ends the connection */
  receiveWindow({ stream, bytes, octets, from }: Frame): Code | undefined {
    if (bytes !== 4) return CODE.FRAME_SIZE_ERROR;
    const more = u32At(octets, from) & MOST_31;
    if (stream > this.last || (stream !== 0 && stream % 2 === 0)) return CODE.PROTOCOL_ERROR;
    if (stream === 0) {
      if (more === 0) return CODE.PROTOCOL_ERROR;
      if (!this.parts.writer.widen(more)) return CODE.FLOW_CONTROL_ERROR;
    } else {
      const opened = this.streams.get(stream);
      if (opened === undefined) return undefined;
      opened.window += more;
      if (more === 0) this.reset(opened, CODE.PROTOCOL_ERROR);
      else if (opened.window > MOST_31) this.reset(opened, CODE.FLOW_CONTROL_ERROR);
    }
    this.parts.writer.goOn();
    return undefined;
  }

  /** The windows of all streams change, also below 0 (§6.9.2). @returns the code of an error that ends the connection */
  widen(more: number): Code | undefined {
    for (const each of this.streams.values()) {
      each.window += more;
      if (each.window > MOST_31) return CODE.FLOW_CONTROL_ERROR;
    }
    return undefined;
  }

  /** Resets requests whose bodies are not complete: the client sends no more. */
  end(): void {
    for (const each of this.incomplete) this.reset(each, CODE.CANCEL);
  }

  /** The connection is closed. */
  close(): void {
    this.streams.clear();
    this.incomplete.clear();
  }

  reset(opened: RequestStream, code: Code): void {
    if (opened.isOver) return;
    this.drop(opened);
    this.parts.writer.queue(frameOf(FRAME.RST_STREAM, 0, opened.id, code));
  }

  /** A stream is closed. */
  private drop(opened: RequestStream): void {
    if (this.parts.writer.drop(opened)) this.parts.requests.paid(opened.unsent);
    this.sent(opened);
  }

  /** All of the response of a stream was written, or it is closed. */
  sent(opened: RequestStream): void {
    opened.isOver = true;
    if (this.incomplete.size > 0) this.stopBody(opened);
    if (this.streams.size > 0) this.streams.delete(opened.id);
  }

  respond(opened: RequestStream, bytes: number): boolean {
    // May close the connection.
    this.parts.requests.owes(bytes);
    return this.parts.writer.respond(opened, this.isReading);
  }
}

const NOTHING = Buffer.alloc(0);
