// Which clients may ask, by address.

import { addressOctets } from '../base/address.js';
import { type Network, octetMatcher } from './networks.js';

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
  const remembered = new Map<string, boolean>();
  return address => {
    const known = remembered.get(address);
    if (known !== undefined) return known;
    const octets = addressOctets(address);
    const verdict = octets !== undefined && matches(octets, 0, octets.length === 4 ? 4 : 16);
    if (remembered.size >= MOST_REMEMBERED) remembered.clear();
    remembered.set(address, verdict);
    return verdict;
  };
}
