// What clients are told about the listeners of this daemon for private DNS (RFC 9462), as listeners, certificates and the
// addresses of the machine are now.

import { networkInterfaces } from 'node:os';

import type { CertificateOverview, DesignationOverview, Overview } from '../base/overview.js';
import type { Clock } from '../base/ports.js';
import { isSystemError } from '../base/system-error.js';
import type { MonoMs } from '../base/time.js';
import { withoutZone } from '../base/address.js';
import {
  type OwnDesignation,
  ownDesignation,
  type OwnDesignationResult,
  type PrivateListener,
  type Service,
} from '../policy/own-designation.js';
import { httpsPair, type Plan } from './plan.js';

/** How long the addresses of this machine hold, ms: clients must not have them asked for all the time. */
const HOLDS_MS = 1000;
/** The most addresses of this machine that a wildcard stands for here. */
const MOST_ADDRESSES = 64;

/** The parts that are read. */
export interface DesignatingParts {
  readonly clock: Clock;
  readonly plan: () => Plan;
  readonly listening: () => Overview['listening'];
  readonly certificates: () => readonly CertificateOverview[];
}

/** Works it out when it is asked for. */
export class Designating {
  /** The addresses of this machine, and when they were looked at. */
  private own: { readonly at: MonoMs; readonly addresses: readonly string[] } | undefined;

  constructor(private readonly parts: DesignatingParts) {}

  /** What clients are told; undefined: nothing. */
  get current(): OwnDesignation | undefined {
    const { result } = this;
    return result?.at === 'designated' ? result.designation : undefined;
  }

  /** For the overview; undefined: there is no listener to tell about. */
  get overview(): DesignationOverview | undefined {
    const { result } = this;
    if (result?.at !== 'designated') return result;
    const { services, unverified } = result.designation;
    return {
      at: 'announced',
      names: [...new Set(services.map(({ name }) => name))],
      services: services.map(serviceText),
      unverified,
    };
  }

  private get result(): OwnDesignationResult | undefined {
    const { clock, listening } = this.parts;
    const places = listening();
    return ownDesignation({
      plain: places.filter(({ transport }) => transport === 'udp'),
      listeners: this.listeners(places),
      own: this.ownAddresses(),
      nowMs: clock.wallMs(),
    });
  }

  private ownAddresses(): readonly string[] {
    const now = this.parts.clock.monotonicMs();
    if (this.own === undefined || now - this.own.at >= HOLDS_MS) this.own = { at: now, addresses: ownAddresses() };
    return this.own.addresses;
  }

  private listeners(places: Overview['listening']): readonly PrivateListener[] {
    const { plan, certificates } = this.parts;
    const { listeners } = plan();
    const { announce: announces, https } = listeners;
    // In cleartext it is for reverse proxies.
    const isSecure = httpsPair(listeners) !== undefined;
    const of = (listener: CertificateOverview['listener']): CertificateOverview | undefined =>
      certificates().find(each => each.listener === listener);
    return [
      {
        protocol: { alpn: 'dot' },
        places: places.filter(({ transport }) => transport === 'tls'),
        certificate: of('tls'),
        announces,
      },
      {
        protocol: { alpn: 'h2', path: https.path },
        places: isSecure ? places.filter(({ transport }) => transport === 'https') : [],
        // Left out, it is that of DNS over TLS.
        certificate: of('https') ?? of('tls'),
        announces,
      },
    ];
  }
}

function serviceText({ protocol, port }: Service): string {
  return protocol.alpn === 'dot' ? `DNS over TLS at port ${port}` : `DNS over HTTPS at port ${port}, ${protocol.path}`;
}

/** The addresses of this machine; none if the system does not tell. */
function ownAddresses(): readonly string[] {
  try {
    const all = Object.values(networkInterfaces()).flatMap(each => each ?? []);
    return all.map(({ address }) => withoutZone(address)).slice(0, MOST_ADDRESSES);
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return [];
  }
}
