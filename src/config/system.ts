// The resolvers that the system is configured with: the servers to use when the configuration lists none.

import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';

import { withoutZone, zoneOf } from '../base/address.js';

/** The copy of the resolv.conf that "dotstub install" replaced. */
export const SAVED_RESOLV_CONF = '/etc/dotstub/resolv.conf.before';

/** Where the real servers are if resolv.conf names only a local stub: systemd-resolved, and NetworkManager. */
const BEHIND_A_STUB = ['/run/systemd/resolve/resolv.conf', '/run/NetworkManager/no-stub-resolv.conf'];
const RESOLV_CONF = '/etc/resolv.conf';
/** Bounds the servers that a damaged file could bring. */
const MAX_NAMESERVERS = 8;

/**
 * The addresses of the `nameserver` lines of a resolv.conf (resolv.conf(5)), at most MAX_NAMESERVERS. Those that routers
 * announce are often link-local, with a zone.
 */
export function nameservers(text: string): string[] {
  return text
    .split('\n')
    .map(line => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? '')
    .filter(address => isIP(withoutZone(address)) !== 0)
    .slice(0, MAX_NAMESERVERS)
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

/**
 * The addresses of the system's resolvers. Local stubs and our own listeners are left out.
 * @param isOurs whether port 53 of an address is one of our own listeners; forwarding to it would be a loop
 * @param read reads a file; may throw
 */
export function systemResolvers(
  isOurs: (address: string) => boolean,
  read: (path: string) => string = path => readFileSync(path, 'utf8'),
): string[] {
  /** Undefined: a file that is missing or cannot be read. Most systems have only some of them. */
  const from = (path: string): string[] | undefined => {
    try {
      return nameservers(read(path));
    } catch {
      return undefined;
    }
  };
  const configured = from(RESOLV_CONF) ?? [];
  const isStub = (address: string): boolean => address === '127.0.0.53' || address === '127.0.0.54';
  const behindStub = (): string[] => {
    const kept = BEHIND_A_STUB.map(from).filter(found => found !== undefined);
    // The copy is from the network on which dotstub was installed: it counts only if nobody keeps track of networks. A file
    // without servers says that this network has none.
    const files = kept.length === 0 ? [from(SAVED_RESOLV_CONF) ?? []] : kept;
    return files.map(found => found.filter(address => !isOurs(address))).find(found => found.length > 0) ?? [];
  };
  const behind = configured.some(address => isStub(address) || isOurs(address)) ? behindStub() : [];
  const real = configured.filter(address => !isStub(address) && !isOurs(address));
  return [...new Set([...behind, ...real])];
}
