// Makes a plan from a configuration: modes resolved, names in wire form, TTLs in seconds, files by their contents.
// Pure, so that two plans can be compared. Only this file outside `config/` reads a Config, so that each fact is worked
// out in one place.

import type { Mode } from '../base/overview.js';
import { DNS_PORT } from '../base/port-numbers.js';
import type { StaleSettings } from '../pipeline/stages/stale.js';
import type { TtlLimits } from '../cache/entry.js';
import { dnssecModeOf, modeOf } from '../config/combinations.js';
import { OPTIONS, optionText } from '../config/options.js';
import type { Config } from '../config/schema.js';
import { type Anchor, BUILT_IN_ANCHORS, readAnchors } from '../dnssec/anchors.js';
import { type Name, nameOf } from '../dnssec/name.js';
import type { HttpPlace } from '../pipeline/jobs/portal-probe.js';
import type { Network } from '../policy/networks.js';
import { type Dns64Settings, excluding } from '../policy/dns64.js';
import type { FirewallSet } from '../policy/firewall-sets.js';
import { nat64PrefixFrom } from '../policy/nat64.js';
import type { RebindingSettings } from '../policy/rebinding.js';
import type { Route } from '../policy/routes.js';
import type { PlainServer } from '../upstream/own-question.js';
import type { Policy } from '../upstream/selection.js';
import { addressLabel, type ServerSpec } from '../upstream/server.js';
import { lowerCased, nameFromText } from '../wire/name.js';
import { resolverSpec } from './servers.js';
import { type OptionProblem, StartError } from './start-error.js';

/** A file as it was when it was read. */
export interface FileContents {
  readonly path: string;
  readonly octets: Buffer;
  /** The digest of the octets. */
  readonly digest: string;
}

/** A certificate chain and its private key, PEM. */
export interface CertificatePair {
  readonly certificate: FileContents;
  readonly key: FileContents;
}

/** The options with the paths of a pair. */
export type PairOptions = Readonly<Record<'certificate' | 'key', string>>;

/** Reads the files of a plan. All functions throw StartError, with the option to correct. */
export interface PlanFiles {
  read(path: string, option: string): FileContents;
  /** The system's trusted roots; undefined: those of Node.js are used. */
  systemRoots(): string | undefined;
  checkRoots(file: FileContents, option: string): void;
  checkPair(pair: CertificatePair, options: PairOptions): void;
  /** Checks that there is a post-quantum key exchange here. */
  checkPq(option: string): void;
}

/** The servers. */
export interface UpstreamPlan {
  readonly mode: Mode;
  readonly policy: Policy;
  /** `system`: the resolvers that the system has, which change with the network. */
  readonly servers: readonly ServerSpec[] | 'system';
  readonly bootstrap: readonly PlainServer[] | 'system';
  /** Whether the letter case of names in cleartext queries is random. */
  readonly randomizeCase: boolean;
  /** PEM text of the trusted roots; undefined: those of Node.js. */
  readonly roots: FileContents | undefined;
  /** Our client certificate for servers. */
  readonly client: CertificatePair | undefined;
  /** Whether nothing less than a post-quantum key exchange will do. */
  readonly requirePq: boolean;
  /** A text of these three. When it changes, all connections are closed, and all tickets forgotten. */
  readonly trust: string;
}

/** Zones of the local network, and their servers. */
export interface RoutePlan extends Route {
  readonly servers: readonly ServerSpec[];
}

/** How queries are resolved and answers validated. */
export interface ResolutionPlan {
  readonly dnssec: ReturnType<typeof dnssecModeOf>;
  readonly anchors: readonly Anchor[];
  /** Subtrees that count as unsigned. */
  readonly negativeAnchors: readonly Name[];
  readonly sha1: Config['dnssec']['sha1'];
  readonly maxNsec3Iterations: number;
  /** Names that may be resolved while the clock is wrong. */
  readonly clockNames: readonly Name[];
  readonly ttlLimits: TtlLimits;
  readonly stale: StaleSettings;
  readonly prefetch: boolean;
  /** Whether names are answered from validated denials of others (RFC 8198). */
  readonly aggressive: boolean;
  readonly rebinding: RebindingSettings;
  readonly dns64: Dns64Settings;
  /** Names that go to the network's resolvers while a portal window is open; wire form, lower case. */
  readonly portalNames: readonly Buffer[];
  /** The URL that tells whether the network has a captive portal; undefined: none is looked for. */
  readonly portalProbe: HttpPlace | undefined;
}

/** An address to listen on. */
export interface Listen {
  readonly address: string;
  readonly port: number;
}

/** The listeners. */
export interface ListenersPlan {
  readonly addresses: readonly Listen[];
  readonly tlsAddresses: readonly Listen[];
  readonly certificate: CertificatePair | undefined;
  readonly threads: number;
  readonly io: Config['front']['io'];
  /** Undefined: no HTTP. */
  readonly metrics: Listen | undefined;
  /** Names under which HTTP is asked, beside local ones. */
  readonly metricsHosts: readonly string[];
}

/** A configuration, worked out. */
export interface Plan {
  /** Each option as text, with the digests of its files. Equal texts mean that nothing has changed. */
  readonly texts: ReadonlyMap<string, string>;
  readonly upstream: UpstreamPlan;
  readonly routes: readonly RoutePlan[];
  readonly resolution: ResolutionPlan;
  readonly firewallSets: readonly FirewallSet[];
  /** Whether the cache outlives a restart, and how often it is written. */
  readonly snapshot: { readonly isOn: boolean; readonly everyMs: number };
  readonly allow: readonly Network[];
  readonly snoop: readonly Network[];
  readonly listeners: ListenersPlan;
  readonly cacheBytes: number;
  readonly stateDirectory: string;
  readonly control: Config['control'];
  readonly log: Config['log'];
  readonly reloadOnChange: boolean;
  /** The files that it was made from. */
  readonly files: readonly string[];
}

/**
 * Makes a plan.
 * @throws StartError with all options that name something that cannot be used
 */
export function planOf(config: Config, files: PlanFiles): Plan {
  const texts = new Map(OPTIONS.map(({ path }) => [path, optionText(config, path)]));
  // Left out, it depends on whether servers are listed.
  texts.set('dnssec.mode', dnssecModeOf(config));
  const reader = new FileReader(files, texts);
  const { upstream, listen_tls: tls } = config;
  const roots = reader.roots(upstream.ca_file, 'upstream.ca_file');
  if (upstream.tls.require_pq) reader.attempt(() => files.checkPq('upstream.tls.require_pq'));
  const client = reader.pair(
    { certificate: upstream.client_certificate, key: upstream.client_key },
    { certificate: 'upstream.client_certificate', key: 'upstream.client_key' },
  );
  const certificate = reader.pair(tls, { certificate: 'listen_tls.certificate', key: 'listen_tls.key' });
  if (reader.problems.length > 0) throw StartError.ofOptions(reader.problems);
  return {
    texts,
    upstream: upstreamPlan(config, roots, client),
    routes: config.routes.map(routePlan),
    resolution: resolutionPlan(config),
    firewallSets: config.firewall_sets.map(firewallSet),
    allow: config.access.allow,
    snoop: config.access.snoop,
    listeners: { ...addressesPlan(config), certificate },
    snapshot: { isOn: config.cache.persist, everyMs: config.cache.save_every },
    cacheBytes: config.cache.size,
    stateDirectory: config.state_directory,
    control: config.control,
    log: config.log,
    reloadOnChange: config.reload_on_change,
    files: reader.read.map(({ path }) => path),
  };
}

/** Reads the files of a plan, and goes on after one that cannot be used, so that all of them are told at once. */
class FileReader {
  readonly problems: OptionProblem[] = [];
  readonly read: FileContents[] = [];

  /**
   * @param texts the texts of the options; the digests of the files are added
   */
  constructor(
    private readonly files: PlanFiles,
    private readonly texts: Map<string, string>,
  ) {}

  /** What a function returns; undefined: it has failed, and the problem is noted. */
  attempt<T>(use: () => T): T | undefined {
    try {
      return use();
    } catch (error) {
      if (!(error instanceof StartError)) throw error;
      this.problems.push(...error.problems);
      return undefined;
    }
  }

  /** Trusted roots: those of an option, else those of the system. */
  roots(given: string | undefined, option: string): FileContents | undefined {
    const path = given ?? this.files.systemRoots();
    const file = path === undefined ? undefined : this.file(path, option);
    if (file !== undefined) this.attempt(() => this.files.checkRoots(file, option));
    return file;
  }

  /** A certificate and its key; undefined: they are not both given. */
  pair(paths: PairPaths, options: PairOptions): CertificatePair | undefined {
    if (paths.certificate === undefined || paths.key === undefined) return undefined;
    const certificate = this.file(paths.certificate, options.certificate);
    const key = this.file(paths.key, options.key);
    if (certificate === undefined || key === undefined) return undefined;
    this.attempt(() => this.files.checkPair({ certificate, key }, options));
    return { certificate, key };
  }

  private file(path: string, option: string): FileContents | undefined {
    const contents = this.attempt(() => this.files.read(path, option));
    if (contents === undefined) return undefined;
    this.read.push(contents);
    this.texts.set(option, `${this.texts.get(option) ?? ''} ${contents.digest}`);
    return contents;
  }
}

type PairPaths = Readonly<Record<'certificate' | 'key', string | undefined>>;

/** Where queries are taken: the part of a plan for which no file has to be read, and which is needed first. */
export const addressesPlan = (config: Config): Omit<ListenersPlan, 'certificate'> => ({
  addresses: config.listen,
  tlsAddresses: config.listen_tls.addresses,
  threads: config.front.threads,
  io: config.front.io,
  metrics: config.metrics.listen === 'off' ? undefined : config.metrics.listen,
  metricsHosts: config.metrics.hosts,
});

/** The options that a reload to `next` would change. */
export const changedOptions = (before: Plan, next: Plan): string[] =>
  [...next.texts.keys()].filter(path => before.texts.get(path) !== next.texts.get(path));

function upstreamPlan(
  config: Config,
  roots: FileContents | undefined,
  client: CertificatePair | undefined,
): UpstreamPlan {
  const { servers, policy, bootstrap, tls, randomize_case: randomizeCase } = config.upstream;
  return {
    mode: modeOf(config),
    policy,
    servers: servers.length === 0 ? 'system' : servers.map(serverSpec),
    bootstrap: bootstrap.length === 0 ? 'system' : bootstrap.map(({ address, port = DNS_PORT }) => ({ address, port })),
    randomizeCase,
    roots,
    client,
    requirePq: tls.require_pq,
    trust: [
      ...[roots, client?.certificate, client?.key].map(file => file?.digest ?? ''),
      ...(tls.require_pq ? ['post-quantum'] : []),
    ].join(' '),
  };
}

function serverSpec({
  name,
  addresses,
  port,
  https,
  pins,
  pin_policy: pinPolicy,
  dane,
}: Config['upstream']['servers'][number]): ServerSpec {
  const [first] = addresses;
  return {
    label: name ?? (first === undefined ? '' : addressLabel(first.address, first.port ?? port)),
    name,
    addresses: addresses.map(each => ({ address: each.address, port: each.port ?? port })),
    port,
    ...(https === undefined ? {} : { https }),
    pins,
    pinPolicy,
    dane,
    discover: false,
    origin: 'configured',
  };
}

const routePlan = ({ zones, resolvers, kubernetes }: Config['routes'][number]): RoutePlan => ({
  zones: zones.map(wireName),
  kubernetes,
  servers: resolvers.map(({ address, port = DNS_PORT }) => resolverSpec(address, port, 'configured')),
});

function firewallSet({ zones, family, table = '', set4, set6 }: Config['firewall_sets'][number]): FirewallSet {
  const named = (set: string | undefined): string | undefined => set && `${family} ${table} ${set}`;
  return { zones: zones.map(wireName), set4: named(set4), set6: named(set6) };
}

function resolutionPlan(config: Config): ResolutionPlan {
  const { dnssec, cache, portal, rebinding, dns64 } = config;
  return {
    dnssec: dnssecModeOf(config),
    anchors: readAnchors(dnssec.trust_anchors.length > 0 ? dnssec.trust_anchors : BUILT_IN_ANCHORS),
    negativeAnchors: dnssec.negative_trust_anchors.map(name => nameOf(wireName(name))),
    sha1: dnssec.sha1,
    maxNsec3Iterations: dnssec.max_nsec3_iterations,
    clockNames: dnssec.ntp_names.map(name => nameOf(wireName(name))),
    ttlLimits: {
      minSec: Math.ceil(cache.min_ttl / 1000),
      maxSec: Math.floor(cache.max_ttl / 1000),
      negativeMaxSec: Math.floor(cache.negative_max_ttl / 1000),
    },
    stale: {
      mostSec: Math.floor(cache.serve_stale / 1000),
      ttlSec: Math.ceil(cache.stale_answer_ttl / 1000),
      clientTimeoutMs: cache.stale_client_timeout,
      excluded: cache.stale_exclude.map(wireName),
    },
    prefetch: cache.prefetch,
    aggressive: cache.aggressive_nsec,
    rebinding: { protect: rebinding.protect, allow: rebinding.allow.map(wireName) },
    dns64: {
      prefix: dns64.prefix === undefined ? undefined : nat64PrefixFrom(dns64.prefix),
      discover: dns64.discover && dns64.prefix === undefined,
      excludes: excluding(dns64.exclude),
    },
    portalNames: portal.names.map(wireName),
    portalProbe: portal.detect === 'off' ? undefined : portal.detect,
  };
}

/** A name in wire form, lower case. The check of the configuration has accepted it. */
function wireName(text: string): Buffer {
  const name = nameFromText(text);
  if (name === undefined) throw new TypeError(`${JSON.stringify(text)} passed the check and is not a domain name`);
  return lowerCased(name);
}
