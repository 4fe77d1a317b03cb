// Checks that concern several options: those that contradict each other, and those that need each other.

import { exclude, isAnyAddress } from '../base/address.js';
import type { Config } from './schema.js';

/** A contradiction. */
export interface Clash {
  /** The option that a user would most likely change. */
  readonly path: string;
  readonly words: string;
}

/** The mode in force. Left out: strict with listed servers, opportunistic with the system's resolvers. */
export const modeOf = ({ upstream }: Config): NonNullable<Config['upstream']['mode']> =>
  upstream.mode ?? (upstream.servers.length > 0 ? 'strict' : 'opportunistic');

/** Finds all contradictions of a configuration. */
export function combinationProblems(config: Config): Clash[] {
  return [...listenProblems(config), ...upstreamProblems(config), ...routeProblems(config), ...cacheProblems(config)];
}

function* listenProblems({ listen, listen_tls: tls, metrics }: Config): Iterable<Clash> {
  const tcpListeners = [
    ...(metrics.listen === 'off' ? [] : [{ ...metrics.listen, path: 'metrics.listen' }]),
    ...listen.map((at, i) => ({ ...at, path: `listen[${i}]` })),
    ...tls.addresses.map((at, i) => ({ ...at, path: `listen_tls.addresses[${i}]` })),
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
  if (listen.length === 0 && tls.addresses.length === 0)
    yield {
      path: 'listen',
      words: 'listen and listen_tls.addresses are both empty, so no client could ask; allowed: at least one address',
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

function* routeProblems({ routes }: Config): Iterable<Clash> {
  for (const [i, { zones, resolvers }] of routes.entries()) {
    if (zones.length === 0) yield { path: `routes[${i}]`, words: 'has no zones; allowed: at least one' };
    if (resolvers.length === 0) yield { path: `routes[${i}]`, words: 'has no resolvers; allowed: at least one' };
  }
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
}
