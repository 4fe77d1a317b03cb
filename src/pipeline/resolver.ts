// The ordered list of stages that every query passes: THE place to see what happens to it, and in which order.

import { failure } from '../base/outcome.js';
import type { Observer } from '../base/ports.js';
import { makeEntry, type TtlLimits } from '../cache/entry.js';
import type { Store } from '../cache/store.js';
import type { Matcher } from '../policy/access.js';
import type { Pool } from '../upstream/pool.js';
import { refuseAnyMessage } from '../wire/reply.js';
import { TYPE } from '../wire/rrtype.js';
import { coalesced } from './coalesce.js';
import type { Resolve, Stage } from './stage.js';

/** What the stages work with. */
export interface ResolverParts {
  readonly store: Store;
  readonly pool: Pool;
  readonly ttlLimits: TtlLimits;
  /** Who may look into the cache without having it filled (RD=0). */
  readonly mayLook: Matcher;
  readonly observer: Observer;
  /** The age clock: seconds, sleep included. */
  readonly nowSec: () => number;
}

/** Builds the pipeline. */
export function resolver(parts: ResolverParts): Resolve {
  const stages: readonly Stage[] = [
    anyRefused, //          first: what is never looked up needs no place below
    lookOnly(parts), //     above the cache: whether somebody else asked for a name is not everyone's business
    cached(parts), //       above everything that waits
    recursionDesired, //    below the cache: RD=0 gets what is there, and starts nothing
    coalesced(parts.observer), // around the one expensive step
  ];
  return stages.reduceRight((next, stage) => stage(next), forward(parts));
}

/** RFC 8482: ANY gets one small synthesised record. */
const anyRefused: Stage = next => (query, settle) => {
  if (query.type === TYPE.ANY) settle({ at: 'local', message: refuseAnyMessage(query.question) });
  else next(query, settle);
};

/** RD=0 asks what is in the cache. Only those in access.snoop may know. */
function lookOnly({ mayLook }: ResolverParts): Stage {
  return next => (query, settle) => {
    if (query.recurse || mayLook(query.client.address)) next(query, settle);
    else settle(failure('not_cached'));
  };
}

/** RFC 1035 §4.3.1: without RD nothing is fetched. */
const recursionDesired: Stage = next => (query, settle) => {
  if (query.recurse) next(query, settle);
  else settle(failure('not_cached'));
};

/** Answers from the store. */
function cached({ store, nowSec }: ResolverParts): Stage {
  return next => (query, settle) => {
    const entry = store.get(query.key, nowSec());
    if (entry === undefined) next(query, settle);
    else settle({ at: 'stored', entry, source: 'cache' });
  };
}

/** The end of the line: asks upstream. Only the leader of a coalesced group comes here, so it stores for all. */
function forward({ pool, store, ttlLimits, nowSec }: ResolverParts): Resolve {
  return (query, settle) => pool.exchange(query, query.type, reply => {
    if (reply.at === 'failure') return settle(reply);
    const entry = makeEntry(reply.message, reply.scan, ttlLimits, {
      nowSec: nowSec(),
      verdict: 'unchecked',
      upstream: reply.upstream,
      protocol: reply.protocol,
    });
    store.put(query.key, entry);
    settle({ at: 'stored', entry, source: 'upstream' });
  });
}
