// One upstream exchange per key, however many clients wait for it: the first one asks, the others get its answer.
// (RFC 5452 §5: many identical queries in flight would also multiply a forger's chances on cleartext paths.)

import type { Observer } from '../base/ports.js';
import type { Answer, Stage } from './stage.js';

/** Makes the stage. The table holds one entry per query in flight, which `front` bounds. */
export function coalesced(observer: Observer): Stage {
  const leaders = new Map<string, Promise<Answer>>();
  return next => query => {
    const leader = leaders.get(query.key);
    if (leader !== undefined) {
      observer.coalesced();
      return leader;
    }
    const answer = next(query);
    if (!(answer instanceof Promise)) return answer;
    const shared = answer.then(settled => {
      leaders.delete(query.key);
      return settled;
    });
    leaders.set(query.key, shared);
    return shared;
  };
}
