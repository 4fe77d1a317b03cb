// Resolution: the caches, validation, the portal window, the pipeline, and background jobs.

import type { Observer } from '../base/observer.js';
import type { Overview, ServerOverview, ValidationOverview } from '../base/overview.js';
import type { Clock, HttpGet, Log } from '../base/ports.js';
import type { AgeSec, WallSec } from '../base/time.js';
import { AnswerCache } from '../cache/answers.js';
import { FailureCache } from '../cache/failures.js';
import { signInWords } from '../control/health.js';
import { Denials } from '../dnssec/denials.js';
import { isWithin, type Name, nameOf, ROOT_NAME } from '../dnssec/name.js';
import { type NegativeAnchors, negativeAnchors } from '../dnssec/negative.js';
import { PreparedKeys } from '../dnssec/prepared-keys.js';
import type { TrustPoints } from '../dnssec/rollover.js';
import { nameInLookupKey } from '../dnssec/steps.js';
import type { SnapshotBlock, SnapshotRecord, StoredBlock } from '../cache/snapshot.js';
import { type Validator, validator, type ValidatorParts } from '../dnssec/validator.js';
import type { StateStore } from '../os/state-store.js';
import type { CachedAnswer } from '../control/cache.js';
import { bytesOf, type Outcome } from '../pipeline/answer.js';
import type { Finding } from '../pipeline/finding.js';
import { ForgottenWhileRead } from '../pipeline/forgotten.js';
import { ownQuery } from '../pipeline/internal-query.js';
import { type Job, Jobs } from '../pipeline/jobs/jobs.js';
import { Nat64Discovery } from '../pipeline/jobs/nat64-discovery.js';
import { portalProbeJob } from '../pipeline/jobs/portal-probe.js';
import { trustAnchorJob } from '../pipeline/jobs/trust-anchors.js';
import { provenLookup } from '../pipeline/proven-lookup.js';
import type { Query } from '../pipeline/query.js';
import { type DecidingParts, Resolver, type ResolverParts } from '../pipeline/resolver.js';
import type { Resolve } from '../pipeline/stage.js';
import type { ListPolicy } from '../policy/lists/list-policy.js';
import { type Traced, trace } from '../pipeline/trace.js';
import { denialRecords, restoreDenial } from '../pipeline/validation/denial-records.js';
import { RememberedLookups } from '../pipeline/validation/remembered.js';
import { type DnssecMode, Validations } from '../pipeline/validation/validations.js';
import { type Nat64Prefix, nat64Text } from '../policy/nat64.js';
import type { OwnDesignation } from '../policy/own-designation.js';
import { type Portal, portal } from '../policy/portal.js';
import { type DetectionEnd, PortalDetection } from '../policy/portal-detection.js';
import type { ProvenLookup } from '../upstream/dane-lookup.js';
import { ALL_ROUTES, cacheKey, keyWithRoutes, NO_ROUTES } from '../wire/query.js';
import type { Clients } from './clients.js';
import type { LocalNames } from './local-names.js';
import type { Firewall } from './firewall.js';
import { KeyPreparation } from './key-preparation.js';
import type { Network } from './network.js';
import type { DaemonParts } from './parts.js';
import type { Plan, ResolutionPlan } from './plan.js';
import { type Live, type Prepared, ready } from './reload.js';
import type { SharedCache } from './shared-cache.js';
import { plainServers } from './servers.js';
import { allocated } from './start-error.js';
import { TYPE } from '../wire/rrtype.js';
import { lostWords, Trust } from './trust.js';
import type { Upstreams } from './upstreams.js';

/** The parts that it uses. */
export interface ResolutionParts {
  readonly clock: Clock;
  /** The same, for all that is done for each query (base/turn-clock). */
  readonly turn: Clock;
  readonly log: Log;
  readonly observer: Observer;
  readonly ageNow: () => AgeSec;
  /** When this version was built. */
  readonly built: WallSec;
  readonly store: StateStore;
  readonly network: Network;
  readonly upstreams: Upstreams;
  readonly clients: Clients;
  readonly sharedCache: SharedCache;
  readonly lists: ListPolicy;
  readonly localNames: LocalNames;
  /** What clients are told about our own listeners; undefined: nothing. */
  readonly designation: () => OwnDesignation | undefined;
  readonly firewall: Firewall;
  readonly system: DaemonParts['system'];
  // For the detection of captive portals.
  readonly httpGet: HttpGet;
  /** The trusted roots of the plan in force, PEM; undefined: those of Node.js. */
  readonly roots: () => string | undefined;
  /** Called when answers were forgotten: ready replies of them must be removed, too. */
  readonly forgotten: () => void;
}

/** One part in so many of cache.size is for ready replies, */
export const READY_SHARE = 4;
/** and one for keys and proofs of zones. */
const ZONES_SHARE = 16;
/** One for the responses that have proven those, kept for the next start. */
const REMEMBERED_SHARE = 32;
/** One for denials of zones, about 700 octets each and their records. */
const DENIALS_SHARE = 8;
/** One for failures, about 700 octets each. */
const FAILURES_SHARE = 16;
/** A trace, or a lookup of TLSA records, is for one question, and needs no more memory. */
const QUESTION_BYTES = 1 << 18;
/** Options that earlier verdicts depend on. */
const VERDICT_OPTIONS = ['dnssec.mode', 'dnssec.trust_anchors', 'dnssec.sha1', 'dnssec.max_nsec3_iterations'];

/** Options that say how stored answers are changed for clients. */
const ANSWER_OPTIONS = ['rebinding.protect', 'rebinding.allow', 'dns64.prefix', 'dns64.discover', 'dns64.exclude'];

const PORTAL_END_WORDS: Readonly<Record<DetectionEnd, string>> = {
  free: 'the captive portal lets everything through now',
  too_long: 'the captive portal has let nothing through for too long: "dotstub portal start" opens the window again',
  off: 'captive portals are not looked for any more (portal.detect)',
};

/** Resolution. */
export class Resolution implements Live {
  static readonly options = [
    'portal.names',
    'portal.detect',
    'special_names.forward',
    ...VERDICT_OPTIONS,
    'dnssec.negative_trust_anchors',
    'dnssec.ntp_names',
    'cache.min_ttl',
    'cache.max_ttl',
    'cache.negative_max_ttl',
    'cache.serve_stale',
    'cache.stale_answer_ttl',
    'cache.stale_client_timeout',
    'cache.stale_exclude',
    'cache.prefetch',
    'cache.aggressive_nsec',
    ...ANSWER_OPTIONS,
  ];
  readonly options = Resolution.options;
  /** The captive portal window, */
  readonly portal: Portal;
  /** and what opens and closes it without a command. */
  readonly detection: PortalDetection;
  readonly trust: Trust;
  readonly negative: NegativeAnchors;
  private readonly answers: AnswerCache;
  /** cache.size at the start, */
  private readonly cacheBytes: number;
  /** and the part of it for answers. */
  private readonly answerBytes: number;
  private readonly remembered: RememberedLookups;
  private readonly failures: FailureCache<Outcome>;
  private readonly denials: Denials;
  private readonly preparedKeys = new PreparedKeys(new KeyPreparation().prepare);
  private readonly validator: Validator;
  private readonly validations: Validations;
  private readonly resolver: Resolver;
  private readonly jobs: Jobs;
  /** What must not come back from before the restart. */
  private readonly forgotten = new ForgottenWhileRead();
  /** The prefix of the network's translator, if it is not configured. */
  private readonly nat64: Nat64Discovery;
  /** Looks up records that authenticate servers. */
  readonly proven: ProvenLookup;
  private plan: ResolutionPlan;

  constructor(
    private readonly parts: ResolutionParts,
    { resolution, cacheBytes }: Plan,
  ) {
    const { clock, log, observer, ageNow, upstreams } = parts;
    this.plan = resolution;
    this.cacheBytes = cacheBytes;
    const others = [READY_SHARE, ZONES_SHARE, REMEMBERED_SHARE, DENIALS_SHARE, FAILURES_SHARE];
    this.answerBytes = cacheBytes * others.reduce((left, share) => left - 1 / share, 1);
    this.answers = allocated('cache.size', this.answerBytes, () => new AnswerCache(this.answerBytes, observer));
    this.remembered = new RememberedLookups(cacheBytes / REMEMBERED_SHARE);
    this.failures = new FailureCache(cacheBytes / FAILURES_SHARE, bytesOf);
    this.denials = new Denials(cacheBytes / DENIALS_SHARE);
    this.portal = portal(parts.ageNow, resolution.portalNames);
    this.detection = new PortalDetection(this.portal, () => clock.monotonicMs(), {
      opened: url => this.portalDetected(url),
      closed: why => this.portalEnded(why),
      due: () => this.jobs.lookAgain(),
    });
    this.trust = new Trust(parts.store, log, resolution.anchors);
    this.negative = negativeAnchors(resolution.negativeAnchors, ageNow);
    this.validator = validator({
      ...this.validatorParts(),
      bytes: cacheBytes / ZONES_SHARE,
      onAnchorKeys: this.trust.seen,
    });
    const asking = { clock, log, observer, ageNow, upstream: upstreams.asked, validator: this.validator };
    this.validations = new Validations({
      ...asking,
      denials: this.denials,
      probes: true,
      isDoubtful: id => upstreams.isDoubtful(id),
      dnssecMode: () => this.plan.dnssec,
      remembered: this.remembered,
      restored: key => this.answers.doubtful(key, ageNow()),
      disproved: key => this.answers.disprove(key),
    });
    this.nat64 = new Nat64Discovery({
      ...{ clock, upstream: upstreams.asked },
      changed: prefix => this.prefixChanged(prefix),
      due: () => this.jobs.lookAgain(),
    });
    this.resolver = new Resolver(this.resolverParts());
    this.proven = provenLookup({
      ...{ clock, log, observer, ageNow },
      // A server must not be authenticated by records whose dates are wrong, whatever its name.
      freshValidator: () =>
        validator({
          ...this.validatorParts(),
          settings: () => ({ ...this.plan, clockNames: [] }),
          bytes: QUESTION_BYTES,
        }),
    });
    this.jobs = new Jobs(clock);
    this.jobs.add(trustAnchorJob({ ...asking, points: () => this.trust.points, validates: () => this.validates }));
    this.jobs.add(this.portalJob());
    this.jobs.add(this.nat64.job);
    this.nat64.configure(resolution.dns64.discover);
    this.detection.configure(resolution.portalProbe !== undefined);
  }

  /** What the stages use. */
  private resolverParts(): ResolverParts {
    const { turn, observer, ageNow, upstreams, clients, localNames, designation } = this.parts;
    const { firewall, lists, sharedCache } = this.parts;
    return {
      answers: this.answers,
      failures: this.failures,
      shared: () => sharedCache.answers,
      denials: this.denials,
      aggressive: () => this.plan.aggressive,
      upstream: upstreams.asked,
      begunAnew: query => this.begunAnew(query),
      ttlLimits: () => this.plan.ttlLimits,
      stale: () => this.plan.stale,
      prefetches: () => this.plan.prefetch,
      clock: turn,
      validations: this.validations,
      portal: { window: this.portal, upstream: () => upstreams.portalResolvers },
      lists,
      routes: () => upstreams.routes,
      forwarded: () => this.plan.forwarded,
      localNames: () => localNames.table,
      designation,
      firewallSets: () => firewall.sets,
      filler: firewall.filler,
      rebinding: () => this.plan.rebinding,
      dns64: () => this.plan.dns64,
      nat64: () => this.plan.dns64.prefix ?? this.nat64.prefix,
      mayLook: address => clients.mayLook(address),
      observer,
      ageNow,
    };
  }

  /** A query under the routes in force, if it began under others. */
  private begunAnew(query: Query): Query | undefined {
    const { clients, upstreams } = this.parts;
    const { routesEpoch } = upstreams;
    if (query.routesEpoch === routesEpoch) return undefined;
    const ofClient = query.purpose === 'client';
    const clientClass = ofClient ? clients.classOf(query.client) : query.clientClass;
    return query.anew({ clientClass, routes: ofClient ? clients.routesOf(clientClass) : query.routes, routesEpoch });
  }

  /** All that is cached and may be used after a restart. */
  *cached(): Iterable<SnapshotRecord | SnapshotBlock> {
    yield* this.remembered.records();
    yield* denialRecords(this.denials, this.parts.ageNow());
    yield* this.answers.blocks(this.parts.ageNow(), this.plan.stale.mostSec);
  }

  /**
   * Takes what was cached before the restart, but nothing that was forgotten since. Returns how much of it.
   * @throws SnapshotError
   */
  restore(part: SnapshotRecord | StoredBlock): number {
    const { forgotten } = this;
    switch (part.kind) {
      case 'block':
        return this.answers.restore(part, this.parts.ageNow(), forgotten);
      case 'lookup':
        if (forgotten.isForgotten?.(nameInLookupKey(part.key)) === true) return 0;
        this.remembered.restore(part);
        return 1;
      case 'denial':
        if (forgotten.hasDenials) return 0;
        restoreDenial(this.denials, part, this.parts.ageNow());
        return 1;
    }
  }

  /** All that was cached before the restart has been taken. */
  restored(): void {
    this.forgotten.end();
  }

  /** Changes when something is forgotten. */
  get epoch(): number {
    return this.answers.epoch;
  }

  /** The start has succeeded: background jobs may run. */
  begin(): void {
    this.jobs.begin();
  }

  /** Adds a background job. */
  addJob(job: Job): void {
    this.jobs.add(job);
  }

  /** Jobs may be due at other times. */
  lookAtJobs(): void {
    this.jobs.lookAgain();
  }

  /** Answers a query. */
  get resolve(): Resolve {
    return this.resolver.resolve;
  }

  /** The parts of the stages that decide, to say what they would do. */
  get deciding(): DecidingParts {
    return this.resolver.parts;
  }

  /** How answers are validated. */
  get dnssecMode(): DnssecMode {
    return this.plan.dnssec;
  }

  /** The contents of the caches, for the overview. */
  get cache(): Overview['cache'] {
    const { entries, bytes } = this.answers;
    const zones = this.validator.zones.entries;
    const { answerBytes: limitBytes, cacheBytes: sizeBytes, failures } = this;
    return { entries, bytes, limitBytes, sizeBytes, failures: failures.entries, zones };
  }

  /** For how many seconds clients have been given stale answers because servers do not answer; undefined: they are not. */
  get staleSec(): number | undefined {
    return this.resolver.staleSec;
  }

  /** Whether a server passes DNSSEC signatures on. */
  dnssecOf(id: number): ServerOverview['dnssec'] {
    return this.validates ? this.validations.strippers.stateOf(id) : 'unknown';
  }

  /** What validation has found. */
  get validation(): ValidationOverview {
    return this.validations.verdicts.state;
  }

  /** What is not validated any more although it should be, one sentence each. */
  get lostTrust(): readonly string[] {
    return this.validates ? this.trust.points.lost.map(lostWords) : [];
  }

  /** Forgets the answers and zone states of some names. Returns how many answers. */
  forget(isMeant: (name: Name) => boolean): number {
    this.forgotten.names(isMeant);
    const forgotten = this.resolver.forget(isMeant);
    this.parts.sharedCache.forget();
    this.parts.forgotten();
    this.jobs.lookAgain();
    return forgotten;
  }

  /**
   * A negative trust anchor came or went: verdicts about names there are void. Failures do not say which aliases led to
   * them, so all are forgotten.
   */
  negativeChanged(name: Name): void {
    this.forget(each => isWithin(each, name));
    this.resolver.forgetFailedQuestions();
  }

  /** Forgets denials. Returns how many. */
  forgetNegative(): number {
    this.forgotten.negatives();
    this.denials.clear();
    const forgotten = this.answers.forgetNegative();
    this.parts.sharedCache.forget();
    this.parts.forgotten();
    this.jobs.lookAgain();
    return forgotten;
  }

  /** Where the answer to a query would be found. Nobody is asked. */
  look(query: Query): Finding {
    return this.resolver.look(query);
  }

  /** The answers to a question that are in the cache: groups with routes of their own have others. */
  cachedAnswers(
    question: Buffer,
    { routes: plans, routeSets }: Pick<Plan, 'routes' | 'routeSets'>,
  ): readonly CachedAnswer[] {
    const groups = new Set(plans.flatMap(({ clients }) => clients));
    const ofGroups = [...groups].map(group => ({ routes: routeSets.get(group) ?? NO_ROUTES, routesFor: { group } }));
    const everybody = { routes: ALL_ROUTES, routesFor: 'everybody' } as const;
    const all = [everybody, ...ofGroups, { routes: NO_ROUTES, routesFor: 'none' } as const];
    return [false, true].flatMap(checkingDisabled =>
      all.flatMap(({ routes, routesFor }): CachedAnswer[] => {
        const found = this.answers.peek(keyWithRoutes(cacheKey(question, checkingDisabled), routes));
        if (found === undefined) return [];
        const { entry, isDoubtful } = found;
        const elapsedSec = this.parts.ageNow() - entry.storedAt;
        const times = { ageSec: Math.floor(elapsedSec), leftSec: Math.ceil(entry.ttlSec - elapsedSec) };
        return [{ ...entry, ...times, isDoubtful, checkingDisabled, routesFor }];
      }),
    );
  }

  /** Forgets all failures: on another network, or with other servers, the questions may succeed. */
  forgetFailures(): void {
    this.resolver.forgetFailures();
  }

  /** What the network of before has told counts no more. */
  networkChanged(): void {
    this.forgetFailures();
    this.nat64.networkChanged();
  }

  /** Local names have changed. Aliases that led in a circle over them may do so no more; servers are no better than before. */
  localNamesChanged(): void {
    this.parts.forgotten();
    this.resolver.forgetAliasLoops();
  }

  /** Other servers are asked. @param zones whose answers of before come from servers that are not asked about them any more */
  serversExchanged(zones: readonly Buffer[]): void {
    const names = zones.map(nameOf);
    if (names.length > 0) this.forget(name => names.some(zone => isWithin(name, zone)));
    // Other routes may have other schedules.
    this.jobs.lookAgain();
    this.networkChanged();
  }

  /** The portal window was opened or closed. Ready replies are given without a look at its names. */
  portalChanged(): void {
    const { upstreams, log, forgotten } = this.parts;
    // Other resolvers than last time, perhaps.
    upstreams.closePortal();
    forgotten();
    const { open } = this.portal;
    if (open !== undefined) {
      const seconds = Math.ceil(open.leftMs / 1000);
      const visit = open.visit === undefined ? '' : `; ${signInWords(open.visit)}`;
      const words = `names of portal.names go to the network's resolvers in cleartext${visit}`;
      return log.warn({ seconds }, `portal window open for ${seconds} s: ${words}`);
    }
    log.warn({}, 'portal window closed');
    // After a sign-in, servers may be reachable that were not before.
    this.forgetFailures();
    upstreams.networkChanged('network');
  }

  /** Asks the servers for the name servers of the root, past the cache. What validation finds counts. */
  askRoot(then: () => void): void {
    const { routesEpoch } = this.parts.upstreams;
    const query = ownQuery(ROOT_NAME, TYPE.NS, { checkingDisabled: false, avoid: [], routesEpoch });
    this.resolver.resolve(query.derive({ purpose: 'refresh' }), then);
  }

  /** Answers one question past all caches, and notes what validation finds on its way. */
  async trace(name: Buffer, type: number): Promise<Traced> {
    const { clock, log, observer, ageNow, upstreams } = this.parts;
    const fresh = validator({ ...this.validatorParts(), bytes: QUESTION_BYTES });
    const ttlLimits = () => this.plan.ttlLimits;
    return trace({ clock, log, observer, ageNow, ttlLimits, upstream: upstreams.asked, validator: fresh }, name, type);
  }

  prepare({ resolution: next }: Plan): Prepared {
    const points: TrustPoints | undefined =
      anchorsText(next) === anchorsText(this.plan) ? undefined : this.trust.exchanged(next.anchors);
    return ready(() => this.exchange(next, points));
  }

  /** Ends the jobs. */
  close(): void {
    this.jobs.close();
  }

  private exchange(next: ResolutionPlan, points: TrustPoints | undefined): void {
    const before = this.plan;
    this.plan = next;
    this.portal.configure(next.portalNames);
    this.exchangeDetection(before, next);
    this.nat64.configure(next.dns64.discover);
    if (points !== undefined) this.trust.take(points);
    const other =
      points !== undefined ||
      next.dnssec !== before.dnssec ||
      next.sha1 !== before.sha1 ||
      next.maxNsec3Iterations !== before.maxNsec3Iterations;
    const changed = this.negative.configure(next.negativeAnchors);
    if (other || changed.length > 0) this.parts.network.memory.forgetTlsa();
    // Under other settings, earlier verdicts are not valid.
    if (other) {
      this.forget(() => true);
      // Questions in flight do not store zone states any more, either.
      this.validator.zones.clear();
    } else for (const name of changed) this.negativeChanged(name);
    // Replies that are ready are given without a look at the portal's names, and as the options of before made them.
    this.parts.forgotten();
    this.forgetFailures();
    this.jobs.lookAgain();
  }

  private exchangeDetection(before: ResolutionPlan, next: ResolutionPlan): void {
    this.detection.configure(next.portalProbe !== undefined);
    // Another URL may get another answer.
    if (JSON.stringify(before.portalProbe) !== JSON.stringify(next.portalProbe)) this.detection.trigger('start');
  }

  private prefixChanged(prefix: Nat64Prefix | undefined): void {
    const { log, forgotten } = this.parts;
    const text = prefix && nat64Text(prefix);
    log.info({ prefix: text }, text === undefined ? 'no NAT64 here: no addresses are made' : `NAT64 prefix ${text}`);
    forgotten();
  }

  private portalJob(): Job {
    const { clock, upstreams, httpGet, system, roots } = this.parts;
    return portalProbeJob({
      detection: this.detection,
      monotonicMs: () => clock.monotonicMs(),
      ports: upstreams.ownQuestions,
      get: httpGet,
      place: () => this.plan.portalProbe,
      apis: () => system.announced().portals,
      resolvers: () => plainServers(system.resolvers()),
      roots,
    });
  }

  private portalDetected(url: string | undefined): void {
    const page = url === undefined ? '' : `; its page is ${url}`;
    this.parts.log.warn({ url }, `this network has a captive portal${page}`);
    this.portalChanged();
  }

  private portalEnded(why: DetectionEnd): void {
    this.parts.log.info({ reason: why }, PORTAL_END_WORDS[why]);
    this.portalChanged();
  }

  private get validates(): boolean {
    return this.plan.dnssec === 'require' || this.plan.dnssec === 'prefer';
  }

  private validatorParts(): Omit<ValidatorParts, 'bytes'> {
    const { network, built } = this.parts;
    return {
      anchors: () => this.trust.points.anchors,
      negative: this.negative,
      settings: () => this.plan,
      built,
      clockIsSet: () => network.clockIsSet,
      preparedKeys: this.preparedKeys,
    };
  }
}

/** Anchors as text, for comparison. */
const anchorsText = ({ anchors }: ResolutionPlan): string =>
  JSON.stringify(anchors.map(({ zone, ds, keys }) => [zone, ds, keys.map(key => key.rdata.toString('base64'))]));
