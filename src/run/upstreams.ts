// All servers, and the only owner of pools: the pool of `upstream`, one for each set of a route's resolvers, and the
// network's own resolvers while a portal window is open. Network changes, reports and closing reach all of them.

import type { Clock, Dial, DialDatagram, Log, Random } from '../base/ports.js';
import { failure } from '../base/outcome.js';
import { isInForce, type Schedule } from '../base/schedule.js';
import type { CleartextReason, Observer } from '../base/observer.js';
import type { Mode, Purpose, ServerOverview } from '../base/overview.js';
import { wheel } from '../base/wheel.js';
import type { RouteTarget } from '../pipeline/stages/routed.js';
import type { Memory } from '../upstream/memory.js';
import type { NetworkChange } from '../os/network.js';
import type { UpstreamPorts } from '../upstream/endpoint.js';
import type { OwnQuestionPorts } from '../upstream/own-question.js';
import { pool, type Pool, type PoolSpec, type Upstream } from '../upstream/pool.js';
import { routeOf } from '../policy/routes.js';
import { questionName } from '../wire/compose.js';
import { lowerCased, nameToText } from '../wire/name.js';
import { TYPE } from '../wire/rrtype.js';
import type { Ask } from '../wire/upstream-query.js';
import { routesIn, writtenZones } from './imported-route.js';
import type { Plan, RoutePlan, UpstreamPlan } from './plan.js';
import { type Live, type Prepared, ready } from './reload.js';
import { type AnnouncedResolver, plainServers, systemServers, systemSpecs } from './servers.js';
import type { Timed } from './times.js';

/** The parts that the pools use. */
export interface UpstreamsParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly observer: Observer;
  readonly memory: Memory;
  /** Makes the Dial port for the roots and the certificate of a plan. */
  readonly dialer: (plan: UpstreamPlan) => Dial;
  readonly dialDatagram: DialDatagram;
  /** The addresses of the system's resolvers at present. */
  readonly systemResolvers: () => readonly string[];
  /** The search domains of the network at present. */
  readonly searchDomains: () => readonly string[];
  /** The resolvers that the network has announced at present. */
  readonly announcedResolvers: () => readonly AnnouncedResolver[];
  /** Called before every question, to check whether the network has changed. */
  readonly look: () => void;
  /**
   * Servers were exchanged. Failures that are remembered are those of the servers before, and so are the cached answers
   * of `zones`.
   */
  readonly exchanged: (zones: readonly Buffer[]) => void;
}

/** A route, and the pool that answers for its zones. */
interface RouteEntry extends RouteTarget {
  readonly plan: RoutePlan;
  readonly pool: Pool;
}

/** The servers. */
export class Upstreams implements Live, Timed {
  static readonly options = [
    'upstream.mode',
    'upstream.policy',
    'upstream.ca_file',
    'upstream.client_certificate',
    'upstream.client_key',
    'upstream.tls.require_pq',
    'upstream.randomize_case',
    'upstream.bootstrap',
    'upstream.servers',
    'routes',
  ];
  readonly options = Upstreams.options;
  private readonly ports: UpstreamPorts;
  /** Those of the servers to which routes lead, and of those for all other names. */
  private readonly routedPorts: UpstreamPorts;
  private readonly main: Pool;
  private plan: UpstreamPlan;
  private dial: Dial;
  /** The routes of the configuration, */
  private routePlans: readonly RoutePlan[];
  /** the zones that it says something about, which are not imported, */
  private written: readonly Buffer[];
  /** the search domains that were not imported for that reason, */
  private refused: readonly Buffer[] = [];
  /** those of the routes whose schedules were met when this was last looked at, */
  private scheduled: readonly RoutePlan[] = [];
  /** and those in force. */
  private routed: readonly RouteEntry[];
  /** The network's own resolvers; made when they are first needed, because most daemons never need them. */
  private portal: Pool | undefined;
  /** Grows when names are asked of other servers than before. */
  routesEpoch = 0;
  private nextId = 1;
  /** The servers of `upstream`, as the pipeline asks them. */
  readonly asked: Upstream;

  constructor(
    private readonly parts: UpstreamsParts,
    plan: Plan,
  ) {
    const { clock, random, log, observer, memory, dialDatagram } = parts;
    this.ports = {
      clock,
      random,
      log,
      observer,
      memory,
      dialDatagram,
      dial: (target, events) => this.dial(target, events),
      nextServerId: () => this.nextId++,
      randomizesCase: () => this.plan.randomizeCase,
    };
    this.routedPorts = { ...this.ports, routesEpoch: () => this.routesEpoch };
    this.plan = plan.upstream;
    this.dial = parts.dialer(plan.upstream);
    this.main = pool(this.routedPorts, wheel(clock), this.specOf(plan.upstream));
    this.routePlans = plan.routes;
    this.written = writtenZones(plan);
    this.routed = this.routesNow().map(each => this.target(each));
    this.tellImported();
    this.asked = this.lookingFirst(this.main, (ask, type) => this.routeFor(ask, type)?.pool);
  }

  /** Whether each route with a schedule is in force, in the order of the configuration. */
  get scheduledNow(): readonly boolean[] {
    const { scheduled } = this;
    return this.routePlans.flatMap(each => (each.schedule === undefined ? [] : [scheduled.includes(each)]));
  }

  changesInMs(scheduleMs: number): number {
    return this.routePlans.some(({ schedule }) => schedule !== undefined) ? scheduleMs : Infinity;
  }

  /** Brings the schedules of routes into force. */
  lookAtTime(): void {
    const before = this.scheduled;
    const now = this.inTime();
    const isSame = now.length === before.length && now.every((each, i) => each === before[i]);
    if (!isSame) this.exchangeRoutes();
  }

  /** What queries of our own in cleartext are sent with. */
  get ownQuestions(): OwnQuestionPorts {
    return this.ports;
  }

  /** The mode in force. */
  get mode(): Mode {
    return this.plan.mode;
  }

  /** The trusted roots, PEM; undefined: those of Node.js. */
  get roots(): string | undefined {
    return this.plan.roots?.octets.toString('latin1');
  }

  /** How many questions in a row no server has answered. */
  get unanswered(): number {
    return this.main.unanswered;
  }

  /** Whether a server has failed or stopped answering. */
  isDoubtful(id: number): boolean {
    return this.main.isDoubtful(id);
  }

  /** Whether no server is reached, and none may be asked in cleartext. */
  get isUnreached(): boolean {
    const addresses = this.main.overview().flatMap(each => each.addresses);
    return (
      addresses.length > 0 &&
      addresses.every(({ state, path }) => path !== 'cleartext' && (state === 'failed' || state === 'looking'))
    );
  }

  /** The routes, with their servers. */
  get routes(): readonly RouteTarget[] {
    return this.routed;
  }

  /** When a route is in force; undefined: always. */
  scheduleOf(route: RouteTarget): Schedule | undefined {
    return this.routed.find(each => each === route)?.plan.schedule;
  }

  /** The network's own resolvers, while a portal window is open. */
  get portalResolvers(): Upstream {
    this.parts.look();
    return (this.portal ??= pool(this.ports, wheel(this.parts.clock), this.portalSpec()));
  }

  /** Connects to the servers before the first question. */
  connect(): void {
    this.main.prepare();
  }

  /**
   * The network has changed, the machine has slept, or an operator has requested it: all connections are made again.
   */
  networkChanged(what: NetworkChange): void {
    if (what === 'resolvers') {
      if (this.plan.servers === 'system') this.main.configure(this.specOf(this.plan));
      if (this.routePlans.some(({ imported }) => imported)) {
        this.exchangeRoutes();
        this.tellImported();
      }
    } else for (const each of this.pools()) each.networkChanged(what);
    // The window stays open: now it is for the portal of the new network.
    this.portal?.configure(this.portalSpec());
  }

  /** The window has closed, or is opened again. */
  closePortal(): void {
    const { portal } = this;
    this.portal = undefined;
    // What it was asked is asked anew, of whoever is to be asked now.
    portal?.destroy();
  }

  /**
   * The state of all servers.
   * @param dnssecOf whether a server passes DNSSEC signatures on
   */
  overview(dnssecOf: (id: number) => ServerOverview['dnssec']): readonly ServerOverview[] {
    const of = (purpose: Purpose, from: Pool, clients?: readonly string[]): ServerOverview[] =>
      from.overview().map(each => ({ ...each, purpose, clients, dnssec: dnssecOf(each.id) }));
    return [
      ...of('main', this.main),
      ...this.routed.flatMap(each => of('route', each.pool, each.only && each.plan.clients)),
      ...(this.portal === undefined ? [] : of('portal', this.portal)),
    ];
  }

  prepare(next: Plan): Prepared {
    const { upstream, routes } = next;
    const written = writtenZones(next);
    const dial = upstream.trust === this.plan.trust ? this.dial : this.parts.dialer(upstream);
    return ready(() => {
      this.plan = upstream;
      this.dial = dial;
      this.routePlans = routes;
      this.written = written;
      this.exchangeRoutes(() => this.main.configure(this.specOf(upstream)));
      this.tellImported();
    });
  }

  /** Opens nothing more, and ends the questions that wait. */
  close(): void {
    for (const each of this.pools()) each.destroy();
  }

  private routesNow(): readonly RoutePlan[] {
    const { searchDomains, systemResolvers } = this.parts;
    this.scheduled = this.inTime();
    const { routes, refused } = routesIn(this.scheduled, this.written, searchDomains, systemResolvers);
    this.refused = refused;
    return routes;
  }

  /** The routes of the configuration whose schedules are met. */
  private inTime(): readonly RoutePlan[] {
    const now = new Date(this.parts.clock.wallMs());
    return this.routePlans.filter(({ schedule }) => isInForce(schedule, now));
  }

  /** Logs which names go to the resolvers of the network because it says so. */
  private tellImported(): void {
    if (!this.routePlans.some(({ imported }) => imported)) return;
    const found = this.routed.find(({ plan }) => plan.imported);
    const zones = (found?.zones ?? []).map(zone => nameToText(zone)).join(', ');
    const resolvers = (found?.pool.servers ?? []).map(({ label }) => label).join(', ');
    const words =
      found === undefined
        ? 'this network has no search domains that can be imported'
        : `the search domains of this network are asked of its own resolvers, in cleartext: ${zones} of ${resolvers}`;
    this.parts.log.info({ zones, resolvers }, words);
    if (this.refused.length === 0) return;
    const refused = this.refused.map(zone => nameToText(zone)).join(', ');
    const why =
      'routes, local.own_zones, special_names.forward or dnssec.trust_anchors have them, or a zone above them';
    this.parts.log.warn({ zones: refused }, `search domains of this network that are not imported: ${refused}: ${why}`);
  }

  /** @param others exchanges other servers, between: questions of before must not go to them */
  private exchangeRoutes(others: () => void = () => undefined): void {
    const plans = this.routesNow();
    const before = this.routed;
    const kept = new Set<Pool>();
    this.routed = plans.map(plan => {
      const same = before.find(each => !kept.has(each.pool) && sameServers(each.plan, plan));
      if (same !== undefined) {
        kept.add(same.pool);
        same.pool.configure(this.routeSpec(plan));
      }
      return this.target(plan, same?.pool);
    });
    const old = before.map(each => each.plan);
    const zones = otherZones(old, plans);
    // Servers that go hand back what they were asked: it must be able to begin anew, also where others have them now.
    const isOther = zones.length > 0 || kept.size < before.length;
    if (isOther) this.routesEpoch++;
    this.parts.exchanged(zones);
    others();
    if (isOther) for (const each of this.pools()) each.rerouted();
    // Last: what they were asked begins anew at once (pipeline/stages), under all that is in force now.
    for (const each of before) if (!kept.has(each.pool)) each.pool.destroy();
  }

  private target(plan: RoutePlan, kept?: Pool): RouteEntry {
    const own = kept ?? pool(this.routedPorts, wheel(this.parts.clock), this.routeSpec(plan));
    const asked = this.lookingFirst(own);
    const { zones, kubernetes, validated, only } = plan;
    return { zones, kubernetes, validated, only, plan, pool: own, upstream: () => asked };
  }

  /**
   * The route that a question goes to, where a route's answers are validated: the records for the chain of trust come from
   * there, too, and aliases may lead into other routes. No name of a route goes to the servers of `upstream`.
   */
  private routeFor({ question, routes }: Ask, type: number): RouteEntry | undefined {
    if (!this.routed.some(each => each.plan.validated)) return undefined;
    const name = lowerCased(questionName(question));
    // The DS records of a zone are those of its parent (RFC 4035 §2.4).
    const match = routeOf(this.routed, name, routes);
    if (type !== TYPE.DS || match?.zone.equals(name) !== true) return match?.route;
    return routeOf(this.routed, name.subarray((name[0] ?? 0) + 1), routes)?.route;
  }

  /**
   * A pool that is asked only after a look at the network.
   * @param other another pool for some questions
   */
  private lookingFirst(from: Pool, other?: (ask: Ask, type: number) => Pool | undefined): Upstream {
    const { look } = this.parts;
    const exchange: Upstream['exchange'] = (ask, type, take, avoid) => {
      look();
      // Its name may be asked of others now than when it began, or of nobody.
      if ((ask.routesEpoch ?? this.routesEpoch) !== this.routesEpoch) return take(failure('handed_back'));
      (other?.(ask, type) ?? from).exchange(ask, type, take, avoid);
    };
    const epoch = (): number => this.routesEpoch;
    return {
      exchange,
      get servers() {
        return from.servers;
      },
      get routesEpoch() {
        return epoch();
      },
    };
  }

  private pools(): readonly Pool[] {
    const portal = this.portal === undefined ? [] : [this.portal];
    return [this.main, ...this.routed.map(each => each.pool), ...portal];
  }

  private specOf({ mode, policy, servers, bootstrap, trust }: UpstreamPlan): PoolSpec {
    const { systemResolvers, announcedResolvers } = this.parts;
    // In cleartext, a name proves nothing.
    const announced = mode === 'off' ? [] : announcedResolvers();
    return {
      mode,
      policy,
      trust,
      servers: servers === 'system' ? systemServers(systemResolvers(), announced) : servers,
      bootstrapServers: () => (bootstrap === 'system' ? plainServers(systemResolvers()) : bootstrap),
    };
  }

  private routeSpec({ mode, servers }: RoutePlan): PoolSpec {
    return { ...cleartextSpec('conditional', servers), mode, trust: this.plan.trust };
  }

  private portalSpec(): PoolSpec {
    return cleartextSpec('portal', systemSpecs(this.parts.systemResolvers()));
  }
}

/** Resolvers that are asked in cleartext, in their order. */
const cleartextSpec = (reason: CleartextReason, servers: PoolSpec['servers']): PoolSpec => ({
  mode: 'off',
  reason,
  policy: 'ordered',
  servers,
  bootstrapServers: () => [],
});

/** Zones whose routes came, went, have other resolvers, or another order: the first counts. */
function otherZones(before: readonly RoutePlan[], after: readonly RoutePlan[]): readonly Buffer[] {
  const [old, now] = [routesByZone(before), routesByZone(after)];
  return [...new Set([...old.keys(), ...now.keys()])]
    .filter(zone => old.get(zone)?.join() !== now.get(zone)?.join())
    .map(zone => Buffer.from(zone, 'latin1'));
}

/** What is to be known of the routes for each zone, in their order. */
function routesByZone(plans: readonly RoutePlan[]): ReadonlyMap<string, readonly string[]> {
  const routes = new Map<string, string[]>();
  for (const plan of plans) {
    const { kubernetes, validated, only } = plan;
    const words = JSON.stringify([kubernetes, validated, only && [...only].sort(), serversText(plan)]);
    for (const each of plan.zones) {
      const zone = each.toString('latin1');
      routes.set(zone, [...(routes.get(zone) ?? []), words]);
    }
  }
  return routes;
}

const sameServers = (a: RoutePlan, b: RoutePlan): boolean => serversText(a) === serversText(b);
const serversText = ({ mode, servers }: RoutePlan): string => JSON.stringify([mode, servers]);
