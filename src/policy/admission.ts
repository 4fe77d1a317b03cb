// Who may ask, and how much: the decision about each query, on the octets of its sender's address. Every thread has one of these
// over the same memory.

import type { OctetClasses, OctetMatcher } from './networks.js';
import type { PlaceClasses } from './own-places.js';
import { KIND, RateLimit, type Ruling } from './rate-limit.js';
import { ServerCookies } from './server-cookies.js';
import { SharedNetworks } from './shared-networks.js';

/** The memory of the rights of clients, which threads share. */
export interface AdmissionMemory {
  /** Of SharedNetworks. */
  readonly networks: SharedArrayBuffer;
  /** Of RateLimit. */
  readonly limits: SharedArrayBuffer;
  /** Of ServerCookies. */
  readonly cookies: SharedArrayBuffer;
}

/** The rights of clients. */
export class Admission {
  private readonly networks: SharedNetworks;
  private readonly limit: RateLimit;
  private allows: OctetMatcher = () => false;
  private isUnlimited: OctetMatcher = () => false;
  private mustProve: OctetMatcher = () => false;
  private readonly cookies: ServerCookies;
  /** The version of the networks that was taken over. */
  private seen: number | undefined = undefined;
  /** The group of an address. */
  classOf: OctetClasses = () => 0;
  /** The group by the address of ours at which a query arrives; undefined: there is no such group. */
  classOfPlace: PlaceClasses | undefined = undefined;
  /** Whether the address that was ruled on last is in access.allow. */
  isAllowed = false;

  /** @param wallSec the wall clock, whole seconds since 1970 */
  constructor(
    { networks, limits, cookies }: AdmissionMemory,
    private readonly wallSec: () => number,
  ) {
    this.networks = new SharedNetworks(networks);
    this.limit = new RateLimit(limits);
    this.cookies = new ServerCookies(cookies);
    this.look();
  }

  /** Takes over later changes: once per batch. */
  look(): void {
    const { version } = this.networks;
    if (version === this.seen) return;
    this.seen = version;
    this.allows = this.networks.matcher();
    this.isUnlimited = this.networks.unlimited();
    this.mustProve = this.networks.proving();
    this.classOf = this.networks.classes();
    this.classOfPlace = this.networks.placeClasses();
  }

  /** Whether clients of an address, 4 or 16 octets, may ask; with later changes. */
  mayAsk(address: Buffer): boolean {
    return this.networks.matcher()(address, 0, address.length === 4 ? 4 : 16);
  }

  /** Whether an address, 4 or 16 octets, is that of a proxy that says in a PROXY header for whom it connects; with later changes. */
  sendsProxyHeader(address: Buffer): boolean {
    return this.networks.announcing()(address, 0, address.length === 4 ? 4 : 16);
  }

  /** Whether there are groups of clients now. */
  get areGrouped(): boolean {
    return this.networks.areGrouped;
  }

  /**
   * Whether a COOKIE option proves its sender's address.
   * @param octets has the option's data
   */
  proves(octets: Buffer, at: number, bytes: number, address: Buffer): boolean {
    return bytes > 0 && this.cookies.isValid(octets, at, bytes, address, this.wallSec());
  }

  /** The COOKIE option for the reply to a sender. */
  cookieFor(option: Buffer, address: Buffer): Buffer {
    return this.cookies.optionFor(option, address, this.wallSec());
  }

  /**
   * Decides about a query, which takes a token from its sender's bucket.
   * @param octets the address, 4 or 16 octets at `at`
   * @param isProven whether it is known to be the sender's own
   * @param nowSec seconds on a clock that all threads share
   */
  rule(octets: Buffer, at: number, bytes: 4 | 16, isProven: boolean, nowSec: number): Ruling {
    const { limit } = this;
    this.isAllowed = this.allows(octets, at, bytes);
    if (!this.isAllowed) return limit.rule(octets, at, bytes, KIND.foreign, nowSec);
    const isLimited = limit.isOn && !this.isUnlimited(octets, at, bytes);
    const ruling = isLimited ? limit.rule(octets, at, bytes, isProven ? KIND.proven : KIND.claimed, nowSec) : 'serve';
    return ruling === 'serve' && !isProven && this.mustProve(octets, at, bytes) ? 'unproven' : ruling;
  }
}
