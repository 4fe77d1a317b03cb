// Lists every way by which a configuration lets a name leave in cleartext, or to a server that is not authenticated. It needs
// the configuration alone, so a user can read it before the daemon runs.

import { isLoopback } from '../base/address.js';
import { scheduleText } from '../base/schedule.js';
import { modeOf } from './combinations.js';
import type { Config } from './schema.js';

/** One way by which names leave unprotected. */
export interface Leak {
  /** The option that opens it. */
  readonly path: string;
  /** The names that leave by it. */
  readonly names: string;
  /** Where they go, and when. */
  readonly words: string;
}

/** Finds all leaks of a configuration. */
export function leaks(config: Config): Leak[] {
  return [...ofMode(config), ...ofBootstrap(config), ...ofPortal(config), ...ofRoutes(config), ...ofListeners(config)];
}

function* ofMode(config: Config): Iterable<Leak> {
  const { servers } = config.upstream;
  const path = config.upstream.mode === undefined ? 'upstream.servers' : 'upstream.mode';
  const target =
    servers.length === 0
      ? "the system's resolvers"
      : servers.map(({ name, addresses }) => name ?? addresses[0]?.address ?? '').join(', ');
  const unauthenticated: Leak = {
    path,
    names: 'every name',
    words: `over TLS to ${target} without authentication: an attacker on the path can pose as the server`,
  };
  switch (modeOf(config)) {
    case 'off':
      yield { path, names: 'every name', words: `in cleartext to ${target}, always` };
      break;
    case 'opportunistic':
      yield {
        path,
        names: 'every name',
        words: `in cleartext to ${target}, until TLS works with one of them, and whenever it works with none`,
      };
      yield unauthenticated;
      break;
    case 'encrypted':
      yield unauthenticated;
      break;
    case 'strict':
  }
}

function* ofBootstrap(config: Config): Iterable<Leak> {
  if (modeOf(config) === 'off') return;
  const { servers, bootstrap } = config.upstream;
  for (const [i, { name, addresses }] of servers.entries()) {
    if (name === undefined || addresses.length > 0) continue;
    const target = bootstrap.length > 0 ? bootstrap.map(({ address }) => address).join(', ') : "the system's resolvers";
    yield {
      path: `upstream.servers[${i}]`,
      names: name,
      words: `in cleartext to ${target}, to look up its address, since no addresses are listed`,
    };
  }
}

function* ofPortal(config: Config): Iterable<Leak> {
  const { names, detect } = config.portal;
  if (modeOf(config) === 'off') return;
  const opens = detect === 'off' ? '"dotstub portal start"' : '"dotstub portal start", or a detected portal';
  if (names.length > 0)
    yield {
      path: 'portal.names',
      names: names.join(', '),
      words: `in cleartext to the network's resolvers, while a portal window is open (${opens})`,
    };
  if (detect !== 'off')
    yield {
      path: 'portal.detect',
      names: `${detect.host}, and the names of the network's portal`,
      words: "in cleartext to the network's resolvers, to find out whether the network has a portal",
    };
}

/** How names go to the servers of `upstream`; undefined: as they should. */
const UPSTREAM_WORDS: Readonly<Record<ReturnType<typeof modeOf>, string | undefined>> = {
  off: 'in cleartext',
  opportunistic: 'in cleartext whenever TLS works with none of them,',
  encrypted: 'over TLS, without authentication,',
  strict: undefined,
};

function* ofRoutes(config: Config): Iterable<Leak> {
  for (const [i, route] of config.routes.entries()) {
    const { zones, resolvers, mode, schedule } = route;
    const times = schedule && scheduleText(schedule);
    const when = times === undefined ? 'always' : `at the times of its schedule (${times})`;
    const of = route.clients.length === 0 ? '' : `, asked by clients of ${route.clients.join(' and ')}`;
    if (route.import) {
      const words = `in cleartext to the network's resolvers, ${when}`;
      yield { path: `routes[${i}]`, names: `the search domains of the network, and all below${of}`, words };
      continue;
    }
    const names = `${zones.includes('.') ? 'all names' : `${zones.join(', ')} and all below`}${of}`;
    const how = mode === 'off' ? 'in cleartext' : 'over TLS, without authentication,';
    const target = resolvers.map(({ address }) => address).join(', ');
    if (mode !== 'strict') yield { path: `routes[${i}]`, names, words: `${how} to ${target}, ${when}` };
    const otherwise = UPSTREAM_WORDS[modeOf(config)];
    if (times === undefined || otherwise === undefined) continue;
    const words = `${otherwise} to the servers of upstream, at other times than ${times}`;
    yield { path: `routes[${i}].schedule`, names, words };
  }
}

function* ofListeners({ listen, listen_tls: tls, listen_https: https }: Config): Iterable<Leak> {
  for (const [i, { address, port }] of listen.entries()) {
    if (isLoopback(address)) continue;
    yield {
      path: `listen[${i}]`,
      names: 'the queries of clients',
      words: `in cleartext from the clients to ${address} port ${port}, on the local network (listen_tls would encrypt them)`,
    };
  }
  if (tls.certificate !== undefined || https.certificate !== undefined) return;
  for (const [i, { address, port }] of https.addresses.entries()) {
    if (isLoopback(address)) continue;
    yield {
      path: `listen_https.addresses[${i}]`,
      names: 'the queries of clients of listen_https.proxies',
      words: `in cleartext from the reverse proxies to ${address} port ${port} (listen_https.certificate would encrypt them)`,
    };
  }
}
