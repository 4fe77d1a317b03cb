// Which clients may ask, which may read the cache, and to which group they belong: on the main thread, and in memory that front threads read.

import { classMatcher, type ClassOf, type Matcher, networkMatcher } from '../policy/access.js';
import type { ClassNetwork } from '../policy/networks.js';
import { SharedNetworks } from '../policy/shared-networks.js';
import type { Plan } from './plan.js';
import { type Live, type Prepared, ready } from './reload.js';

/** The rights of clients. */
export class Clients implements Live {
  static readonly options = ['access.allow', 'access.snoop', 'clients'];
  readonly options = Clients.options;
  /** `access.allow` and the networks of `clients` for front threads. */
  private readonly shared: SharedNetworks;
  private allow: Matcher;
  private snoop: Matcher;
  private group: ClassOf;
  /** The classes for which there are no routes. */
  private routeless: ReadonlySet<number>;

  constructor(plan: Plan) {
    this.shared = new SharedNetworks(SharedNetworks.memory(plan.allow, classNetworks(plan)));
    this.allow = networkMatcher(plan.allow);
    this.snoop = networkMatcher(plan.snoop);
    this.group = classMatcher(classNetworks(plan));
    this.routeless = withoutRoutes(plan);
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

  /** Whether routes are for the clients of a class. */
  hasRoutes(clientClass: number): boolean {
    return !this.routeless.has(clientClass);
  }

  prepare(next: Plan): Prepared {
    const { allow, snoop } = next;
    const classes = classNetworks(next);
    const nextGroup = classMatcher(classes);
    const nextAllow = networkMatcher(allow);
    const nextSnoop = networkMatcher(snoop);
    return ready(() => {
      this.allow = nextAllow;
      this.snoop = nextSnoop;
      this.group = nextGroup;
      this.routeless = withoutRoutes(next);
      this.shared.write(allow, classes);
    });
  }
}

const classNetworks = ({ lists }: Plan): readonly ClassNetwork[] =>
  lists.groups.flatMap(({ networks }, i) => networks.map(each => ({ ...each, clientClass: i + 1 })));

const withoutRoutes = ({ lists }: Plan): ReadonlySet<number> =>
  new Set(lists.groups.flatMap(({ routes }, i) => (routes ? [] : [i + 1])));
