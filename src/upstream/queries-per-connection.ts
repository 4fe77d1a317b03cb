// How many queries a server answers on one connection. Some close every connection after one answer, or after 128; what
// was sent beyond that is lost and has to be asked again. So the number is learned, and no more is sent.

import type { MonoMs } from '../base/time.js';

/** The facts about a connection that are used here. */
export interface Counted {
  /** How many queries it has answered. */
  readonly answers: number;
  /** How many queries were given to it. */
  readonly taken: number;
  /** Queries that wait for an answer. */
  readonly inflight: number;
  /** When the last octets arrived. */
  readonly lastMs: MonoMs;
}

/** If a connection is still open for this long after its last answer, the server takes more queries than assumed. */
const DISPROVED_MS = 500;

/** What is known about one server. */
export class QueriesPerConnection {
  /** The number of answers when the server closed the last connection with queries in flight. */
  private last: number | undefined;
  /** No more queries are sent on a connection; undefined: any number. */
  private limit: number | undefined;

  /** The server has closed a connection with queries in flight, after this many answers. */
  closedAfter(answers: number): void {
    // Once may be chance, such as a restart of the server.
    if (this.last !== undefined) this.limit = Math.max(answers, this.last);
    this.last = answers;
  }

  /** Whether the server takes another query on a connection. */
  hasRoom(connection: Counted, nowMs: MonoMs): boolean {
    if (this.limit === undefined || connection.taken < this.limit) return true;
    if (connection.inflight > 0 || nowMs - connection.lastMs < DISPROVED_MS) return false;
    this.forget();
    return true;
  }

  /** Whether a connection has answered as many queries as the server answers. */
  isOver({ answers }: Counted): boolean {
    return this.limit !== undefined && answers >= this.limit;
  }

  /** Another server may have the address now. */
  forget(): void {
    this.last = this.limit = undefined;
  }
}
