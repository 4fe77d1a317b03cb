// Which clients may ask, and how much, and which may read the cache: on the main thread, and in memory that front
// threads read.

import { type Matcher, networkMatcher } from '../policy/access.js';
import { SharedNetworks } from '../policy/shared-networks.js';
import type { Plan } from './plan.js';
import { type Live, type Prepared, ready } from './reload.js';

/** The rights of clients. */
export class Clients implements Live {
  static readonly options = ['access.allow', 'access.snoop', 'access.per_client'];
  readonly options = Clients.options;
  /** `access.allow` for front threads. */
  private readonly shared: SharedNetworks;
  private allow: Matcher;
  private snoop: Matcher;
  /** The most queries of one client that may wait; 0: no limit. */
  maxWaiting: number;

  constructor(plan: Plan) {
    this.maxWaiting = plan.perClient;
    this.shared = new SharedNetworks(SharedNetworks.memory(plan.allow));
    this.allow = networkMatcher(plan.allow);
    this.snoop = networkMatcher(plan.snoop);
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

  prepare({ allow, snoop, perClient }: Plan): Prepared {
    const nextAllow = networkMatcher(allow);
    const nextSnoop = networkMatcher(snoop);
    return ready(() => {
      this.allow = nextAllow;
      this.snoop = nextSnoop;
      this.maxWaiting = perClient;
      this.shared.write(allow);
    });
  }
}
