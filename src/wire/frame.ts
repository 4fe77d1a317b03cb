// Messages on a stream: two octets of length, then the message (RFC 1035 §4.2.2, RFC 7766 §8).

import { putU16, u16At } from '../base/octets.js';

/** Puts the length before a message in one buffer, so that both are sent in one segment. */
export function framed(message: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(2 + message.length);
  putU16(frame, 0, message.length);
  message.copy(frame, 2);
  return frame;
}

/** Splits a stream into messages. */
export interface FrameReader {
  /**
   * Takes the next octets of the stream, and calls `each` with every complete message. A message may share memory with
   * `chunk`: copy it to keep it after the call.
   * @param isEnough asked after each message: whether the rest has to come again later
   * @returns how many octets were taken: all, or fewer if it was enough
   */
  push(chunk: Buffer, each: (message: Buffer) => void, isEnough?: () => boolean): number;
  /** Whether the stream stopped within a frame. */
  readonly partial: boolean;
  /** The octets of the incomplete message so far. They are overwritten later. */
  readonly unfinished: Buffer;
}

const FIRST_ROOM_BYTES = 512;
const NO_ROOM = Buffer.alloc(0);
const NEVER = (): boolean => false;

/**
 * Makes a FrameReader. The memory of an incomplete frame grows by doubling with the octets that have arrived, not with
 * the announced length, so that neither idle connections nor single octets cost much.
 */
export function frameReader(): FrameReader {
  // Holds an incomplete frame: its length octets and the octets of its message so far.
  let room: Buffer = NO_ROOM;
  let filled = 0;

  function keep(piece: Buffer): void {
    if (filled + piece.length > room.length) {
      const larger = Buffer.allocUnsafe(Math.max(FIRST_ROOM_BYTES, 2 * room.length, filled + piece.length));
      room.copy(larger, 0, 0, filled);
      room = larger;
    }
    filled += piece.copy(room, filled);
  }

  return {
    push(chunk, each, isEnough = NEVER) {
      let at = 0;
      while (at < chunk.length) {
        if (filled === 0 && chunk.length - at >= 2) {
          const end = at + 2 + u16At(chunk, at);
          if (end <= chunk.length) {
            each(chunk.subarray(at + 2, end));
            at = end;
            if (isEnough()) break;
            continue;
          }
        }
        const wanted = filled < 2 ? 2 : 2 + u16At(room, 0);
        const piece = chunk.subarray(at, at + wanted - filled);
        keep(piece);
        at += piece.length;
        if (filled < 2 || filled < 2 + u16At(room, 0)) continue;
        const message = room.subarray(2, filled);
        room = NO_ROOM;
        filled = 0;
        each(message);
        if (isEnough()) break;
      }
      return at;
    },
    get partial() {
      return filled > 0;
    },
    get unfinished() {
      return filled > 2 ? room.subarray(2, filled) : NO_ROOM;
    },
  };
}
