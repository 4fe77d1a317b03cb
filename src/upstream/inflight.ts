// Who waits for which message id on one connection (RFC 7766 §7: replies may come in any order; §6.2.1: ids must
// be unique among those in flight).

import type { Random } from '../base/ports.js';
import { idOf } from '../wire/header.js';
import { answersQuestion, isResponse } from '../wire/upstream-query.js';

/** Who asked. Once `done` (answered elsewhere, or given up), a late reply is of no use to it. */
export interface Waiter {
  readonly done: boolean;
}

/** One query that has been sent. */
export interface Sent<T extends Waiter> {
  readonly waiter: T;
  readonly question: Buffer;
  readonly sentAtMs: number;
}

/** What a message from the server turned out to be. */
export type Match<T extends Waiter> = { readonly at: 'reply'; readonly sent: Sent<T> } | { readonly at: 'id_mismatch' | 'question_mismatch' };

/** The table. */
export interface Inflight<T extends Waiter> {
  /** Enters a query under an id that nobody could guess and nobody here uses; undefined: all are in use. */
  add(sent: Sent<T>): number | undefined;
  /** Finds and removes the query that a message answers. A message that answers none changes nothing. */
  match(message: Buffer): Match<T>;
  /** Removes and returns all. */
  takeAll(): Sent<T>[];
  /** All, oldest first, left in place. */
  all(): Iterable<Sent<T>>;
  readonly size: number;
}

/** Makes an Inflight table. */
export function inflight<T extends Waiter>(random: Random): Inflight<T> {
  const byId = new Map<number, Sent<T>>();

  // A server that leaves some queries unanswered for ever must not fill the table: whoever stopped waiting leaves,
  // oldest first, whenever somebody enters.
  function dropDone(): void {
    for (const [id, { waiter }] of byId) {
      if (!waiter.done) return;
      byId.delete(id);
    }
  }

  return {
    add(sent) {
      dropDone();
      if (byId.size > 0xffff) return undefined;
      let id = random.uint16();
      // With the table half full the next free id is still found at once; its start was random.
      while (byId.has(id)) id = (id + 1) & 0xffff;
      byId.set(id, sent);
      return id;
    },
    match(message) {
      if (!isResponse(message)) return { at: 'id_mismatch' };
      const sent = byId.get(idOf(message));
      if (sent === undefined) return { at: 'id_mismatch' };
      if (!answersQuestion(message, sent.question)) return { at: 'question_mismatch' };
      byId.delete(idOf(message));
      return { at: 'reply', sent };
    },
    takeAll() {
      const all = [...byId.values()];
      byId.clear();
      return all;
    },
    all: () => byId.values(),
    get size() {
      return byId.size;
    },
  };
}
