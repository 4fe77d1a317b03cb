// Words for listen addresses that cannot be served now.

import { zoneOf } from '../base/address.js';
import { isAbsent, type ListenAddress, listenText, MOST_ADDRESSES, type Unopened } from '../os/listen-address.js';

/**
 * A sentence about an address that this machine does not have now, although somebody has written it.
 * @param option the option with the address
 */
export function absentWords(at: ListenAddress, option: string): string {
  const zone = zoneOf(at.address);
  if (zone !== undefined && at.scope === 0)
    return `${option}: ${listenText(at)} is served once there is an interface ${zone}: this machine has none now`;
  return `${option}: ${listenText(at)} is served once it is an address of this machine, which it is not now`;
}

/**
 * A sentence about an address that could not be opened; undefined: nobody has written it, and this machine does not have
 * it yet.
 * @param transport in capitals
 * @param option the option with the address, or with the wildcard that it stands for
 */
export function unopenedWords({ at, error }: Unopened, transport: string, option: string): string | undefined {
  if (isAbsent(at, error)) return at.wildcard === undefined ? absentWords(at, option) : undefined;
  const why = error.code === 'EADDRINUSE' ? 'another program uses it' : error.message;
  const of = at.wildcard === undefined ? '' : `, one of those that ${at.wildcard} stands for,`;
  return `${option}: ${listenText(at)}${of} is not served over ${transport}: ${why}`;
}

/** A sentence about a wildcard that stands for more addresses than have UDP sockets of their own. */
export const fullWords = (wildcard: string): string =>
  `listen: ${wildcard} is served over UDP on ${MOST_ADDRESSES} addresses of this machine at most; with front.threads 1, it is served on all`;
