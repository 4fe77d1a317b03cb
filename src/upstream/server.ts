// One configured server: its addresses, configured or found, each with its endpoint.

import { isIPv6 } from '../base/address.js';
import type { CleartextReason, ServerObserver } from '../base/observer.js';
import { type Failure, failureWords } from '../base/outcome.js';
import type { AddressOverview, Mode, Origin } from '../base/overview.js';
import { DOT_PORT } from '../base/port-numbers.js';
import type { PinPolicy, Security } from '../base/ports.js';
import type { MonoMs } from '../base/time.js';
import { AddressSearch } from './addresses.js';
import type { BootstrapResult } from './bootstrap.js';
import { type Designated, Discovery } from './discovery.js';
import { DowngradeGuard } from './downgrade.js';
import { Endpoint, type EndpointEvents, type EndpointOwner, type ServerName, type UpstreamPorts } from './endpoint.js';
import { authorityOf, type HttpsSessionTarget } from './https-session.js';
import type { Waiter } from './inflight.js';
import type { PlainServer } from './own-question.js';

/** A server as configured. */
export interface ServerSpec {
  /** The name for people: the server's name, or its address if it has none. Two entries may have the same label. */
  readonly label: string;
  /** The authentication domain name, if any. */
  readonly name: string | undefined;
  /** Empty: found through bootstrap. */
  readonly addresses: readonly { readonly address: string; readonly port: number }[];
  /** The port of DNS over TLS for addresses found by bootstrap. */
  readonly port: number;
  /** The port of cleartext DNS; undefined: the one of the group. */
  readonly plainPort?: number;
  readonly pins: readonly string[];
  readonly pinPolicy: PinPolicy;
  /** Whether the TLSA records of its name authenticate it in strict mode, and nothing else does. */
  readonly dane?: boolean;
  /** Whether to ask it for designated resolvers (RFC 9462): for resolvers that come from the network. */
  readonly discover: boolean;
  readonly origin: Origin;
  /** Its mode, where it is not the one of the group. */
  readonly mode?: Mode;
  /** Where it is asked over HTTPS while its port of DNS over TLS cannot be reached; undefined: nowhere. */
  readonly https?: HttpsSpec | undefined;
}

/** A way to a server over HTTPS, at the same addresses. */
export interface HttpsSpec {
  /** The name that the certificate must be valid for; undefined: the one of the server. */
  readonly host: string | undefined;
  readonly port: number;
  readonly path: string;
}

/** The settings that all servers of a group share. */
export interface GroupSettings {
  readonly mode: Mode;
  readonly reason: CleartextReason;
  /** The port of cleartext DNS. */
  readonly plainPort: number;
  /** The trusted roots and our certificate, as text; see PoolSpec. */
  readonly trust: string;
  readonly bootstrapServers: () => readonly PlainServer[];
}

/** The events of a server, for its group. */
export interface ServerEvents {
  /** Its endpoints have changed, or a search for them has failed. */
  changed(): void;
  /** It is closed, and its last connection has closed. */
  gone(): void;
}

/** A configured server. It begins to look for its addresses at the first `refresh`. */
export class Server<T extends Waiter> implements EndpointOwner<T> {
  readonly name: ServerName & { readonly origin: Origin };
  /** A text that differs for different specifications. */
  readonly key: string;
  private readonly counts: ServerObserver;
  /** Endpoints at its own addresses. */
  private own: readonly Endpoint<T>[];
  /** Endpoints at the addresses that the resolver designated. */
  private designated: readonly Endpoint<T>[] = [];
  /**
   * Endpoints that work, although the last lookup does not name them any more. An answer in cleartext must not end a
   * connection to a server that has proved itself.
   */
  private retained: readonly Endpoint<T>[] = [];
  private readonly guard: DowngradeGuard;
  /** Removed endpoints whose last connection has not closed yet. */
  private readonly leaving = new Set<Endpoint<T>>();
  private readonly search: AddressSearch | undefined = undefined;
  private readonly discovery: Discovery | undefined = undefined;
  private isClosed = false;
  /** Whether `gone` was called. */
  private isGone = false;

  constructor(
    private readonly ports: UpstreamPorts,
    private readonly spec: ServerSpec,
    label: string,
    private readonly setting: GroupSettings,
    private readonly endpointEvents: EndpointEvents<T>,
    private readonly events: ServerEvents,
  ) {
    this.name = { id: ports.nextServerId(), label, origin: spec.origin };
    this.key = serverKey(spec, setting);
    this.counts = ports.observer.server(label);
    this.guard = new DowngradeGuard(ports.memory, spec.label, () => this.endpoints.some(isPrivate));
    this.own = spec.addresses.map(({ address, port }) => this.endpoint(address, port));
    const { name, addresses } = spec;
    if (addresses.length === 0 && name !== undefined)
      this.search = new AddressSearch(ports, name, setting.bootstrapServers, result => this.searched(name, result));
    const resolvers = addresses.map(({ address }) => ({ address, port: setting.plainPort }));
    if (spec.discover && setting.mode === 'opportunistic')
      this.discovery = new Discovery(ports, resolvers, designated => this.discovered(designated));
  }

  /** The endpoints that can be asked. */
  get endpoints(): readonly Endpoint<T>[] {
    const { own, designated, retained } = this;
    return designated.length === 0 && retained.length === 0 ? own : [...designated, ...retained, ...own];
  }

  /** Why there are no endpoints; undefined if there are some, or the search is running. */
  get failure(): Failure | undefined {
    return this.own.length > 0 ? undefined : this.search?.failure;
  }

  /** Whether its first address is being looked up. */
  get isSearching(): boolean {
    return this.own.length === 0 && this.search?.isUnderWay === true;
  }

  /** Whether its names may not go in cleartext now: TLS works, or did until now. */
  isHeld(nowMs: MonoMs): boolean {
    return this.endpoints.some(isPrivate) || this.guard.holds(nowMs);
  }

  /** It takes the place of `others`. Names must not go in cleartext because a server is exchanged. */
  replace(others: readonly Server<T>[], nowMs: MonoMs): void {
    const addresses = new Set(this.own.map(({ identity }) => identity.address));
    const isSame = ({ spec, own }: Server<T>): boolean =>
      spec.label === this.spec.label || own.some(({ identity }) => addresses.has(identity.address));
    if (others.some(each => isSame(each) && each.isHeld(nowMs))) this.guard.inherit();
  }

  /** Looks up addresses if there are none, or if their TTL is over. */
  refresh(nowMs: MonoMs): void {
    this.search?.refresh(nowMs);
    this.discovery?.refresh(nowMs);
  }

  /**
   * The network has changed, or the machine has slept. After a network change, addresses that were found are looked up
   * again. They stay in use until then, because mostly they are the same.
   */
  reset(what: 'network' | 'resume'): void {
    if (what === 'network') {
      this.search?.forget();
      this.discovery?.forget();
      // On this network, another resolver may have the same address, and may designate others.
      const gone = [...this.designated, ...this.retained];
      this.designated = this.retained = [];
      for (const each of gone) this.leave(each);
      this.offerHttps([]);
    }
    this.guard.reset(what);
    for (const each of [...this.endpoints, ...this.leaving]) each.reset(what);
  }

  /** The bootstrap resolvers have changed. */
  bootstrapChanged(): void {
    if (this.own.length === 0) this.search?.forget();
  }

  /** Stops being asked, and stops searching. Queries in flight are finished. */
  close(): void {
    this.stop();
    for (const each of [...this.leaving]) each.close();
    this.tellIfGone();
  }

  /** Closes all connections at once. */
  destroy(): void {
    this.stop();
    for (const each of [...this.leaving]) each.destroy();
    this.tellIfGone();
  }

  // The events of its endpoints.

  passed(endpoint: Endpoint<T>): void {
    if (isDesignated(endpoint)) this.discovery?.confirm();
    else this.search?.confirm();
    if (!this.retained.includes(endpoint)) this.release(each => sameKind(each, endpoint));
  }

  failed(endpoint: Endpoint<T>): void {
    const nowMs = this.ports.clock.monotonicMs();
    if (this.retained.includes(endpoint)) this.release(each => each === endpoint);
    if (this.endpoints.some(isPrivate)) return;
    // The names wait for TLS, so its other addresses must not be in back-off for long.
    if (this.guard.holds(nowMs)) for (const each of this.own) if (each !== endpoint) each.retrySoon(nowMs);
    if (isDesignated(endpoint)) {
      if (this.designated.every(hasFailed)) this.discovery?.doubt(nowMs);
    } else if (this.own.every(hasFailed)) this.search?.doubt(nowMs);
  }

  gone(endpoint: Endpoint<T>): void {
    this.leaving.delete(endpoint);
    this.tellIfGone();
  }

  /** The state of its addresses. */
  overview(nowMs: MonoMs, tlsOnly: boolean): readonly AddressOverview[] {
    const { endpoints, failure } = this;
    if (endpoints.length > 0)
      return endpoints.map(each => ({ ...each.overview(nowMs, tlsOnly), designated: isDesignated(each) }));
    const unknown: AddressOverview = {
      address: undefined,
      port: this.spec.port,
      askedPort: this.spec.port,
      state: 'looking',
      path: 'refuse',
      cleartextMs: undefined,
      transport: 'none',
      transportReason: undefined,
      authenticated: false,
      connections: 0,
      rttMs: undefined,
      idleLimitMs: undefined,
      tlsVersion: undefined,
      tlsGroup: undefined,
      certificateEndsMs: undefined,
      failure: failure && failureWords(failure),
      failureCode: failure?.code,
    };
    return [unknown];
  }

  private stop(): void {
    this.isClosed = true;
    this.search?.close();
    this.discovery?.close();
    for (const each of this.endpoints) this.leaving.add(each);
    this.own = this.designated = this.retained = [];
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
    const { reason, plainPort } = this.setting;
    const { mode = this.setting.mode } = this.spec;
    return new Endpoint<T>(
      this.ports,
      {
        server: this.name,
        guard: this.guard,
        address,
        port,
        plainPort: designatedBy === undefined ? (this.spec.plainPort ?? plainPort) : plainPort,
        mode: designatedBy === undefined ? mode : 'strict',
        reason,
        security: designatedBy === undefined ? securityOf(mode, this.spec) : designatedSecurity(designatedBy),
        https: designatedBy === undefined ? httpsTarget(mode, this.spec, address) : designatedHttps(designatedBy),
        httpsOnly: designatedBy !== undefined && designatedBy.port === undefined,
        isListed: designatedBy === undefined && !this.spec.discover,
      },
      this.counts,
      this.endpointEvents,
      this,
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

  /** Keeps the endpoints whose address is still valid, with their connections. */
  private adopt(addresses: readonly string[]): void {
    const before = [...this.own, ...this.retained.filter(each => !isDesignated(each))];
    this.own = [...new Set(addresses)].map(
      address => before.find(each => each.identity.address === address) ?? this.endpoint(address, this.spec.port),
    );
    this.replaced(before, this.own);
  }

  /**
   * A lookup names other endpoints than before. Those that work are retained until another one does. The others finish
   * their queries.
   */
  private replaced(before: readonly Endpoint<T>[], now: readonly Endpoint<T>[]): void {
    const others = before.filter(each => !now.includes(each));
    const kept = now.some(isPrivate) ? [] : others.filter(isPrivate);
    this.retained = [...this.retained.filter(each => !before.includes(each)), ...kept];
    for (const each of others) if (!kept.includes(each)) this.leave(each);
  }

  /** Retained endpoints are not needed any more. They finish their queries. */
  private release(isMeant: (endpoint: Endpoint<T>) => boolean): void {
    const released = this.retained.filter(isMeant);
    if (released.length === 0) return;
    this.retained = this.retained.filter(each => !released.includes(each));
    for (const each of released) this.leave(each);
    this.events.changed();
  }

  /** Tells its own endpoints where HTTPS was designated at their addresses. */
  private offerHttps(found: readonly Designated[]): void {
    if (!this.spec.discover) return;
    for (const each of this.own) {
      const by = found.find(({ https }) => https?.address === each.identity.address);
      each.offerHttps(by && designatedHttps(by));
    }
  }

  private discovered(found: readonly Designated[]): void {
    const {
      ports,
      spec,
      name: { label },
    } = this;
    // The server's own addresses are connected to anyway.
    const wanted = found.filter(
      ({ address, port }) =>
        !spec.addresses.some(each => each.address === address && (port === undefined || each.port === port)),
    );
    this.offerHttps(found);
    const names = addressWords(this.designated);
    const before = [...this.designated, ...this.retained.filter(isDesignated)];
    this.designated = wanted.map(each => {
      const port = each.port ?? each.https?.port ?? spec.port;
      const https = JSON.stringify(designatedHttps(each));
      const known = before.find(
        ({ identity }) =>
          identity.address === each.address && identity.port === port && JSON.stringify(identity.https) === https,
      );
      return known ?? this.endpoint(each.address, port, each);
    });
    this.replaced(before, this.designated);
    const words = addressWords(this.designated);
    const overHttps = found.some(({ https }) => https !== undefined) ? ' or HTTPS' : '';
    if (words !== names) {
      ports.log.info(
        { upstream: label, designated: words },
        `${label} designates ${words === '' ? 'nobody' : words} for DNS over TLS${overHttps}`,
      );
    }
    this.events.changed();
    const nowMs = ports.clock.monotonicMs();
    for (const each of this.designated) each.prepare(nowMs);
  }
}

/** A text that is equal for two servers that are reached and authenticated in the same way. */
export const serverKey = (spec: ServerSpec, { mode, reason, plainPort, trust }: GroupSettings): string =>
  JSON.stringify([spec, mode, reason, plainPort, trust]);

type AnyEndpoint = Endpoint<Waiter>;

/** Whether TLS works with it. */
const isPrivate = ({ health }: Pick<AnyEndpoint, 'health'>): boolean => health.at === 'private';

const hasFailed = ({ health }: Pick<AnyEndpoint, 'health'>): boolean =>
  health.at === 'failed' || health.at === 'suspect';

/** Whether the resolver has designated it, or its address is the server's own. */
const isDesignated = ({ identity: { security } }: Pick<AnyEndpoint, 'identity'>): boolean =>
  security.at === 'authenticated' && security.designatedBy !== undefined;

const sameKind = (a: Pick<AnyEndpoint, 'identity'>, b: Pick<AnyEndpoint, 'identity'>): boolean =>
  isDesignated(a) === isDesignated(b);

const addressWords = (endpoints: readonly { readonly identity: { readonly address: string } }[]): string =>
  endpoints.map(({ identity }) => identity.address).join(' ');

function securityOf(mode: Mode, { name, pins, pinPolicy, dane }: ServerSpec): Security {
  // Opportunistic and encrypted mode accept any certificate (RFC 8310 §5: no identity is required). Strict mode
  // requires a configured name or pins, or the TLSA records of the name.
  if (mode === 'strict' && dane === true && name !== undefined) return { at: 'dane', name };
  return mode === 'strict' ? { at: 'authenticated', name, pins, pinPolicy } : { at: 'encrypted', name };
}

function httpsTarget(mode: Mode, spec: ServerSpec, address: string): HttpsSessionTarget | undefined {
  if (spec.https === undefined || mode === 'off') return undefined;
  const { host = spec.name, port, path } = spec.https;
  // The pins are the same, and the name is the one that the operator has configured.
  return {
    address,
    port,
    path,
    security: securityOf(mode, { ...spec, name: host }),
    authority: authorityOf(host ?? address, port),
  };
}

/** Only the network told the name, so the name proves nothing. The server must prove the address that was asked. */
const designatedSecurity = ({ by, name }: Pick<Designated, 'by' | 'name'>): Security => ({
  at: 'authenticated',
  name: undefined,
  pins: [],
  pinPolicy: 'pin_and_pkix',
  designatedBy: { address: by, name },
});

function designatedHttps(designated: Designated): HttpsSessionTarget | undefined {
  const { by, https } = designated;
  if (https === undefined) return undefined;
  const { address, port, path, name } = https;
  const security = designatedSecurity({ by, name });
  return { address, port, path, security, authority: authorityOf(name, port) };
}

/** The label for a server without a name. */
export const addressLabel = (address: string, port: number): string =>
  port === DOT_PORT ? address : isIPv6(address) ? `[${address}]:${port}` : `${address}:${port}`;
