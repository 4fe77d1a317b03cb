// One question per key at a time, however many wait for the result: the first one asks, the others get what it gets.

import { hashOf } from '../base/hash.js';

/** A question that has been asked. */
export interface Pending<T> {
  readonly key: string;
  readonly list: number;
  readonly takers: ((result: T) => void)[];
  next: Pending<T> | undefined;
}

/**
 * The questions that have been asked, by key. Whoever uses it bounds how many there are. It is no Map: entries come and go all
 * the time, so a Map would move from table to table, and each table that V8 leaves behind keeps all that was in it alive until
 * a full collection.
 */
export class Coalescer<T> {
  private readonly lists: (Pending<T> | undefined)[];
  private readonly mask: number;

  /** @param lists how many lists entries are found through, a power of two; about as many as there are entries */
  constructor(lists: number) {
    this.lists = new Array<Pending<T> | undefined>(lists).fill(undefined);
    this.mask = lists - 1;
  }

  /**
   * Waits for the result under a key.
   * @returns undefined: the question has been asked already; else the caller has to ask it, and to call `finish`
   */
  join(key: string, take: (result: T) => void): Pending<T> | undefined {
    const list = hashOf(key) & this.mask;
    const first = this.lists[list];
    for (let each = first; each !== undefined; each = each.next) {
      if (each.key !== key) continue;
      each.takers.push(take);
      return undefined;
    }
    return (this.lists[list] = { key, list, takers: [take], next: first });
  }

  /** Gives the result to all who wait for it. A question under the same key that comes meanwhile is asked anew. */
  finish(pending: Pending<T>, result: T): void {
    this.remove(pending);
    for (const take of pending.takers) take(result);
  }

  private remove(pending: Pending<T>): void {
    const { lists } = this;
    const first = lists[pending.list];
    if (first === pending) lists[pending.list] = pending.next;
    else
      for (let each = first; each !== undefined; each = each.next) if (each.next === pending) each.next = pending.next;
    // An old object that points at new ones would keep them alive until a full collection.
    pending.next = undefined;
  }
}
