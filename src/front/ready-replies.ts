// The port for ready replies: replies stored as octets, so that a repeated question is answered by copying.
// `fastpath/ready-replies` implements it; the front threads answer from the same memory.

import type { AgeSec } from '../base/time.js';
import type { ClientQuery } from '../wire/query.js';

/** A reply to be stored. */
export interface ReadyReply {
  /** As sent to a client. Id, question and TTLs are replaced in every copy. */
  readonly reply: Buffer;
  readonly ttlOffsets: ArrayLike<number>;
  /** By how many seconds the TTLs in `reply` were already reduced. */
  readonly elapsedSec: number;
  /** When the answer was stored. */
  readonly storedAt: AgeSec;
  readonly ttlSec: number;
  readonly negative: boolean;
}

/**
 * Finds and stores ready replies. It remembers the message that was read last; all methods except `keep` are about that
 * one.
 */
export interface ReadyReplies {
  /**
   * Reads a message.
   * @param stream whether it came over a stream, where more options change the reply
   * @returns false: it is not a simple query, and wire/query must read it
   */
  read(message: Buffer, stream: boolean): boolean;
  /** QTYPE. */
  readonly type: number;
  /** The same result as wire/query for the message; it shares memory with it. */
  query(message: Buffer): ClientQuery;
  /** A copy of a ready reply; undefined: there is none, or it is too long for this client. */
  find(message: Buffer, stream: boolean): Buffer | undefined;
  /** Whether the reply that was found last is a negative one. */
  readonly negative: boolean;
  /**
   * Changes when all replies are forgotten: the rules for answers are others now, and the reply to a query that came before
   * must not be stored.
   */
  readonly epoch: number;
  /**
   * Stores a reply for all clients that ask the same.
   * @param query from `query()`, of any message that was read
   */
  keep(query: ClientQuery, ready: ReadyReply): void;
}
