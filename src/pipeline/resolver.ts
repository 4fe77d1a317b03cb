// The list of stages that every query passes, in order.

import type { Observer } from '../base/observer.js';
import { failure } from '../base/outcome.js';
import type { Clock } from '../base/ports.js';
import { type AgeSec, wallSecOf } from '../base/time.js';
import { wheel } from '../base/wheel.js';
import type { AnswerCache } from '../cache/answers.js';
import type { TtlLimits } from '../cache/entry.js';
import type { FailureCache } from '../cache/failures.js';
import type { SharedAnswers } from '../cache/shared-answers.js';
import type { Denials } from '../dnssec/denials.js';
import type { Name } from '../dnssec/name.js';
import type { LocalTable } from '../policy/local/table.js';
import type { OwnDesignation } from '../policy/own-designation.js';
import type { Matcher } from '../policy/access.js';
import type { ListPolicy } from '../policy/lists/list-policy.js';
import type { FirewallSet } from '../policy/firewall-sets.js';
import type { Dns64Settings } from '../policy/dns64.js';
import type { Nat64Prefix } from '../policy/nat64.js';
import type { RebindingSettings } from '../policy/rebinding.js';
import type { Upstream } from '../upstream/pool.js';
import { AliasLinks } from './aliases/links.js';
import type { Outcome } from './answer.js';
import { type Finding, findingOf } from './finding.js';
import type { Query } from './query.js';
import type { SetFiller } from './set-filler.js';
import type { Resolve, Stage } from './stage.js';
import { admitted } from './stages/admitted.js';
import { anyRefused } from './stages/any-refused.js';
import { begunAnew } from './stages/begun-anew.js';
import { cached } from './stages/cached.js';
import { coalesced } from './stages/coalesced.js';
import { denied } from './stages/denied.js';
import { dns64 } from './stages/dns64.js';
import { failedLately } from './stages/failed-lately.js';
import { filled } from './stages/filled.js';
import { followed } from './stages/followed.js';
import { forward } from './stages/forward.js';
import { kept } from './stages/kept.js';
import { knownAlias } from './stages/known-alias.js';
import { listed, type ListedParts } from './stages/listed.js';
import { local } from './stages/local.js';
import { lookOnly } from './stages/look-only.js';
import { portal, type PortalParts } from './stages/portal.js';
import { recursionDesired } from './stages/recursion-desired.js';
import { screened } from './stages/screened.js';
import { shared } from './stages/shared.js';
import { specialNames, type SpecialNamesParts } from './stages/special-names.js';
import { StaleAnswers, type StaleSettings } from './stages/stale.js';
import { routed, routeFor, type RouteTarget } from './stages/routed.js';
import { validated } from './stages/validated.js';
import type { Validations } from './validation/validations.js';

/** The parts that the stages use. A part that a reload can change is a function, which is called for each query. */
export interface ResolverParts {
  readonly answers: AnswerCache;
  readonly failures: FailureCache<Outcome>;
  /** What replicas share; undefined: nothing. */
  readonly shared: () => SharedAnswers | undefined;
  readonly denials: Denials;
  /** Whether names are answered from denials of others. */
  readonly aggressive: () => boolean;
  readonly upstream: Upstream;
  /** A query as if it came now; undefined: nothing has changed since it came. */
  readonly begunAnew: (query: Query) => Query | undefined;
  readonly ttlLimits: () => TtlLimits;
  readonly stale: () => StaleSettings;
  readonly prefetches: () => boolean;
  readonly clock: Clock;
  readonly validations: Validations;
  /** The captive portal window, and the servers that are asked while it is open. */
  readonly portal: PortalParts;
  /** The lists in force. */
  readonly lists: ListPolicy;
  /** Routes: zones of the local network, and the servers that are asked about them. */
  readonly routes: () => readonly RouteTarget[];
  /** Special-use names that are forwarded all the same, and names that are answered here. */
  readonly forwarded: () => readonly Buffer[];
  readonly localNames: () => LocalTable;
  /** What clients are told about our own listeners (RFC 9462); undefined: nothing. */
  readonly designation: () => OwnDesignation | undefined;
  /** Which addresses go into which sets of the firewall. */
  readonly firewallSets: () => readonly FirewallSet[];
  readonly filler: Pick<SetFiller, 'missing' | 'fill'>;
  /** Which names may have private addresses. */
  readonly rebinding: () => RebindingSettings;
  readonly dns64: () => Dns64Settings;
  /** The prefix of the translator of this network (NAT64), if there is one. */
  readonly nat64: () => Nat64Prefix | undefined;
  /** Which clients may read the cache with RD=0 (access.snoop). */
  readonly mayLook: Matcher;
  readonly observer: Observer;
  readonly ageNow: () => AgeSec;
}

/** The pipeline. */
export class Resolver {
  /** Answers a query. */
  readonly resolve: Resolve;
  private readonly stale: StaleAnswers;
  private readonly fromHere: Stage;

  constructor(readonly parts: ResolverParts) {
    this.stale = new StaleAnswers({ ...parts, settings: parts.stale, wheel: wheel(parts.clock) });
    const stages = stagesOf(parts, this.stale);
    this.fromHere = together(keptAliasStages(parts, namesBelow(parts)));
    const dnssecMode = () => parts.validations.mode;
    this.resolve = together(stages)(forward({ ...parts, dnssecMode }));
  }

  /** Where the answer to a query would be found. Nobody is asked. */
  look(query: Query): Finding {
    return findingOf(this.parts, this.stale, query, answerOf(this.fromHere, query));
  }

  /** For how many seconds clients have been given stale answers because servers do not answer; undefined: they are not. */
  get staleSec(): number | undefined {
    return this.stale.troubleSec;
  }

  /**
   * Forgets what is known about some names, and what needs it. Returns how many answers.
   * @param isMeant called with names in wire form, lower case, one character per octet
   */
  forget(isMeant: (name: Name) => boolean): number {
    const { answers, failures, denials, validations } = this.parts;
    validations.forget(isMeant);
    failures.forget(isMeant);
    // A name may be in any gap.
    denials.clear();
    return answers.forget(isMeant);
  }

  /**
   * Forgets failures. Must be called when such questions may succeed now: after a network change, after the machine has
   * slept, after servers were replaced or connected to again, and after the portal window has closed.
   */
  forgetFailures(): void {
    this.forgetFailedQuestions();
    this.parts.validations.forgetFailures();
  }

  /** Forgets which aliases have led in a circle. Must be called when local names have changed, which may be part of one. */
  forgetAliasLoops(): void {
    this.parts.failures.forgetWhere(outcome => outcome.at === 'failure' && outcome.code === 'alias_loop');
  }

  /** Forgets which questions have failed, and nothing about servers. Must be called when verdicts may be others now. */
  forgetFailedQuestions(): void {
    this.parts.failures.clear();
    this.stale.forgetFailures();
  }
}

/** The stages; a query enters at the top. After the last one, `forward` asks upstream. */
const stagesOf = (parts: ResolverParts, stale: StaleAnswers): readonly Stage[] => [
  // Around all others: a question whose servers were taken away begins anew, and each stage looks at it as if it came now.
  begunAnew(parts),

  ...decidingStages(parts).map(([, stage]) => stage),
  ...findingStages(parts, stale),
];

/** The names of the stages that decide. Those that end in `aliases` follow the aliases of the stage below them. */
export type DecidingStage =
  | 'any'
  | 'special_names'
  | 'local'
  | 'portal'
  | 'firewall'
  | 'list'
  | 'dns64'
  | 'rebinding'
  | `${'local' | 'portal' | 'list'}_aliases`;

/** What the stages that decide use. */
export type DecidingParts = Pick<
  ResolverParts,
  | 'portal'
  | 'lists'
  | 'routes'
  | 'forwarded'
  | 'localNames'
  | 'designation'
  | 'firewallSets'
  | 'filler'
  | 'rebinding'
  | 'dns64'
  | 'nat64'
  | 'clock'
  | 'ageNow'
> & { readonly observer: Pick<Observer, 'listed' | 'screened'> } & Pick<ListedParts, 'met'>;

/** With the time of day, for names that have one. */
const namedParts = <Parts extends Pick<DecidingParts, 'clock'>>(parts: Parts) => ({
  ...parts,
  wallNow: () => wallSecOf(parts.clock.wallMs()),
});

/** Those that decide, for each client and at each reply, what is given. They stand above all that is cached. */
export function decidingStages(parts: DecidingParts): readonly (readonly [DecidingStage, Stage])[] {
  const named = namedParts(parts);
  // Those of local names, and the names of made addresses (dns64).
  const hasOwnAliases = (): boolean => !parts.localNames().isEmpty || parts.nat64() !== undefined;
  const hasLists = ({ clientClass }: Query): boolean => parts.lists.viewOf(clientClass).lists > 0;
  const hasPortal = (): boolean => parts.portal.window.leftMs > 0;
  return [
    // First: ANY is never looked up (RFC 8482). Below another stage it would cost that stage's work, and its answer
    // could be cached as if it came from a server.
    ['any', anyRefused(parts)],

    // Above `special_names`: an alias of a local name may lead to a special-use name, which must not be looked up either.
    ['local_aliases', followed(['local'], parts.ageNow, { mayAnswer: hasOwnAliases })],

    // Above all stages that ask: special-use names must not leave. Above `portal` and `cached`: names of this network are
    // its own, whatever others answer, and a name that is added to a file counts at once.
    ...namesOfHere(named),

    // Above `cached`: while the portal window is open, its names must go to the network's own resolvers, even if the
    // cache has answers of other servers. Their answers must not be cached: later they would lead clients to the portal
    // again.
    ['portal_aliases', followed(['portal'], parts.ageNow, { mayAnswer: hasPortal })],
    ['portal', portal(parts)],

    // Above all stages that change addresses: the sets must have those that the client gets.
    ['firewall', filled(parts)],

    // Below `portal`: the page of a captive portal must be reached, whatever is on a list. Above `cached`: who asks decides
    // what is given, and what is cached is the same for all; an exception or a pause helps at once. Around all that
    // answers: an answer may lead to a name on a list by an alias.
    ['list_aliases', followed(['list'], parts.ageNow, { mayAnswer: hasLists })],

    // Once more, for where aliases of lists and of the portal lead: the page that stands for what is on a list is mostly
    // in this network, and its name must not leave. Above `list`, as for clients that ask for these names themselves.
    ...namesOfHere(named, query => hasLists(query) || hasPortal()),
    ['list', listed(parts)],

    // Above `screened`: an IPv4 address that a client must not get must not come back inside an IPv6 address. Above `cached`
    // and all validation: A and AAAA are cached and validated as their zones have them, and addresses are made for the
    // translator of this network at each reply.
    ['dns64', dns64(parts)],

    // Above `cached`: answers are stored as they came, and the options in force at each reply decide which addresses a
    // client gets. Below `portal`: sign-in pages have private addresses, and no visitor would get online.
    ['rebinding', screened(parts)],
  ];
}

/**
 * The names that are answered here, whoever is asked for others.
 * @param mayLeadHere whether an alias can lead to one of them, where the stages stand once more; left out: they stand first
 */
const namesOfHere = (
  parts: SpecialNamesParts,
  mayLeadHere?: (query: Query) => boolean,
): readonly (readonly ['special_names' | 'local', Stage])[] => {
  const placed = (stage: Stage): Stage => (mayLeadHere === undefined ? stage : only(mayLeadHere, stage));
  return [
    // Above `local`: a hosts file or a lease must not send programs that mean this machine to another one.
    ['special_names', placed(specialNames(parts))],
    ['local', placed(local(parts))],
  ];
};

/** A stage for some queries. Others pass it by. */
const only =
  (concerns: (query: Query) => boolean, stage: Stage): Stage =>
  next => {
    const passed = stage(next);
    return (query, settle) => (concerns(query) ? passed(query, settle) : next(query, settle));
  };

/** Several stages as one. */
const together =
  (stages: readonly Stage[]): Stage =>
  next =>
    stages.reduceRight((below, stage) => stage(below), next);

const PASSED = failure('not_ready');

/** What a stage answers a query with itself, and at once; undefined: nothing. */
function answerOf(stage: Stage, query: Query): Outcome | undefined {
  const outcomes: Outcome[] = [];
  stage((_query, settle) => settle(PASSED))(query, outcome => outcomes.push(outcome));
  return outcomes[0] === PASSED ? undefined : outcomes[0];
}

/**
 * The names that are answered here, for the targets of aliases. Those of made addresses are special-use names like others:
 * they get no answer of `dns64`, which stands above, whatever flags they are asked with.
 */
const namesBelow = (parts: ResolverParts): Stage =>
  together(namesOfHere({ ...namedParts(parts), nat64: () => undefined }).map(([, stage]) => stage));

const routeOfQuery =
  ({ routes }: ResolverParts) =>
  (query: Query): unknown =>
    routeFor(routes(), query)?.route;

/** Those that follow aliases out of one route, and that have kept aliases. @param here what answers names of this network */
const keptAliasStages = (parts: ResolverParts, here: Stage): readonly [Stage, Stage] => [
  // Above `routed`: an alias of the local network may lead into another route, or out of all. Above `validated`: a name
  // that is answered here has no chain of trust, so that only the alias which leads to it is validated.
  followed(['route', 'upstream', 'cache'], parts.ageNow, {
    links: new AliasLinks({ ...parts, routeOf: routeOfQuery(parts) }),
    first: here,
  }),

  // Below it, so that it follows these aliases as well. Above all stages that ask: a kept alias needs no server.
  knownAlias({ ...parts, isAnsweredHere: query => answerOf(here, query) !== undefined }),
];

/** Those that find the answer, which is the same for all. */
function findingStages(parts: ResolverParts, stale: StaleAnswers): readonly Stage[] {
  const here = namesBelow(parts);
  return [
    // Above `cached`: a query without RD would tell one client what others have asked (access.snoop).
    lookOnly(parts),

    // Above all stages that wait or ask: an answer in the cache must not depend on any server, and is given at once.
    cached(parts),

    // Below `cached`: a stored answer costs less. Above all stages that wait or ask, and those that report a failure: what
    // a zone has proven holds whatever becomes of its servers.
    denied(parts),

    // Below `cached`: a query without RD may get an answer from the cache. Above all stages that ask: without RD
    // nothing may be fetched.
    recursionDesired,

    // Below `cached`: what has not expired is given without a question. Above `failedLately`: a failure that was stored
    // is no reason to leave a client without the answer of yesterday.
    stale.stage,

    // Below `cached`: if a refresh has failed, the answer that is still valid must be given, not the failure. Above
    // `coalesced`: a client that repeats a failed question must not start another exchange with upstream.
    failedLately(parts),

    // Below all that answers at once: what needs no server is never refused, and `stale` has an answer for those that are.
    // Above `coalesced`: whoever joins a question waits for it, too.
    admitted,

    // Around all expensive work, the question to the shared store included. Below `cached`: otherwise every hit would
    // enter and leave its table. Above `kept`: an answer is stored once, not once for each client that waits.
    coalesced(parts),

    // Below `coalesced`: one question to the store for all clients that wait. Above `kept`: what it has was kept by
    // another replica, and is not a result of our servers.
    shared({ ...parts, dnssecMode: () => parts.validations.mode }),

    // Around `validated`: the verdict is stored with the answer, and validation is not repeated for each client. Around
    // `routed`: answers about names of the local network are cached like all others.
    kept(parts),

    ...keptAliasStages(parts, here),

    // Above `validated`: zones of the local network have no chain of trust from the root, so their names would be
    // bogus.
    routed(parts),

    // While it waits for the answer, it sends queries for the chain of trust, and it may ask again.
    validated(parts.validations),

    // Below `validated`: the whole chain of aliases is one answer, with one budget and one verdict. A name that is answered
    // here is asked of nobody.
    followed(['upstream'], parts.ageNow, {
      links: new AliasLinks({ ...parts, routeOf: routeOfQuery(parts), validated: validated(parts.validations) }),
      leaves: query => answerOf(here, query) !== undefined,
    }),
  ];
}
