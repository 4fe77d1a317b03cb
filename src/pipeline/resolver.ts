// The list of stages that every query passes: the place to see what happens to a query, and in which order.

import type { Observer } from '../base/observer.js';
import type { AgeSec } from '../base/time.js';
import type { AnswerCache } from '../cache/answers.js';
import type { TtlLimits } from '../cache/entry.js';
import type { FailureCache } from '../cache/failures.js';
import type { Matcher } from '../policy/access.js';
import type { Upstream } from '../upstream/pool.js';
import type { Outcome } from './answer.js';
import type { Resolve, Stage } from './stage.js';
import { anyRefused } from './stages/any-refused.js';
import { cached } from './stages/cached.js';
import { coalesced } from './stages/coalesced.js';
import { failedLately } from './stages/failed-lately.js';
import { forward } from './stages/forward.js';
import { kept } from './stages/kept.js';
import { lookOnly } from './stages/look-only.js';
import { portal, type PortalParts } from './stages/portal.js';
import { recursionDesired } from './stages/recursion-desired.js';
import { routed, type RouteTarget } from './stages/routed.js';
import { validated } from './stages/validated.js';
import type { Validations } from './validation/validations.js';

/** What the stages work with. What a reload can change is a function, and is called at each question. */
export interface ResolverParts {
  readonly answers: AnswerCache;
  readonly failures: FailureCache<Outcome>;
  readonly upstream: Upstream;
  readonly ttlLimits: () => TtlLimits;
  readonly validations: Validations;
  /** The captive portal window, and who is asked while it is open. */
  readonly portal: PortalParts;
  /** Zones of the local network, and who is asked about them. */
  readonly routes: () => readonly RouteTarget[];
  /** Who may look into the cache without having it filled (RD=0). */
  readonly mayLook: Matcher;
  readonly observer: Observer;
  readonly ageNow: () => AgeSec;
}

/** The pipeline. */
export class Resolver {
  /** Answers a query. */
  readonly resolve: Resolve;

  constructor(private readonly parts: ResolverParts) {
    const stages = stagesOf(parts);
    const dnssecMode = () => parts.validations.mode;
    this.resolve = stages.reduceRight((next, stage) => stage(next), forward({ ...parts, dnssecMode }));
  }

  /**
   * Forgets what was learnt from questions that failed. To be called whenever they may succeed now: the network is another
   * one, the machine has slept, servers were exchanged or are connected to anew, the portal window has closed.
   */
  forgetFailures(): void {
    this.parts.failures.clear();
    this.parts.validations.forgetFailures();
  }
}

/** The stages, the one that sees a query first at the top. After the last one, `forward` asks upstream. */
function stagesOf(parts: ResolverParts): readonly Stage[] {
  return [
    // First: ANY is never looked up (RFC 8482). Below any other stage it would cost that stage's work, and its answer could be
    // taken for one that was found.
    anyRefused(parts),

    // Above `cached`: while the portal window is open, its names must reach the network's own resolvers, though answers of
    // others may be in the cache. And their answers must not be kept: later they would lead clients to the portal again.
    portal(parts),

    // Above `cached`: without RD a query would tell one client what others have asked (access.snoop).
    lookOnly(parts),

    // Above all that wait or ask: an answer that is there must not depend on any server, and should be given at once.
    cached(parts),

    // Below `cached`, since RD=0 may have what is there. Above all that ask: without RD nothing may be fetched.
    recursionDesired,

    // Below `cached`: if a refresh has failed, the answer that still holds must be given, and not the failure. Above
    // `coalesced`: who repeats a question that failed must not start another exchange with upstream.
    failedLately(parts),

    // Around all that is expensive. Below `cached`, or every hit would enter and leave its table. Above `kept`, so that what
    // comes is kept once, and not once for each client that waits.
    coalesced(parts),

    // Around `validated`, so that the verdict is kept with the answer, and validation is not repeated for each client. Around
    // `routed`: answers about the local network's names are cached like others.
    kept(parts),

    // Above `validated`: the zones of the local network have no chain of trust from the root, so their names would be bogus.
    routed(parts),

    // Last before upstream: while it waits for an answer it asks for more of the chain of trust, and it may ask again.
    validated(parts.validations),
  ];
}
