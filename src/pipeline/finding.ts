// Says where the stages that find answers (pipeline/resolver) would find one, in their order. It only looks: nobody is
// asked, and nothing is counted.

import { failureWords, isAnswerRcode } from '../base/outcome.js';
import { isNoClusterName } from '../policy/routes.js';
import { keyOfType } from '../wire/query.js';
import { TYPE } from '../wire/rrtype.js';
import { Answer, type Outcome } from './answer.js';
import type { Query } from './query.js';
import type { ResolverParts } from './resolver.js';
import { deniedNow } from './stages/denied.js';
import { noClusterName, routeFor } from './stages/routed.js';
import type { StaleAnswers } from './stages/stale.js';

/** Where an answer would be found. `upstream`: the server that has sent it; empty: it was made here. */
export type Finding =
  | { readonly at: 'cache'; readonly outcome: Answer; readonly leftSec: number; readonly upstream: string }
  /** Cached before the restart: it is validated again before it is given. */
  | { readonly at: 'restored'; readonly outcome: Answer; readonly leftSec: number; readonly upstream: string }
  /** Made of denials of other names. */
  | { readonly at: 'denial'; readonly outcome: Answer }
  /** It has expired, and is given all the same, before a server is asked. */
  | { readonly at: 'stale'; readonly outcome: Answer; readonly upstream: string }
  /** The failure of a moment ago. `words`: why. */
  | { readonly at: 'failure'; readonly outcome: Outcome; readonly leftSec: number; readonly words: string }
  /** A route of a Kubernetes cluster knows that there is no such name. */
  | { readonly at: 'no_cluster_name'; readonly outcome: Answer; readonly zone: Buffer }
  /**
   * Servers would be asked. `hasStale`: if they do not answer, there is an expired answer. `isShared`: replicas share a
   * store, which is asked before them, and was not looked at.
   */
  | { readonly at: 'servers'; readonly hasStale: boolean; readonly isShared: boolean };

/**
 * Looks where the answer to a query of a client would be found.
 * @param fromHere the answer from a kept alias that leads to a name which is answered here; undefined: there is none
 */
export function findingOf(
  parts: ResolverParts,
  stale: StaleAnswers,
  query: Query,
  fromHere: Outcome | undefined,
): Finding {
  return (
    cachedFinding(parts, query) ??
    staleOrFailed(parts, stale, query) ??
    aliasFinding(parts, query, fromHere) ??
    lastFinding(parts, stale, query)
  );
}

const leftOf = ({ ttlSec, storedAt }: Answer['entry'], ageNow: number): number =>
  Math.ceil(ttlSec - (ageNow - storedAt));

function cachedFinding(parts: ResolverParts, query: Query): Finding | undefined {
  const { answers } = parts;
  const ageNow = parts.ageNow();
  const found = answers.peek(query.key);
  // One that must be validated again is looked for below, where that is done.
  if (found !== undefined && !found.isDoubtful && leftOf(found.entry, ageNow) > 0) {
    const { entry } = found;
    return { at: 'cache', outcome: Answer.cached(entry), leftSec: leftOf(entry, ageNow), upstream: entry.upstream };
  }
  const outcome = deniedNow(parts, query);
  return outcome && { at: 'denial', outcome };
}

function staleOrFailed(parts: ResolverParts, stale: StaleAnswers, query: Query): Finding | undefined {
  const held = parts.failures.held(query.key, parts.ageNow());
  const expired = stale.look(query, held?.result);
  if (expired !== undefined && (expired.isNow || held !== undefined))
    return { at: 'stale', outcome: expired.answer, upstream: expired.answer.entry.upstream };
  if (held === undefined) return undefined;
  const { result: outcome, leftSec } = held;
  return { at: 'failure', outcome, leftSec: Math.ceil(leftSec), words: wordsOf(outcome) };
}

function aliasFinding({ answers, ageNow }: ResolverParts, query: Query, outcome?: Outcome): Finding | undefined {
  const alias = answers.peek(keyOfType(query.key, TYPE.CNAME));
  if (alias === undefined || outcome?.at !== 'answer') return undefined;
  return { at: 'cache', outcome, leftSec: leftOf(alias.entry, ageNow()), upstream: outcome.entry.upstream };
}

function wordsOf(outcome: Outcome): string {
  if (outcome.at === 'failure') return failureWords(outcome);
  const { extendedErrors, rcode, upstream } = outcome.entry;
  const last = extendedErrors.at(-1)?.text ?? '';
  return isAnswerRcode(rcode) || last === '' ? `${upstream} answered so` : last;
}

function lastFinding(parts: ResolverParts, stale: StaleAnswers, query: Query): Finding {
  const match = routeFor(parts.routes(), query);
  if (match?.route.kubernetes === true && isNoClusterName(query.name, match.zone))
    return {
      ...{ at: 'no_cluster_name', zone: match.zone },
      outcome: noClusterName(query, match.zone, parts.ageNow()),
    };
  const ageNow = parts.ageNow();
  const isValidated = match === undefined || match.route.validated === true;
  const entry = isValidated ? parts.answers.doubtful(query.key, ageNow) : undefined;
  if (entry !== undefined)
    return { at: 'restored', outcome: Answer.cached(entry), leftSec: leftOf(entry, ageNow), upstream: entry.upstream };
  // What routes answer is not shared.
  const isShared = match === undefined && parts.shared() !== undefined;
  return { at: 'servers', hasStale: stale.look(query) !== undefined, isShared };
}
