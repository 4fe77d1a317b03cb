// One upstream exchange per key, however many clients wait for it. (RFC 5452 §5: many identical queries in flight would
// also increase a forger's chances over cleartext.)

import type { Observer } from '../../base/observer.js';
import type { AnswerCache } from '../../cache/answers.js';
import type { Outcome } from '../answer.js';
import { Coalescer } from '../coalescer.js';
import type { Stage } from '../stage.js';

/** About as many as the front allows to wait, which bounds the entries. */
const LISTS = 2048;

/** The parts that the stage uses. */
export interface CoalescedParts {
  readonly observer: Pick<Observer, 'coalesced'>;
  readonly answers: Pick<AnswerCache, 'epoch'>;
}

/** Makes the stage. */
export function coalesced({ observer, answers }: CoalescedParts): Stage {
  const waiting = new Coalescer<Outcome>(LISTS);
  return next => (query, settle) => {
    // After something was forgotten, the question may be for others: whoever asks now gets their answer. One that began
    // under other routes may be handed back, and whoever comes now could not begin anew.
    const pending = waiting.join(query.key, answers.epoch, query.routesEpoch, settle);
    if (pending === undefined) observer.coalesced();
    else next(query, outcome => waiting.finish(pending, outcome));
  };
}
