// The ordered list of stages that every query passes: THE place to see what happens to it, and in which order.

import { failure, type Failure, failureRow, failureWords, isDnssecFailure, type Verdict } from '../base/outcome.js';
import type { Observer } from '../base/observer.js';
import type { AgeSec } from '../base/time.js';
import { type Entry, makeEntry, type TtlLimits } from '../cache/entry.js';
import type { AnswerCache } from '../cache/answers.js';
import type { Matcher } from '../policy/access.js';
import type { Portal } from '../policy/portal.js';
import { isNoClusterName, type Route, routeOf } from '../policy/routes.js';
import type { Upstream, UpstreamReply } from '../upstream/pool.js';
import { FLAG, flagsOf, HEADER_BYTES } from '../wire/header.js';
import { lowerCased } from '../wire/name.js';
import { edeFor, noSuchNameMessage, refuseAnyMessage } from '../wire/reply.js';
import { TYPE } from '../wire/rrtype.js';
import { coalesced } from './coalesce.js';
import { validated, type ValidationParts } from './validated.js';
import type { Query, Resolve, Stage } from './stage.js';

/** What the stages work with. */
export interface ResolverParts {
  readonly store: AnswerCache;
  readonly pool: Upstream;
  readonly ttlLimits: TtlLimits;
  readonly validation: ValidationParts;
  /** The captive portal window, and who is asked through it. */
  readonly portal: { readonly window: Portal; pool(): Upstream };
  /** Zones of the local network, and who knows them. */
  readonly routes: readonly (Route & { pool(): Upstream })[];
  /** Who may look into the cache without having it filled (RD=0). */
  readonly mayLook: Matcher;
  readonly observer: Observer;
  /** The age clock: seconds, sleep included. */
  readonly nowSec: () => AgeSec;
}

/** Builds the pipeline. */
export function resolver(parts: ResolverParts): Resolve {
  const stages: readonly Stage[] = [
    anyRefused, //          first: what is never looked up needs no place below
    throughPortal(parts), // above the cache: what the network says about a name meanwhile is nobody's answer later
    lookOnly(parts), //     above the cache: whether somebody else asked for a name is not everyone's business
    cached(parts), //       above everything that waits
    recursionDesired, //    below the cache: RD=0 gets what is there, and starts nothing
    coalesced(parts.observer), // around the expensive steps
    kept(parts), //         what they found, verdict included
    routed(parts), //       above validation: what only the local network knows has no chain of trust
    validated(parts.validation), // next to upstream: it asks for more of it
  ];
  return stages.reduceRight((next, stage) => stage(next), forward(parts));
}

/** RFC 8482: ANY gets one small synthesised record. */
const anyRefused: Stage = next => (query, settle) => {
  if (query.type === TYPE.ANY) settle({ at: 'local', message: refuseAnyMessage(query.question) });
  else next(query, settle);
};

/** While the portal window is open, its names go to the network's resolvers, and their answers to whoever asked, once. */
function throughPortal({ portal, nowSec }: ResolverParts): Stage {
  return next => (query, settle) => {
    if (portal.window.leftMs === 0 || !portal.window.covers(lowerCased(query.question.subarray(0, -4)))) {
      next(query, settle);
      return;
    }
    portal.pool().exchange(query, query.type, reply =>
      settle(
        reply.at === 'failure'
          ? reply
          : {
              at: 'stored',
              source: 'upstream',
              entry: entryOf(reply, NOT_KEPT, nowSec()),
            },
      ),
    );
  };
}

/** Names of the local network's zones go to who knows them. */
function routed({ routes, ttlLimits, nowSec }: ResolverParts): Stage {
  if (routes.length === 0) return next => next;
  return next => (query, settle) => {
    const name = lowerCased(query.question.subarray(0, -4));
    const found = routeOf(routes, name);
    if (found === undefined) return next(query, settle);
    if (found.route.kubernetes && isNoClusterName(name, found.zone))
      return settle({ at: 'local', message: noSuchNameMessage(query.question, found.zone) });
    found.route.pool().exchange(query, query.type, reply =>
      settle(
        reply.at === 'failure'
          ? reply
          : {
              at: 'stored',
              source: 'upstream',
              entry: entryOf(reply, ttlLimits, nowSec()),
            },
      ),
    );
  };
}

/** Of which makeEntry makes an entry that nobody keeps. */
const NOT_KEPT: TtlLimits = { minSec: 0, maxSec: 0, negativeMaxSec: 0 };

const entryOf = (
  { message, scan, server, protocol }: UpstreamReply,
  limits: TtlLimits,
  ageNow: AgeSec,
  verdict: Verdict = 'unchecked',
): Entry => makeEntry(message, scan, limits, { ageNow, verdict, upstream: server.label, protocol });

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

/** Keeps what was found. Only the leader of a coalesced group comes here, so it keeps for all. */
function kept({ store, nowSec }: ResolverParts): Stage {
  return next => (query, settle) =>
    next(query, answer => {
      // Where nobody could tell, somebody may be able to in a moment.
      if (answer.at === 'stored' && answer.entry.verdict !== 'indeterminate') store.put(query.key, answer.entry);
      if (answer.at === 'failure' && isDnssecFailure(answer.code))
        store.put(query.key, refusal(query, answer, nowSec()));
      settle(answer);
    });
}

/** RFC 4035 §4.7, RFC 9520 §3.2: how long what is bogus stays so. */
const BOGUS_SEC = 60;

/** The reply that a bogus answer gets, to be kept. */
function refusal({ question }: Query, why: Failure, ageNow: AgeSec): Entry {
  const { rcode, ede } = failureRow(why.code);
  const octets = Buffer.alloc(HEADER_BYTES + question.length);
  question.copy(octets, HEADER_BYTES);
  return {
    octets,
    rcode,
    answers: 0,
    authority: 0,
    additional: 0,
    ttlOffsets: [],
    storedAt: ageNow,
    ttlSec: BOGUS_SEC,
    negative: true,
    verdict: 'bogus',
    extendedErrors: edeFor(ede, failureWords(why)),
    upstream: '',
    protocol: 'dot',
  };
}

/** The end of the line: asks upstream. */
export function forward({
  pool,
  ttlLimits,
  nowSec,
  validation: { mode },
}: Pick<ResolverParts, 'pool' | 'ttlLimits' | 'nowSec' | 'validation'>): Resolve {
  return (query, settle) =>
    pool.exchange(
      query,
      query.type,
      reply => {
        if (reply.at === 'failure') return settle(reply);
        // RFC 6840 §5.7: AD counts from a server that has proved who it is, if the operator says so.
        const secure =
          mode === 'trust_ad' &&
          reply.authenticated &&
          !query.checkingDisabled &&
          (flagsOf(reply.message) & FLAG.AD) !== 0;
        settle({
          at: 'stored',
          entry: entryOf(reply, ttlLimits, nowSec(), secure ? 'secure' : 'unchecked'),
          source: 'upstream',
        });
      },
      query.avoid,
    );
}
