// IPv4 addresses inside IPv6 addresses, as translators (NAT64) use them (RFC 6052 §2.2).
//
//   96   the prefix, then the four octets of the IPv4 address
//   else the prefix, then the four octets, around octet 8, which is 0; the rest is 0

import { addressOctets, addressText } from '../base/address.js';
import { putU16, u16At } from '../base/octets.js';

/** How many bits a prefix may have. */
export const NAT64_BITS = [32, 40, 48, 56, 64, 96] as const;
export type Nat64Bits = (typeof NAT64_BITS)[number];

/** A prefix of a translator. */
export interface Nat64Prefix {
  /** 16 of them; those behind the prefix are 0. */
  readonly octets: Buffer;
  readonly bits: Nat64Bits;
}

const V6_BYTES = 16;

/** Where the octets of the IPv4 address stand, by the length of the prefix. */
const PLACES: Readonly<Record<Nat64Bits, readonly [number, number, number, number]>> = {
  32: [4, 5, 6, 7],
  40: [5, 6, 7, 9],
  48: [6, 7, 9, 10],
  56: [7, 9, 10, 11],
  64: [9, 10, 11, 12],
  96: [12, 13, 14, 15],
};

/** Makes a prefix of an address in it; undefined: the length is none of RFC 6052, or octet 8 is not 0 (§2.2). */
export function nat64Prefix(address: Buffer, bits: number): Nat64Prefix | undefined {
  const known = NAT64_BITS.find(each => each === bits);
  if (known === undefined || address.length !== V6_BYTES) return undefined;
  const octets = Buffer.alloc(V6_BYTES);
  address.copy(octets, 0, 0, known / 8);
  return octets[8] === 0 ? { octets, bits: known } : undefined;
}

/** Reads `64:ff9b::/96`; undefined: it is no such prefix. */
export function nat64PrefixFrom(text: string): Nat64Prefix | undefined {
  const [address = '', bits] = text.split('/');
  const octets = addressOctets(address);
  return octets && nat64Prefix(octets, Number(bits));
}

/** The prefix as text. */
export const nat64Text = ({ octets, bits }: Nat64Prefix): string => `${addressText(octets, 0, V6_BYTES)}/${bits}`;

/** Whether two prefixes are the same. */
export const isSamePrefix = (a: Nat64Prefix | undefined, b: Nat64Prefix | undefined): boolean =>
  a === b || (a !== undefined && b !== undefined && a.bits === b.bits && a.octets.equals(b.octets));

/** The Well-Known Prefix (RFC 6052 §2.1). */
export const WELL_KNOWN_PREFIX: Nat64Prefix = {
  octets: Buffer.from('0064ff9b000000000000000000000000', 'hex'),
  bits: 96,
};

/** Whether the IPv6 address at `at` is in a prefix. */
export function isInPrefix({ octets, bits }: Nat64Prefix, message: Uint8Array, at: number): boolean {
  const bytes = bits / 8;
  for (let i = 0; i < bytes; i++) if (message[at + i] !== octets[i]) return false;
  return true;
}

/** The IPv4 address inside the IPv6 address at `at`, as a number, if the prefix has so many bits. */
export function embeddedAddress(message: Uint8Array, at: number, bits: Nat64Bits): number {
  const [a, b, c, d] = PLACES[bits];
  const octet = (place: number): number => message[at + place] ?? 0;
  return ((octet(a) << 24) | (octet(b) << 16) | (octet(c) << 8) | octet(d)) >>> 0;
}

/** The IPv6 address that stands for an IPv4 address, given as a number. */
export function embedded({ octets, bits }: Nat64Prefix, address: number): Buffer {
  const made = Buffer.from(octets);
  PLACES[bits].forEach((place, i) => (made[place] = address >>> (24 - 8 * i)));
  return made;
}

/** The numbers of ipv4only.arpa: 192.0.0.170 and 192.0.0.171 (RFC 7050 §2.2). */
export const WELL_KNOWN_ADDRESSES: readonly number[] = [0xc00000aa, 0xc00000ab];

/**
 * The prefix that addresses of ipv4only.arpa were made with (RFC 7050 §3). A prefix may have one of the two numbers in
 * itself, at the place of another length; only the true one is found with both. So one with both counts, and one with a
 * single number only if nothing else may be meant. Of several, the first counts.
 * @returns undefined: none of them has a number, or nobody can tell
 */
export function prefixAmong(addresses: readonly Buffer[]): Nat64Prefix | undefined {
  const found = new Map<string, { readonly prefix: Nat64Prefix; readonly numbers: Set<number> }>();
  for (const address of addresses)
    for (const bits of NAT64_BITS) {
      const number = embeddedAddress(address, 0, bits);
      const prefix = WELL_KNOWN_ADDRESSES.includes(number) ? nat64Prefix(address, bits) : undefined;
      if (prefix === undefined) continue;
      const text = nat64Text(prefix);
      const known = found.get(text);
      if (known === undefined) found.set(text, { prefix, numbers: new Set([number]) });
      else known.numbers.add(number);
    }
  const all = [...found.values()];
  const sure = all.find(({ numbers }) => numbers.size === WELL_KNOWN_ADDRESSES.length);
  return (sure ?? (all.length === 1 ? all[0] : undefined))?.prefix;
}

const HEX = '0123456789abcdef';
/** 32 labels of one character, then `ip6.arpa`. */
const REVERSE_V6_TAIL = Buffer.from('\x03ip6\x04arpa\0', 'latin1');
const REVERSE_V6_BYTES = 4 * V6_BYTES + REVERSE_V6_TAIL.length;
const REVERSE_V4_TAIL = Buffer.from('\x07in-addr\x04arpa\0', 'latin1');

/** The IPv6 address that a name below ip6.arpa stands for (RFC 3596 §2.5); undefined: it stands for none. */
export function addressOfReverse(name: Buffer): Buffer | undefined {
  if (name.length !== REVERSE_V6_BYTES || name.compare(REVERSE_V6_TAIL, 0, undefined, 4 * V6_BYTES) !== 0)
    return undefined;
  const address = Buffer.alloc(V6_BYTES);
  for (let i = 0; i < 2 * V6_BYTES; i++) {
    const nibble = HEX.indexOf(String.fromCharCode(name[2 * i + 1] ?? 0));
    if (u16At(name, 2 * i) >>> 8 !== 1 || nibble === -1) return undefined;
    const at = V6_BYTES - 1 - (i >> 1);
    address[at] = (address[at] ?? 0) | (nibble << (i % 2 === 0 ? 0 : 4));
  }
  return address;
}

/** The name of an IPv4 address below in-addr.arpa (RFC 1035 §3.5). */
export function reverseOf(address: number): Buffer {
  const labels = [0, 8, 16, 24].map(shift => {
    const text = String((address >>> shift) & 0xff);
    return Buffer.concat([Buffer.from([text.length]), Buffer.from(text)]);
  });
  return Buffer.concat([...labels, REVERSE_V4_TAIL]);
}

/** The zone of a prefix below ip6.arpa. */
export function reverseZone({ octets, bits }: Nat64Prefix): Buffer {
  const nibbles = bits / 4;
  const name = Buffer.alloc(2 * nibbles + REVERSE_V6_TAIL.length);
  for (let i = 0; i < nibbles; i++) {
    const nibble = nibbles - 1 - i;
    const octet = octets[nibble >> 1] ?? 0;
    putU16(name, 2 * i, 0x100 | HEX.charCodeAt(nibble % 2 === 0 ? octet >> 4 : octet & 15));
  }
  REVERSE_V6_TAIL.copy(name, 2 * nibbles);
  return name;
}
