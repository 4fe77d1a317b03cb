// Which clients may ask, and how much, which may read the cache, and to which group they belong: on the main thread, and
// in memory that front threads read.

import { randomBytes } from 'node:crypto';

import { addressOctets } from '../base/address.js';
import { SIPHASH_KEY_BYTES } from '../base/siphash.js';
import type { Clock } from '../base/ports.js';
import type { AgeSec } from '../base/time.js';
import { processSeconds } from '../os/clock.js';
import type { Job, JobRun } from '../pipeline/jobs/jobs.js';
import type { Client } from '../pipeline/query.js';
import { classMatcher, type ClassOf, type Matcher, networkMatcher } from '../policy/access.js';
import { Admission, type AdmissionMemory } from '../policy/admission.js';
import type { ClassNetwork, Network } from '../policy/networks.js';
import { type ClassPlace, placeClasses, type PlaceClasses } from '../policy/own-places.js';
import { RateLimit, type Ruling } from '../policy/rate-limit.js';
import { RENEW_SECRET_SEC, ServerCookies } from '../policy/server-cookies.js';
import { type Networks, SharedNetworks } from '../policy/shared-networks.js';
import { ALL_ROUTES, type RouteSet } from '../wire/query.js';
import { Devices, type DevicesParts } from './devices.js';
import { OwnNetworks, type OwnNetworksParts } from './own-networks.js';
import type { ListsPlan, Plan } from './plan.js';
import { type Live, type Prepared, ready } from './reload.js';

/** The parts that it uses. */
export interface ClientsParts extends Omit<DevicesParts & OwnNetworksParts, 'changed'> {
  readonly ageNow: () => AgeSec;
  readonly clock: Clock;
}

/** In place of an address that cannot be read. */
const NO_ADDRESS = Buffer.alloc(4);

/** The rights of clients. */
export class Clients implements Live {
  static readonly options = [
    'access.allow',
    'access.snoop',
    'access.per_client',
    'access.rate_limit',
    'access.burst',
    'access.unlimited',
    'access.require_cookie',
    'access.proxy_protocol',
    'access.nsid',
  ];
  readonly options = Clients.options;
  /** The networks of the options, for front threads. */
  private readonly shared: SharedNetworks;
  /** The buckets of clients, which all threads share. */
  private readonly limit: RateLimit;
  /** The decision about each query, over the memory that front threads read. */
  private readonly admission: Admission;
  private readonly cookies: ServerCookies;
  private secretSince: AgeSec;
  /** Networks of our own interfaces that may ask. */
  private own: readonly Network[] = [];
  /** What is in that memory. */
  private networks: Networks;
  /** The networks that access.allow has. */
  private configured: readonly Network[];
  private allow: Matcher;
  private snoop: Matcher;
  /** The most queries of one client that may wait; 0: no limit. */
  maxWaiting: number;
  /** What they are told about which server this is; undefined: nothing. */
  identity: Buffer | undefined;
  private group: ClassOf;
  private groupOfPlace: PlaceClasses | undefined;
  /** The addresses of devices of groups, as networks. */
  private devices: readonly ClassNetwork[] = [];
  /** The groups in force. */
  private groups: ListsPlan['groups'];

  private readonly followers: { readonly devices: Devices; readonly own: OwnNetworks };

  constructor(
    private readonly parts: ClientsParts,
    plan: Plan,
  ) {
    const { groups } = plan.lists;
    this.maxWaiting = plan.perClient;
    this.identity = plan.identity;
    this.configured = plan.allow;
    this.groups = groups;
    this.networks = {
      allow: plan.allow,
      unlimited: plan.unlimited,
      proving: plan.proving,
      announcing: plan.announcing,
      classes: classNetworks(groups),
      atOurs: classPlaces(groups),
      areGrouped: groups.length > 0,
    };
    this.shared = new SharedNetworks(SharedNetworks.memory(plan.allow, this.networks));
    this.limit = new RateLimit(RateLimit.memory(randomBytes(SIPHASH_KEY_BYTES)));
    this.limit.set(plan.rateLimit);
    this.cookies = new ServerCookies(ServerCookies.memory(randomBytes(SIPHASH_KEY_BYTES)));
    this.secretSince = parts.ageNow();
    this.admission = new Admission(this.memory, () => Math.floor(parts.clock.wallMs() / 1000));
    this.allow = networkMatcher(plan.allow);
    this.snoop = networkMatcher(plan.snoop);
    this.group = classMatcher(this.networks.classes);
    this.groupOfPlace = groupsOfPlaces(this.networks.atOurs);
    this.followers = {
      devices: new Devices({ ...parts, changed: seen => this.takeDevices(seen) }, plan.lists),
      own: new OwnNetworks({ ...parts, changed: seen => this.takeOwn(seen) }, plan.allowsLocal),
    };
  }

  close(): void {
    this.followers.devices.close();
    this.followers.own.close();
  }

  /** Who may ask, and how much, as front threads read it. */
  get memory(): AdmissionMemory {
    return { networks: this.shared.memory, limits: this.limit.memory, cookies: this.cookies.memory };
  }

  /**
   * Takes a query from the share of a client, and says what becomes of it.
   * @param isProven whether the address is known to be its own
   */
  rule({ address }: Client, isProven: boolean): Ruling {
    // Mostly nobody is limited: then the address need not be read.
    if (!this.limit.isOn && this.networks.proving.length === 0 && this.allow(address)) return 'serve';
    const octets = addressOctets(address);
    if (octets === undefined) return 'serve';
    this.admission.look();
    return this.admission.rule(octets, 0, octets.length === 4 ? 4 : 16, isProven, processSeconds());
  }

  /** Whether a COOKIE option proves the address of a client. */
  proves({ address }: Client, option: Buffer): boolean {
    const octets = addressOctets(address);
    return octets !== undefined && this.admission.proves(option, 0, option.length, octets);
  }

  /** The COOKIE option for the reply to a client. */
  cookieFor({ address }: Client, option: Buffer): Buffer {
    return this.admission.cookieFor(option, addressOctets(address) ?? NO_ADDRESS);
  }

  /** Exchanges the secret of cookies. */
  readonly job: Job = {
    name: 'cookie-secret',
    dueInMs: () => 1000 * (this.secretSince + RENEW_SECRET_SEC - this.parts.ageNow()),
    run: (run: JobRun) => {
      this.secretSince = this.parts.ageNow();
      this.cookies.renew(randomBytes(SIPHASH_KEY_BYTES));
      run.done();
    },
  };

  /** Whether an address may ask. */
  mayAsk(address: string): boolean {
    return this.allow(address);
  }

  /** Whether an address may read the cache with RD=0. */
  mayLook(address: string): boolean {
    return this.snoop(address);
  }

  /** Whether an address is that of a proxy, which says in a PROXY header for whom it connects. */
  sendsProxyHeader(address: string): boolean {
    const octets = addressOctets(address);
    return octets !== undefined && this.admission.sendsProxyHeader(octets);
  }

  /** The group of a client: its number in the plan, from 1; 0: none. */
  classOf({ address, at }: Pick<Client, 'address' | 'at'>): number {
    const ofAddress = this.group(address);
    return ofAddress !== 0 || at === undefined ? ofAddress : (this.groupOfPlace?.(at) ?? 0);
  }

  /** Whether there are groups, which may get different answers to the same question. */
  get areGrouped(): boolean {
    return this.groups.length > 0;
  }

  /** Which routes are for the clients of a class. */
  routesOf(clientClass: number): RouteSet {
    // Class 0 is that of no group. V8 would look for the property of the name -1.
    return clientClass === 0 ? ALL_ROUTES : (this.groups[clientClass - 1]?.routes ?? ALL_ROUTES);
  }

  /** Brings the groups of a plan into force; its lists must be exchanged in the same turn (run/list-service). */
  takeGroups(lists: ListsPlan): void {
    this.groups = lists.groups;
    this.classify();
    this.followers.devices.follow(lists);
  }

  /** Brings the addresses of devices into force. */
  private takeDevices(devices: readonly ClassNetwork[]): void {
    this.devices = devices;
    this.classify();
  }

  /** Brings the networks of our own interfaces into force. */
  private takeOwn(own: readonly Network[]): void {
    this.own = own;
    this.admit(this.configured);
  }

  /** @param configured the networks of access.allow */
  private admit(configured: readonly Network[]): void {
    this.configured = configured;
    const allow = [...this.own, ...configured];
    this.allow = networkMatcher(allow);
    this.networks = { ...this.networks, allow };
    this.share();
  }

  private classify(): void {
    // A device counts more than a network that is only its address.
    const classes = [...this.devices, ...classNetworks(this.groups)];
    this.networks = { ...this.networks, classes, atOurs: classPlaces(this.groups), areGrouped: this.areGrouped };
    this.group = classMatcher(classes);
    this.groupOfPlace = groupsOfPlaces(this.networks.atOurs);
    this.share();
  }

  prepare({
    allow,
    allowsLocal,
    snoop,
    unlimited,
    proving,
    perClient,
    rateLimit,
    announcing,
    identity,
  }: Plan): Prepared {
    const nextSnoop = networkMatcher(snoop);
    return ready(() => {
      this.snoop = nextSnoop;
      this.networks = { ...this.networks, unlimited, proving, announcing };
      this.limit.set(rateLimit);
      this.maxWaiting = perClient;
      this.identity = identity;
      this.followers.own.follow(allowsLocal);
      this.admit(allow);
    });
  }

  private share(): void {
    this.shared.write(this.networks);
  }
}

const classNetworks = (groups: ListsPlan['groups']): readonly ClassNetwork[] =>
  groups.flatMap(({ networks }, i) => networks.map(each => ({ ...each, clientClass: i + 1 })));

const classPlaces = (groups: ListsPlan['groups']): readonly ClassPlace[] =>
  groups.flatMap(({ listeners }, i) => listeners.map(({ address, port }) => ({ address, port, clientClass: i + 1 })));

const groupsOfPlaces = (places: readonly ClassPlace[]): PlaceClasses | undefined =>
  places.length === 0 ? undefined : placeClasses(places);
