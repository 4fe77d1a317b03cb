// One upstream exchange per key, however many clients wait for it: the first one asks, the others get its answer.
// (RFC 5452 §5: many identical queries in flight would also multiply a forger's chances on cleartext paths.)

import { hashOf } from '../base/hash.js';
import type { Observer } from '../base/observer.js';
import type { Settle, Stage } from './stage.js';

/** A query in flight. */
interface Leader {
  readonly key: string;
  readonly waiting: Settle[];
  next: Leader | undefined;
}

/** Lists that leaders are found through; about as many as `front` lets wait. */
const LISTS = 2048;

/**
 * Makes the stage. The table holds one entry per query in flight, which `front` bounds. It is no Map: a Map that entries
 * come to and leave again moves from table to table, and each table left behind points to the next one, with all that was
 * in it, until a full collection.
 */
export function coalesced(observer: Observer): Stage {
  const lists = new Array<Leader | undefined>(LISTS).fill(undefined);

  function leave(at: number, leader: Leader): void {
    const first = lists[at];
    if (first === leader) lists[at] = leader.next;
    else for (let each = first; each !== undefined; each = each.next) if (each.next === leader) each.next = leader.next;
    leader.next = undefined;
  }

  return next => (query, settle) => {
    const { key } = query;
    const at = hashOf(key) & (LISTS - 1);
    for (let each = lists[at]; each !== undefined; each = each.next) {
      if (each.key !== key) continue;
      observer.coalesced();
      each.waiting.push(settle);
      return;
    }
    const leader: Leader = { key, waiting: [settle], next: lists[at] };
    lists[at] = leader;
    next(query, answer => {
      leave(at, leader);
      for (const each of leader.waiting) each(answer);
    });
  };
}
