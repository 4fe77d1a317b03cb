// What one connection over HTTP/2 writes: responses, as far as the windows of the client allow (RFC 9113 §5.2), and frames
// without one. There is one write at a time, so that little memory is lent for octets that the client does not read.

import { Beginnings, copyOctets } from '../base/octets.js';
import type { Connection } from './connection.js';
import { NO_TABLE } from './hpack.js';
import { DNS_MESSAGE, type HttpReply } from './http-request.js';
import type { ClientRequests, HttpParts } from './http-requests.js';
import { MOST_RESPONSE_HEAD_BYTES, putContinue, putResponseHead } from './http2-fields.js';
import { CODE, FRAME, frameOf, HAS, HEADER_BYTES, MOST_31, MOST_PAYLOAD_BYTES, putHeader } from './http2-frames.js';
import type { RequestStream } from './http2-stream.js';
import type { Worker } from './turns.js';

/** A write takes as long as some cached answers over UDP. */
const WORK_OF_WRITE = 4;
/** When so many octets of bodies have come, the client may send as many more. */
const RENEWED_BYTES = 1 << 15;
/** The windows of both sides at the beginning (RFC 9113 §6.9.2). */
const FIRST_WINDOW = 65_535;
/** So many octets of an answer that has not left as a whole show that the client reads. */
const PROGRESS_BYTES = 1024;
/** What a write has beside the octets of a body: three frame headers, the size of a table, the fields, an error code. */
const MOST_OF_RESPONSE_BYTES = 3 * HEADER_BYTES + 1 + MOST_RESPONSE_HEAD_BYTES + 4;
const ROOM_BYTES = 1 << 12;

/** Memory for writes that the kernel takes at once, as nearly all are: connections of a listener share it. */
export class WriteRoom {
  private octets = Buffer.allocUnsafeSlow(ROOM_BYTES);
  private beginnings = new Beginnings(this.octets);

  /** Memory for so many octets; undefined: they are too many. */
  for(bytes: number): Buffer | undefined {
    return bytes <= ROOM_BYTES ? this.octets : undefined;
  }

  /** Whether a piece of memory is this one. */
  is(piece: Buffer): boolean {
    return piece === this.octets;
  }

  /** Its first octets. */
  beginning(bytes: number): Buffer {
    return this.beginnings.of(bytes);
  }

  /** The kernel has not taken all: whoever has written keeps it. */
  leave(): void {
    this.octets = Buffer.allocUnsafeSlow(ROOM_BYTES);
    this.beginnings = new Beginnings(this.octets);
  }
}

/** The session, as what is written concerns it. */
export interface WriterEvents {
  /** A response with status 200 was written. */
  earned(stream: number): void;
  /** All of the response of a stream was written. */
  sent(stream: RequestStream): void;
  /** Nothing is left to be written now. */
  drained(): void;
}

/** Writes to one connection. */
export class Http2Writer implements Worker {
  /** Streams with a response that is not written yet. */
  private readonly sending = new Set<RequestStream>();
  /** Octets of bodies since the client got a new window. */
  private received = 0;
  /** What the client lets us send on all streams together, on a new stream, and in a frame. */
  private window = FIRST_WINDOW;
  streamWindow = FIRST_WINDOW;
  mostPayload = MOST_PAYLOAD_BYTES;
  /** Whether the next header block must say that it needs no table, since the client wants it smaller. */
  resizesTable = false;
  /** Frames without a response that are not written yet. */
  private control: Buffer[] = [];
  /** The memory of a write that is not finished, and how many octets of bodies are in it. There is one at a time. */
  private writing: Buffer | undefined = undefined;
  private writingBody = 0;
  /** Whether the kernel has taken all of the last write at once. */
  private isPrompt = true;
  /** Octets of answers that have left since the client got on, and whether it gets on with the write. */
  private progress = 0;
  private progresses = false;
  /** Nothing more is written but `last`, which waits for the write before it. */
  isOver = false;
  private last: Buffer | undefined = undefined;

  constructor(
    private readonly socket: Connection,
    private readonly parts: HttpParts,
    private readonly room: WriteRoom,
    private readonly requests: ClientRequests,
    private readonly session: WriterEvents,
  ) {}

  /** Whether nothing waits, or is on its way. */
  get isIdle(): boolean {
    return this.control.length === 0 && this.sending.size === 0 && this.writing === undefined;
  }

  /** Sends a frame without a response. */
  queue(frame: Buffer): void {
    this.control.push(frame);
    this.parts.turns.add(this);
  }

  /** Tells a client to send the body of a request. */
  sendContinue(stream: number): void {
    const frame = Buffer.alloc(MOST_OF_RESPONSE_BYTES);
    const end = putContinue(frame, this.putTableSize(frame, HEADER_BYTES));
    putHeader(frame, 0, end - HEADER_BYTES, FRAME.HEADERS, HAS.END_HEADERS, stream);
    this.queue(frame.subarray(0, end));
  }

  /**
   * Sends a response.
   * @param isNow whether at once, if others do not come first
   * @returns whether some of it is sent later
   */
  respond(stream: RequestStream, isNow: boolean): boolean {
    if (this.isOver) return false;
    if (isNow && this.writing === undefined && this.sending.size === 0) this.write(stream);
    if (stream.isOver) return false;
    this.sending.add(stream);
    this.parts.turns.add(this);
    return true;
  }

  /** A stream is closed. @returns whether it had a response that is not written yet */
  drop(stream: RequestStream): boolean {
    return this.sending.delete(stream);
  }

  /** Octets of bodies have come (§6.9). @returns false: they are more than the client may send */
  took(bytes: number): boolean {
    this.received += bytes;
    if (this.received >= RENEWED_BYTES) this.parts.turns.add(this);
    return this.received <= FIRST_WINDOW;
  }

  /** The client lets us send more on all streams together. @returns false: than it may */
  widen(more: number): boolean {
    this.window += more;
    return this.window <= MOST_31;
  }

  /** Windows of streams have changed. */
  goOn(): void {
    if (this.sending.size > 0) this.parts.turns.add(this);
  }

  takeTurn(): void {
    const { turns } = this.parts;
    while (!this.isOver && this.writing === undefined) {
      const next = this.nextToSend();
      this.renewWindow();
      if (next === undefined && this.control.length === 0) break;
      if (turns.isOver) return turns.add(this);
      this.write(next);
    }
    this.session.drained();
  }

  /** Nothing is written any more but what waits, and then this frame. */
  sendLast(frame: Buffer): void {
    if (this.isOver) return;
    this.isOver = true;
    this.last = Buffer.concat([...this.control, frame]);
    if (this.writing === undefined) this.writeLast();
  }

  /** Sends the end behind the last frame. */
  end(): void {
    if (this.last === undefined) this.socket.end();
  }

  private writeLast(): void {
    const { last } = this;
    if (last === undefined) return;
    this.last = undefined;
    this.writing = last;
    this.socket.write(last, this.taken);
  }

  /** The connection is closed. */
  close(): void {
    this.isOver = true;
    this.parts.turns.remove(this);
    this.sending.clear();
  }

  /** What a header block begins with: nothing, mostly. @returns where it ends */
  private putTableSize(into: Buffer, at: number): number {
    if (!this.resizesTable) return at;
    this.resizesTable = false;
    into[at] = NO_TABLE;
    return at + 1;
  }

  /** Lets the client send as much as it has sent (§6.9), once the kernel takes what we have to say. */
  private renewWindow(): void {
    if (this.received < RENEWED_BYTES) return;
    this.control.push(frameOf(FRAME.WINDOW_UPDATE, 0, 0, this.received));
    this.received = 0;
  }

  /** A request of whose response something may be sent. */
  private nextToSend(): RequestStream | undefined {
    for (const each of this.sending) {
      const { isBegun, unsent, window } = each;
      if (!isBegun || unsent === 0 || (window > 0 && this.window > 0)) return each;
    }
    return undefined;
  }

  /** Writes what waits, and something of a response. No more than one: some clients take one from each record of TLS. */
  private write(next: RequestStream | undefined): void {
    const { control, parts, socket, room } = this;
    const controlBytes = control.length === 0 ? 0 : control.reduce((sum, { length }) => sum + length, 0);
    const bytes = next === undefined ? 0 : MOST_OF_RESPONSE_BYTES + Math.min(next.unsent, this.mostPayload);
    const shared = this.isPrompt ? room.for(controlBytes + bytes) : undefined;
    const piece = shared ?? parts.memory.take(controlBytes + bytes);
    let at = 0;
    if (control.length > 0) {
      this.control = [];
      for (const each of control) at += each.copy(piece, at);
    }
    if (next !== undefined) at = this.fill(next, piece, at);
    this.writing = piece;
    parts.turns.spend(WORK_OF_WRITE);
    socket.write(shared === undefined ? piece.subarray(0, at) : room.beginning(at), this.taken);
    // The kernel mostly takes all at once. Node.js says so some time later.
    this.isPrompt = socket.writableLength === 0;
    if (this.isPrompt) this.finishWrite();
    else if (room.is(piece)) room.leave();
  }

  /** Writes what may be sent of a response. @returns where it ends */
  private fill(stream: RequestStream, into: Buffer, at: number): number {
    const { id, reply } = stream;
    let end = at;
    if (reply === undefined) return end;
    const isHead = stream.head.method === 'HEAD' || reply.body.length === 0;
    if (!stream.isBegun) {
      stream.isBegun = true;
      const from = at + HEADER_BYTES;
      end = putResponseHead(into, this.putTableSize(into, from), reply);
      putHeader(into, at, end - from, FRAME.HEADERS, HAS.END_HEADERS | (isHead ? HAS.END_STREAM : 0), id);
    }
    if (!isHead) end = this.fillBody(stream, reply.body, into, end);
    if (this.sending.size > 0) this.sending.delete(stream);
    if (stream.unsent > 0) {
      // Others come first.
      this.sending.add(stream);
      return end;
    }
    if (reply.status === 200) this.session.earned(id);
    this.progresses ||= isAnswer(reply);
    this.session.sent(stream);
    // Nobody wants the rest of the request (§8.1).
    if (stream.isReceived) return end;
    return end + frameOf(FRAME.RST_STREAM, 0, id, CODE.NO_ERROR).copy(into, end);
  }

  private fillBody(stream: RequestStream, body: Buffer, into: Buffer, at: number): number {
    const { id, unsent } = stream;
    const bytes = Math.min(unsent, stream.window, this.window, this.mostPayload);
    if (bytes <= 0) return at;
    const end = putHeader(into, at, bytes, FRAME.DATA, bytes === unsent ? HAS.END_STREAM : 0, id);
    copyOctets(body, body.length - unsent, bytes, into, end);
    stream.unsent -= bytes;
    stream.window -= bytes;
    this.window -= bytes;
    this.writingBody += bytes;
    if (stream.reply !== undefined && isAnswer(stream.reply)) this.progress += bytes;
    return end + bytes;
  }

  /** The kernel has taken all of a write. */
  private readonly taken = (): void => {
    // Or of one that was finished already, while another is not.
    if (this.writing === undefined || this.socket.writableLength > 0) return;
    if (this.last !== undefined) {
      this.writeLast();
      this.socket.end();
    }
    if (this.isOver) return;
    this.finishWrite();
    this.parts.turns.add(this);
  };

  private finishWrite(): void {
    const { writing, writingBody } = this;
    if (writing !== undefined && !this.room.is(writing)) this.parts.memory.give(writing);
    this.writing = undefined;
    this.writingBody = 0;
    if (this.progresses || this.progress >= PROGRESS_BYTES) {
      this.progress = 0;
      this.progresses = false;
      this.requests.progressed();
    }
    if (writingBody > 0) this.requests.paid(writingBody);
  }
}

/** Whether a response has a reply to a query. */
const isAnswer = ({ contentType }: HttpReply): boolean => contentType === DNS_MESSAGE;
