// Who may ask, and how much: the decision about each query, on the octets of its sender's address. Every thread has one of these
// over the same memory.

import type { AgeSec } from '../base/time.js';
import type { OctetClasses, OctetMatcher } from './networks.js';
import { KIND, RateLimit, type Ruling } from './rate-limit.js';
import { SharedNetworks } from './shared-networks.js';

/** The memory of the rights of clients, which threads share. */
export interface AdmissionMemory {
  /** Of SharedNetworks. */
  readonly networks: SharedArrayBuffer;
  /** Of RateLimit. */
  readonly limits: SharedArrayBuffer;
}

/** The rights of clients. */
export class Admission {
  private readonly networks: SharedNetworks;
  private readonly limit: RateLimit;
  private allows: OctetMatcher = () => false;
  private isUnlimited: OctetMatcher = () => false;
  /** The group of an address. */
  classOf: OctetClasses = () => 0;
  /** Whether the address that was ruled on last is in access.allow. */
  isAllowed = false;

  constructor({ networks, limits }: AdmissionMemory) {
    this.networks = new SharedNetworks(networks);
    this.limit = new RateLimit(limits);
    this.look();
  }

  /** Takes over later changes: once per batch. */
  look(): void {
    this.allows = this.networks.matcher();
    this.isUnlimited = this.networks.unlimited();
    this.classOf = this.networks.classes();
  }

  /**
   * Decides about a query, which takes a token from its sender's bucket.
   * @param octets the address, 4 or 16 octets at `at`
   * @param isProven whether it is known to be the sender's own
   */
  rule(octets: Buffer, at: number, bytes: 4 | 16, isProven: boolean, ageNow: AgeSec): Ruling {
    const { limit } = this;
    this.isAllowed = this.allows(octets, at, bytes);
    if (!this.isAllowed) return limit.rule(octets, at, bytes, KIND.foreign, ageNow);
    if (!limit.isOn || this.isUnlimited(octets, at, bytes)) return 'serve';
    return limit.rule(octets, at, bytes, isProven ? KIND.proven : KIND.claimed, ageNow);
  }
}
