// Which clients may ask, and how much, which may read the cache, and to which group they belong: on the main thread, and
// in memory that front threads read.

import { classMatcher, type ClassOf, type Matcher, networkMatcher } from '../policy/access.js';
import type { ClassNetwork, Network } from '../policy/networks.js';
import { SharedNetworks } from '../policy/shared-networks.js';
import { Devices, type DevicesParts } from './devices.js';
import { OwnNetworks, type OwnNetworksParts } from './own-networks.js';
import type { ListsPlan, Plan } from './plan.js';
import { type Live, type Prepared, ready } from './reload.js';

/** The parts that it uses. */
export type ClientsParts = Omit<DevicesParts & OwnNetworksParts, 'changed'>;

/** The rights of clients. */
export class Clients implements Live {
  static readonly options = ['access.allow', 'access.snoop', 'access.per_client'];
  readonly options = Clients.options;
  /** `access.allow` and the networks of `clients` for front threads. */
  private readonly shared: SharedNetworks;
  /** Networks of our own interfaces that may ask. */
  private own: readonly Network[] = [];
  /** What is in that memory. */
  private networks: { readonly allow: readonly Network[]; readonly classes: readonly ClassNetwork[] };
  /** The networks that access.allow has. */
  private configured: readonly Network[];
  private allow: Matcher;
  private snoop: Matcher;
  /** The most queries of one client that may wait; 0: no limit. */
  maxWaiting: number;
  private group: ClassOf;
  /** The addresses of devices of groups, as networks. */
  private devices: readonly ClassNetwork[] = [];
  /** The groups in force. */
  private groups: ListsPlan['groups'];
  /** The classes for which there are no routes. */
  private routeless: ReadonlySet<number>;

  private readonly followers: { readonly devices: Devices; readonly own: OwnNetworks };

  constructor(parts: ClientsParts, plan: Plan) {
    const { groups } = plan.lists;
    this.maxWaiting = plan.perClient;
    this.configured = plan.allow;
    this.groups = groups;
    this.networks = { allow: plan.allow, classes: classNetworks(groups) };
    this.shared = new SharedNetworks(SharedNetworks.memory(plan.allow, this.networks.classes));
    this.allow = networkMatcher(plan.allow);
    this.snoop = networkMatcher(plan.snoop);
    this.group = classMatcher(this.networks.classes);
    this.routeless = withoutRoutes(groups);
    this.followers = {
      devices: new Devices({ ...parts, changed: seen => this.takeDevices(seen) }, plan.lists),
      own: new OwnNetworks({ ...parts, changed: seen => this.takeOwn(seen) }, plan.allowsLocal),
    };
  }

  close(): void {
    this.followers.devices.close();
    this.followers.own.close();
  }

  /** The networks of `access.allow`, as front threads read them. */
  get memory(): SharedArrayBuffer {
    return this.shared.memory;
  }

  /** Whether an address may ask. */
  mayAsk(address: string): boolean {
    return this.allow(address);
  }

  /** Whether an address may read the cache with RD=0. */
  mayLook(address: string): boolean {
    return this.snoop(address);
  }

  /** The group of an address: its number in the plan, from 1; 0: none. */
  classOf(address: string): number {
    return this.group(address);
  }

  /** Whether there are groups, which may get different answers to the same question. */
  get areGrouped(): boolean {
    return this.groups.length > 0;
  }

  /** Whether routes are for the clients of a class. */
  hasRoutes(clientClass: number): boolean {
    return !this.routeless.has(clientClass);
  }

  /** Brings the groups of a plan into force; its lists must be exchanged in the same turn (run/list-service). */
  takeGroups(lists: ListsPlan): void {
    this.groups = lists.groups;
    this.routeless = withoutRoutes(lists.groups);
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
    this.networks = { ...this.networks, classes: [...this.devices, ...classNetworks(this.groups)] };
    this.group = classMatcher(this.networks.classes);
    this.share();
  }

  prepare({ allow, allowsLocal, snoop, perClient }: Plan): Prepared {
    const nextSnoop = networkMatcher(snoop);
    return ready(() => {
      this.snoop = nextSnoop;
      this.maxWaiting = perClient;
      this.followers.own.follow(allowsLocal);
      this.admit(allow);
    });
  }

  private share(): void {
    this.shared.write(this.networks.allow, this.networks.classes);
  }
}

const classNetworks = (groups: ListsPlan['groups']): readonly ClassNetwork[] =>
  groups.flatMap(({ networks }, i) => networks.map(each => ({ ...each, clientClass: i + 1 })));

const withoutRoutes = (groups: ListsPlan['groups']): ReadonlySet<number> =>
  new Set(groups.flatMap(({ routes }, i) => (routes ? [] : [i + 1])));
