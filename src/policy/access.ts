// Who may ask, by address.

import { BlockList, isIPv6 } from 'node:net';

/** A network: an address and how many of its leading bits count. */
export interface Network {
  readonly address: string;
  readonly prefix: number;
}

/** Whether an address is in the list. */
export type Matcher = (address: string) => boolean;

// A household has a handful of addresses, a flood from forged ones may not fill memory.
const REMEMBERED = 1024;

/** Compiles networks; verdicts are remembered, since the same few addresses ask again and again. */
export function networkMatcher(networks: readonly Network[]): Matcher {
  const list = new BlockList();
  for (const { address, prefix } of networks) list.addSubnet(address, prefix, isIPv6(address) ? 'ipv6' : 'ipv4');
  const remembered = new Map<string, boolean>();
  return address => {
    const known = remembered.get(address);
    if (known !== undefined) return known;
    const verdict = list.check(withoutZone(address), isIPv6(address) ? 'ipv6' : 'ipv4');
    if (remembered.size >= REMEMBERED) remembered.clear();
    remembered.set(address, verdict);
    return verdict;
  };
}

/** `fe80::1%eth0` without its zone (RFC 4007 §11), which no list speaks of. */
function withoutZone(address: string): string {
  const percent = address.indexOf('%');
  return percent === -1 ? address : address.slice(0, percent);
}
