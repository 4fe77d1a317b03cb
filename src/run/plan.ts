// Makes a plan from a configuration: modes resolved, names in wire form, TTLs in seconds, files by their contents.
// Pure, so that two plans can be compared. Only this file outside `config/` reads a Config, so that each fact is worked
// out in one place.

import type { Schedule } from '../base/schedule.js';
import type { Mode } from '../base/overview.js';
import { DNS_PORT, DOT_PORT } from '../base/port-numbers.js';
import type { StaleSettings } from '../pipeline/stages/stale.js';
import type { TtlLimits } from '../cache/entry.js';
import { sharedKeyFrom } from '../cache/shared-entry.js';
import { dnssecModeOf, modeOf } from '../config/combinations.js';
import { OPTIONS, optionText } from '../config/options.js';
import type { Config } from '../config/schema.js';
import { type Anchor, BUILT_IN_ANCHORS, readAnchors } from '../dnssec/anchors.js';
import { type Name, nameOf } from '../dnssec/name.js';
import type { StoreAddress } from '../os/redis-client.js';
import type { HttpPlace } from '../pipeline/jobs/portal-probe.js';
import type { Network } from '../policy/networks.js';
import type { Rate } from '../policy/rate-limit.js';
import type { ListSettings } from '../policy/lists/choice.js';
import type { ListClass } from '../policy/lists/list-policy.js';
import type { ListFormat } from '../policy/lists/rule.js';
import type { LeaseFormat } from '../policy/local/leases.js';
import { recordFrom } from '../policy/local/record-text.js';
import { LocalTable } from '../policy/local/table.js';
import { type Dns64Settings, excluding } from '../policy/dns64.js';
import type { FirewallSet } from '../policy/firewall-sets.js';
import { nat64PrefixFrom } from '../policy/nat64.js';
import type { RebindingSettings } from '../policy/rebinding.js';
import type { Route } from '../policy/routes.js';
import { ALL_ROUTES, NO_ROUTES, type RouteSet } from '../wire/query.js';
import type { PlainServer } from '../upstream/own-question.js';
import type { Policy } from '../upstream/selection.js';
import { addressLabel, type ServerSpec } from '../upstream/server.js';
import type { RecordData } from '../wire/compose.js';
import { lowerCased, nameFromText } from '../wire/name.js';
import { type RouteSets, routeSetsOf } from './route-sets.js';
import { resolverSpec } from './servers.js';
import { type CertificatePair, type FileContents, FileReader, type PlanFiles } from './plan-files.js';
import { type OptionProblem, StartError } from './start-error.js';

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
  /** The names of the groups of `only`. */
  readonly clients: readonly string[];
  /** When it is in force; undefined: always. */
  readonly schedule: Schedule | undefined;
  /** Whether its zones and servers are those of the network (run/imported-route). */
  readonly imported: boolean;
  readonly servers: readonly ServerSpec[];
  readonly mode: Mode;
  /** Whether its answers are validated. */
  readonly validated: boolean;
}

/** A file with names of the local network. */
export interface LocalFile {
  readonly path: string;
  readonly format: 'hosts' | LeaseFormat;
  /** The domain of the names of leases; undefined: none. */
  readonly domain: string | undefined;
}

/** Names that are answered here. */
export interface LocalPlan {
  readonly files: readonly LocalFile[];
  readonly records: readonly RecordData[];
  /** Wire form, lower case, one character per octet. */
  readonly ownZones: readonly string[];
}

/** How queries are resolved and answers validated. */
export interface ResolutionPlan {
  readonly dnssec: ReturnType<typeof dnssecModeOf>;
  readonly anchors: readonly Anchor[];
  /** Subtrees that count as unsigned. */
  readonly negativeAnchors: readonly Name[];
  /** Special-use names that are forwarded, wire form, lower case. */
  readonly forwarded: readonly Buffer[];
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

/** The store that replicas share. */
export interface SharedPlan {
  readonly store: StoreAddress;
  readonly timeoutMs: number;
  readonly key: Buffer;
  /** The options that answers depend on, as text. Replicas that differ in it share nothing. */
  readonly settings: string;
}

/** One list. */
export interface ListPlan extends ListSettings {
  readonly sources: readonly Config['lists'][number]['sources'][number][];
  readonly format: ListFormat;
  readonly refreshMs: number;
}

/** One group of clients. Its class is its number in the plan, from 1. */
export interface GroupPlan {
  readonly name: string;
  readonly networks: readonly Network[];
  /** Hardware addresses, as in os/neighbours. */
  readonly macs: readonly string[];
  /** The addresses of ours at which they ask; without a port, any. */
  readonly listeners: readonly { readonly address: string; readonly port: number | undefined }[];
  /** Which routes are for them. */
  readonly routes: RouteSet;
}

/** Lists, and groups of clients. */
export interface ListsPlan {
  readonly lists: readonly ListPlan[];
  readonly groups: readonly GroupPlan[];
  /** By class: what is looked at for clients of no group, and of each group. */
  readonly classes: readonly ListClass[];
  /** A text of the lists. While it is the same, they need not be read again. */
  readonly text: string;
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
  readonly https: {
    readonly addresses: readonly Listen[];
    readonly path: string;
    /** Its own; left out: that of DNS over TLS (httpsPair). */
    readonly certificate: CertificatePair | undefined;
    /** Networks of reverse proxies. */
    readonly proxies: readonly Network[];
  };
  /** Whether clients are told about the listener for DNS over TLS (RFC 9462). */
  readonly announce: boolean;
  /** The most sessions over each transport, and of one client; 0: half of them. */
  readonly sessions: { readonly most: number; readonly perClient: number };
  readonly threads: number;
  readonly io: Config['front']['io'];
  /** Undefined: no HTTP. */
  readonly metrics: Listen | undefined;
  /** Names under which HTTP is asked, beside local ones. */
  readonly metricsHosts: readonly string[];
}

/** The part of it for which no file has to be read. */
export type AddressesPlan = Omit<ListenersPlan, 'certificate' | 'https'> & {
  readonly https: Omit<ListenersPlan['https'], 'certificate'>;
};

/** A configuration, worked out. */
export interface Plan {
  /** Each option as text, with the digests of its files. Equal texts mean that nothing has changed. */
  readonly texts: ReadonlyMap<string, string>;
  readonly upstream: UpstreamPlan;
  readonly routes: readonly RoutePlan[];
  readonly resolution: ResolutionPlan;
  readonly lists: ListsPlan;
  readonly local: LocalPlan;
  readonly firewallSets: readonly FirewallSet[];
  /** Whether the cache outlives a restart, how often it is written, and a text of the options that it depends on. */
  readonly routeSets: RouteSets;
  readonly snapshot: {
    readonly isOn: boolean;
    readonly everyMs: number;
    readonly settings: string;
  };
  /** Undefined: nothing is shared. */
  readonly shared: SharedPlan | undefined;
  readonly allow: readonly Network[];
  /** Whether clients on networks of our own interfaces may ask as well. */
  readonly allowsLocal: boolean;
  readonly snoop: readonly Network[];
  /** How much each client may ask; undefined: as much as it likes. */
  readonly rateLimit: Rate | undefined;
  /** Those that it does not concern. */
  readonly unlimited: readonly Network[];
  /** Those that must prove their address over UDP. */
  readonly proving: readonly Network[];
  /** Those of proxies that say in a PROXY header for whom they connect. */
  readonly announcing: readonly Network[];
  /** The most queries of one client that may wait for an answer; 0: no limit. */
  readonly perClient: number;
  /** What clients that ask for it are told about which server this is (RFC 5001); undefined: nothing. */
  readonly identity: Buffer | undefined;
  readonly listeners: ListenersPlan;
  readonly cacheBytes: number;
  readonly stateDirectory: string;
  readonly control: Config['control'];
  readonly log: Config['log'];
  readonly reloadOnChange: boolean;
  /** The files that it was made from. */
  readonly files: readonly string[];
}

/** Seconds whose queries may come at once. */
const BURST_SECONDS = 2;

function rateOf({ rate_limit: perSecond, burst }: Config['access']): Rate | undefined {
  return perSecond === 0 ? undefined : { perSecond, burst: burst > 0 ? burst : BURST_SECONDS * perSecond };
}

/**
 * Makes a plan.
 * @param before the plan in force
 * @throws StartError with all options that name something that cannot be used
 */
export function planOf(config: Config, files: PlanFiles, before?: Pick<Plan, 'routeSets'>): Plan {
  const texts = new Map(OPTIONS.map(({ path }) => [path, optionText(config, path)]));
  // Left out, it depends on whether servers are listed.
  texts.set('dnssec.mode', dnssecModeOf(config));
  const reader = new FileReader(files, texts);
  const { upstream, listen_tls: tls, listen_https: overHttps } = config;
  const roots = reader.roots(upstream.ca_file, 'upstream.ca_file');
  if (upstream.tls.require_pq) reader.attempt(() => files.checkPq('upstream.tls.require_pq'));
  const client = reader.pair(
    { certificate: upstream.client_certificate, key: upstream.client_key },
    { certificate: 'upstream.client_certificate', key: 'upstream.client_key' },
  );
  const certificate = reader.pair(tls, { certificate: 'listen_tls.certificate', key: 'listen_tls.key' });
  const forHttps = reader.pair(overHttps, { certificate: 'listen_https.certificate', key: 'listen_https.key' });
  const shared = sharedPlan(config, reader, texts);
  const local = localPlan(config, reader.problems);
  const named = new Set(config.routes.flatMap(({ clients }) => clients));
  const routeSets = routeSetsOf(named, before?.routeSets ?? new Map<string, RouteSet>());
  if (reader.problems.length > 0) throw StartError.ofOptions(reader.problems);
  return {
    texts,
    upstream: upstreamPlan(config, roots, client),
    routes: config.routes.map(route => routePlan(route, routeSets)),
    routeSets,
    resolution: resolutionPlan(config),
    lists: listsPlan(config, routeSets),
    local,
    firewallSets: config.firewall_sets.map(firewallSet),
    ...accessPlan(config),
    snoop: config.access.snoop,
    rateLimit: rateOf(config.access),
    unlimited: config.access.unlimited,
    proving: config.access.require_cookie,
    announcing: config.access.proxy_protocol,
    perClient: config.access.per_client,
    identity: config.access.nsid === undefined ? undefined : Buffer.from(config.access.nsid),
    listeners: listenersPlan(config, certificate, forHttps),
    snapshot: {
      ...{ isOn: config.cache.persist, everyMs: config.cache.save_every },
      // Keys have the numbers of sets, which depend on reloads.
      settings: JSON.stringify([
        SNAPSHOT_SETTINGS.map(path => texts.get(path)),
        config.clients.map(group => routeSetOf(config, routeSets, group)),
      ]),
    },
    shared,
    cacheBytes: config.cache.size,
    stateDirectory: config.state_directory,
    control: config.control,
    log: config.log,
    reloadOnChange: config.reload_on_change,
    files: reader.read.map(({ path }) => path),
  };
}

/** The certificate of the listener for DNS over HTTPS; undefined: it is in cleartext. */
export const httpsPair = ({ certificate, https }: ListenersPlan): CertificatePair | undefined =>
  https.certificate ?? certificate;

function listenersPlan(
  config: Config,
  certificate: CertificatePair | undefined,
  forHttps: CertificatePair | undefined,
): ListenersPlan {
  const plan = addressesPlan(config);
  return { ...plan, certificate, https: { ...plan.https, certificate: forHttps } };
}

/** Where queries are taken: the part of a plan for which no file has to be read, and which is needed first. */
export const addressesPlan = (config: Config): AddressesPlan => ({
  addresses: config.listen,
  tlsAddresses: config.listen_tls.addresses,
  https: {
    addresses: config.listen_https.addresses,
    path: config.listen_https.path,
    proxies: config.listen_https.proxies,
  },
  announce: config.listen_tls.announce,
  sessions: { most: config.access.sessions, perClient: config.access.sessions_per_client },
  threads: config.front.threads,
  io: config.front.io,
  metrics: config.metrics.listen === 'off' ? undefined : config.metrics.listen,
  metricsHosts: config.metrics.hosts,
});

/** Who may ask. No file has to be read for it. */
export const accessPlan = ({ access: { allow } }: Config): Pick<Plan, 'allow' | 'allowsLocal'> => ({
  allow: allow.filter(each => each !== 'local'),
  allowsLocal: allow.includes('local'),
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

/** The routes that are for a group of clients. */
function routeSetOf(
  { routes: all }: Config,
  sets: RouteSets,
  { name = '', routes }: Config['clients'][number],
): RouteSet {
  if (!routes) return NO_ROUTES;
  return all.some(({ clients }) => clients.includes(name)) ? (sets.get(name) ?? NO_ROUTES) : ALL_ROUTES;
}

const routePlan = (route: Config['routes'][number], sets: RouteSets): RoutePlan => ({
  clients: route.clients,
  schedule: route.schedule,
  only: route.clients.length === 0 ? undefined : new Set(route.clients.map(name => sets.get(name) ?? NO_ROUTES)),
  zones: route.zones.map(wireName),
  kubernetes: route.kubernetes,
  imported: route.import,
  servers: routeServers(route),
  mode: route.mode,
  validated: route.dnssec === 'require',
});

function routeServers({ resolvers, mode, name, pins }: Config['routes'][number]): readonly ServerSpec[] {
  if (mode === 'off') return resolvers.map(({ address, port = DNS_PORT }) => resolverSpec(address, port, 'configured'));
  const identity = mode === 'strict' ? { name, pins } : { name: undefined, pins: [] };
  const common = { ...{ port: DOT_PORT, https: undefined, dane: false }, ...identity };
  const pinPolicy = name === undefined ? 'pin_only' : 'pin_and_pkix';
  return resolvers.map(each => serverSpec({ ...common, addresses: [each], pin_policy: pinPolicy }));
}

function listsPlan(config: Config, routeSets: RouteSets): ListsPlan {
  const { lists, clients } = config;
  const maskOf = (names: readonly string[]): number =>
    lists.reduce((mask, { name }, i) => (names.includes(name ?? '') ? mask | (1 << i) : mask), 0);
  const classes = clients.map((group): ListClass => ({
    group: group.name,
    lists: maskOf(group.lists),
    schedule: group.schedule,
  }));
  const given = classes[clients.findIndex(group => group.default)];
  const everything = maskOf(lists.map(({ name }) => name ?? ''));
  const ofNoGroup: ListClass = given ?? {
    ...{ group: undefined, lists: clients.length === 0 ? everything : 0, schedule: undefined },
  };
  return {
    lists: lists.map(({ name = '', sources, format, action, refresh }) => {
      return { name, sources, format, action, refreshMs: refresh };
    }),
    groups: clients.map(group => {
      const { name = '', networks, macs, listeners } = group;
      return { name, networks, macs, listeners, routes: routeSetOf(config, routeSets, group) };
    }),
    classes: [ofNoGroup, ...classes],
    text: JSON.stringify(lists.map(({ sources, format }) => [sources, format])),
  };
}

function firewallSet({ zones, family, table = '', set4, set6 }: Config['firewall_sets'][number]): FirewallSet {
  const named = (set: string | undefined): string | undefined => set && `${family} ${table} ${set}`;
  return { zones: zones.map(wireName), set4: named(set4), set6: named(set6) };
}

function resolutionPlan(config: Config): ResolutionPlan {
  const { dnssec, cache, portal, rebinding, dns64 } = config;
  return {
    dnssec: dnssecModeOf(config),
    anchors: readAnchors(dnssec.trust_anchors.length > 0 ? dnssec.trust_anchors : BUILT_IN_ANCHORS),
    // Special-use names have no chain of trust.
    negativeAnchors: [...dnssec.negative_trust_anchors, ...config.special_names.forward].map(name =>
      nameOf(wireName(name)),
    ),
    forwarded: config.special_names.forward.map(wireName),
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

/**
 * The options that an answer depends on. Routes are not among them: their answers are not shared. The files of
 * trusted roots are not either: each machine has its own.
 */
export const SHARED_SETTINGS = [
  'upstream.mode',
  'upstream.servers',
  'dnssec.mode',
  'dnssec.trust_anchors',
  'dnssec.negative_trust_anchors',
  'dnssec.sha1',
  'dnssec.max_nsec3_iterations',
  'cache.min_ttl',
  'cache.max_ttl',
  'cache.negative_max_ttl',
] as const;

/** The options that what is cached depends on: a restart with others must not use what was written under these. */
export const SNAPSHOT_SETTINGS = [...SHARED_SETTINGS, 'routes'] as const;

function sharedPlan(
  { cache: { shared } }: Config,
  reader: FileReader,
  texts: ReadonlyMap<string, string>,
): SharedPlan | undefined {
  const { url, key_file: keyFile, password_file: passwordFile, timeout: timeoutMs } = shared;
  // Read without a store, too, so that a reload compares files with files.
  const key = reader.secret(
    keyFile,
    'cache.shared.key_file',
    'a key; expected: 32 octets in base64, as "openssl rand -base64 32" prints them',
    sharedKeyFrom,
  );
  const password = reader.secret(
    passwordFile,
    'cache.shared.password_file',
    'a password; expected: one line of text',
    octets => /^[^\r\n]+/.exec(octets.toString())?.[0],
  );
  const settings = JSON.stringify(SHARED_SETTINGS.map(path => texts.get(path)));
  return url && key && { store: { ...url, password }, timeoutMs, key, settings };
}

/** @param problems records that cannot be used are added */
function localPlan({ local }: Config, problems: OptionProblem[]): LocalPlan {
  const records: RecordData[] = [];
  const table = new LocalTable();
  for (const [i, text] of local.records.entries()) {
    const read = recordFrom(text);
    const words = read.at === 'problem' ? read.words : table.addRecord(read.record);
    if (words !== undefined) problems.push({ path: `local.records[${i}]`, words });
    else if (read.at === 'record') records.push(read.record);
  }
  return {
    files: [
      ...local.hosts.map((path): LocalFile => ({ path, format: 'hosts', domain: undefined })),
      ...local.leases.map(({ file = '', format, domain }): LocalFile => ({ path: file, format, domain })),
    ],
    records,
    ownZones: local.own_zones.map(name => wireName(name).toString('latin1')),
  };
}

/** A name in wire form, lower case. The check of the configuration has accepted it. */
function wireName(text: string): Buffer {
  const name = nameFromText(text);
  if (name === undefined) throw new TypeError(`${JSON.stringify(text)} passed the check and is not a domain name`);
  return lowerCased(name);
}
