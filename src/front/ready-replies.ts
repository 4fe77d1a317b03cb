// The port for ready replies: replies that are kept as octets, so that the same question is answered by copying them.
// `fastpath/ready-replies` implements it; the front threads answer from the same memory.

import type { AgeSec } from '../base/time.js';
import type { ClientQuery } from '../wire/query.js';

/** A reply to be kept. */
export interface ReadyReply {
  /** As it went to a client; id, question and TTLs are replaced in every copy. */
  readonly reply: Buffer;
  readonly ttlOffsets: ArrayLike<number>;
  /** Seconds that the TTLs in `reply` are short of those stored. */
  readonly elapsedSec: number;
  /** When the answer was stored. */
  readonly storedAt: AgeSec;
  readonly ttlSec: number;
  readonly negative: boolean;
}

/** Finds and keeps ready replies. It holds the message that was read last; all but `keep` speak of that one. */
export interface ReadyReplies {
  /**
   * Reads a message.
   * @param stream whether it came over a stream, where more options change the reply
   * @returns false: it is not one of the simple ones, and wire/query has to read it
   */
  read(message: Buffer, stream: boolean): boolean;
  /** QTYPE. */
  readonly type: number;
  /** What wire/query would make of the message; it shares memory with it. */
  query(message: Buffer): ClientQuery;
  /** A ready reply in memory of its own; undefined: there is none, or it is too long for this client. */
  find(message: Buffer, stream: boolean): Buffer | undefined;
  /** Whether the reply that was found last is a negative one. */
  readonly negative: boolean;
  /** Keeps a reply for everybody who asks the same. @param query from `query()`, of any message that was read */
  keep(query: ClientQuery, ready: ReadyReply): void;
}
