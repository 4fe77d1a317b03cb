// One connection of a client over HTTP/2 (RFC 9113): its streams, and what the client sends. node:http2 does the same for
// several times the CPU time of an answer, above all with streams of its own around each connection and request.
//
// Everything that a client can make us keep has a bound: streams and queries (SessionLimits), bodies that are not
// complete, responses that are not read (ClientRequests), header fields (below), the table for them (hpack), and frames
// (http2-frames), which bound all that is written without a request (http2-writer).

import { u16At, u32At } from '../base/octets.js';
import type { MonoMs } from '../base/time.js';
import { MAX_MESSAGE_BYTES } from '../wire/header.js';
import type { Connection } from './connection.js';
import { TABLE_BYTES } from './hpack.js';
import { FIELDS_TOO_LARGE, MOST_HEADER_BYTES, type RequestHead, type RequestParts, TOO_LARGE } from './http-request.js';
import { ClientRequests, type HttpParts, type Peer, RequestBody } from './http-requests.js';
import { QueryTargets, type Recognised, RequestBlocks } from './http2-blocks.js';
import type { RequestFields } from './http2-fields.js';
import {
  CODE,
  type Code,
  FRAME,
  type Frame,
  frameOf,
  FrameReader,
  HAS,
  MOST_31,
  MOST_PAYLOAD_BYTES,
  PRIORITY_BYTES,
  SETTING,
  SETTING_BYTES,
  settingsOf,
  unpad,
} from './http2-frames.js';
import { BODY_WINDOW, RequestStream, type StreamSession } from './http2-stream.js';
import { Http2Writer, type WriterEvents, WriteRoom } from './http2-writer.js';
import { IDLE_MS, type Occupant, type Place } from './sessions.js';

/** A request takes as long as some cached answers over UDP. */
const WORK_OF_REQUEST = 4;
/** The octets of a header block, compressed. More end the connection. Those that are larger uncompressed get 431. */
const MOST_BLOCK_BYTES = 2 * MOST_HEADER_BYTES;
/** To read so many octets of header fields takes as long as a cached answer over UDP. */
const FIELD_BYTES_OF_WORK = 64;
/** The octets of all bodies that are not complete. Queries have some hundred. */
const MOST_BODY_BYTES = 2 * MAX_MESSAGE_BYTES;
/** While more queries wait for their turn, nothing is read. */
const MOST_WAITING = 32;
/** What a client may still send after an error, so that the reason reaches it: the kernel forgets it otherwise. */
const MOST_IGNORED_BYTES = 1 << 17;
/** What tells our PING from others. */
const PARTING = 0x676f_2121;

/** What connections of a listener share. */
export class Http2Shared {
  readonly room = new WriteRoom();
  readonly targets = new QueryTargets();
}

/** A connection. */
export class Http2Session implements Occupant, StreamSession, WriterEvents {
  private readonly requests: ClientRequests;
  private readonly frames = new FrameReader(frame => this.receive(frame));
  private readonly blocks: RequestBlocks;
  private readonly writer: Http2Writer;
  /** Whether what has come is being handled. */
  private isReading = false;
  /** Requests whose stream is not closed, the oldest first. */
  private readonly streams = new Map<number, RequestStream>();
  /** Those of them whose bodies are not complete, and the octets of these bodies. */
  private readonly incomplete = new Set<RequestStream>();
  private bodyBytes = 0;
  /** The last stream that the client has opened, and the last one that may be answered. */
  private lastStream = 0;
  private lastTaken = 0;
  /** A header block that goes on in the next frame. */
  private block:
    { readonly stream: number; readonly flags: number; readonly parts: Buffer[]; bytes: number } | undefined =
    undefined;
  /** Octets that have come after an error. */
  private ignored = 0;
  /** When we have said that we shall end it: what was sent until the client knew is still taken. */
  private partingSince: MonoMs | undefined = undefined;
  /** No more requests are taken: we say so, or the client sends no more. */
  private finishing = false;

  constructor(
    private readonly socket: Connection,
    peer: Peer,
    place: Place,
    private readonly parts: HttpParts,
    shared: Http2Shared,
  ) {
    place.occupant = this;
    this.requests = new ClientRequests(peer, place, parts, { work: WORK_OF_REQUEST, drained: () => this.readOn() });
    this.blocks = new RequestBlocks(shared.targets, parts.path);
    this.writer = new Http2Writer(socket, parts, shared.room, this.requests, this);
    this.writer.queue(
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
    if (this.partingSince !== undefined || this.finishing || this.writer.isOver) return;
    this.partingSince = this.parts.clock.monotonicMs();
    this.writer.queue(frameOf(FRAME.GOAWAY, 0, 0, MOST_31, CODE.NO_ERROR));
    this.writer.queue(frameOf(FRAME.PING, 0, 0, PARTING, PARTING));
  }

  private finishNow(): void {
    if (this.finishing || this.writer.isOver) return;
    this.finishing = true;
    this.writer.queue(frameOf(FRAME.GOAWAY, 0, 0, this.lastTaken, CODE.NO_ERROR));
  }

  private read(octets: Buffer): void {
    if (this.writer.isOver) return this.ignore(octets.length);
    const now = this.parts.clock.monotonicMs();
    // One that never answers our PING knows by now, too.
    if (this.partingSince !== undefined && now - this.partingSince > IDLE_MS) this.finishNow();
    this.parts.turns.begin();
    this.isReading = true;
    let code: Code | undefined;
    try {
      code = this.frames.read(octets, now);
    } catch (error) {
      // os/process-errors decides whether the process ends. This session cannot continue: the rest is lost.
      this.socket.destroy();
      throw error;
    } finally {
      this.isReading = false;
    }
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
    if (this.writer.isOver) return;
    for (const each of this.incomplete) this.reset(each, CODE.CANCEL);
    this.finishNow();
  }

  private forget(): void {
    this.writer.close();
    this.requests.close();
    this.streams.clear();
    this.incomplete.clear();
  }

  /** An error of the protocol: it only concerns the client. */
  private fail(code: Code): void {
    if (code === CODE.ENHANCE_YOUR_CALM) this.parts.observer.dropped('http_flood');
    this.sayWhy(code);
    this.forget();
    // Closed at once, it would be a reset while anything is unread, and the client would not see why.
    this.readOn();
    this.writer.end();
  }

  /** The last that is written says why nothing more is taken. */
  private sayWhy(code: Code): void {
    this.writer.sendLast(frameOf(FRAME.GOAWAY, 0, 0, this.lastTaken, code));
  }

  drained(): void {
    if (!this.finishing || this.writer.isOver || this.streams.size > 0 || !this.writer.isIdle) return;
    this.writer.isOver = true;
    this.socket.end();
  }

  /** Handles a frame. @returns the code of an error that ends the connection */
  private receive(frame: Frame): Code | undefined {
    const { type, stream } = frame;
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
        return frame.bytes === PRIORITY_BYTES ? undefined : CODE.FRAME_SIZE_ERROR;
      case FRAME.RST_STREAM:
        return this.receiveReset(frame);
      case FRAME.SETTINGS:
        return this.receiveSettings(frame);
      case FRAME.PING:
        return this.receivePing(frame);
      case FRAME.GOAWAY:
        return stream === 0 ? undefined : CODE.PROTOCOL_ERROR;
      case FRAME.WINDOW_UPDATE:
        return this.receiveWindow(frame);
      case FRAME.PUSH_PROMISE:
        return CODE.PROTOCOL_ERROR;
      default:
        // Of an extension that we do not know (§5.5).
        return undefined;
    }
  }

  private receiveHeaders(frame: Frame): Code | undefined {
    if (!unpad(frame) || frame.stream % 2 === 0) return CODE.PROTOCOL_ERROR;
    const { stream, flags, octets, from, to } = frame;
    if ((flags & HAS.END_HEADERS) !== 0) return this.receiveBlock(stream, flags, octets, from, to);
    this.block = { stream, flags, parts: [Buffer.from(frame.payload)], bytes: frame.bytes };
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
    return this.receiveBlock(stream, block.flags, Buffer.concat(block.parts), 0, block.bytes);
  }

  /**
   * All header fields of a request, or of trailers, in octets [from, to). They are read in any case, because of the table.
   */
  private receiveBlock(stream: number, flags: number, octets: Buffer, from: number, to: number): Code | undefined {
    const bytes = to - from;
    this.parts.turns.spend(Math.floor(bytes / FIELD_BYTES_OF_WORK));
    const code = this.frames.spendFields(bytes);
    if (code !== undefined) return code;
    const known = this.blocks.recognise(octets, from, to);
    const fields = known === undefined ? this.blocks.read(octets, from, to) : undefined;
    if (known === undefined && fields === undefined) return CODE.COMPRESSION_ERROR;
    const isLast = (flags & HAS.END_STREAM) !== 0;
    if (stream <= this.lastStream) {
      this.receiveTrailers(stream, isLast && fields?.areTrailers === true);
      return undefined;
    }
    this.lastStream = stream;
    // After GOAWAY, the client asks again elsewhere (§6.8).
    if (this.finishing) return undefined;
    this.lastTaken = stream;
    if (known !== undefined) this.beginKnown(stream, known, isLast);
    else if (fields !== undefined) this.beginRead(stream, fields, isLast);
    return undefined;
  }

  private receiveTrailers(stream: number, areTrailers: boolean): void {
    const known = this.streams.get(stream);
    // Of one that is closed: they were sent before the client knew.
    if (known === undefined) return;
    if (areTrailers) this.completed(known);
    else this.reset(known, CODE.PROTOCOL_ERROR);
  }

  /** A request whose fields were read. */
  private beginRead(stream: number, fields: RequestFields, isLast: boolean): void {
    const { head } = fields;
    const opened = this.open(stream, head, isLast);
    if (head === undefined || opened === undefined) return;
    if (!fields.isTooLarge) return this.take(opened, head, fields.expectsContinue);
    this.streams.set(stream, opened);
    opened.send(FIELDS_TOO_LARGE);
  }

  /** A request like the one before. */
  private beginKnown(stream: number, known: Recognised, isLast: boolean): void {
    const opened = this.open(stream, known.parts, isLast);
    if (opened === undefined) return;
    if (known.at === 'head') return this.take(opened, known.parts, false);
    this.requests.takeMessage(known.parts, this.blocks.message, opened);
    this.keep(opened);
    this.holdIfMany();
  }

  /** Opens a stream. @returns undefined: the request is malformed, or not taken */
  private open(stream: number, head: RequestParts | undefined, isLast: boolean): RequestStream | undefined {
    const { requests, parts, writer } = this;
    if (this.incomplete.size > 0) this.endOldest();
    // Without a body, it has no octets.
    const isWrong = head === undefined || (isLast && Number(head.contentLength ?? 0) !== 0);
    if (isWrong) {
      writer.queue(frameOf(FRAME.RST_STREAM, 0, stream, CODE.PROTOCOL_ERROR));
      return undefined;
    }
    if (requests.isFull || this.streams.size >= parts.limits.inflightPerSession) {
      writer.queue(frameOf(FRAME.RST_STREAM, 0, stream, CODE.REFUSED_STREAM));
      return undefined;
    }
    const opened = new RequestStream(this, stream, head, writer.streamWindow, parts.clock.monotonicMs());
    opened.isReceived = isLast;
    return opened;
  }

  /** Takes the head of a request. */
  private take(opened: RequestStream, head: RequestHead, expectsContinue: boolean): void {
    const needsBody = this.requests.take(head, opened);
    this.keep(opened);
    if (!needsBody) return this.holdIfMany();
    this.incomplete.add(opened);
    if (opened.isReceived) this.completed(opened);
    else if (expectsContinue) this.writer.sendContinue(opened.id);
  }

  /** Remembers a stream, unless its response was written already. */
  private keep(opened: RequestStream): void {
    if (!opened.isOver) this.streams.set(opened.id, opened);
  }

  private receiveData(frame: Frame): Code | undefined {
    const { stream, flags, bytes } = frame;
    if (!unpad(frame) || stream === 0 || stream > this.lastStream) return CODE.PROTOCOL_ERROR;
    if (!this.writer.took(bytes)) return CODE.FLOW_CONTROL_ERROR;
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
      this.writer.queue(frameOf(FRAME.WINDOW_UPDATE, 0, stream, padding));
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
    this.requests.takeBody(head, body?.message ?? NOTHING, opened);
    this.holdIfMany();
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
    if (oldest !== undefined && this.parts.clock.monotonicMs() - oldest.since > IDLE_MS)
      this.reset(oldest, CODE.CANCEL);
  }

  private receiveReset({ stream, bytes }: Frame): Code | undefined {
    if (bytes !== 4) return CODE.FRAME_SIZE_ERROR;
    if (stream === 0 || stream > this.lastStream) return CODE.PROTOCOL_ERROR;
    const opened = this.streams.get(stream);
    if (opened !== undefined) this.drop(opened);
    this.parts.turns.add(this.writer);
    return undefined;
  }

  private receiveSettings({ flags, stream, payload }: Frame): Code | undefined {
    if (stream !== 0) return CODE.PROTOCOL_ERROR;
    if ((flags & HAS.ACK) !== 0) return payload.length === 0 ? undefined : CODE.FRAME_SIZE_ERROR;
    if (payload.length % SETTING_BYTES !== 0) return CODE.FRAME_SIZE_ERROR;
    const before = this.writer.streamWindow;
    for (let at = 0; at < payload.length; at += SETTING_BYTES) {
      const value = u32At(payload, at + 2);
      const id = u16At(payload, at);
      if (id === SETTING.INITIAL_WINDOW_SIZE) {
        if (value > MOST_31) return CODE.FLOW_CONTROL_ERROR;
        this.writer.streamWindow = value;
      } else if (id === SETTING.HEADER_TABLE_SIZE) {
        if (value < TABLE_BYTES) this.writer.resizesTable = true;
      } else if (id === SETTING.ENABLE_PUSH) {
        if (value > 1) return CODE.PROTOCOL_ERROR;
      } else if (id === SETTING.MAX_FRAME_SIZE) {
        if (value < MOST_PAYLOAD_BYTES || value > 0xff_ffff) return CODE.PROTOCOL_ERROR;
        this.writer.mostPayload = Math.min(value, MOST_PAYLOAD_BYTES);
      }
    }
    // Those of open streams change with it, also below 0 (§6.9.2).
    for (const each of this.streams.values()) {
      each.window += this.writer.streamWindow - before;
      if (each.window > MOST_31) return CODE.FLOW_CONTROL_ERROR;
    }
    this.writer.queue(frameOf(FRAME.SETTINGS, HAS.ACK, 0));
    return undefined;
  }

  private receivePing({ flags, stream, payload }: Frame): Code | undefined {
    if (stream !== 0) return CODE.PROTOCOL_ERROR;
    if (payload.length !== 8) return CODE.FRAME_SIZE_ERROR;
    if ((flags & HAS.ACK) === 0)
      this.writer.queue(frameOf(FRAME.PING, HAS.ACK, 0, u32At(payload, 0), u32At(payload, 4)));
    else if (this.partingSince !== undefined && u32At(payload, 0) === PARTING) this.finishNow();
    return undefined;
  }

  private receiveWindow({ stream, bytes, octets, from }: Frame): Code | undefined {
    if (bytes !== 4) return CODE.FRAME_SIZE_ERROR;
    const more = u32At(octets, from) & MOST_31;
    if (stream > this.lastStream || (stream !== 0 && stream % 2 === 0)) return CODE.PROTOCOL_ERROR;
    if (stream === 0) {
      if (more === 0) return CODE.PROTOCOL_ERROR;
      if (!this.writer.widen(more)) return CODE.FLOW_CONTROL_ERROR;
    } else {
      const opened = this.streams.get(stream);
      if (opened === undefined) return undefined;
      opened.window += more;
      if (more === 0) this.reset(opened, CODE.PROTOCOL_ERROR);
      else if (opened.window > MOST_31) this.reset(opened, CODE.FLOW_CONTROL_ERROR);
    }
    this.writer.goOn();
    return undefined;
  }

  reset(opened: RequestStream, code: Code): void {
    if (opened.isOver) return;
    this.drop(opened);
    this.writer.queue(frameOf(FRAME.RST_STREAM, 0, opened.id, code));
  }

  /** A stream is closed. */
  private drop(opened: RequestStream): void {
    if (this.writer.drop(opened)) this.requests.paid(opened.unsent);
    this.sent(opened);
  }

  earned(): void {
    this.frames.earn();
  }

  sent(opened: RequestStream): void {
    opened.isOver = true;
    if (this.incomplete.size > 0) this.stopBody(opened);
    if (this.streams.size > 0) this.streams.delete(opened.id);
  }

  respond(opened: RequestStream, bytes: number): void {
    // May close the connection.
    this.requests.owes(bytes);
    this.writer.respond(opened, this.isReading);
  }
}

const NOTHING = Buffer.alloc(0);
