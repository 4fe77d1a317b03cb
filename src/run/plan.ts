// Makes a plan from a configuration: modes resolved, names in wire form, TTLs in seconds, files by their contents.
// Pure, so that two plans can be compared. Only this file outside `config/` reads a Config, so that each fact is worked
// out in one place.

import type { Mode } from '../base/overview.js';
import { DNS_PORT } from '../base/port-numbers.js';
import type { TtlLimits } from '../cache/entry.js';
import { modeOf } from '../config/combinations.js';
import { OPTIONS, optionText } from '../config/options.js';
import type { Config } from '../config/schema.js';
import { type Anchor, BUILT_IN_ANCHORS, readAnchors } from '../dnssec/anchors.js';
import { type Name, nameOf } from '../dnssec/name.js';
import type { HttpPlace } from '../pipeline/jobs/portal-probe.js';
import type { Network } from '../policy/networks.js';
import type { Route } from '../policy/routes.js';
import type { PlainServer } from '../upstream/own-question.js';
import type { Policy } from '../upstream/selection.js';
import { addressLabel, type ServerSpec } from '../upstream/server.js';
import { lowerCased, nameFromText } from '../wire/name.js';
import { resolverSpec } from './servers.js';

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

/** Reads the files of a plan. All functions throw StartError, with the option to correct. */
export interface PlanFiles {
  read(path: string, option: string): FileContents;
  /** The system's trusted roots; undefined: those of Node.js are used. */
  systemRoots(): string | undefined;
  checkRoots(file: FileContents, option: string): void;
  checkPair(pair: CertificatePair, section: string): void;
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
  readonly dnssec: Config['dnssec']['mode'];
  readonly anchors: readonly Anchor[];
  /** Subtrees that count as unsigned. */
  readonly negativeAnchors: readonly Name[];
  readonly sha1: Config['dnssec']['sha1'];
  readonly maxNsec3Iterations: number;
  /** Names that may be resolved while the clock is wrong. */
  readonly clockNames: readonly Name[];
  readonly ttlLimits: TtlLimits;
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
}

/** A configuration, worked out. */
export interface Plan {
  /** Each option as text, with the digests of its files. Equal texts mean that nothing has changed. */
  readonly texts: ReadonlyMap<string, string>;
  readonly upstream: UpstreamPlan;
  readonly routes: readonly RoutePlan[];
  readonly resolution: ResolutionPlan;
  readonly allow: readonly Network[];
  readonly snoop: readonly Network[];
  /** The most queries of one client that may wait for an answer; 0: no limit. */
  readonly perClient: number;
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
 * @throws StartError where a file that the configuration names cannot be used
 */
export function planOf(config: Config, files: PlanFiles): Plan {
  const texts = new Map(OPTIONS.map(({ path }) => [path, optionText(config, path)]));
  const read: FileContents[] = [];
  const fileOf = (path: string, option: string): FileContents => {
    const contents = files.read(path, option);
    read.push(contents);
    texts.set(option, `${texts.get(option) ?? ''} ${contents.digest}`);
    return contents;
  };
  const pairOf = (section: string, names: PairNames, paths: PairPaths): CertificatePair | undefined => {
    if (paths.certificate === undefined || paths.key === undefined) return undefined;
    const certificate = fileOf(paths.certificate, `${section}.${names.certificate}`);
    const pair = { certificate, key: fileOf(paths.key, `${section}.${names.key}`) };
    files.checkPair(pair, section);
    return pair;
  };
  const { upstream, listen_tls: tls } = config;
  const rootsPath = upstream.ca_file ?? files.systemRoots();
  const roots = rootsPath === undefined ? undefined : fileOf(rootsPath, 'upstream.ca_file');
  if (roots !== undefined) files.checkRoots(roots, 'upstream.ca_file');
  if (upstream.tls.require_pq) files.checkPq('upstream.tls.require_pq');
  const client = pairOf('upstream', CLIENT_PAIR, {
    certificate: upstream.client_certificate,
    key: upstream.client_key,
  });
  const certificate = pairOf('listen_tls', LISTENER_PAIR, { certificate: tls.certificate, key: tls.key });
  return {
    texts,
    upstream: upstreamPlan(config, roots, client),
    routes: config.routes.map(routePlan),
    resolution: resolutionPlan(config),
    allow: config.access.allow,
    snoop: config.access.snoop,
    perClient: config.access.per_client,
    listeners: { ...addressesPlan(config), certificate },
    cacheBytes: config.cache.size,
    stateDirectory: config.state_directory,
    control: config.control,
    log: config.log,
    reloadOnChange: config.reload_on_change,
    files: read.map(({ path }) => path),
  };
}

/** Where queries are taken: the part of a plan for which no file has to be read, and which is needed first. */
export const addressesPlan = (config: Config): Omit<ListenersPlan, 'certificate'> => ({
  addresses: config.listen,
  tlsAddresses: config.listen_tls.addresses,
  threads: config.front.threads,
  io: config.front.io,
  metrics: config.metrics.listen === 'off' ? undefined : config.metrics.listen,
});

type PairNames = Readonly<Record<'certificate' | 'key', string>>;
type PairPaths = Readonly<Record<'certificate' | 'key', string | undefined>>;
const CLIENT_PAIR: PairNames = { certificate: 'client_certificate', key: 'client_key' };
const LISTENER_PAIR: PairNames = { certificate: 'certificate', key: 'key' };

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

function resolutionPlan({ dnssec, cache, portal }: Config): ResolutionPlan {
  return {
    dnssec: dnssec.mode,
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
