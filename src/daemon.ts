// The composition root: builds every part from a configuration, starts and stops them in order.

import { fileURLToPath } from 'node:url';

import { ageClock } from './base/age-clock.js';
import { DURATION_BUCKETS } from './base/front-counts.js';
import type { Clock, Log, Random } from './base/ports.js';
import { wheel } from './base/wheel.js';
import type { TtlLimits } from './cache/entry.js';
import { AnswerCache } from './cache/answers.js';
import { FailureCache } from './cache/failures.js';
import { modeOf } from './config/combinations.js';
import { changedPaths, withPaths } from './config/difference.js';
import type { Config, ServerConfig } from './config/schema.js';
import { cacheCommands } from './control/cache.js';
import { portalCommand } from './control/portal.js';
import { topCommand } from './control/top.js';
import {
  endpointData,
  privacyWords,
  statusCommands,
  statusData,
  statusLine,
  type StatusParts,
} from './control/status.js';
import { type ControlCommands, listenControl } from './control/server.js';
import { clientCredentials, listenerCredentials, StartError, stateFile, trustedRoots, wordsFor } from './files.js';
import { front } from './front/front.js';
import { type FrontThreads, recruit, type Recruits } from './fastpath/host.js';
import { serveInline } from './fastpath/inline.js';
import { PacketCache, packetCacheMemory } from './fastpath/packet-cache.js';
import { PacketReplies } from './fastpath/ready-replies.js';
import type { Name } from './dnssec/name.js';
import { isWildcard, type ListenAddress, listenText } from './os/listen-address.js';
import { listenStream, sessionTable, STREAM_LIMITS, type StreamListener } from './listen/stream.js';
import { listenUdp, type UdpListener } from './fastpath/dgram.js';
import { type History, history, sumsOf } from './observe/history.js';
import type { HttpListener } from './observe/http.js';
import { metrics } from './observe/metrics.js';
import type { PassedSockets } from './os/activation.js';
import { timesyncHasSetClock } from './os/clock.js';
import { type Libc, LINUX, loadLibc } from './os/libc.js';
import { type NetworkChange, watchNetwork } from './os/network.js';
import { networkMatcher, SharedNetworks } from './policy/access.js';
import { portal } from './policy/portal.js';
import type { Outcome } from './pipeline/answer.js';
import { Resolver } from './pipeline/resolver.js';
import { trust } from './trust.js';
import { dialer } from './upstream/dial.js';
import { dialDatagram } from './upstream/plain.js';
import { networkMemory } from './upstream/memory.js';
import { pool, type Pool, type PoolSpec } from './upstream/pool.js';
import { addressLabel, type ServerSpec } from './upstream/server.js';
import { lowerCased, nameFromText, ROOT } from './wire/name.js';
import { rcodeToText } from './wire/rcode.js';
import { typeToText } from './wire/rrtype.js';

/** What the daemon is made from. */
export interface DaemonParts {
  readonly config: Config;
  readonly version: string;
  /** Seconds since 1970 when this version was made. */
  readonly builtSec: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Addresses of the resolvers that the system has now. */
  readonly systemResolvers: () => readonly string[];
  /** What the network looks like now; the same text whenever we are there. */
  readonly network: () => string;
  /** More commands for the control socket. */
  readonly commands?: ControlCommands;
  /** Takes the lines of the query log. */
  readonly queryLine?: (line: string) => void;
  /** Sockets that are open already, in place of the addresses of the configuration. */
  readonly sockets?: PassedSockets | undefined;
}

/** A running daemon. */
export interface Daemon {
  /** Where it takes queries. */
  readonly listening: readonly { readonly transport: 'udp' | 'tcp' | 'tls'; readonly at: ListenAddress }[];
  readonly metricsPort: number | undefined;
  /** How it is doing, in a line. */
  statusLine(): string;
  /**
   * Takes over another configuration, as far as that can be done at once; the cache and the connections to servers that stay are
   * kept.
   * @returns the options that differ: those in force from now on, and those that only will be at the next start
   */
  reload(config: Config): { readonly now: readonly string[]; readonly later: readonly string[] };
  /** From now on says that it is not ready. */
  drain(): void;
  /** A file was read again that could not be taken over. */
  reloadFailed(): void;
  /** Answers what is in flight, closes everything. May be called twice. */
  stop(): Promise<void>;
}

/** One part in so many of cache.size is for ready replies. */
const PACKET_CACHE_SHARE = 4;
/** And one, for keys and proofs of zones. */
const ZONES_SHARE = 16;
/** What the pool of servers is made from. */
const OF_POOL: ReadonlySet<string> = new Set([
  'upstream.servers',
  'upstream.mode',
  'upstream.policy',
  'upstream.bootstrap',
]);
const MAX_INFLIGHT = 2000;
const DRAIN_MS = 5000;
const DRAIN_LOOK_MS = 20;

/**
 * Builds and starts a daemon.
 * @throws StartError
 */
export async function startDaemon(parts: DaemonParts): Promise<Daemon> {
  // First of all: they take the longest.
  const recruits = recruit(threadsFor(parts));
  try {
    return await build(parts, recruits);
  } catch (error) {
    await recruits.dismiss();
    throw error;
  }
}

/**
 * How many front threads there are. Which address a datagram was sent to is only known where all are read in batches, and a
 * wildcard socket that is open already can not be exchanged for one per address: it takes a thread, wanted or not.
 */
function threadsFor({
  config: {
    front: { threads, io },
  },
  sockets,
}: DaemonParts): number {
  if (io === 'dgram') return 0;
  return sockets?.udp.some(({ address }) => isWildcard(address)) === true ? Math.max(1, threads) : threads;
}

/** Where queries are taken: at sockets that are open already, else at the addresses of the configuration. */
function listeners({
  config,
  sockets,
}: DaemonParts): Readonly<Record<'udpAt' | 'tcpAt' | 'tlsAt', readonly ListenAddress[]>> {
  const tlsAt = sockets !== undefined && sockets.tls.length > 0 ? sockets.tls : config.listen_tls.addresses;
  if (sockets === undefined || sockets.udp.length + sockets.tcp.length === 0)
    return { udpAt: config.listen, tcpAt: config.listen, tlsAt };
  const wildcard = sockets.udp.find(({ address }) => isWildcard(address));
  if (wildcard !== undefined && config.front.io === 'dgram') {
    throw new StartError(
      `${listenText(wildcard)} (UDP) of the socket unit can not be served with front.io dgram, where replies could leave from another address than was asked: name addresses there (ListenDatagram=), or leave front.io out`,
      2,
    );
  }
  return { udpAt: sockets.udp, tcpAt: sockets.tcp, tlsAt };
}

async function build(parts: DaemonParts, recruits: Recruits): Promise<Daemon> {
  const { config, clock, random, log } = parts;
  // A reload may exchange it, and the pool made of it.
  let spec = poolSpec(config, parts.systemResolvers);
  const ca = trustedRoots(config);
  const { udpAt, tcpAt, tlsAt } = listeners(parts);
  const credentials = tlsAt.length === 0 ? undefined : listenerCredentials(config);

  const startedAtMs = clock.monotonicMs();
  const age = ageClock(clock);
  const { observer, expose, glance, reloaded, dnstapLost, modeIs } = metrics({
    version: parts.version,
    upstreams: spec.servers.map(({ label }) => label),
    typeName: typeToText,
    rcodeName: rcodeToText,
    cache: () => answers,
    inflight: () => entrance.inflight,
    fronts: () => threads?.counted() ?? [],
    endpoints: () => asked.report(),
    clockIsSet: () => clockIsSet(),
    wallMs: () => clock.wallMs(),
    trustAnchors: () =>
      trusted.points.points.flatMap(({ keys }) => keys.map(({ key, state }) => ({ tag: key.tag, state }))),
  });
  let threads: FrontThreads | undefined;
  const cacheBytes = config.cache.size * (1 - 1 / PACKET_CACHE_SHARE - 1 / ZONES_SHARE);
  const answers = new AnswerCache(cacheBytes, observer);
  const failures = new FailureCache<Outcome>();
  const known = stateFile(config, 'networks.json', log, 'what was learned about networks is lost at the end');
  const memory = networkMemory(() => clock.wallMs(), known.read());
  const libc = config.front.io === 'dgram' ? undefined : libcOrWhyNot(log);
  // The kernel's word may be denied to a service that is locked up well.
  const clockIsSet = (): boolean | undefined => libc?.clockIsSet() ?? timesyncHasSetClock();
  const dial = dialer({
    ca,
    client: clientCredentials(config),
    clock,
    clockIsBehind: () => clock.wallMs() < 1000 * parts.builtSec || clockIsSet() === false,
    ...(libc === undefined
      ? {}
      : { acknowledge: fd => void libc.setsockopt(fd, LINUX.IPPROTO_TCP, LINUX.TCP_QUICKACK, 1) }),
  });
  const deadlines = wheel(clock);
  let servers = 0;
  const ports = { clock, random, log, observer, dial, dialDatagram, memory, nextServerId: () => ++servers };
  let asked = pool(ports, deadlines, spec);
  modeIs(spec.mode);
  // Without servers of the operator's, those of the system are used, which change with the network.
  let automatic = config.upstream.servers.length === 0;
  const asksSystem =
    automatic ||
    (config.upstream.bootstrap.length === 0 && config.upstream.servers.some(({ addresses }) => addresses.length === 0));
  const network = watchNetwork(
    clock,
    {
      network: parts.network,
      resolvers: () => (asksSystem ? parts.systemResolvers().join(' ') : ''),
    },
    change,
    asksSystem ? '/etc' : undefined,
  );
  memory.network = network.network;
  function change(what: NetworkChange): void {
    memory.network = network.network;
    resolution.forgetFailures();
    // The portal's resolvers were the other network's.
    networks?.destroy();
    networks = undefined;
    if (what === 'resolvers' && automatic) {
      const servers = parts.systemResolvers().map(systemServer);
      log.info(
        { resolvers: servers.map(({ label }) => label).join(' ') },
        `the system's resolvers have changed: ${servers.map(({ label }) => label).join(', ') || 'there are none'}`,
      );
      asked.setServers(servers);
    } else {
      log.info(
        { reason: what },
        what === 'resume' ? 'the machine has slept: connecting anew' : 'the network has changed: connecting anew',
      );
      asked.networkChanged(what === 'resume' ? 'resume' : 'network');
    }
  }
  /** Configured servers, in another way or instead of the system's: those of before answer what they were asked, and are asked no more. */
  function exchangePool(next: Config): void {
    const before = asked;
    spec = poolSpec(next, parts.systemResolvers);
    automatic = false;
    asked = pool(ports, deadlines, spec);
    modeIs(spec.mode);
    asked.prepare();
    before.close();
    resolution.forgetFailures();
  }
  const upstream: Pool = {
    report: () => asked.report(),
    prepare: () => asked.prepare(),
    networkChanged: what => asked.networkChanged(what),
    setServers: (servers, policy) => asked.setServers(servers, policy),
    close: () => asked.close(),
    destroy: () => asked.destroy(),
    get ready() {
      return asked.ready;
    },
    get servers() {
      return asked.servers;
    },
    exchange(ask, type, settle, avoid) {
      network.look();
      if (memory.changed) known.write(memory.save());
      asked.exchange(ask, type, settle, avoid);
    },
  };
  // The network's own resolvers, made when they are first needed: most never are.
  const window = portal(
    () => clock.monotonicMs(),
    config.portal.names.map(name => nameFromText(name) ?? ROOT),
  );
  let networks: Pool | undefined;
  const networkPool = (): Pool =>
    (networks ??= pool(ports, wheel(clock), {
      mode: 'off',
      reason: 'portal',
      policy: 'ordered',
      servers: parts.systemResolvers().map(systemServer),
      bootstrapServers: () => [],
    }));
  const routes = config.routes.map(({ zones, resolvers, kubernetes }) => {
    let made: Pool | undefined;
    return {
      zones: zones.map(name => lowerCased(nameFromText(name) ?? ROOT)),
      kubernetes,
      upstream: (): Pool =>
        (made ??= pool(ports, wheel(clock), {
          mode: 'off',
          reason: 'conditional',
          policy: 'ordered',
          servers: resolvers.map(routeServer),
          bootstrapServers: () => [],
        })),
      close: () => made?.destroy(),
    };
  });
  const packets = packetCacheMemory(config.cache.size / PACKET_CACHE_SHARE);
  const ready = new PacketCache(packets);
  // Exchanged by a reload.
  const ttlLimits = { ...ttlLimitsOf(config) };
  const allowed = new SharedNetworks(SharedNetworks.memory(config.access.allow));
  let mayAsk = networkMatcher(config.access.allow);
  let mayLook = networkMatcher(config.access.snoop);
  const trusted = trust({
    config,
    builtSec: parts.builtSec,
    clock,
    log,
    observer,
    pool: upstream,
    nowSec: age,
    ttlLimits: () => ttlLimits,
    clockIsSet,
    bytes: config.cache.size / ZONES_SHARE,
    forget,
  });
  const { zones } = trusted.validations.parts.validator;
  function forget(isMeant: (name: Name) => boolean): number {
    zones.forget(isMeant);
    failures.forget(isMeant);
    ready.clear();
    return answers.forget(isMeant);
  }
  const resolution = new Resolver({
    answers,
    failures,
    upstream,
    validations: trusted.validations,
    portal: { window, upstream: networkPool },
    routes: () => routes,
    ttlLimits: () => ttlLimits,
    mayLook: address => mayLook(address),
    observer,
    ageNow: age,
  });
  const noted =
    config.log.queries === 'off' && config.log.dnstap === undefined
      ? undefined
      : (await import('./notes.js')).notes({
          config,
          version: parts.version,
          clock,
          log,
          write: parts.queryLine ?? (() => undefined),
          lost: dnstapLost,
        });
  const entrance = front({
    noted: noted?.note,
    resolve: resolution.resolve,
    allowed: address => mayAsk(address),
    ready: new PacketReplies(ready, age),
    maxInflight: MAX_INFLIGHT,
    streamIdleMs: STREAM_LIMITS.idleMs,
    observer,
    clock,
    ageNow: age,
  });

  let udp: UdpListener | undefined;
  const streams: StreamListener[] = [];
  let http: HttpListener | undefined;
  let remembered: History | undefined;
  let control: { close(): void } | undefined;
  async function closeAll(): Promise<void> {
    udp?.close();
    streams.forEach(each => each.destroy());
    http?.close();
    remembered?.close();
    noted?.close();
    network.close();
    trusted.close();
    control?.close();
    networks?.destroy();
    routes.forEach(each => each.close());
    upstream.destroy();
    await threads?.close();
  }

  const troubles = (): string[] => [
    ...(draining ? ['it is being taken out of service'] : []),
    ...(clockIsSet() === false ? ["nobody keeps this machine's clock right"] : []),
    ...(reloadIsFine ? [] : ['the configuration file was refused when it was last read (the log says why)']),
  ];
  const seen: StatusParts = {
    version: parts.version,
    mode: () => spec.mode,
    dnssec: config.dnssec.mode,
    upMs: () => clock.monotonicMs() - startedAtMs,
    report: () => asked.report(),
    cache: () => answers,
    cacheBytes,
    inflight: () => entrance.inflight,
    portalMs: () => window.leftMs,
    troubles,
    listening: () => listening().map(({ transport, at }) => `${listenText(at)} (${transport.toUpperCase()})`),
  };
  function pageStatus(): unknown {
    const now = glance();
    const { validations, connects, causes } = now;
    return {
      ...statusData(seen),
      sums: [clock.wallMs(), ...sumsOf(now)],
      bounds_ms: DURATION_BUCKETS.map(seconds => seconds * 1000),
      validations,
      connects,
      causes: causes.map(({ code, words, count, lastMs }) => ({ code, words, count, last_ms: lastMs })),
    };
  }

  let draining = false;
  let reloadIsFine = true;
  const sessions = sessionTable();
  try {
    const count = threadsFor(parts);
    const host = { packets, front: entrance, allow: allowed.memory, ageNow: age };
    if (libc !== undefined && count > 0) {
      const serving = recruits.serve({ ...host, libc, addresses: udpAt });
      // While the threads start there is time for this.
      upstream.prepare();
      threads = await starting('UDP', 'listen', serving);
    } else {
      await recruits.dismiss();
      // On the main thread a wildcard address is bound interface by interface, which only node:dgram is used for.
      const inline = libc === undefined ? [] : udpAt.filter(({ address }) => !isWildcard(address));
      const rest = udpAt.filter(at => !inline.includes(at));
      if (libc !== undefined)
        threads = await starting(
          'UDP',
          'listen',
          serveInline({ ...host, libc, addresses: inline, monotonicMs: () => clock.monotonicMs() }),
        );
      udp = await starting(
        'UDP',
        'listen',
        listenUdp(rest, entrance, observer, (at, error) =>
          log.warn({ address: listenText(at) }, `${listenText(at)} (UDP): ${error.message}`),
        ),
      );
      upstream.prepare();
    }
    streams.push(await starting('TCP', 'listen', listenStream(tcpAt, undefined, entrance, observer, sessions)));
    if (credentials !== undefined) {
      streams.push(
        await starting('TLS', 'listen_tls.addresses', listenStream(tlsAt, credentials, entrance, observer, sessions)),
      );
    }
    if (config.metrics.listen !== 'off') {
      // Loaded when queries are being answered already; so is all below that few have switched on.
      const { listenHttp } = await import('./observe/http.js');
      remembered = history(clock, () => sumsOf(glance()));
      http = await starting(
        'HTTP',
        'metrics.listen',
        listenHttp(config.metrics.listen, {
          metrics: { expose },
          pageDirectory: fileURLToPath(new URL('./page/', import.meta.url)),
          status: () => pageStatus(),
          history: () => ({ samples: remembered?.samples() ?? [] }),
          notReady: () =>
            draining
              ? 'it is being taken out of service'
              : upstream.ready
                ? undefined
                : 'no upstream server can be reached',
        }),
      );
    }
    control = await controlSocket(config, log, {
      ...parts.commands,
      ...trusted.commands,
      ...statusCommands(seen),
      top: topCommand({
        sums: () => [clock.wallMs(), ...sumsOf(glance())],
        boundsMs: DURATION_BUCKETS.map(seconds => seconds * 1000),
        recent: () => noted?.recent(),
        upstreams: () => asked.report().map(endpointData),
        privacyWords: () => privacyWords(seen),
      }),
      ...cacheCommands({
        stats: () => ({
          entries: answers.entries,
          bytes: answers.bytes,
          limitBytes: cacheBytes,
          zones: zones.entries,
        }),
        forget,
      }),
      metrics: {
        async run() {
          const { body } = await expose(undefined);
          return { ok: true, text: body.trimEnd(), data: body };
        },
      },
      probe: {
        run() {
          log.info({}, 'asked to: connecting anew');
          resolution.forgetFailures();
          asked.networkChanged('network');
          return { ok: true, text: 'The servers are connected to anew.', data: {} };
        },
      },
      portal: portalCommand(window, () => {
        // Other resolvers than last time, perhaps; and no ready reply stands in the way.
        networks?.destroy();
        networks = undefined;
        ready.clear();
        log.warn(
          { seconds: Math.ceil(window.leftMs / 1000) },
          window.leftMs > 0
            ? `portal window open for ${Math.ceil(window.leftMs / 1000)} s: names of portal.names go to the network's resolvers in cleartext`
            : 'portal window closed',
        );
        // Who has signed in can reach now what was out of reach a moment ago.
        if (window.leftMs === 0) {
          resolution.forgetFailures();
          asked.networkChanged('network');
        }
      }),
    });
  } catch (error) {
    await closeAll();
    throw error;
  }

  // What is in force, and what of it a reload exchanges; all else waits for the next start.
  let current = config;
  const live: Readonly<Record<string, (next: Config) => void>> = {
    'access.allow'({ access: { allow } }) {
      mayAsk = networkMatcher(allow);
      allowed.write(allow);
    },
    'access.snoop': ({ access: { snoop } }) => void (mayLook = networkMatcher(snoop)),
    'cache.min_ttl': next => void Object.assign(ttlLimits, ttlLimitsOf(next)),
    'cache.max_ttl': next => void Object.assign(ttlLimits, ttlLimitsOf(next)),
    'cache.negative_max_ttl': next => void Object.assign(ttlLimits, ttlLimitsOf(next)),
    'dnssec.negative_trust_anchors': ({ dnssec }) => trusted.setNegative(dnssec.negative_trust_anchors),
    // The log is the caller's.
    'log.level': () => undefined,
  };
  const listening = (): Daemon['listening'] => [
    ...(threads === undefined ? [] : udpAt.filter(({ address }) => udp === undefined || !isWildcard(address))).map(
      at => ({ transport: 'udp' as const, at }),
    ),
    ...(udp?.bound ?? []).map(at => ({ transport: 'udp' as const, at })),
    ...(streams[0]?.bound ?? []).map(at => ({ transport: 'tcp' as const, at })),
    ...(streams[1]?.bound ?? []).map(at => ({ transport: 'tls' as const, at })),
  ];

  let stopped: Promise<void> | undefined;
  async function stop(): Promise<void> {
    entrance.stop();
    streams.forEach(each => each.close());
    const untilMs = clock.monotonicMs() + DRAIN_MS;
    while (entrance.inflight > 0 && clock.monotonicMs() < untilMs) {
      await new Promise(resolve => setTimeout(resolve, DRAIN_LOOK_MS));
    }
    // Replies of the last turn are still on their way to the sockets.
    await new Promise(resolve => setTimeout(resolve, DRAIN_LOOK_MS));
    if (memory.changed) known.write(memory.save());
    await closeAll();
  }
  return {
    listening: listening(),
    statusLine: () => statusLine(spec.mode, asked.report()),
    metricsPort: http?.port,
    reload(next) {
      const changed = changedPaths(current, next);
      // Back to the resolvers that the system has is another daemon: it watches for changes of those.
      const takesUpstream = next.upstream.servers.length > 0;
      const now = changed.filter(path => (OF_POOL.has(path) ? takesUpstream : Object.hasOwn(live, path)));
      const ofPool = now.filter(path => OF_POOL.has(path));
      if (automatic || modeOf(next) !== spec.mode || ofPool.includes('upstream.bootstrap')) {
        if (ofPool.length > 0) exchangePool(next);
      } else if (ofPool.length > 0) {
        asked.setServers(next.upstream.servers.map(serverSpec), next.upstream.policy);
        resolution.forgetFailures();
      }
      for (const path of now) live[path]?.(next);
      current = withPaths(current, next, now);
      reloaded(true);
      reloadIsFine = true;
      return { now, later: changed.filter(path => !now.includes(path)) };
    },
    drain: () => void (draining = true),
    reloadFailed() {
      reloaded(false);
      reloadIsFine = false;
    },
    stop: async () => (stopped ??= stop()),
  };
}

const ttlLimitsOf = ({ cache }: Config): TtlLimits => ({
  minSec: Math.ceil(cache.min_ttl / 1000),
  maxSec: Math.floor(cache.max_ttl / 1000),
  negativeMaxSec: Math.floor(cache.negative_max_ttl / 1000),
});

/** The C library for front threads; where it can't be called, one log line says why everything runs on the main thread. */
function libcOrWhyNot(log: Log): Libc | undefined {
  const libc = loadLibc();
  if (!('unavailable' in libc)) return libc;
  log.warn(
    { reason: libc.unavailable },
    `UDP runs over node:dgram on the main thread, slower: system calls are not available (${libc.unavailable})`,
  );
  return undefined;
}

/** The control socket; a daemon without one serves all the same. */
async function controlSocket(
  { control: { socket, group } }: Config,
  log: Log,
  commands: ControlCommands,
): Promise<{ close(): void } | undefined> {
  try {
    return await listenControl(socket, group, commands);
  } catch (error) {
    log.info(
      { socket },
      `no control socket: ${socket}: ${wordsFor(error)} (control.socket); commands such as "dotstub portal" will not reach this daemon`,
    );
    return undefined;
  }
}

/** The upstream group: the configured servers, or those that the system has. */
function poolSpec(config: Config, systemResolvers: () => readonly string[]): PoolSpec {
  const { servers, policy, bootstrap } = config.upstream;
  return {
    mode: modeOf(config),
    policy,
    servers: servers.length > 0 ? servers.map(serverSpec) : systemResolvers().map(systemServer),
    bootstrapServers: () =>
      (bootstrap.length > 0 ? bootstrap : systemResolvers().map(address => ({ address, port: undefined }))).map(
        ({ address, port = PLAIN_PORT }) => ({ address, port }),
      ),
  };
}

const DOT_PORT = 853;
const PLAIN_PORT = 53;

/** A resolver that the system has: an address, and nothing that it could prove. */
const systemServer = (address: string): ServerSpec => ({
  label: address,
  name: undefined,
  addresses: [{ address, port: DOT_PORT }],
  port: DOT_PORT,
  pins: [],
  pinPolicy: 'pin_and_pkix',
  discover: true,
});

/** A resolver of a route: its port is that of cleartext. */
const routeServer = ({
  address,
  port = PLAIN_PORT,
}: {
  readonly address: string;
  readonly port: number | undefined;
}): ServerSpec => ({
  label: addressLabel(address, port),
  name: undefined,
  addresses: [{ address, port: DOT_PORT }],
  port: DOT_PORT,
  plainPort: port,
  pins: [],
  pinPolicy: 'pin_and_pkix',
  discover: false,
});

function serverSpec({ name, addresses, port, pins, pin_policy: pinPolicy }: ServerConfig): ServerSpec {
  const [first] = addresses;
  return {
    label: name ?? (first === undefined ? '' : addressLabel(first.address, first.port ?? port)),
    name,
    addresses: addresses.map(each => ({ address: each.address, port: each.port ?? port })),
    port,
    pins,
    pinPolicy,
    discover: false,
  };
}

/** Turns a bind error into a sentence. */
async function starting<T>(what: string, option: string, listening: Promise<T>): Promise<T> {
  try {
    return await listening;
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const { code, address, port } = error as NodeJS.ErrnoException & { address?: string; port?: number };
    const at = address === undefined ? option : `${listenText({ address, port: port ?? 0 })} (${what})`;
    switch (code) {
      case 'EADDRINUSE':
        throw new StartError(
          `${at} is in use by another program: stop that one, or choose another address in ${option}`,
          1,
        );
      case 'EACCES':
        throw new StartError(
          `${at} needs a right that this user does not have: ports below 1024 take root or CAP_NET_BIND_SERVICE; or choose another port in ${option}`,
          1,
        );
      case 'EADDRNOTAVAIL':
        throw new StartError(`${at} is not an address of this machine: correct ${option}`, 1);
      default:
        throw new StartError(`${at}: ${error.message} (${option})`, 1);
    }
  }
}
