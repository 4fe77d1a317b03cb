// One connection of a client over HTTP/2 (RFC 9113): its streams, its windows, and what is written. node:http2 does the
// same for several times the CPU time of an answer, above all with streams of its own around each connection and request.
//
// Everything that a client can make us keep has a bound: streams and queries (SessionLimits), bodies that are not
// complete, responses that are not read (ClientRequests), header fields (below), the table for them (hpack), and frames
// (http2-frames), which bound all that is written without a request.

import { u16At, u32At } from '../base/octets.js';
import type { MonoMs } from '../base/time.js';
import { MAX_MESSAGE_BYTES } from '../wire/header.js';
import type { Connection } from './connection.js';
import { FieldReader, NO_TABLE, TABLE_BYTES } from './hpack.js';
import {
  DNS_MESSAGE,
  FIELDS_TOO_LARGE,
  type HttpReply,
  MOST_HEADER_BYTES,
  type RequestHead,
  TOO_LARGE,
} from './http-request.js';
import { ClientRequests, type Exchange, type HttpParts, type Peer, RequestBody } from './http-requests.js';
import { MOST_RESPONSE_HEAD_BYTES, putContinue, putResponseHead, RequestFields } from './http2-fields.js';
import {
  CODE,
  type Code,
  FRAME,
  type Frame,
  frameOf,
  FrameReader,
  HAS,
  HEADER_BYTES,
  MOST_31,
  MOST_PAYLOAD_BYTES,
  PRIORITY_BYTES,
  putHeader,
  SETTING,
  SETTING_BYTES,
  settingsOf,
  unpadded,
} from './http2-frames.js';
import { IDLE_MS, type Occupant, type Place } from './sessions.js';
import type { Worker } from './turns.js';

/** A request, and a write, take as long as some cached answers over UDP. */
const WORK_OF_REQUEST = 4;
const WORK_OF_WRITE = 4;
/** The octets of a header block, compressed. More end the connection. Those that are larger uncompressed get 431. */
const MOST_BLOCK_BYTES = 2 * MOST_HEADER_BYTES;
/** To read so many octets of header fields takes as long as a cached answer over UDP. */
const FIELD_BYTES_OF_WORK = 64;
/** The octets of all bodies that are not complete. Queries have some hundred. */
const MOST_BODY_BYTES = 2 * MAX_MESSAGE_BYTES;
/** While more queries wait for their turn, nothing is read. */
const MOST_WAITING = 32;
/** When so many octets of bodies have come, the client may send as many more. */
const RENEWED_BYTES = 1 << 15;
/** The windows of both sides at the beginning (RFC 9113 §6.9.2), and the payload of a DATA frame. */
const FIRST_WINDOW = 65_535;
/** So many octets of an answer that has not left as a whole show that the client reads. */
const PROGRESS_BYTES = 1024;
/** What a client may still send after an error, so that the reason reaches it: the kernel forgets it otherwise. */
const MOST_IGNORED_BYTES = 1 << 17;
/** What a body may have without a new window: one octet more than a message, so that it shows if it is larger. */
const BODY_WINDOW = MAX_MESSAGE_BYTES + 1;

/** What a write has beside the octets of a body: three frame headers, the size of a table, the fields, an error code. */
const MOST_OF_RESPONSE_BYTES = 3 * HEADER_BYTES + 1 + MOST_RESPONSE_HEAD_BYTES + 4;
/** What tells our PING from others. */
const PARTING = 0x676f_2121;

/** A connection. */
export class Http2Session implements Occupant, Worker {
  private readonly requests: ClientRequests;
  private readonly frames = new FrameReader(frame => this.receive(frame));
  private readonly fields = new FieldReader();
  /** Requests whose stream is not closed, the oldest first. */
  private readonly streams = new Map<number, Incoming>();
  /** Those of them whose bodies are not complete, and the octets of these bodies. */
  private readonly incomplete = new Set<Incoming>();
  private bodyBytes = 0;
  /** Those with a response that is not written yet. */
  private readonly sending = new Set<Incoming>();
  /** The last stream that the client has opened, and the last one that may be answered. */
  private lastStream = 0;
  private lastTaken = 0;
  /** A header block that goes on in the next frame. */
  private block:
    { readonly stream: number; readonly flags: number; readonly parts: Buffer[]; bytes: number } | undefined =
    undefined;
  /** Octets of bodies since the client got a new window. */
  private received = 0;
  /** What the client lets us send on all streams together, on a new stream, and in a frame. */
  private window = FIRST_WINDOW;
  private streamWindow = FIRST_WINDOW;
  private mostPayload = MOST_PAYLOAD_BYTES;
  /** Whether the next header block must say that it needs no table, since the client wants it smaller. */
  private resizesTable = false;
  /** Frames without a response that are not written yet. */
  private control: Buffer[] = [];
  /** The memory of a write that is not finished, and how many octets of bodies are in it. There is one at a time. */
  private writing: Buffer | undefined = undefined;
  private writingBody = 0;
  /** Octets of answers that have left since the client got on, and whether it gets on with the write. */
  private progress = 0;
  private progresses = false;
  /** Octets that have come after an error. */
  private ignored = 0;
  /** When we have said that we shall end it: what was sent until the client knew is still taken. */
  private partingSince: MonoMs | undefined = undefined;
  /** No more requests are taken: we say so, or the client sends no more. */
  private finishing = false;
  /** It has failed: nothing is read or written any more. */
  private isOver = false;

  constructor(
    private readonly socket: Connection,
    peer: Peer,
    place: Place,
    private readonly parts: HttpParts,
  ) {
    place.occupant = this;
    this.requests = new ClientRequests(peer, place, parts, { work: WORK_OF_REQUEST, drained: () => this.readOn() });
    this.queue(
      settingsOf([
        [SETTING.MAX_CONCURRENT_STREAMS, parts.limits.inflightPerSession],
        [SETTING.INITIAL_WINDOW_SIZE, BODY_WINDOW],
        // Twice of what is served, so that there is a response to somewhat more.
        [SETTING.MAX_HEADER_LIST_SIZE, 2 * MOST_HEADER_BYTES],
      ]),
    );
    socket.on('data', octets => this.read(octets));
    // The client sends no more, and may still wait for responses.
    socket.on('end', () => this.ended());
    socket.on('close', () => this.forget());
  }

  get owedBytes(): number {
    return this.requests.owedBytes;
  }

  close(): void {
    // Says goodbye, as far as the client reads.
    this.sayWhy(CODE.NO_ERROR);
    this.socket.destroy();
  }

  /**
   * Soon takes no more requests, and closes after the last response. Those that are under way meanwhile count: our PING
   * comes back behind them (RFC 9113 §6.8).
   */
  finish(): void {
    if (this.partingSince !== undefined || this.finishing || this.isOver) return;
    this.partingSince = this.parts.clock.monotonicMs();
    this.queue(frameOf(FRAME.GOAWAY, 0, 0, MOST_31, CODE.NO_ERROR));
    this.queue(frameOf(FRAME.PING, 0, 0, PARTING, PARTING));
  }

  private finishNow(): void {
    if (this.finishing || this.isOver) return;
    this.finishing = true;
    this.queue(frameOf(FRAME.GOAWAY, 0, 0, this.lastTaken, CODE.NO_ERROR));
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
    this.closeIfDone();
  }

  private read(octets: Buffer): void {
    if (this.isOver) return this.ignore(octets.length);
    const now = this.parts.clock.monotonicMs();
    // One that never answers our PING knows by now, too.
    if (this.partingSince !== undefined && now - this.partingSince > IDLE_MS) this.finishNow();
    const code = this.frames.read(octets, now);
    if (code !== undefined) this.fail(code);
  }

  /** Reads on after an error, until the client has seen why, or the connection is idle for too long. */
  private ignore(bytes: number): void {
    this.ignored += bytes;
    if (this.ignored > MOST_IGNORED_BYTES) this.socket.destroy();
  }

  /** A request was taken, so that `readOn` follows. */
  private holdIfMany(): void {
    if (this.requests.waiting > MOST_WAITING) this.socket.pause();
  }

  private readOn(): void {
    if (this.socket.isPaused()) this.socket.resume();
  }

  private ended(): void {
    if (this.isOver) return;
    for (const each of this.incomplete) this.reset(each, CODE.CANCEL);
    this.finishNow();
  }

  private forget(): void {
    this.isOver = true;
    this.requests.close();
    this.parts.turns.remove(this);
    this.streams.clear();
    this.sending.clear();
    this.incomplete.clear();
  }

  /** An error of the protocol: it only concerns the client. */
  private fail(code: Code): void {
    if (code === CODE.ENHANCE_YOUR_CALM) this.parts.observer.dropped('http_flood');
    this.sayWhy(code);
    this.forget();
    // Closed at once, it would be a reset while anything is unread, and the client would not see why.
    this.readOn();
    this.socket.end();
  }

  /** The last that is written says why nothing more is taken. */
  private sayWhy(code: Code): void {
    const canSay = !this.isOver && this.writing === undefined;
    this.isOver = true;
    // Within a frame it could not be said.
    if (!canSay) return;
    this.writing = Buffer.concat([...this.control, frameOf(FRAME.GOAWAY, 0, 0, this.lastTaken, code)]);
    this.socket.write(this.writing, this.taken);
  }

  private closeIfDone(): void {
    if (this.finishing && !this.isOver && this.streams.size === 0 && this.control.length === 0 && !this.writing) {
      this.isOver = true;
      this.socket.end();
    }
  }

  /** Handles a frame. @returns the code of an error that ends the connection */
  private receive(frame: Frame): Code | undefined {
    const { type, stream, payload } = frame;
    // Nothing may come between the frames of a header block (§6.10).
    if ((type === FRAME.CONTINUATION) !== (this.block !== undefined)) return CODE.PROTOCOL_ERROR;
    switch (type) {
      case FRAME.DATA:
        return this.receiveData(frame);
      case FRAME.HEADERS:
        return this.receiveHeaders(frame);
      case FRAME.CONTINUATION:
        return this.receiveMore(frame);
      case FRAME.PRIORITY:
        // It says nothing that matters here.
        if (stream === 0) return CODE.PROTOCOL_ERROR;
        return payload.length === PRIORITY_BYTES ? undefined : CODE.FRAME_SIZE_ERROR;
      case FRAME.RST_STREAM:
        return this.receiveReset(stream, payload);
      case FRAME.SETTINGS:
        return this.receiveSettings(frame);
      case FRAME.PING:
        return this.receivePing(frame);
      case FRAME.GOAWAY:
        return stream === 0 ? undefined : CODE.PROTOCOL_ERROR;
      case FRAME.WINDOW_UPDATE:
        return this.receiveWindow(stream, payload);
      case FRAME.PUSH_PROMISE:
        return CODE.PROTOCOL_ERROR;
      default:
        // Of an extension that we do not know (§5.5).
        return undefined;
    }
  }

  private receiveHeaders(frame: Frame): Code | undefined {
    const { stream, flags } = frame;
    const octets = unpadded(frame);
    if (octets === undefined || stream % 2 === 0) return CODE.PROTOCOL_ERROR;
    if ((flags & HAS.END_HEADERS) !== 0) return this.receiveBlock(stream, flags, octets);
    this.block = { stream, flags, parts: [Buffer.from(octets)], bytes: octets.length };
    return undefined;
  }

  private receiveMore({ stream, flags, payload }: Frame): Code | undefined {
    const { block } = this;
    if (block?.stream !== stream) return CODE.PROTOCOL_ERROR;
    block.bytes += payload.length;
    if (block.bytes > MOST_BLOCK_BYTES) return CODE.ENHANCE_YOUR_CALM;
    block.parts.push(Buffer.from(payload));
    if ((flags & HAS.END_HEADERS) === 0) return undefined;
    this.block = undefined;
    return this.receiveBlock(stream, block.flags, Buffer.concat(block.parts));
  }

  /** All header fields of a request, or of trailers. They are read in any case, because of the table. */
  private receiveBlock(stream: number, flags: number, octets: Buffer): Code | undefined {
    const fields = new RequestFields();
    this.parts.turns.spend(Math.floor(octets.length / FIELD_BYTES_OF_WORK));
    const code = this.frames.spendFields(octets.length);
    if (code !== undefined) return code;
    if (!this.fields.read(octets, fields.add)) return CODE.COMPRESSION_ERROR;
    const isLast = (flags & HAS.END_STREAM) !== 0;
    if (stream <= this.lastStream) {
      const known = this.streams.get(stream);
      // Of one that is closed: they were sent before the client knew.
      if (known === undefined) return undefined;
      if (isLast && fields.areTrailers) this.completed(known);
      else this.reset(known, CODE.PROTOCOL_ERROR);
      return undefined;
    }
    this.lastStream = stream;
    // After GOAWAY, the client asks again elsewhere (§6.8).
    if (this.finishing) return undefined;
    this.lastTaken = stream;
    this.begin(stream, fields, isLast);
    return undefined;
  }

  private begin(stream: number, fields: RequestFields, isLast: boolean): void {
    const { requests, parts } = this;
    const { head } = fields;
    this.endOldest();
    // Without a body, it has no octets.
    const isWrong = head === undefined || (isLast && Number(head.contentLength ?? 0) !== 0);
    if (isWrong) return this.queue(frameOf(FRAME.RST_STREAM, 0, stream, CODE.PROTOCOL_ERROR));
    if (requests.isFull || this.streams.size >= parts.limits.inflightPerSession)
      return this.queue(frameOf(FRAME.RST_STREAM, 0, stream, CODE.REFUSED_STREAM));
    const incoming = new Incoming(this, stream, head, this.streamWindow, parts.clock.monotonicMs());
    incoming.isReceived = isLast;
    this.streams.set(stream, incoming);
    if (fields.isTooLarge) return incoming.send(FIELDS_TOO_LARGE);
    if (!requests.take(head, incoming)) return this.holdIfMany();
    this.incomplete.add(incoming);
    if (isLast) this.completed(incoming);
    else if (fields.expectsContinue) this.queue(this.continueFor(stream));
  }

  /** Tells a client to send the body. */
  private continueFor(stream: number): Buffer {
    const frame = Buffer.alloc(MOST_OF_RESPONSE_BYTES);
    const end = putContinue(frame, this.putTableSize(frame, HEADER_BYTES));
    putHeader(frame, 0, end - HEADER_BYTES, FRAME.HEADERS, HAS.END_HEADERS, stream);
    return frame.subarray(0, end);
  }

  /** What a header block begins with: nothing, mostly. @returns where it ends */
  private putTableSize(into: Buffer, at: number): number {
    if (!this.resizesTable) return at;
    this.resizesTable = false;
    into[at] = NO_TABLE;
    return at + 1;
  }

  private receiveData(frame: Frame): Code | undefined {
    const { stream, flags, payload } = frame;
    const octets = unpadded(frame);
    if (octets === undefined || stream === 0 || stream > this.lastStream) return CODE.PROTOCOL_ERROR;
    this.received += payload.length;
    if (this.received > FIRST_WINDOW) return CODE.FLOW_CONTROL_ERROR;
    if (this.received >= RENEWED_BYTES) this.parts.turns.add(this);
    const incoming = this.streams.get(stream);
    if (incoming === undefined) return undefined;
    if (incoming.isReceived) {
      this.reset(incoming, CODE.STREAM_CLOSED);
      return undefined;
    }
    incoming.bodyWindow -= payload.length;
    if (incoming.bodyWindow < 0) {
      this.reset(incoming, CODE.FLOW_CONTROL_ERROR);
      return undefined;
    }
    this.receiveBody(incoming, octets);
    if (incoming.isOver) return undefined;
    const padding = payload.length - octets.length;
    if ((flags & HAS.END_STREAM) !== 0) this.completed(incoming);
    else if (padding > 0) {
      incoming.bodyWindow += padding;
      this.queue(frameOf(FRAME.WINDOW_UPDATE, 0, stream, padding));
    }
    return undefined;
  }

  private receiveBody(incoming: Incoming, octets: Buffer): void {
    if (!this.incomplete.has(incoming)) return;
    this.bodyBytes += octets.length;
    incoming.body.add(Buffer.from(octets));
    if (incoming.body.bytes > MAX_MESSAGE_BYTES) {
      this.stopBody(incoming);
      incoming.send(TOO_LARGE);
    } else if (this.bodyBytes > MOST_BODY_BYTES) this.reset(incoming, CODE.ENHANCE_YOUR_CALM);
  }

  /** The client has sent all of a request. */
  private completed(incoming: Incoming): void {
    incoming.isReceived = true;
    if (!this.stopBody(incoming)) return;
    const { body, head } = incoming;
    const { contentLength } = head;
    if (contentLength !== undefined && Number(contentLength) !== body.bytes)
      return this.reset(incoming, CODE.PROTOCOL_ERROR);
    this.requests.takeBody(head, body.message, incoming);
    this.holdIfMany();
  }

  /** No more of a body is needed. @returns whether it was needed until now */
  private stopBody(incoming: Incoming): boolean {
    if (!this.incomplete.delete(incoming)) return false;
    this.bodyBytes -= incoming.body.bytes;
    return true;
  }

  /** A body that comes octet by octet must not be waited for as long as the connection is used for others. */
  private endOldest(): void {
    const [oldest] = this.incomplete;
    if (oldest !== undefined && this.parts.clock.monotonicMs() - oldest.since > IDLE_MS)
      this.reset(oldest, CODE.CANCEL);
  }

  private receiveReset(stream: number, payload: Buffer): Code | undefined {
    if (payload.length !== 4) return CODE.FRAME_SIZE_ERROR;
    if (stream === 0 || stream > this.lastStream) return CODE.PROTOCOL_ERROR;
    const incoming = this.streams.get(stream);
    if (incoming !== undefined) this.drop(incoming);
    this.parts.turns.add(this);
    return undefined;
  }

  private receiveSettings({ flags, stream, payload }: Frame): Code | undefined {
    if (stream !== 0) return CODE.PROTOCOL_ERROR;
    if ((flags & HAS.ACK) !== 0) return payload.length === 0 ? undefined : CODE.FRAME_SIZE_ERROR;
    if (payload.length % SETTING_BYTES !== 0) return CODE.FRAME_SIZE_ERROR;
    const before = this.streamWindow;
    for (let at = 0; at < payload.length; at += SETTING_BYTES) {
      const value = u32At(payload, at + 2);
      const id = u16At(payload, at);
      if (id === SETTING.INITIAL_WINDOW_SIZE) {
        if (value > MOST_31) return CODE.FLOW_CONTROL_ERROR;
        this.streamWindow = value;
      } else if (id === SETTING.HEADER_TABLE_SIZE) {
        if (value < TABLE_BYTES) this.resizesTable = true;
      } else if (id === SETTING.ENABLE_PUSH) {
        if (value > 1) return CODE.PROTOCOL_ERROR;
      } else if (id === SETTING.MAX_FRAME_SIZE) {
        if (value < MOST_PAYLOAD_BYTES || value > 0xff_ffff) return CODE.PROTOCOL_ERROR;
        this.mostPayload = Math.min(value, MOST_PAYLOAD_BYTES);
      }
    }
    // Those of open streams change with it, also below 0 (§6.9.2).
    for (const each of this.streams.values()) {
      each.window += this.streamWindow - before;
      if (each.window > MOST_31) return CODE.FLOW_CONTROL_ERROR;
    }
    this.queue(frameOf(FRAME.SETTINGS, HAS.ACK, 0));
    return undefined;
  }

  private receivePing({ flags, stream, payload }: Frame): Code | undefined {
    if (stream !== 0) return CODE.PROTOCOL_ERROR;
    if (payload.length !== 8) return CODE.FRAME_SIZE_ERROR;
    if ((flags & HAS.ACK) === 0) this.queue(frameOf(FRAME.PING, HAS.ACK, 0, u32At(payload, 0), u32At(payload, 4)));
    else if (this.partingSince !== undefined && u32At(payload, 0) === PARTING) this.finishNow();
    return undefined;
  }

  private receiveWindow(stream: number, payload: Buffer): Code | undefined {
    if (payload.length !== 4) return CODE.FRAME_SIZE_ERROR;
    const more = u32At(payload, 0) & MOST_31;
    if (stream > this.lastStream || (stream !== 0 && stream % 2 === 0)) return CODE.PROTOCOL_ERROR;
    if (stream === 0) {
      if (more === 0) return CODE.PROTOCOL_ERROR;
      this.window += more;
      if (this.window > MOST_31) return CODE.FLOW_CONTROL_ERROR;
    } else {
      const incoming = this.streams.get(stream);
      if (incoming === undefined) return undefined;
      incoming.window += more;
      if (more === 0) this.reset(incoming, CODE.PROTOCOL_ERROR);
      else if (incoming.window > MOST_31) this.reset(incoming, CODE.FLOW_CONTROL_ERROR);
    }
    if (this.sending.size > 0) this.parts.turns.add(this);
    return undefined;
  }

  /** Ends a stream without a response, or within one. */
  reset(incoming: Incoming, code: Code): void {
    if (incoming.isOver) return;
    this.drop(incoming);
    this.queue(frameOf(FRAME.RST_STREAM, 0, incoming.stream, code));
  }

  /** A stream is closed. */
  private drop(incoming: Incoming): void {
    incoming.isOver = true;
    this.stopBody(incoming);
    this.streams.delete(incoming.stream);
    if (this.sending.delete(incoming)) this.requests.paid(incoming.unsent);
  }

  /** A stream has its response. */
  respond(incoming: Incoming, bytes: number): void {
    this.sending.add(incoming);
    this.parts.turns.add(this);
    // May close the connection.
    this.requests.owes(bytes);
  }

  /** Lets the client send as much as it has sent (§6.9), once the kernel takes what we have to say. */
  private renewWindow(): void {
    if (this.received < RENEWED_BYTES) return;
    this.control.push(frameOf(FRAME.WINDOW_UPDATE, 0, 0, this.received));
    this.received = 0;
  }

  /** Sends a frame without a response. */
  private queue(frame: Buffer): void {
    this.control.push(frame);
    this.parts.turns.add(this);
  }

  /** A request of whose response something may be sent. */
  private nextToSend(): Incoming | undefined {
    for (const each of this.sending) {
      const { isBegun, unsent, window } = each;
      if (!isBegun || unsent === 0 || (window > 0 && this.window > 0)) return each;
    }
    return undefined;
  }

  /** Writes what waits, and something of a response. No more than one: some clients take one from each record of TLS. */
  private write(next: Incoming | undefined): void {
    const { control, parts, socket } = this;
    this.control = [];
    const controlBytes = control.reduce((sum, { length }) => sum + length, 0);
    const bytes = next === undefined ? 0 : MOST_OF_RESPONSE_BYTES + Math.min(next.unsent, this.mostPayload);
    const room = parts.memory.take(controlBytes + bytes);
    let at = 0;
    for (const each of control) at += each.copy(room, at);
    if (next !== undefined) at = this.fill(next, room, at);
    this.writing = room;
    parts.turns.spend(WORK_OF_WRITE);
    socket.write(room.subarray(0, at), this.taken);
    // The kernel mostly takes all at once. Node.js says so some time later.
    if (socket.writableLength === 0) this.finishWrite();
  }

  /** Writes what may be sent of a response. @returns where it ends */
  private fill(incoming: Incoming, into: Buffer, at: number): number {
    const { stream, reply } = incoming;
    let end = at;
    if (reply === undefined) return end;
    const isHead = incoming.head.method === 'HEAD' || reply.body.length === 0;
    if (!incoming.isBegun) {
      incoming.isBegun = true;
      const from = at + HEADER_BYTES;
      end = putResponseHead(into, this.putTableSize(into, from), reply);
      putHeader(into, at, end - from, FRAME.HEADERS, HAS.END_HEADERS | (isHead ? HAS.END_STREAM : 0), stream);
    }
    if (!isHead) end = this.fillBody(incoming, reply.body, into, end);
    this.sending.delete(incoming);
    if (incoming.unsent > 0) {
      // Others come first.
      this.sending.add(incoming);
      return end;
    }
    if (reply.status === 200) this.frames.earn();
    this.progresses ||= isAnswer(reply);
    this.drop(incoming);
    // Nobody wants the rest of the request (§8.1).
    if (incoming.isReceived) return end;
    return end + frameOf(FRAME.RST_STREAM, 0, stream, CODE.NO_ERROR).copy(into, end);
  }

  private fillBody(incoming: Incoming, body: Buffer, into: Buffer, at: number): number {
    const { stream, unsent } = incoming;
    const bytes = Math.min(unsent, incoming.window, this.window, this.mostPayload);
    if (bytes <= 0) return at;
    const end = putHeader(into, at, bytes, FRAME.DATA, bytes === unsent ? HAS.END_STREAM : 0, stream);
    body.copy(into, end, body.length - unsent, body.length - unsent + bytes);
    incoming.unsent -= bytes;
    incoming.window -= bytes;
    this.window -= bytes;
    this.writingBody += bytes;
    if (incoming.reply !== undefined && isAnswer(incoming.reply)) this.progress += bytes;
    return end + bytes;
  }

  /** The kernel has taken all of a write. */
  private readonly taken = (): void => {
    // Or of one that was finished already, while another is not.
    if (this.writing === undefined || this.socket.writableLength > 0) return;
    // That was the last one, and the end follows it.
    if (this.isOver) return;
    this.finishWrite();
    this.parts.turns.add(this);
  };

  private finishWrite(): void {
    const { writing, writingBody } = this;
    if (writing !== undefined) this.parts.memory.give(writing);
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

/** One request. */
class Incoming implements Exchange {
  readonly body = new RequestBody();
  /** Whether the client has sent all of it. */
  isReceived = false;
  /** Whether its stream is closed. */
  isOver = false;
  /** What we let the client send on this stream. */
  bodyWindow = BODY_WINDOW;
  reply: HttpReply | undefined = undefined;
  /** Whether the header fields of the response are written, and how many octets of its body are not. */
  isBegun = false;
  unsent = 0;

  constructor(
    private readonly session: Http2Session,
    readonly stream: number,
    readonly head: RequestHead,
    /** What the client lets us send on this stream. */
    public window: number,
    readonly since: MonoMs,
  ) {}

  send(reply: HttpReply): void {
    if (this.isOver || this.reply !== undefined) return;
    this.reply = reply;
    this.unsent = this.head.method === 'HEAD' ? 0 : reply.body.length;
    this.session.respond(this, this.unsent);
  }

  abandon(): void {
    this.session.reset(this, CODE.CANCEL);
  }
}
