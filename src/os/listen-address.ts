// The addresses that a configured listener stands for. A UDP reply must leave from the address that the query was sent
// to, and node:dgram cannot choose that address on a wildcard socket. So a wildcard becomes one socket per interface
// address. Addresses come and go, and an interface that goes and comes again has another index: what a listener was
// opened for is compared with what the machine has now.

import { networkInterfaces, type NetworkInterfaceInfo } from 'node:os';

import { type MonoMs, monoAfter } from '../base/time.js';
import { exclude, isAnyAddress, zoneOf } from '../base/address.js';
import { isSystemError, SystemError } from '../base/system-error.js';
import type { Libc } from './libc.js';

/** An address to listen on. */
export interface ListenAddress {
  readonly address: string;
  readonly port: number;
  /** A socket that is open and bound there already. Its owner closes it: listeners use duplicates. */
  readonly fd?: number;
  /**
   * A socket that another listener of ours has there, while its place is taken over: a duplicate of it is used, and no
   * connection that waits in it is lost. It is no part of what the address is.
   */
  readonly from?: number;
  /** The index of the interface that its zone names (sin6_scope_id, RFC 4007 §11); 0: there is none now. */
  readonly scope?: number;
  /** The wildcard that it stands for. Nobody has written it, so it must not keep anything from starting. */
  readonly wildcard?: string;
}

/** The address under which a listener is reached from this machine. */
export const reachable = ({ address, port }: ListenAddress): ListenAddress => ({
  port,
  address: address === '0.0.0.0' ? '127.0.0.1' : address === '::' ? '::1' : address,
});

/** `127.0.0.1:53`, `[::1]:53` */
export const listenText = ({ address, port }: ListenAddress): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;

/** An address with all that a socket is bound to: two addresses with equal texts can have the same socket. */
export const placeText = (at: ListenAddress): string => `${listenText(at)} ${at.fd ?? ''} ${at.scope ?? ''}`;

/** An address without the socket that was taken over for it. */
export const withoutSource = ({ address, port, fd, scope, wildcard }: ListenAddress): ListenAddress => ({
  ...{ address, port },
  ...(fd === undefined ? {} : { fd }),
  ...(scope === undefined ? {} : { scope }),
  ...(wildcard === undefined ? {} : { wildcard }),
});

/** The most addresses that a wildcard stands for: each needs sockets of its own. */
export const MOST_ADDRESSES = 256;

/**
 * The interface addresses that a wildcard stands for at present, each once and at most MOST_ADDRESSES; other addresses
 * stand for themselves. @throws the system's error if it does not list its addresses (no descriptors left)
 */
export function expand(at: ListenAddress): readonly ListenAddress[] {
  const { address: wildcard, port } = at;
  if (!isAnyAddress(wildcard)) return [at];
  const family = wildcard === '::' ? 'IPv6' : 'IPv4';
  // Several interfaces may have the same address.
  const found = new Map<string, ListenAddress>();
  for (const [name, infos = []] of Object.entries(networkInterfaces()))
    for (const info of infos) {
      if (info.family !== family || found.size >= MOST_ADDRESSES) continue;
      // A link-local address needs its zone (RFC 4007 §6).
      const address = info.family === 'IPv6' && info.scopeid !== 0 ? `${info.address}%${name}` : info.address;
      const scope = info.family === 'IPv6' && info.scopeid !== 0 ? { scope: info.scopeid } : {};
      found.set(address, { address, port, wildcard, ...scope });
    }
  return [...found.values()];
}

/**
 * An address with the present index of the interface that its zone names. @throws the system's error if it does not tell
 */
export function withScope(at: ListenAddress, libc: Libc | undefined): ListenAddress {
  const zone = zoneOf(at.address);
  if (zone === undefined || at.fd !== undefined) return at;
  const scope = indexOf(zone, libc);
  if (scope < 0) throw new SystemError('if_nametoindex', scope, at);
  return { ...at, scope };
}

/**
 * The index of the interface that a zone names; 0: there is none; below 0: `-errno`. Without `libc`, an interface that
 * is down counts as none. @throws the system's error, only without `libc`
 */
export function indexOf(zone: string, libc: Libc | undefined): number {
  if (/^\d+$/.test(zone)) return Number(zone);
  if (libc !== undefined) return libc.interfaceIndex(zone);
  const infos = networkInterfaces()[zone] ?? [];
  return Math.max(0, ...infos.map(info => (info.family === 'IPv6' ? info.scopeid : 0)));
}

/** How long the index of an interface is believed without looking again, ms. */
const INDEX_MS = 1000;

/** The indexes of the zones that clients have, kept for a short time: looking one up takes a descriptor. */
export class ZoneIndexes {
  /** By the zone. The kernel names them, so there are no more than interfaces. */
  private readonly known = new Map<string, { readonly index: number; readonly until: MonoMs }>();

  constructor(
    private readonly libc: Libc,
    private readonly monotonicMs: () => MonoMs,
  ) {}

  /** The address with the index of the interface that its zone names. */
  withScope<T extends { readonly address: string }>(at: T): T & { readonly scope?: number } {
    const zone = zoneOf(at.address);
    return zone === undefined ? at : { ...at, scope: this.indexOf(zone) };
  }

  private indexOf(zone: string): number {
    const now = this.monotonicMs();
    const before = this.known.get(zone);
    if (before !== undefined && now < before.until) return before.index;
    // Without descriptors the index is not told, and is most likely what it was.
    const found = indexOf(zone, this.libc);
    const index = found < 0 ? (before?.index ?? 0) : found;
    this.known.set(zone, { index, until: monoAfter(now, INDEX_MS) });
    return index;
  }
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

/** Codes of errors that say that this machine does not have an address now; it may come later. */
const ABSENT: ReadonlySet<string> = new Set(['EADDRNOTAVAIL', 'EAFNOSUPPORT', 'ENODEV']);

/** Whether an address could not be bound because this machine does not have it, or not yet. */
export const isAbsent = ({ address }: ListenAddress, { code = '' }: NodeJS.ErrnoException): boolean =>
  ABSENT.has(code) || (code === 'EINVAL' && zoneOf(address) !== undefined);

/** Codes of errors that no address is to blame for. */
const NO_ROOM: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM']);

/** Whether the others are served if an address cannot be bound. It is tried again when the machine's addresses change. */
const mayWait = (at: ListenAddress, error: NodeJS.ErrnoException): boolean =>
  (at.wildcard !== undefined && !NO_ROOM.has(error.code ?? '')) || isAbsent(at, error);

/** An address that could not be bound, and waits. */
export interface Unopened {
  readonly at: ListenAddress;
  readonly error: NodeJS.ErrnoException;
}

/** An address that may wait, after an error. @throws the error, if it must not */
export function unopened(at: ListenAddress, error: unknown): Unopened {
  if (!isSystemError(error) || !mayWait(at, error)) throw error;
  return { at, error };
}
