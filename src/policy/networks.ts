// Networks as octets, and whether an address is in one of them.

import { addressOctets, isMapped } from '../base/address.js';

/** A network: an address and how many of its leading bits count. */
export interface Network {
  readonly address: string;
  readonly prefix: number;
}

/** Whether an address is in one of some networks: octets as they stand in a socket address, 4 or 16 of them at `at`. */
export type OctetMatcher = (octets: Buffer, at: number, bytes: 4 | 16) => boolean;

/** Compiles networks to a test of octets. The test allocates nothing. */
export function octetMatcher(networks: readonly Network[]): OctetMatcher {
  const compiled = networks.flatMap(({ address, prefix }) => {
    const octets = addressOctets(address);
    return octets === undefined ? [] : [{ octets, prefix }];
  });
  const matches = (octets: Buffer, at: number, bytes: number): boolean => {
    // No callback: it would capture the address, and be allocated.
    for (const each of compiled)
      if (each.octets.length === bytes && isSamePrefix(each.octets, octets, at, each.prefix)) return true;
    return false;
  };
  return (octets, at, bytes) =>
    // An IPv4 address on an IPv6 socket is looked up as IPv4.
    bytes === 16 && isMapped(octets, at) ? matches(octets, at + 12, 4) : matches(octets, at, bytes);
}

/** A network of a group of clients. */
export interface ClassNetwork extends Network {
  /** The number of the group, from 1. */
  readonly clientClass: number;
}

/** The class of an address, of octets as for OctetMatcher; 0: none. */
export type OctetClasses = (octets: Buffer, at: number, bytes: 4 | 16) => number;

/** Networks of one length of one family. */
interface OfLength {
  readonly bytes: number;
  readonly prefix: number;
  /** By the hash of their octets. */
  readonly table: Map<number, { readonly octets: Buffer; readonly clientClass: number }[]>;
}

/**
 * Compiles the networks of groups. The longest one that an address is in counts; of equal ones, the first. The price of a
 * look depends on how many lengths there are, not on how many networks: every device of a group may be one.
 */
export function octetClasses(networks: readonly ClassNetwork[]): OctetClasses {
  if (networks.length === 0) return () => 0;
  const lengths: OfLength[] = [];
  for (const { address, prefix, clientClass } of networks) {
    const octets = addressOctets(address);
    if (octets === undefined) continue;
    const bytes = octets.length;
    let found = lengths.find(each => each.bytes === bytes && each.prefix === prefix);
    if (found === undefined) lengths.push((found = { bytes, prefix, table: new Map() }));
    const hash = prefixHash(octets, 0, prefix);
    const others = found.table.get(hash);
    if (others === undefined) found.table.set(hash, [{ octets, clientClass }]);
    else others.push({ octets, clientClass });
  }
  lengths.sort((a, b) => b.prefix - a.prefix);
  const classOf = (octets: Buffer, at: number, bytes: number): number => {
    for (const each of lengths) {
      if (each.bytes !== bytes) continue;
      const all = each.table.get(prefixHash(octets, at, each.prefix));
      if (all === undefined) continue;
      for (const { octets: own, clientClass } of all)
        if (isSamePrefix(own, octets, at, each.prefix)) return clientClass;
    }
    return 0;
  };
  return (octets, at, bytes) =>
    bytes === 16 && isMapped(octets, at) ? classOf(octets, at + 12, 4) : classOf(octets, at, bytes);
}

const maskOf = (prefix: number): number => (0xff00 >> (prefix & 7)) & 0xff;

/** FNV-1a of the first bits of an address. */
function prefixHash(octets: Buffer, at: number, prefix: number): number {
  const whole = prefix >> 3;
  let hash = 0x811c9dc5;
  for (let i = 0; i < whole; i++) hash = Math.imul(hash ^ (octets[at + i] ?? 0), 0x01000193);
  return (prefix & 7) === 0 ? hash : Math.imul(hash ^ ((octets[at + whole] ?? 0) & maskOf(prefix)), 0x01000193);
}

/** Whether the first bits of a network are those of an address. */
function isSamePrefix(network: Buffer, octets: Buffer, at: number, prefix: number): boolean {
  const whole = prefix >> 3;
  for (let i = 0; i < whole; i++) if (octets[at + i] !== network[i]) return false;
  return (prefix & 7) === 0 || (((octets[at + whole] ?? 0) ^ (network[whole] ?? 0)) & maskOf(prefix)) === 0;
}
