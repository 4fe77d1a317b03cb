// One question per key at a time, however many callers wait for the result. The first caller asks, and the others get
// the same result.

import { hashOf } from '../base/hash.js';

/** A question that has been asked. */
export interface Pending<T> {
  readonly key: string;
  readonly epoch: number;
  readonly routesEpoch: number | undefined;
  readonly list: number;
  readonly first: (result: T) => void;
  /** The others that wait; undefined: nobody, as mostly. */
  others: ((result: T) => void)[] | undefined;
  next: Pending<T> | undefined;
}

/**
 * The questions that were asked, by key. The user of this class bounds their number. It is not a Map: entries come and
 * go all the time, so a Map would move from table to table, and each table that V8 leaves behind keeps its entries
 * alive until a full GC.
 */
export class Coalescer<T> {
  private readonly lists: (Pending<T> | undefined)[];
  private readonly mask: number;

  /**
   * @param lists how many linked lists hold the entries, a power of two; about as many as there are entries
   */
  constructor(lists: number) {
    this.lists = new Array<Pending<T> | undefined>(lists).fill(undefined);
    this.mask = lists - 1;
  }

  /**
   * Waits for the result under a key.
   * @param epoch changes when results of questions that were asked before say nothing to those that come now; so does
   * `routesEpoch` (see `Upstream` in upstream/pool)
   * @returns undefined: the question was asked already; else the caller must ask it, and call `finish`
   */
  join(key: string, epoch: number, routesEpoch: number | undefined, take: (result: T) => void): Pending<T> | undefined {
    const list = hashOf(key) & this.mask;
    const first = this.lists[list];
    for (let each = first; each !== undefined; each = each.next) {
      if (each.key !== key || each.epoch !== epoch || each.routesEpoch !== routesEpoch) continue;
      if (each.others === undefined) each.others = [take];
      else each.others.push(take);
      return undefined;
    }
    return (this.lists[list] = { key, epoch, routesEpoch, list, first: take, others: undefined, next: first });
  }

  /** Gives the result to all that wait for it. If the same question comes meanwhile, it is asked again. */
  finish(pending: Pending<T>, result: T): void {
    this.remove(pending);
    pending.first(result);
    for (const take of pending.others ?? []) take(result);
  }

  private remove(pending: Pending<T>): void {
    const { lists } = this;
    const first = lists[pending.list];
    if (first === pending) lists[pending.list] = pending.next;
    else
      for (let each = first; each !== undefined; each = each.next) if (each.next === pending) each.next = pending.next;
    // An old object that points at new ones would keep them alive until a full GC.
    pending.next = undefined;
  }
}
