// One configured server: its addresses, given or found, each with its endpoint.

import { isIPv6 } from 'node:net';

import type { CleartextReason, ServerObserver } from '../base/observer.js';
import { type Failure, failureWords } from '../base/outcome.js';
import type { AddressOverview, Mode } from '../base/overview.js';
import type { PinPolicy, Security } from '../base/ports.js';
import type { MonoMs } from '../base/time.js';
import { AddressSearch } from './addresses.js';
import type { BootstrapResult } from './bootstrap.js';
import { type Designated, Discovery } from './discovery.js';
import { Endpoint, type EndpointEvents, type ServerName, type UpstreamPorts } from './endpoint.js';
import type { Waiter } from './inflight.js';
import type { PlainServer } from './own-question.js';

/** A server as configured. */
export interface ServerSpec {
  /** For people: the name, or the address where there is none. Two entries may have the same. */
  readonly label: string;
  /** The authentication domain name, if any. */
  readonly name: string | undefined;
  /** Empty: to be found through bootstrap. */
  readonly addresses: readonly { readonly address: string; readonly port: number }[];
  /** Of DNS over TLS, for addresses found by bootstrap. */
  readonly port: number;
  /** Of cleartext DNS, where it is not the group's. */
  readonly plainPort?: number;
  readonly pins: readonly string[];
  readonly pinPolicy: PinPolicy;
  /** Whether to ask it where it speaks DNS over TLS (RFC 9462): for resolvers that nobody configured. */
  readonly discover: boolean;
}

/** How the servers of a group are asked. */
export interface ServerSetting {
  readonly mode: Mode;
  readonly reason: CleartextReason;
  /** Of cleartext DNS. */
  readonly plainPort: number;
  /** What servers are verified against, and what they are shown; see PoolSpec. */
  readonly trust: string;
  readonly bootstrapServers: () => readonly PlainServer[];
}

/** What a server tells its group. */
export interface ServerEvents {
  /** Its endpoints are others, or a search for them has failed. */
  changed(): void;
  /** It was closed, and its last connection is. */
  gone(): void;
}

/** A configured server. It begins to look for its addresses at the first `refresh`. */
export class Server<T extends Waiter> {
  readonly name: ServerName;
  /** Tells two specifications apart. */
  readonly key: string;
  private readonly counts: ServerObserver;
  /** At its own addresses. */
  private own: readonly Endpoint<T>[];
  /** At those that the resolver itself has named. */
  private designated: readonly Endpoint<T>[] = [];
  /** At those that count no more, until their last connection is closed. */
  private readonly leaving = new Set<Endpoint<T>>();
  private readonly search: AddressSearch | undefined = undefined;
  private readonly discovery: Discovery | undefined = undefined;
  private isClosed = false;
  /** It has told that its last connection is closed. */
  private isGone = false;

  constructor(
    private readonly ports: UpstreamPorts,
    private readonly spec: ServerSpec,
    label: string,
    private readonly setting: ServerSetting,
    private readonly endpointEvents: EndpointEvents<T>,
    private readonly events: ServerEvents,
  ) {
    this.name = { id: ports.nextServerId(), label };
    this.key = serverKey(spec, setting);
    this.counts = ports.observer.server(label);
    this.own = spec.addresses.map(({ address, port }) => this.endpoint(address, port));
    const { name, addresses } = spec;
    if (addresses.length === 0 && name !== undefined)
      this.search = new AddressSearch(ports, name, setting.bootstrapServers, result => this.searched(name, result));
    const resolvers = addresses.map(({ address }) => ({ address, port: setting.plainPort }));
    if (spec.discover && setting.mode === 'opportunistic')
      this.discovery = new Discovery(ports, resolvers, designated => this.discovered(designated));
  }

  /** Those that can be asked. */
  get endpoints(): readonly Endpoint<T>[] {
    return this.designated.length === 0 ? this.own : [...this.designated, ...this.own];
  }

  /** Why there are no endpoints; undefined while they are being looked for, or where there are some. */
  get failure(): Failure | undefined {
    return this.own.length > 0 ? undefined : this.search?.failure;
  }

  /** Its first address is being looked for. */
  get isSearching(): boolean {
    return this.own.length === 0 && this.search?.isUnderWay === true;
  }

  /** Looks for addresses if there are none, or if they have outlived their TTL. */
  refresh(nowMs: MonoMs): void {
    this.search?.refresh(nowMs);
    this.discovery?.refresh(nowMs);
  }

  /**
   * The network is another, or the machine has slept. On another network what was found on the one of before counts no more;
   * but its addresses stay until there are new ones, since most of the time they are the same.
   */
  reset(what: 'network' | 'resume'): void {
    if (what === 'network') {
      this.search?.forget();
      this.discovery?.forget();
      // A resolver of the same address may be another one here, and designates others.
      const { designated } = this;
      this.designated = [];
      for (const each of designated) this.leave(each);
    }
    for (const each of [...this.own, ...this.designated, ...this.leaving]) each.reset(what);
  }

  /** The bootstrap resolvers are others. */
  bootstrapChanged(): void {
    if (this.own.length === 0) this.search?.forget();
  }

  /** Is asked no more, and looks for nothing; what is in flight is finished. */
  close(): void {
    this.stop();
    for (const each of [...this.leaving]) each.close();
    this.tellIfGone();
  }

  /** Cuts. */
  destroy(): void {
    this.stop();
    for (const each of [...this.leaving]) each.destroy();
    this.tellIfGone();
  }

  /** How its addresses are doing. */
  overview(nowMs: MonoMs): readonly AddressOverview[] {
    const { endpoints, failure } = this;
    if (endpoints.length > 0) return endpoints.map(each => each.overview(nowMs));
    const unknown: AddressOverview = {
      address: undefined,
      port: this.spec.port,
      state: 'looking',
      path: 'refuse',
      authenticated: false,
      connections: 0,
      rttMs: undefined,
      idleLimitMs: undefined,
      certificateEndsMs: undefined,
      failure: failure && failureWords(failure),
    };
    return [unknown];
  }

  private stop(): void {
    this.isClosed = true;
    this.search?.close();
    this.discovery?.close();
    for (const each of this.endpoints) this.leaving.add(each);
    this.own = this.designated = [];
  }

  private leave(endpoint: Endpoint<T>): void {
    this.leaving.add(endpoint);
    endpoint.close();
  }

  private tellIfGone(): void {
    if (!this.isClosed || this.isGone || this.leaving.size > 0) return;
    this.isGone = true;
    this.counts.end();
    this.events.gone();
  }

  private endpoint(address: string, port: number, designatedBy?: Designated): Endpoint<T> {
    const { mode, reason, plainPort } = this.setting;
    return new Endpoint<T>(
      this.ports,
      {
        server: this.name,
        memoryName: this.spec.label,
        address,
        port,
        plainPort: designatedBy === undefined ? (this.spec.plainPort ?? plainPort) : plainPort,
        mode: designatedBy === undefined ? mode : 'strict',
        reason,
        security: designatedBy === undefined ? securityOf(mode, this.spec) : designatedSecurity(designatedBy),
      },
      this.counts,
      this.endpointEvents,
      gone => {
        this.leaving.delete(gone);
        this.tellIfGone();
      },
    );
  }

  private searched(name: string, result: BootstrapResult): void {
    const {
      ports,
      name: { label },
    } = this;
    if (result.at === 'found') {
      ports.memory.remember(name, result.addresses);
      this.adopt(result.addresses);
    } else {
      const remembered = this.own.length > 0 ? [] : ports.memory.recall(name);
      if (remembered.length > 0) {
        ports.log.info({ upstream: label }, `${label}: using the addresses of last time, ${remembered.join(' ')}`);
        this.adopt(remembered);
      }
      this.counts.error(result.code);
      ports.log.warn({ upstream: label, reason: result.code }, `${label}: no address found: ${result.detail ?? ''}`);
    }
    this.events.changed();
  }

  /** Keeps the endpoints whose address is still valid, with their connections; the others finish what they have. */
  private adopt(addresses: readonly string[]): void {
    const before = this.own;
    this.own = [...new Set(addresses)].map(
      address => before.find(each => each.identity.address === address) ?? this.endpoint(address, this.spec.port),
    );
    for (const each of before) if (!this.own.includes(each)) this.leave(each);
  }

  private discovered(found: readonly Designated[]): void {
    const {
      ports,
      spec,
      name: { label },
    } = this;
    // Its own addresses are connected to anyway.
    const wanted = found.filter(
      ({ address, port }) => !spec.addresses.some(each => each.address === address && each.port === port),
    );
    const before = this.designated;
    this.designated = wanted.map(
      each =>
        before.find(({ identity }) => identity.address === each.address && identity.port === each.port) ??
        this.endpoint(each.address, each.port, each),
    );
    for (const each of before) if (!this.designated.includes(each)) this.leave(each);
    const words = addressWords(this.designated);
    if (words !== addressWords(before)) {
      ports.log.info(
        { upstream: label, designated: words },
        `${label} designates ${words === '' ? 'nobody' : words} for DNS over TLS`,
      );
    }
    this.events.changed();
    const nowMs = ports.clock.monotonicMs();
    for (const each of this.designated) each.prepare(nowMs);
  }
}

/** A text that is the same for two servers that are reached in the same way, and prove themselves in the same way. */
export const serverKey = (spec: ServerSpec, { mode, reason, plainPort, trust }: ServerSetting): string =>
  JSON.stringify([spec, mode, reason, plainPort, trust]);

const addressWords = (endpoints: readonly { readonly identity: { readonly address: string } }[]): string =>
  endpoints.map(({ identity }) => identity.address).join(' ');

function securityOf(mode: Mode, { name, pins, pinPolicy }: ServerSpec): Security {
  // Opportunistic and encrypted take any certificate (RFC 8310 §5: no identity is required). Strict is the mode in which a
  // configured name or pins are required.
  return mode === 'strict' ? { at: 'authenticated', name, pins, pinPolicy } : { at: 'encrypted', name };
}

/** Only the network says its name, so it proves nothing; the address that was asked is what it has to prove. */
const designatedSecurity = ({ by, name }: Designated): Security => ({
  at: 'authenticated',
  name: undefined,
  pins: [],
  pinPolicy: 'pin_and_pkix',
  designatedBy: { address: by, name },
});

/** The label for a server without a name. */
export const addressLabel = (address: string, port: number): string =>
  port === 853 ? address : isIPv6(address) ? `[${address}]:${port}` : `${address}:${port}`;
