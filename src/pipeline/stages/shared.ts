// Asks the store that replicas share, for a short time, before the servers; and gives it what they have answered.

import type { Observer } from '../../base/observer.js';
import { isAnswerRcode } from '../../base/outcome.js';
import type { AnswerCache } from '../../cache/answers.js';
import type { SharedAnswers } from '../../cache/shared-answers.js';
import type { SharedPlace } from '../../cache/shared-entry.js';
import type { Route } from '../../policy/routes.js';
import { FIRST_ROUTE_SET } from '../../wire/query.js';
import { Answer, type Outcome } from '../answer.js';
import type { Query } from '../query.js';
import type { Resolve, Settle, Stage } from '../stage.js';
import { routeFor } from './routed.js';
import type { DnssecMode } from '../validation/validations.js';

/** The parts that the stage uses. */
export interface SharedParts {
  readonly answers: AnswerCache;
  /** Undefined: there is no store. */
  readonly shared: () => SharedAnswers | undefined;
  readonly routes: () => readonly Route[];
  readonly dnssecMode: () => DnssecMode;
  readonly observer: Observer;
}

/** Makes the stage. */
export function shared(parts: SharedParts): Stage {
  const { shared: current, routes } = parts;
  return next => (query, settle) => {
    const store = current();
    // Routes lead into the local network. Their answers stay there, and may be different elsewhere.
    const isRouted = store !== undefined && routeFor(routes(), query) !== undefined;
    // The number of a set of routes is of this replica.
    const hasOwnRoutes = query.routes >= FIRST_ROUTE_SET;
    const place =
      store === undefined || isRouted || hasOwnRoutes ? undefined : store.place(query.key, query.clientClass);
    if (store === undefined || place === undefined) next(query, settle);
    else askStore(parts, { store, place }, query, next, settle);
  };
}

/** What a store has at one place, or else what the servers answer, which it gets. */
function askStore(
  { answers, dnssecMode, observer }: SharedParts,
  { store, place }: { readonly store: SharedAnswers; readonly place: SharedPlace },
  query: Query,
  next: Resolve,
  settle: Settle,
): void {
  const ask = (): void =>
    next(query, outcome => {
      settle(outcome);
      if (mayBeShared(outcome, query, dnssecMode())) store.write(place, outcome.entry);
    });
  // A refresh is to bring something newer than what is known.
  if (query.purpose !== 'client') return ask();
  const since = answers.epoch;
  store.read(place, entry => {
    // While it was read, answers were forgotten: this may be one of them.
    if (entry === undefined || since !== answers.epoch) return ask();
    observer.cache('hit_shared');
    answers.put(query.key, entry);
    settle(Answer.cached(entry));
  });
}

/**
 * Whether an answer is as good for other replicas as for this one. Failures never are: another replica may have a server
 * that answers. Nor is what was not validated although it should have been.
 */
function mayBeShared(outcome: Outcome, { checkingDisabled }: Query, mode: DnssecMode): outcome is Answer {
  if (outcome.at === 'failure' || outcome.origin !== 'upstream') return false;
  const { rcode, ttlSec, verdict } = outcome.entry;
  if (ttlSec === 0 || !isAnswerRcode(rcode)) return false;
  const isUnvalidated = verdict === 'unchecked' && (checkingDisabled || mode === 'off' || mode === 'trust_ad');
  return verdict === 'secure' || verdict === 'insecure' || isUnvalidated;
}
