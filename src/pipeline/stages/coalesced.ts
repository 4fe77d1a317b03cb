// One upstream exchange per key, however many clients wait for it. (RFC 5452 §5: many identical queries in flight would
// also increase a forger's chances over cleartext.)

import type { Observer } from '../../base/observer.js';
import type { Outcome } from '../answer.js';
import { Coalescer } from '../coalescer.js';
import type { Stage } from '../stage.js';

/** About as many as the front allows to wait, which bounds the entries. */
const LISTS = 2048;

/** Makes the stage. */
export function coalesced({ observer }: { readonly observer: Observer }): Stage {
  const waiting = new Coalescer<Outcome>(LISTS);
  return next => (query, settle) => {
    const pending = waiting.join(query.key, settle);
    if (pending === undefined) observer.coalesced();
    else next(query, outcome => waiting.finish(pending, outcome));
  };
}
