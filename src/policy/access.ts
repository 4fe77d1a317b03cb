// Which clients may ask, by address.

import { addressOctets } from '../base/address.js';
import { type ClassNetwork, type Network, octetClasses, octetMatcher } from './networks.js';

/** Whether an address is in one of some networks. */
export type Matcher = (address: string) => boolean;

/**
 * How many verdicts are remembered: more than the addresses of a household, and a bound during a flood from forged
 * ones.
 */
const MOST_REMEMBERED = 1024;

/**
 * Compiles networks to a test of addresses as text. Verdicts are remembered, since the same few addresses ask often.
 */
export function networkMatcher(networks: readonly Network[]): Matcher {
  const matches = octetMatcher(networks);
  return remembering(octets => matches(octets, 0, octets.length === 4 ? 4 : 16), false);
}

/** The class of a client by its address as text; 0: none. */
export type ClassOf = (address: string) => number;

/** Compiles the networks of groups of clients. */
export function classMatcher(networks: readonly ClassNetwork[]): ClassOf {
  if (networks.length === 0) return () => 0;
  const classOf = octetClasses(networks);
  return remembering(octets => classOf(octets, 0, octets.length === 4 ? 4 : 16), 0);
}

/** @param other for text that is no address */
function remembering<V>(verdictOf: (octets: Buffer) => V, other: V): (address: string) => V {
  const remembered = new Map<string, V>();
  return address => {
    const known = remembered.get(address);
    if (known !== undefined) return known;
    const octets = addressOctets(address);
    const verdict = octets === undefined ? other : verdictOf(octets);
    if (remembered.size >= MOST_REMEMBERED) remembered.clear();
    remembered.set(address, verdict);
    return verdict;
  };
}
