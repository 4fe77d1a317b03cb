// Which addresses a configured listener means. A UDP reply has to leave from the address that the query came to, and
// node:dgram cannot choose it on a wildcard socket: so a wildcard becomes one socket per interface address.

import { isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';

/** An address to listen on. */
export interface ListenAddress {
  readonly address: string;
  readonly port: number;
  /** Of a socket that somebody else has opened and bound there. It stays theirs: listeners use duplicates of it. */
  readonly fd?: number;
}

/** Whether it stands for all addresses of its family. */
export const isAnyAddress = (address: string): boolean => address === '0.0.0.0' || address === '::';

/** Where a listener is reached from this machine. */
export const reachable = ({ address, port }: ListenAddress): ListenAddress => ({
  port,
  address: address === '0.0.0.0' ? '127.0.0.1' : address === '::' ? '::1' : address,
});

/** `127.0.0.1:53`, `[::1]:53` */
export const listenText = ({ address, port }: ListenAddress): string =>
  isIPv6(address) ? `[${address}]:${port}` : `${address}:${port}`;

/**
 * The interface addresses that a wildcard stands for right now; other addresses stand for themselves.
 * @throws the system's error, where it does not tell (no descriptors left)
 */
export function expand(at: ListenAddress): ListenAddress[] {
  const { address, port } = at;
  if (!isAnyAddress(address)) return [at];
  const family = isIPv6(address) ? 'IPv6' : 'IPv4';
  return Object.entries(networkInterfaces()).flatMap(([name, infos]) =>
    (infos ?? [])
      .filter(info => info.family === family)
      .map(info => ({
        // A link-local address is only one on its link (RFC 4007 §6).
        address: info.family === 'IPv6' && info.scopeid !== 0 ? `${info.address}%${name}` : info.address,
        port,
      })),
  );
}

/** Whether two addresses are the same, or one stands for the other, too. */
export const overlap = (a: ListenAddress, b: ListenAddress): boolean =>
  a.port === b.port && (a.address === b.address || isAnyAddress(a.address) || isAnyAddress(b.address));
