// One connection of a client over HTTP/2 (RFC 9113): its streams, and what the client sends. node:http2 does the same for
// several times the CPU time of an answer, above all with streams of its own around each connection and request.
//
// Everything that a client can make us keep has a bound: streams and queries (SessionLimits), bodies that are not
// complete, responses that are not read (ClientRequests), header fields (below), the table for them (hpack), and frames
// (http2-frames), which bound all that is written without a request (http2-writer).

import { u16At, u32At } from '../base/octets.js';
import type { MonoMs } from '../base/time.js';
import type { Connection } from './connection.js';
import { TABLE_BYTES } from './hpack.js';
import { MOST_HEADER_BYTES } from './http-request.js';
import { ClientRequests, type HttpParts, type Peer } from './http-requests.js';
import { QueryTargets, RequestBlocks } from './http2-blocks.js';
import {
  CODE,
  type Code,
  FRAME,
  type Frame,
  frameOf,
  Http2FrameReader,
  HAS,
  MOST_31,
  MOST_PAYLOAD_BYTES,
  PRIORITY_BYTES,
  SETTING,
  SETTING_BYTES,
  settingsOf,
  unpad,
} from './http2-frames.js';
import { BODY_WINDOW, type RequestStream } from './http2-stream.js';
import { RequestStreams } from './http2-streams.js';
import { Http2Writer, type WriterEvents, WriteRoom } from './http2-writer.js';
import { IDLE_MS, type Occupant, type Place } from './sessions.js';

/** A request takes as long as some cached answers over UDP. */
const WORK_OF_REQUEST = 4;
/** The octets of a header block, compressed. More end the connection. Those that are larger uncompressed get 431. */
const MOST_BLOCK_BYTES = 2 * MOST_HEADER_BYTES;
/** To read so many octets of header fields takes as long as a cached answer over UDP. */
const FIELD_BYTES_OF_WORK = 64;
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
export class Http2Session implements Occupant, WriterEvents {
  private readonly requests: ClientRequests;
  private readonly frames = new Http2FrameReader(frame => this.receive(frame));
  private readonly writer: Http2Writer;
  private readonly streams: RequestStreams;
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
    this.writer = new Http2Writer(socket, parts, shared.room, this.requests, this);
    const blocks = new RequestBlocks(shared.targets, parts.path);
    const taken = (): void => this.holdIfMany();
    const { requests, writer } = this;
    this.streams = new RequestStreams({ shared: parts, requests, writer, blocks, taken });
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
    this.finishing = this.streams.areLast = true;
    this.writer.queue(frameOf(FRAME.GOAWAY, 0, 0, this.streams.lastTaken, CODE.NO_ERROR));
  }

  private read(octets: Buffer): void {
    if (this.writer.isOver) return this.ignore(octets.length);
    const now = this.parts.clock.monotonicMs();
    // One that never answers our PING knows by now, too.
    if (this.partingSince !== undefined && now - this.partingSince > IDLE_MS) this.finishNow();
    this.parts.turns.begin();
    this.streams.isReading = true;
    let code: Code | undefined;
    try {
      code = this.frames.read(octets, now);
    } catch (error) {
      // os/process-errors decides whether the process ends. This session cannot continue: the rest is lost.
      this.socket.destroy();
      throw error;
    } finally {
      this.streams.isReading = false;
    }
    if (code !== undefined) this.fail(code);
    // The last response may have left within the read, and then no turn of the writer follows.
    else this.drained();
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
    this.streams.end();
    this.finishNow();
  }

  private forget(): void {
    this.writer.close();
    this.requests.close();
    this.streams.close();
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
    this.writer.sendLast(frameOf(FRAME.GOAWAY, 0, 0, this.streams.lastTaken, code));
  }

  drained(): void {
    if (!this.finishing || this.writer.isOver || this.streams.open > 0 || !this.writer.isIdle) return;
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
        return this.streams.receiveData(frame);
      case FRAME.HEADERS:
        return this.receiveHeaders(frame);
      case FRAME.CONTINUATION:
        return this.receiveMore(frame);
      case FRAME.PRIORITY:
        // It says nothing that matters here.
        if (stream === 0) return CODE.PROTOCOL_ERROR;
        return frame.bytes === PRIORITY_BYTES ? undefined : CODE.FRAME_SIZE_ERROR;
      case FRAME.RST_STREAM:
        return this.streams.receiveReset(frame);
      case FRAME.SETTINGS:
        return this.receiveSettings(frame);
      case FRAME.PING:
        return this.receivePing(frame);
      case FRAME.GOAWAY:
        return stream === 0 ? undefined : CODE.PROTOCOL_ERROR;
      case FRAME.WINDOW_UPDATE:
        return this.streams.receiveWindow(frame);
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

  private receiveBlock(stream: number, flags: number, octets: Buffer, from: number, to: number): Code | undefined {
    this.parts.turns.spend(Math.floor((to - from) / FIELD_BYTES_OF_WORK));
    const isLast = (flags & HAS.END_STREAM) !== 0;
    return this.frames.spendFields(to - from) ?? this.streams.receiveBlock(stream, isLast, octets, from, to);
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
    const code = this.streams.widen(this.writer.streamWindow - before);
    if (code !== undefined) return code;
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

  earned(stream: number): void {
    this.frames.earn(stream);
  }

  sent(opened: RequestStream): void {
    this.streams.sent(opened);
  }
}
