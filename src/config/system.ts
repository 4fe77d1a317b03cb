// What the system was told about resolvers: the servers to use when nobody configured any.

import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';

/** Where "dotstub install" keeps the resolv.conf that it replaced. */
export const SAVED_RESOLV_CONF = '/etc/dotstub/resolv.conf.before';

/** Where systemd-resolved and NetworkManager write the real servers when resolv.conf only names a local stub; and what "dotstub install" found there. */
const BEHIND_A_STUB = [
  '/run/systemd/resolve/resolv.conf',
  '/run/NetworkManager/no-stub-resolv.conf',
  SAVED_RESOLV_CONF,
];
const RESOLV_CONF = '/etc/resolv.conf';
const MOST = 8;

/** The `nameserver` lines of a resolv.conf (resolv.conf(5)). */
export function nameservers(text: string): string[] {
  return text
    .split('\n')
    .map(line => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? '')
    .filter(address => isIP(address.replace(/%.*/, '')) !== 0)
    .slice(0, MOST);
}

/**
 * The resolvers that the system has.
 * @param isOurs whether port 53 of an address is one of our own listeners: asking ourselves would be a loop
 * @param read reads a file; may throw
 */
export function systemResolvers(
  isOurs: (address: string) => boolean,
  read: (path: string) => string = path => readFileSync(path, 'utf8'),
): string[] {
  const from = (path: string): string[] => {
    try {
      return nameservers(read(path));
    } catch {
      // Not there, or not for us: the same as empty.
      return [];
    }
  };
  const configured = from(RESOLV_CONF);
  const isStub = (address: string): boolean => address === '127.0.0.53' || address === '127.0.0.54';
  // One of them: what "dotstub install" saved is of the network of that day, and only counts where nobody keeps the current ones.
  const behind = configured.some(address => isStub(address) || isOurs(address))
    ? (BEHIND_A_STUB.map(path => from(path).filter(address => !isOurs(address))).find(found => found.length > 0) ?? [])
    : [];
  const real = configured.filter(address => !isStub(address) && !isOurs(address));
  return [...new Set([...behind, ...real])];
}
