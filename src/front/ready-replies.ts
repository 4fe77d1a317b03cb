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
  /** Whether it ends with an OPT without options, to which padding can be added. */
  readonly canBePadded: boolean;
}

/**
 * Finds and stores ready replies. It remembers the message that was read last; all methods except `keep` are about that
 * one.
 */
export interface ReadyReplies {
  /**
   * Reads a message.
   * @param stream whether it came over a stream, where more options change the reply
   * @param clientClass the group of the client, which has replies of its own
   * @param from where the message begins, and where it ends; left out: it is all of the octets
   * @returns false: it is not a simple query, and wire/query must read it
   */
  read(octets: Buffer, stream: boolean, clientClass: number, from?: number, to?: number): boolean;
  /** Changes when all are forgotten: a reply to a question of before must not be stored. */
  readonly epoch: number;
  /** QTYPE. */
  readonly type: number;
  /** The same result as wire/query for a message that begins at 0; it shares memory with it. */
  query(message: Buffer): ClientQuery;
  /**
   * A ready reply, which the next call may overwrite; undefined: there is none, or it is too long for this client, or cannot
   * be padded.
   * @param pads whether replies to padded queries are padded over this transport
   * @param from where the message begins; left out: 0
   */
  find(octets: Buffer, stream: boolean, pads: boolean, from?: number): Buffer | undefined;
  /** Whether the reply that was found last is a negative one. */
  readonly negative: boolean;
  /**
   * Stores a reply for all clients of the class that ask the same.
   * @param query from `query()`, of any message that was read
   */
  keep(query: ClientQuery, clientClass: number, ready: ReadyReply): void;
}
