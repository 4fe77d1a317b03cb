// The addresses that a configured listener stands for. A UDP reply must leave from the address that the query was sent
// to, and node:dgram cannot choose that address on a wildcard socket. So a wildcard becomes one socket per interface
// address.

import { isIPv6 } from 'node:net';
import { networkInterfaces, type NetworkInterfaceInfo } from 'node:os';

import { exclude, isAnyAddress } from '../base/address.js';

/** An address to listen on. */
export interface ListenAddress {
  readonly address: string;
  readonly port: number;
  /** A socket that is open and bound there already. Its owner closes it: listeners use duplicates. */
  readonly fd?: number;
}

/** The address under which a listener is reached from this machine. */
export const reachable = ({ address, port }: ListenAddress): ListenAddress => ({
  port,
  address: address === '0.0.0.0' ? '127.0.0.1' : address === '::' ? '::1' : address,
});

/** `127.0.0.1:53`, `[::1]:53` */
export const listenText = ({ address, port }: ListenAddress): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;

/**
 * The interface addresses that a wildcard stands for at present; other addresses stand for themselves. @throws the
 * system's error if it does not list its addresses (no descriptors left)
 */
export function expand(at: ListenAddress): ListenAddress[] {
  const { address, port } = at;
  if (!isAnyAddress(address)) return [at];
  const family = isIPv6(address) ? 'IPv6' : 'IPv4';
  return Object.entries(networkInterfaces()).flatMap(([name, infos]) =>
    (infos ?? [])
      .filter(info => info.family === family)
      .map(info => ({
        // A link-local address needs its zone (RFC 4007 §6).
        address: info.family === 'IPv6' && info.scopeid !== 0 ? `${info.address}%${name}` : info.address,
        port,
      })),
  );
}

/** The index of the interface that a zone names (sin6_scope_id, RFC 4007 §11); 0: there is none. */
export function scopeOf(zone: string): number {
  if (/^\d+$/.test(zone)) return Number(zone);
  const infos = networkInterfaces()[zone] ?? [];
  return Math.max(0, ...infos.map(info => (info.family === 'IPv6' ? info.scopeid : 0)));
}

/** The interface with an index, as a zone; undefined: there is none. */
export function zoneOfScope(scope: number): string | undefined {
  const isIt = (infos: readonly NetworkInterfaceInfo[] = []): boolean =>
    infos.some(info => info.family === 'IPv6' && info.scopeid === scope);
  return scope === 0 ? undefined : Object.entries(networkInterfaces()).find(([, infos]) => isIt(infos))?.[0];
}

/**
 * Whether two addresses cannot be bound at the same time: they are one, or one is the wildcard that covers the other. A socket
 * that is open already is in nobody's way.
 */
export const overlap = (a: ListenAddress, b: ListenAddress): boolean =>
  a.fd === undefined && b.fd === undefined && a.port === b.port && exclude(a.address, b.address);
