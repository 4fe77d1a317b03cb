// One upstream exchange per key, however many clients wait for it: the first one asks, the others get its answer.
// (RFC 5452 §5: many identical queries in flight would also multiply a forger's chances on cleartext paths.)

import type { Observer } from '../base/ports.js';
import type { Settle, Stage } from './stage.js';

/** Makes the stage. The table holds one entry per query in flight, which `front` bounds. */
export function coalesced(observer: Observer): Stage {
  const leaders = new Map<string, Settle[]>();
  return next => (query, settle) => {
    const { key } = query;
    const followers = leaders.get(key);
    if (followers !== undefined) {
      observer.coalesced();
      followers.push(settle);
      return;
    }
    const all = [settle];
    leaders.set(key, all);
    next(query, answer => {
      leaders.delete(key);
      for (const each of all) each(answer);
    });
  };
}
