// Checks that concern several options: those that contradict each other, and those that need each other.

import { addressOctets, exclude, isAnyAddress, isLoopback } from '../base/address.js';
import type { Config } from './schema.js';

/** A contradiction, or an option that does nothing. */
export interface Clash {
  /** The option that a user would most likely change. */
  readonly path: string;
  readonly words: string;
}

/** The mode in force. Left out: strict with listed servers, opportunistic with the system's resolvers. */
export const modeOf = ({ upstream }: Config): NonNullable<Config['upstream']['mode']> =>
  upstream.mode ?? (upstream.servers.length > 0 ? 'strict' : 'opportunistic');

/**
 * How answers are validated. Left out: `require` with listed servers; `prefer` with the system's resolvers, because many
 * home routers strip signatures, and their users would have no names at all.
 */
export const dnssecModeOf = ({ dnssec, upstream }: Config): NonNullable<Config['dnssec']['mode']> =>
  dnssec.mode ?? (upstream.servers.length > 0 ? 'require' : 'prefer');

/** Finds all contradictions of a configuration. */
export function combinationProblems(config: Config): Clash[] {
  return [
    ...listenProblems(config),
    ...httpsProblems(config),
    ...proxyProblems(config),
    ...upstreamProblems(config),
    ...routeProblems(config),
    ...listProblems(config),
    ...cacheProblems(config),
    ...leaseProblems(config),
    ...setProblems(config),
  ];
}

function* listenProblems({ listen, listen_tls: tls, listen_https: https, metrics }: Config): Iterable<Clash> {
  const tcpListeners = [
    ...(metrics.listen === 'off' ? [] : [{ ...metrics.listen, path: 'metrics.listen' }]),
    ...listen.map((at, i) => ({ ...at, path: `listen[${i}]` })),
    ...tls.addresses.map((at, i) => ({ ...at, path: `listen_tls.addresses[${i}]` })),
    ...https.addresses.map((at, i) => ({ ...at, path: `listen_https.addresses[${i}]` })),
  ];
  for (const [i, { address, port, path }] of tcpListeners.entries()) {
    const other = tcpListeners.slice(0, i).find(before => before.port === port && exclude(before.address, address));
    if (other === undefined) continue;
    const [wide, one] = isAnyAddress(address) ? [address, other.address] : [other.address, address];
    const words =
      wide === one
        ? `${address} port ${port} is already used by ${other.path}; allowed: a port of its own for every listener`
        : `${address} port ${port} cannot be beside ${other.address} in ${other.path}: ${wide} takes what is sent to ${one}, too; allowed: one of them, or another port`;
    yield { path, words };
  }
  if (listen.length + tls.addresses.length + https.addresses.length === 0)
    yield {
      path: 'listen',
      words:
        'listen, listen_tls.addresses and listen_https.addresses are all empty, so no client could ask; allowed: at least one address',
    };
  if (tls.addresses.length > 0) {
    if (tls.certificate === undefined)
      yield {
        path: 'listen_tls',
        words: 'addresses need a certificate; allowed: listen_tls.certificate with the path of a PEM file',
      };
    if (tls.key === undefined)
      yield { path: 'listen_tls', words: 'addresses need a key; allowed: listen_tls.key with the path of a PEM file' };
  }
}

function* httpsProblems({ listen_tls: tls, listen_https: https }: Config): Iterable<Clash> {
  const path = 'listen_https';
  if ((https.certificate === undefined) !== (https.key === undefined))
    yield { path, words: 'certificate and key must be set together; allowed: both or neither' };
  const isSecure = https.certificate !== undefined || tls.certificate !== undefined;
  if (isSecure || https.proxies.length > 0) return;
  const open = https.addresses.findIndex(({ address }) => !isLoopback(address));
  if (open !== -1)
    yield {
      path: `${path}.addresses[${open}]`,
      words: `without a certificate, it would take queries in cleartext; allowed: listen_https.certificate and listen_https.key, listen_https.proxies with the reverse proxies that may ask, or loopback addresses`,
    };
}

function* routeProblems(config: Config): Iterable<Clash> {
  const { routes, clients } = config;
  const routeless = clients.findIndex(group => !group.routes);
  yield* routeGroupProblems(routes, clients);
  for (const [i, route] of routes.entries()) {
    const { zones, resolvers, mode, name, pins, dnssec } = route;
    if (route.import) {
      yield* importProblems(`routes[${i}]`, route);
      if (routes.findIndex(each => each.import) < i)
        yield { path: `routes[${i}].import`, words: 'another route has it already; allowed: one route' };
      continue;
    }
    if (zones.length === 0) yield { path: `routes[${i}]`, words: 'has no zones; allowed: at least one' };
    if (zones.includes('.') && route.clients.length === 0)
      yield {
        path: `routes[${i}].zones[${zones.indexOf('.')}]`,
        words: 'all names of everybody go to upstream.servers; allowed: "." beside routes[].clients',
      };
    // A zone in cleartext is that of a network nearby. All names are what strict is there for.
    else if (zones.includes('.') && mode !== 'strict' && modeOf(config) === 'strict')
      yield {
        path: `routes[${i}].zones[${zones.indexOf('.')}]`,
        words: `all names would be asked for without proof of who answers (mode ${mode}), and upstream.mode is strict; allowed: mode strict`,
      };
    if (resolvers.length === 0) yield { path: `routes[${i}]`, words: 'has no resolvers; allowed: at least one' };
    if (mode === 'strict' && name === undefined && pins.length === 0)
      yield { path: `routes[${i}]`, words: 'mode strict needs something to prove; allowed: name, or pins' };
    if (dnssec === 'require' && route.clients.length > 0)
      yield {
        path: `routes[${i}].dnssec`,
        words:
          'a zone is validated with the keys of one side, and clients of other groups ask the other one; allowed: insecure',
      };
    else if (dnssec === 'require' && routeless !== -1)
      yield {
        path: `routes[${i}].dnssec`,
        words: `a zone is validated with the keys of one side, and clients[${routeless}] asks the other one (routes: false); allowed: insecure`,
      };
  }
}

function* routeGroupProblems(routes: Config['routes'], clients: Config['clients']): Iterable<Clash> {
  const names = clients.map(({ name = '' }) => name);
  for (const [i, route] of routes.entries())
    for (const [j, name] of route.clients.entries()) {
      const path = `routes[${i}].clients[${j}]`;
      const group = clients.find(each => each.name === name);
      if (group === undefined)
        yield {
          path,
          words: `there is no group ${name}; allowed: ${names.length === 0 ? 'none, as long as clients is empty' : names.join(', ')}`,
        };
      else if (!group.routes)
        yield { path, words: `no route is for ${name} (clients[].routes: false); allowed: others` };
    }
}

/** What the network decides cannot be written beside it, and nothing can be proved about resolvers that it chooses. */
function* importProblems(path: string, route: Config['routes'][number]): Iterable<Clash> {
  const words = 'stands beside import: true, and the network decides that';
  if (route.zones.length > 0) yield { path: `${path}.zones`, words: `${words}; allowed: none` };
  if (route.resolvers.length > 0) yield { path: `${path}.resolvers`, words: `${words}; allowed: none` };
  if (route.mode !== 'off') yield { path: `${path}.mode`, words: `${words}; allowed: off` };
  if (route.dnssec !== 'insecure') yield { path: `${path}.dnssec`, words: `${words}; allowed: insecure` };
  if (route.kubernetes) yield { path: `${path}.kubernetes`, words: `${words}; allowed: false` };
}

/** The most sources of all lists: as many as a rule has room for. */
const MOST_LIST_SOURCES = 256;

function* listProblems({ lists, clients }: Config): Iterable<Clash> {
  yield* namesOfEntries('lists', lists);
  yield* namesOfEntries('clients', clients);
  for (const [i, { sources }] of lists.entries())
    if (sources.length === 0) yield { path: `lists[${i}]`, words: 'has no sources; allowed: at least one' };
  if (lists.reduce((sum, { sources }) => sum + sources.length, 0) > MOST_LIST_SOURCES)
    yield { path: 'lists', words: `there are too many sources; allowed: ${MOST_LIST_SOURCES} in all lists` };
  const names = [...new Set(lists.flatMap(({ name }) => name ?? []))];
  for (const [i, group] of clients.entries())
    for (const [j, name] of group.lists.entries())
      if (!names.includes(name))
        yield {
          path: `clients[${i}].lists[${j}]`,
          words: `there is no list ${name}; allowed: ${names.length === 0 ? 'none, as long as lists is empty' : names.join(', ')}`,
        };
  const defaults = [...clients.keys()].filter(i => clients[i]?.default === true);
  if (defaults.length > 1)
    yield { path: `clients[${defaults[1] ?? 0}].default`, words: 'another group has it already; allowed: one group' };
}

function* namesOfEntries(key: string, entries: readonly { readonly name: string | undefined }[]): Iterable<Clash> {
  for (const [i, { name }] of entries.entries()) {
    if (name === undefined) yield { path: `${key}[${i}]`, words: 'has no name; allowed: a name of its own' };
    else if (entries.findIndex(each => each.name === name) < i)
      yield { path: `${key}[${i}].name`, words: `${name} is there already; allowed: a name of its own` };
  }
}

function* leaseProblems({ local }: Config): Iterable<Clash> {
  for (const [i, { file }] of local.leases.entries())
    if (file === undefined)
      yield { path: `local.leases[${i}]`, words: 'has no file; allowed: the path of a file with leases' };
}

function* setProblems({ firewall_sets: all }: Config): Iterable<Clash> {
  for (const [i, { zones, table, set4, set6 }] of all.entries()) {
    const path = `firewall_sets[${i}]`;
    if (zones.length === 0) yield { path, words: 'has no zones; allowed: at least one' };
    if (table === undefined) yield { path, words: 'has no table; allowed: the table of the sets' };
    if (set4 === undefined && set6 === undefined)
      yield { path, words: 'has neither set4 nor set6; allowed: one of them, or both' };
  }
}

/** What a client may say of itself must not be believed. */
function* proxyProblems({ access: { proxy_protocol: proxies } }: Config): Iterable<Clash> {
  for (const [i, { address, prefix }] of proxies.entries())
    if (prefix === 0)
      yield {
        path: `access.proxy_protocol[${i}]`,
        words: `${address}/0 is everybody, and each client could choose its address; allowed: the networks of proxies`,
      };
}

function* upstreamProblems(config: Config): Iterable<Clash> {
  const { servers, bootstrap } = config.upstream;
  const mode = modeOf(config);
  if (servers.length === 0 && (mode === 'strict' || mode === 'encrypted')) {
    yield {
      path: 'upstream.mode',
      words: `${mode} needs listed servers; allowed: at least one entry in upstream.servers, or mode opportunistic`,
    };
  }
  if (config.upstream.tls.require_pq && mode !== 'strict' && mode !== 'encrypted') {
    yield {
      path: 'upstream.tls.require_pq',
      words: `in mode ${mode}, names of servers without a post-quantum key exchange would go in cleartext; allowed: mode strict or encrypted, or false`,
    };
  }
  const { client_certificate: certificate, client_key: key } = config.upstream;
  if ((certificate === undefined) !== (key === undefined)) {
    yield {
      path: 'upstream',
      words: 'client_certificate and client_key must be set together; allowed: both or neither',
    };
  }
  for (const [i, { name, addresses, https, pins, pin_policy: policy, dane }] of servers.entries()) {
    const path = `upstream.servers[${i}]`;
    if (https !== undefined && mode === 'off') {
      yield { path: `${path}.https`, words: 'is not used in mode off; allowed: another mode, or no https' };
    }
    if (name === undefined && addresses.length === 0) {
      yield { path, words: 'has neither name nor addresses; allowed: one of them, or both' };
    } else if (addresses.length === 0 && bootstrap.length === 0) {
      yield {
        path,
        words: `${name ?? ''} has no addresses, and upstream.bootstrap is empty; allowed: addresses here, or a bootstrap resolver`,
      };
    }
    if (pins.length === 0 && (policy === 'pin_only' || policy === 'pin_or_pkix')) {
      yield {
        path: `${path}.pin_policy`,
        words: `${policy} without pins; allowed: at least one entry in pins, or another policy`,
      };
    }
    if (pins.length > 0 && mode !== 'strict') {
      yield {
        path: `${path}.pins`,
        words: `pins are checked in strict mode only, and the mode is ${mode}; allowed: mode strict, or no pins`,
      };
    }
    if (dane) yield* daneProblems(`${path}.dane`, mode, name, pins);
    if (dane && https !== undefined) {
      yield {
        path: `${path}.https`,
        words:
          'TLSA records are looked up over DNS over TLS only, so that nothing could prove the server over HTTPS; allowed: https or dane',
      };
    }
  }
}

function* daneProblems(path: string, mode: string, name: string | undefined, pins: readonly string[]): Iterable<Clash> {
  if (name === undefined)
    yield { path, words: 'dane needs the name whose TLSA records count; allowed: a name, or dane: false' };
  if (mode !== 'strict')
    yield {
      path,
      words: `TLSA records are checked in strict mode only, and the mode is ${mode}; allowed: mode strict, or dane: false`,
    };
  // A pin would refuse the next key of the server, which its TLSA records announce.
  if (pins.length > 0)
    yield {
      path,
      words: 'dane and pins both say which keys the server may show; allowed: one of them',
    };
}

function* cacheProblems({ cache }: Config): Iterable<Clash> {
  if (cache.min_ttl > cache.max_ttl) {
    yield {
      path: 'cache.min_ttl',
      words: `${cache.min_ttl / 1000}s is above max_ttl (${cache.max_ttl / 1000}s); allowed: at most max_ttl`,
    };
  }
  const { url, key_file: keyFile } = cache.shared;
  if (url !== undefined && keyFile === undefined)
    yield {
      path: 'cache.shared',
      words: 'url needs a key, or who can write the store could forge answers; allowed: cache.shared.key_file',
    };
}

/**
 * Finds options of a file that do nothing beside the others, with the reason. They are allowed, because a file may be
 * changed step by step.
 * @param isGiven whether the file has an option: defaults are nobody's mistake
 */
export function withoutEffect(config: Config, isGiven: (path: string) => boolean): Clash[] {
  const found = [
    ...idleUpstream(config),
    ...idleServers(config),
    ...idleRoutes(config),
    ...idleDnssec(config),
    ...idleShared(config),
    ...idleListeners(config),
    ...idleAccess(config),
    ...idleNames(config),
    ...idleDns64(config),
  ];
  return found
    .filter(({ path }) => isGiven(path))
    .map(({ path, words }) => ({ path, words: `has no effect: ${words}` }));
}

function* idleUpstream(config: Config): Iterable<Clash> {
  const { servers, bootstrap } = config.upstream;
  const [only] = servers;
  if (bootstrap.length > 0 && servers.every(({ addresses }) => addresses.length > 0))
    yield { path: 'upstream.bootstrap', words: 'no server is listed without addresses' };
  if (servers.length === 1 && only?.addresses.length === 1)
    yield { path: 'upstream.policy', words: 'there is one address to ask' };
  if (modeOf(config) !== 'off' || config.routes.some(({ mode }) => mode !== 'off')) return;
  const words = 'nothing is sent over TLS in mode off';
  // Lists and the probe for portals are fetched over HTTPS.
  const fetchesLists = config.lists.some(({ sources }) => sources.some(({ at }) => at === 'https'));
  if (config.portal.detect === 'off' && !fetchesLists) yield { path: 'upstream.ca_file', words };
  for (const key of ['client_certificate', 'client_key']) yield { path: `upstream.${key}`, words };
}

function* idleServers(config: Config): Iterable<Clash> {
  const isOff = modeOf(config) === 'off';
  for (const [i, { addresses, pins }] of config.upstream.servers.entries()) {
    const path = `upstream.servers[${i}]`;
    if (pins.length === 0) yield { path: `${path}.pin_policy`, words: 'the server has no pins' };
    if (isOff) yield { path: `${path}.port`, words: 'servers are asked on port 53 in mode off' };
    else if (addresses.length > 0 && addresses.every(each => each.port !== undefined))
      yield { path: `${path}.port`, words: 'every address has a port of its own' };
    for (const [j, each] of addresses.entries())
      if (isOff && each.port !== undefined)
        yield {
          path: `${path}.addresses[${j}]`,
          words: 'its port is not used: servers are asked on port 53 in mode off',
        };
  }
}

function* idleRoutes(config: Config): Iterable<Clash> {
  const { routes } = config;
  const isValidated = ['require', 'prefer'].includes(dnssecModeOf(config));
  const first = new Map<string, string>();
  for (const [i, { zones, mode, name, pins, dnssec, clients, schedule }] of routes.entries()) {
    const path = `routes[${i}]`;
    const words = `nothing is proved in mode ${mode}`;
    if (mode !== 'strict' && name !== undefined) yield { path: `${path}.name`, words };
    if (mode !== 'strict' && pins.length > 0) yield { path: `${path}.pins`, words };
    if (dnssec === 'require' && !isValidated)
      yield { path: `${path}.dnssec`, words: `answers are not validated here (dnssec.mode ${dnssecModeOf(config)})` };
    for (const [j, zone] of zones.entries()) {
      const path = `routes[${i}].zones[${j}]`;
      for (const group of clients.length === 0 ? [''] : clients) {
        const other = first.get(`${group} ${zone}`);
        const of = group === '' ? '' : ` for ${group}`;
        if (other !== undefined) yield { path, words: `${other} has ${zone}${of} already, and the first route counts` };
        // At other times, the next one counts.
        else if (schedule === undefined) first.set(`${group} ${zone}`, path);
      }
    }
  }
}

function* idleDnssec({ dnssec, upstream }: Config): Iterable<Clash> {
  if (dnssec.mode !== 'off' && dnssec.mode !== 'trust_ad') return;
  const words = `answers are not validated here (dnssec.mode ${dnssec.mode})`;
  for (const key of ['negative_trust_anchors', 'ntp_names']) yield { path: `dnssec.${key}`, words };
  // TLSA records are validated in every mode.
  if (upstream.servers.some(({ dane }) => dane)) return;
  for (const key of ['trust_anchors', 'sha1', 'max_nsec3_iterations']) yield { path: `dnssec.${key}`, words };
}

function* idleShared({ cache: { shared } }: Config): Iterable<Clash> {
  if (shared.url !== undefined) return;
  for (const key of ['key_file', 'password_file'])
    yield { path: `cache.shared.${key}`, words: 'there is no store (cache.shared.url)' };
}

function* idleListeners({ listen_tls: tls, listen_https: https, front, log }: Config): Iterable<Clash> {
  // Its certificate is also that of listen_https.
  const isLent = https.addresses.length > 0 && https.certificate === undefined;
  if (tls.addresses.length === 0)
    for (const key of [
      ...(isLent ? [] : ['certificate', 'key']),
      ...(tls.announce || https.addresses.length > 0 ? [] : ['announce']),
    ])
      yield {
        path: `listen_tls.${key}`,
        words: 'listen_tls.addresses is empty (unless systemd opens a socket for DNS over TLS: dotstub-tls.socket)',
      };
  if (https.addresses.length === 0)
    for (const key of ['certificate', 'key', 'proxies'])
      yield {
        path: `listen_https.${key}`,
        words:
          'listen_https.addresses is empty (unless systemd opens a socket for DNS over HTTPS: dotstub-https.socket)',
      };
  if (front.io === 'dgram') yield { path: 'front.threads', words: 'with front.io dgram, the main thread serves UDP' };
  if (log.queries === 'off') yield { path: 'log.query_file', words: 'no query log is written (log.queries off)' };
}

/** RFC 9462 §6.4: such questions are about the resolver that is asked. */
function* idleNames({ special_names: { forward } }: Config): Iterable<Clash> {
  for (const [i, name] of forward.entries())
    if (name === 'resolver.arpa' || name.endsWith('.resolver.arpa'))
      yield { path: `special_names.forward[${i}]`, words: `${name} is about this resolver and never forwarded` };
}

/** A client may read the cache only if it may ask at all. */
function* idleAccess({ access: { allow, snoop } }: Config): Iterable<Clash> {
  // Which networks the interfaces have is not known here.
  if (allow.includes('local')) return;
  for (const [i, network] of snoop.entries())
    if (!allow.some(each => each !== 'local' && (within(network, each) || within(each, network))))
      yield { path: `access.snoop[${i}]`, words: 'no network of access.allow has any address of it' };
}

function* idleDns64({ dns64 }: Config): Iterable<Clash> {
  if (dns64.discover && dns64.prefix !== undefined)
    yield { path: 'dns64.discover', words: 'dns64.prefix is the prefix' };
}

/** Whether a network is all in another one. */
function within(inner: Cidr, outer: Cidr): boolean {
  const [octets, of] = [addressOctets(inner.address), addressOctets(outer.address)];
  if (octets === undefined || of === undefined || octets.length !== of.length || inner.prefix < outer.prefix)
    return false;
  for (let bit = 0; bit < outer.prefix; bit++) {
    const mask = 0x80 >> (bit & 7);
    if ((((octets[bit >> 3] ?? 0) ^ (of[bit >> 3] ?? 0)) & mask) !== 0) return false;
  }
  return true;
}

type Cidr = Config['access']['snoop'][number];
