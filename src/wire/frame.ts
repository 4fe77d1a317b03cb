// Messages on a stream: two octets of length, then the message (RFC 1035 §4.2.2, RFC 7766 §8).

import { putU16, u16At } from '../base/octets.js';

/** Puts the length before a message in one buffer, so that both are sent in one segment. */
export function framed(message: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(2 + message.length);
  putU16(frame, 0, message.length);
  message.copy(frame, 2);
  return frame;
}

const FIRST_ROOM_BYTES = 512;
const NO_ROOM = Buffer.alloc(0);
const NEVER = (): boolean => false;

/**
 * Splits a stream into messages. The memory of an incomplete frame grows by doubling with the octets that have arrived,
 * not with the announced length, so that neither idle connections nor single octets cost much.
 */
export class FrameReader {
  /** An incomplete frame: its length octets and the octets of its message so far. */
  private room: Buffer = NO_ROOM;
  private filled = 0;
  /** The last message as it was given away, and where it was. */
  private view: Buffer = NO_ROOM;
  private viewed: Buffer = NO_ROOM;
  private viewedFrom = 0;

  /**
   * Takes the next octets of the stream, and calls `each` with every complete message. A message may share memory with
   * `chunk`: copy it to keep it after the call.
   * @param isEnough asked after each message: whether the rest has to come again later
   * @returns how many octets were taken: all, or fewer if it was enough
   */
  push(chunk: Buffer, each: (message: Buffer) => void, isEnough: () => boolean = NEVER): number {
    const give = (octets: Buffer, from: number, to: number): void =>
      // What came in pieces is in memory of its own, which nothing here keeps.
      each(octets === chunk ? this.viewOf(octets, from, to) : octets.subarray(from, to));
    return this.split(chunk, give, isEnough);
  }

  /** Octets [from, to). Where answers are padded and come one at a time, the view of the last one is that of the next. */
  private viewOf(octets: Buffer, from: number, to: number): Buffer {
    if (octets !== this.viewed || from !== this.viewedFrom || to !== from + this.view.length) {
      this.view = octets.subarray(from, to);
      this.viewed = octets;
      this.viewedFrom = from;
    }
    return this.view;
  }

  /**
   * The same, but each message is [from, to) of `octets`: to make a view of it takes as long as a part of a cached
   * answer does.
   */
  split(
    chunk: Buffer,
    each: (octets: Buffer, from: number, to: number) => void,
    isEnough: () => boolean = NEVER,
  ): number {
    let at = 0;
    while (at < chunk.length) {
      if (this.filled === 0 && chunk.length - at >= 2) {
        const from = at + 2;
        const to = from + u16At(chunk, at);
        if (to <= chunk.length) {
          each(chunk, from, to);
          at = to;
          if (at === chunk.length || isEnough()) break;
          continue;
        }
      }
      const wanted = this.filled < 2 ? 2 : 2 + u16At(this.room, 0);
      const piece = chunk.subarray(at, at + wanted - this.filled);
      this.keep(piece);
      at += piece.length;
      const { room, filled } = this;
      if (filled < 2 || filled < 2 + u16At(room, 0)) continue;
      this.room = NO_ROOM;
      this.filled = 0;
      each(room, 2, filled);
      if (isEnough()) break;
    }
    return at;
  }

  /** Whether the stream stopped within a frame. */
  get partial(): boolean {
    return this.filled > 0;
  }

  /** The octets of the incomplete message so far. They are overwritten later. */
  get unfinished(): Buffer {
    return this.filled > 2 ? this.room.subarray(2, this.filled) : NO_ROOM;
  }

  private keep(piece: Buffer): void {
    const { room, filled } = this;
    if (filled + piece.length > room.length) {
      const larger = Buffer.allocUnsafe(Math.max(FIRST_ROOM_BYTES, 2 * room.length, filled + piece.length));
      room.copy(larger, 0, 0, filled);
      this.room = larger;
    }
    this.filled += piece.copy(this.room, filled);
  }
}

/** Makes a FrameReader. */
export const frameReader = (): FrameReader => new FrameReader();
