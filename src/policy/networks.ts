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
    return octets === undefined ? [] : [{ octets, whole: prefix >> 3, mask: (0xff00 >> (prefix & 7)) & 0xff }];
  });
  const matches = (octets: Buffer, at: number, bytes: number): boolean =>
    compiled.some(network => {
      if (network.octets.length !== bytes) return false;
      for (let i = 0; i < network.whole; i++) if (octets[at + i] !== network.octets[i]) return false;
      return (
        network.mask === 0 ||
        (((octets[at + network.whole] ?? 0) ^ (network.octets[network.whole] ?? 0)) & network.mask) === 0
      );
    });
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

/** Compiles the networks of groups. The longest one that an address is in counts; of equal ones, the first. */
export function octetClasses(networks: readonly ClassNetwork[]): OctetClasses {
  if (networks.length === 0) return () => 0;
  const compiled = networks
    // Lengths of IPv4 and IPv6 are not compared in effect: an address is in networks of its own family.
    .toSorted((a, b) => b.prefix - a.prefix)
    .map(network => ({ clientClass: network.clientClass, matches: octetMatcher([network]) }));
  return (octets, at, bytes) => {
    for (const { clientClass, matches } of compiled) if (matches(octets, at, bytes)) return clientClass;
    return 0;
  };
}
