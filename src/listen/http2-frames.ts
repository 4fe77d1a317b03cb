// The frames of HTTP/2 (RFC 9113 §4 and §6): takes the octets of a client apart, and writes frames. What a client may
// send is counted before anything else looks at it. Requests that are answered earn frames, all others cost: a client
// that cancels its requests at once, or floods with PING, SETTINGS, CONTINUATION, WINDOW_UPDATE or empty frames
// (RFC 9113 §10.5), runs out of them.
//
//   frame header   length (3 octets), type (1), flags (1), stream (4)

import { putU16, putU32, u16At, u32At } from '../base/octets.js';
import { type MonoMs, monoMs } from '../base/time.js';

const NOTHING = Buffer.alloc(0);

/** Types of frames, */
export const FRAME = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const;
/** and their flags. */
export const HAS = { END_STREAM: 1, ACK: 1, END_HEADERS: 4, PADDING: 8, PRIORITY: 0x20 } as const;
/** Error codes (§7). */
export const CODE = {
  NO_ERROR: 0,
  PROTOCOL_ERROR: 1,
  FLOW_CONTROL_ERROR: 3,
  STREAM_CLOSED: 5,
  FRAME_SIZE_ERROR: 6,
  REFUSED_STREAM: 7,
  CANCEL: 8,
  COMPRESSION_ERROR: 9,
  ENHANCE_YOUR_CALM: 11,
} as const;
export type Code = (typeof CODE)[keyof typeof CODE];

/** What a client begins with (§3.4). */
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
export const HEADER_BYTES = 9;
/** The largest payload that is taken: the default, which is the least that must be (§4.2). */
export const MOST_PAYLOAD_BYTES = 1 << 14;
/** Stream numbers, windows and error codes have 31 bits; the highest is reserved. */
export const MOST_31 = 0x7fff_ffff;

/** What a client may send before it has got an answer: a burst of requests, and what browsers send beside them. */
const FIRST_FRAMES = 500;
/** What may be saved, */
const MOST_FRAMES = 1000;
/** what an answer earns, and a second: in an outage, clients cancel what they have waited for. */
const EARNED = 8;
const EARNED_PER_SECOND = 100;
/** and what a cancelled request costs: it makes work, and gets no answer (CVE-2023-44487). */
const RESET_COST = 4;
/** So many requests earn something by answers that leave in the read that they came with: a turn has less time. */
const MOST_ANSWERS = 64;
/** A time that is none. A field that is sometimes undefined would have a new object for each time. */
const NOT_YET = monoMs(-Infinity);
/** To read so many octets of header fields costs another one. */
const FIELD_BYTES = 512;

/** A frame. It and its octets may be overwritten after the call. */
export class Frame {
  type = 0;
  flags = 0;
  stream = 0;
  /** Its payload: octets [from, to). */
  octets: Buffer = NOTHING;
  from = 0;
  to = 0;

  /** The octets of its payload. */
  get bytes(): number {
    return this.to - this.from;
  }

  get payload(): Buffer {
    return this.octets.subarray(this.from, this.to);
  }
}

/** Handles a frame. @returns the code of an error that ends the connection */
export type TakeFrame = (frame: Frame) => Code | undefined;

/** Reads the frames of one connection. */
export class Http2FrameReader {
  private left = FIRST_FRAMES;
  /** Up to when the time was earned; at first that is not known. */
  private earnedAt = NOT_YET;
  /** Octets of the preface that have come. */
  private greeted = 0;
  private isFirst = true;
  /** What has come of a frame that is not complete. Its memory grows with what has come, not with what is announced. */
  private held: Buffer = NOTHING;
  private heldBytes = 0;
  /** The frame at hand. */
  private readonly frame = new Frame();
  /**
   * Whether octets are being read, and the streams whose requests were answered meanwhile: the first `answers` of these.
   * A Set would not do: V8 makes a new table when it is emptied, which the old one refers to, so that one that is old
   * keeps all later ones alive.
   */
  private isReading = false;
  private readonly answered: number[] = [];
  private answers = 0;

  constructor(private readonly take: TakeFrame) {}

  /** The request of a stream was answered. */
  earn(stream: number): void {
    if (this.isReading) {
      // What a turn leaves time for is less.
      if (this.answers === MOST_ANSWERS) return;
      this.answered[this.answers++] = stream;
    }
    this.left = Math.min(MOST_FRAMES, this.left + EARNED);
  }

  /** What it costs to cancel a request. One that was sent together with its cancellation earns nothing by its answer. */
  private costOfReset(stream: number): number {
    for (let i = 0; i < this.answers; i++) {
      if (this.answered[i] !== stream) continue;
      // Once.
      this.answered[i] = 0;
      return RESET_COST + EARNED;
    }
    return RESET_COST;
  }

  /** Header fields cost by their octets. @returns the code of an error that ends the connection */
  spendFields(bytes: number): Code | undefined {
    this.left -= Math.floor(bytes / FIELD_BYTES);
    return this.left < 0 ? CODE.ENHANCE_YOUR_CALM : undefined;
  }

  private earnTime(now: MonoMs): void {
    const sinceMs = this.earnedAt === NOT_YET ? 0 : now - this.earnedAt;
    this.earnedAt = now;
    this.left = Math.min(MOST_FRAMES, this.left + (sinceMs / 1000) * EARNED_PER_SECOND);
  }

  /** Takes octets. @returns the code of an error that ends the connection: nothing may be given to it any more */
  read(octets: Buffer, now: MonoMs): Code | undefined {
    this.earnTime(now);
    this.isReading = true;
    const code = this.readFrames(octets);
    this.isReading = false;
    this.answers = 0;
    return code;
  }

  private readFrames(octets: Buffer): Code | undefined {
    let at = 0;
    while (this.greeted < PREFACE.length && at < octets.length)
      if (octets[at++] !== PREFACE[this.greeted++]) return CODE.PROTOCOL_ERROR;
    let code: Code | undefined;
    while (at < octets.length && code === undefined) {
      const end = at + frameBytes(octets, at, octets.length);
      if (this.heldBytes === 0 && end > at && end <= octets.length) {
        code = this.pass(octets, at, end);
        at = end;
      } else {
        at += this.hold(octets, at);
        code = this.passHeld();
      }
    }
    return code;
  }

  /** Keeps octets up to the end of a frame header, or of the frame. @returns how many */
  private hold(octets: Buffer, at: number): number {
    const { heldBytes } = this;
    const wanted = frameBytes(this.held, 0, heldBytes) || HEADER_BYTES;
    const bytes = Math.min(wanted - heldBytes, octets.length - at);
    if (heldBytes + bytes > this.held.length) {
      const room = Buffer.allocUnsafeSlow(Math.max(FIRST_ROOM_BYTES, 2 * this.held.length, heldBytes + bytes));
      this.held.copy(room, 0, 0, heldBytes);
      this.held = room;
    }
    octets.copy(this.held, heldBytes, at, at + bytes);
    this.heldBytes += bytes;
    return bytes;
  }

  private passHeld(): Code | undefined {
    const { held, heldBytes } = this;
    const bytes = frameBytes(held, 0, heldBytes);
    if (bytes > HEADER_BYTES + MOST_PAYLOAD_BYTES) return CODE.FRAME_SIZE_ERROR;
    if (bytes === 0 || heldBytes < bytes) return undefined;
    this.held = NOTHING;
    this.heldBytes = 0;
    return this.pass(held, 0, bytes);
  }

  private pass(octets: Buffer, at: number, end: number): Code | undefined {
    const { frame } = this;
    frame.type = octets[at + 3] ?? 0;
    frame.flags = octets[at + 4] ?? 0;
    frame.stream = u32At(octets, at + 5) & MOST_31;
    this.left -= frame.type === FRAME.RST_STREAM ? this.costOfReset(frame.stream) : 1;
    if (this.left < 0) return CODE.ENHANCE_YOUR_CALM;
    if (end - at > HEADER_BYTES + MOST_PAYLOAD_BYTES) return CODE.FRAME_SIZE_ERROR;
    if (this.isFirst) {
      // An acknowledgement is not the settings of the client (§3.4).
      if (frame.type !== FRAME.SETTINGS || (frame.flags & HAS.ACK) !== 0) return CODE.PROTOCOL_ERROR;
      this.isFirst = false;
    }
    frame.octets = octets;
    frame.from = at + HEADER_BYTES;
    frame.to = end;
    const code = this.take(frame);
    // Nothing is kept alive by it.
    frame.octets = NOTHING;
    return code;
  }
}

const FIRST_ROOM_BYTES = 64;

/** The octets of the frame that begins at `at`; 0: its header is not complete at `end`. */
const frameBytes = (octets: Buffer, at: number, end: number): number =>
  end - at < HEADER_BYTES ? 0 : HEADER_BYTES + ((u16At(octets, at) << 8) | (octets[at + 2] ?? 0));

/** Cuts padding and priority off the payload of a DATA or HEADERS frame (§6.1, §6.2). @returns false: it is malformed */
export function unpad(frame: Frame): boolean {
  const { type, flags, octets, from } = frame;
  const isPadded = (flags & HAS.PADDING) !== 0;
  if (isPadded) {
    frame.from++;
    frame.to -= octets[from] ?? 0;
  }
  if (type === FRAME.HEADERS && (flags & HAS.PRIORITY) !== 0) frame.from += PRIORITY_BYTES;
  return frame.from <= frame.to;
}

/** Of the fields that say how much a stream matters (§6.3). */
export const PRIORITY_BYTES = 5;

/** Writes a frame header. @returns where it ends */
export function putHeader(
  into: Buffer,
  at: number,
  bytes: number,
  type: number,
  flags: number,
  stream: number,
): number {
  putU32(into, at, (bytes << 8) | type);
  into[at + 4] = flags;
  putU32(into, at + 5, stream);
  return at + HEADER_BYTES;
}

/** A frame whose payload is some 32-bit numbers. */
export function frameOf(type: number, flags: number, stream: number, ...numbers: readonly number[]): Buffer {
  const frame = Buffer.allocUnsafe(HEADER_BYTES + 4 * numbers.length);
  let at = putHeader(frame, 0, 4 * numbers.length, type, flags, stream);
  for (const each of numbers) {
    putU32(frame, at, each);
    at += 4;
  }
  return frame;
}

/** A SETTINGS frame (§6.5). */
export function settingsOf(settings: readonly (readonly [id: number, value: number])[]): Buffer {
  const frame = Buffer.alloc(HEADER_BYTES + SETTING_BYTES * settings.length);
  let at = putHeader(frame, 0, SETTING_BYTES * settings.length, FRAME.SETTINGS, 0, 0);
  for (const [id, value] of settings) {
    putU16(frame, at, id);
    putU32(frame, at + 2, value);
    at += SETTING_BYTES;
  }
  return frame;
}

/** Of a number and its value. */
export const SETTING_BYTES = 6;
/** The settings that are sent or read. */
export const SETTING = {
  HEADER_TABLE_SIZE: 1,
  ENABLE_PUSH: 2,
  MAX_CONCURRENT_STREAMS: 3,
  INITIAL_WINDOW_SIZE: 4,
  MAX_FRAME_SIZE: 5,
  MAX_HEADER_LIST_SIZE: 6,
} as const;
