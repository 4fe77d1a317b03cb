// Which addresses a UDP host serves: those that are written, or those of interfaces in place of wildcards; and what
// happens to those that cannot be opened.

import { isSystemError, SystemError } from '../base/system-error.js';
import { hasAddress, openUdp } from '../os/datagrams.js';
import type { Libc } from '../os/libc.js';
import {
  expand,
  isAbsent,
  type ListenAddress,
  listenText,
  MOST_ADDRESSES,
  placeText,
  type Unopened,
  unopened as unopenedAfter,
  withScope,
} from '../os/listen-address.js';
import type { DatagramHost } from './datagram-host.js';
import { canBind } from './dgram.js';

const placesText = (addresses: readonly ListenAddress[]): string => addresses.map(placeText).sort().join('\n');

/** The wildcard that an address stands for, as text; undefined: it stands for itself. */
const wildcardText = ({ wildcard: address, port }: ListenAddress): string | undefined =>
  address && listenText({ address, port });

/**
 * The addresses with those of interfaces in place of wildcards.
 * @param before what was served until now. An interface without a carrier keeps its addresses, and Node.js does not list
 * them: they stay @throws the system's error if it does not list addresses
 */
export function perInterface(
  addresses: readonly ListenAddress[],
  libc: Libc | undefined,
  before: readonly ListenAddress[],
): readonly ListenAddress[] {
  const now = addresses.flatMap(expand);
  if (libc === undefined) return now;
  const known = new Set(now.map(listenText));
  const wildcards = new Set(addresses.map(listenText));
  const stay = before
    .filter(at => !known.has(listenText(at)) && wildcards.has(wildcardText(at) ?? ''))
    .map(at => withScope(at, libc))
    .filter(at => hasAddress(libc, at));
  return [...now, ...stay.slice(0, Math.max(0, MOST_ADDRESSES - now.length))];
}

/** The wildcards that stand for as many addresses as have sockets of their own, and perhaps for more. */
export function fullWildcards({ isPerInterface, wanted }: DatagramHost): readonly string[] {
  const counts = new Map<string, number>();
  for (const at of isPerInterface ? wanted : []) {
    const wildcard = wildcardText(at);
    if (wildcard !== undefined) counts.set(wildcard, (counts.get(wildcard) ?? 0) + 1);
  }
  return [...counts].flatMap(([wildcard, count]) => (count < MOST_ADDRESSES ? [] : [wildcard]));
}

/**
 * Whether a host that is opened anew would serve other addresses: those of interfaces have changed, or one that could
 * not be opened can be now. @throws the system's error if it does not list addresses
 */
export async function isOutdated(
  host: DatagramHost,
  addresses: readonly ListenAddress[],
  libc: Libc | undefined,
): Promise<boolean> {
  const now = host.isPerInterface ? perInterface(addresses, libc, host.wanted) : addresses;
  if (placesText(now) !== placesText(host.wanted)) return true;
  for (const { at } of host.unopened) if (await canOpen(at, libc)) return true;
  return false;
}

async function canOpen(at: ListenAddress, libc: Libc | undefined): Promise<boolean> {
  if (libc === undefined) return canBind(at);
  try {
    libc.close(openUdp(libc, at));
    return true;
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return false;
  }
}

/**
 * Opens each address. Those that may wait are left out if they cannot be opened.
 * @returns these @throws the system's error: an address that must not wait could not be opened, or none of those that a
 * wildcard stands for
 */
export async function openEach(
  addresses: readonly ListenAddress[],
  open: (at: ListenAddress) => void | Promise<void>,
): Promise<readonly Unopened[]> {
  const unopened: Unopened[] = [];
  const served = new Set<string | undefined>();
  for (const at of addresses) {
    try {
      await open(at);
      served.add(wildcardText(at));
    } catch (error) {
      unopened.push(unopenedAfter(at, error));
    }
  }
  // Not even one: the wildcard itself cannot be served, and that one was written by somebody.
  const failed = unopened.find(({ at, error }) => !isAbsent(at, error) && !served.has(wildcardText(at)));
  if (failed === undefined) return unopened;
  const { at, error } = failed;
  throw new SystemError(error.syscall ?? 'bind', error.errno ?? 0, { address: at.wildcard ?? '', port: at.port });
}
