// The resolvers that the system is configured with: the servers to use when the configuration lists none.

import { readdirSync, readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { basename, dirname, join } from 'node:path';

import { isIP, withoutZone, zoneOf } from '../base/address.js';
import { readResolvConf } from '../base/resolv-conf.js';

/** The copy of the resolv.conf that "dotstub install" replaced. */
export const SAVED_RESOLV_CONF = '/etc/dotstub/resolv.conf.before';

/** Where the hook that "dotstub install" gives to dhclient writes the resolvers of the network, as a resolv.conf. */
export const NETWORK_RESOLV_CONF = '/run/dotstub-network/resolv.conf';
/** The record of resolvconf and openresolv that names this daemon. */
export const OUR_RECORD = 'lo.dotstub';

/**
 * Where the real servers are if resolv.conf names only a local one: files of systemd-resolved, NetworkManager, connman
 * and our hook.
 */
const KEPT_FILES = [
  '/run/systemd/resolve/resolv.conf',
  '/run/NetworkManager/no-stub-resolv.conf',
  '/run/connman/resolv.conf',
  NETWORK_RESOLV_CONF,
];
/** The same, with a file for each interface: Debian's resolvconf, openresolv, and dhcpcd. */
const KEPT_DIRECTORIES = [
  '/run/resolvconf/interface',
  '/run/resolvconf/interfaces',
  '/run/dhcpcd/hook-state/resolv.conf',
];
/** Bounds what a directory could bring. */
const MAX_RECORDS = 32;
/** The directories of all these, and how the names of the files that count begin. */
export const RESOLVER_DIRECTORIES: readonly { readonly path: string; readonly prefix: string }[] = [
  { path: '/etc', prefix: 'resolv.conf' },
  ...KEPT_FILES.map(file => ({ path: dirname(file), prefix: basename(file) })),
  ...KEPT_DIRECTORIES.map(path => ({ path, prefix: '' })),
];
const RESOLV_CONF = '/etc/resolv.conf';
/** Bounds the servers that a damaged file could bring. */
const MAX_NAMESERVERS = 8;
/** The same for search domains. */
const MAX_SEARCH = 16;

/**
 * The addresses of the `nameserver` lines of a resolv.conf (resolv.conf(5)), at most MAX_NAMESERVERS. Those that routers
 * announce are often link-local, with a zone.
 */
export function nameservers(text: string): string[] {
  return readResolvConf(text)
    .nameservers.slice(0, MAX_NAMESERVERS)
    .map(address => withUsableZone(address, networkInterfaces));
}

/**
 * An address with its zone in a form that Node.js takes: the name of an interface, which Node.js 20 needs, or its index
 * if there are other characters in the name.
 */
export function withUsableZone(address: string, interfaces: typeof networkInterfaces): string {
  const zone = zoneOf(address);
  if (zone === undefined) return address;
  const scopes = Object.entries(interfaces()).flatMap(([name, infos = []]) =>
    infos.flatMap(info => (info.family === 'IPv6' && info.scopeid !== 0 ? [{ name, scope: `${info.scopeid}` }] : [])),
  );
  const found = scopes.find(({ name, scope }) => name === zone || scope === zone);
  if (found === undefined) return address;
  return `${withoutZone(address)}%${isIP(`fe80::1%${found.name}`) === 0 ? found.scope : found.name}`;
}

/** What the system knows about the resolvers of its network. */
export interface SystemNetwork {
  readonly resolvers: string[];
  /** The search domains that stand beside these resolvers. */
  readonly search: readonly string[];
}

/** One file with resolvers, or the files of one directory. */
interface Found {
  readonly servers: readonly string[];
  readonly search: readonly string[];
}

/**
 * The addresses of the system's resolvers, see `systemNetwork`.
 * @param isOurs whether port 53 of an address is one of our own listeners; forwarding to it would be a loop
 * @param files the system's files; both functions may throw
 */
export const systemResolvers = (isOurs: (address: string) => boolean, files?: SystemFiles): string[] =>
  systemNetwork(isOurs, files).resolvers;

/**
 * The addresses of the system's resolvers, and their search domains. Local stubs and our own listeners are left out.
 * @param isOurs whether port 53 of an address is one of our own listeners; forwarding to it would be a loop
 * @param files the system's files; both functions may throw
 */
export function systemNetwork(
  isOurs: (address: string) => boolean,
  files: SystemFiles = {
    read: path => readFileSync(path, 'utf8'),
    list: path => readdirSync(path),
  },
): SystemNetwork {
  /** Undefined: what is missing or cannot be read. Most systems have only some of them. */
  const from = (path: string): Found | undefined => {
    try {
      const text = files.read(path);
      return { servers: nameservers(text), search: readResolvConf(text).search };
    } catch {
      return undefined;
    }
  };
  /** A directory without files is one that nobody uses. */
  const fromRecords = (path: string): Found | undefined => {
    try {
      const names = files.list(path).filter(name => name !== OUR_RECORD);
      const found = names
        .sort()
        .slice(0, MAX_RECORDS)
        .flatMap(name => from(join(path, name)) ?? []);
      if (names.length === 0) return undefined;
      const servers = found.flatMap(each => each.servers).slice(0, MAX_NAMESERVERS);
      return { servers, search: found.flatMap(each => each.search).slice(0, MAX_SEARCH) };
    } catch {
      return undefined;
    }
  };
  const { servers: configured, search } = from(RESOLV_CONF) ?? NOTHING;
  const isStub = (address: string): boolean => address === '127.0.0.53' || address === '127.0.0.54';
  const behindStub = (): Found => {
    const kept = [...KEPT_FILES.map(from), ...KEPT_DIRECTORIES.map(fromRecords)].filter(found => found !== undefined);
    // The copy is from the network on which dotstub was installed: it counts only if nobody keeps track of networks. A file
    // without servers says that this network has none.
    const all = kept.length === 0 ? [{ ...(from(SAVED_RESOLV_CONF) ?? NOTHING), search: [] }] : kept;
    const theirs = all.map(found => ({ ...found, servers: found.servers.filter(address => !isOurs(address)) }));
    return theirs.find(({ servers }) => servers.length > 0) ?? NOTHING;
  };
  const hasStub = configured.some(address => isStub(address) || isOurs(address));
  const behind = hasStub ? behindStub() : NOTHING;
  const real = configured.filter(address => !isStub(address) && !isOurs(address));
  return {
    resolvers: [...new Set([...behind.servers, ...real])],
    // "dotstub install" leaves the search domains of that day in resolv.conf: beside us, they say nothing about this network.
    search: [...new Set(hasStub ? behind.search : search)],
  };
}

const NOTHING: Found = { servers: [], search: [] };

/** The files that are read; other ones only in tests. */
export interface SystemFiles {
  read(path: string): string;
  /** The names of the files in a directory. */
  list(path: string): string[];
}
