// Rebinding protection: a name of the public DNS must not lead a browser to a machine of the local network, or to this
// one, because the page that it got under that name may then read what these machines answer. Which records of a message
// give such an address is decided here, on its octets.

import { i32At, u16At, u32At } from '../base/octets.js';
import { RecordAddresses } from '../wire/record-addresses.js';
import { type ScannedMessage, ScannedRecords } from '../wire/records.js';
import { embeddedAddress, isInPrefix, type Nat64Prefix, WELL_KNOWN_PREFIX } from './nat64.js';

/** What the configuration says. */
export interface RebindingSettings {
  readonly protect: boolean;
  /** Zones whose names may have private addresses; in wire form, lower case. */
  readonly allow: readonly Buffer[];
}

/** Address and prefix length of the IPv4 networks that are not public. */
const PRIVATE_V4: readonly (readonly [number, number])[] = [
  // "This network" (RFC 1122 §3.2.1.3): 0.0.0.0 reaches this machine.
  [0x00000000, 8],
  [0x0a000000, 8],
  // RFC 6598: between a provider and its customers, and in overlay networks.
  [0x64400000, 10],
  [0x7f000000, 8],
  [0xa9fe0000, 16],
  [0xac100000, 12],
  [0xc0a80000, 16],
  [0xffffffff, 32],
];

/** Whether an IPv4 address, given as a number, is one of a local network or of this machine. */
export function isPrivateV4(address: number): boolean {
  for (const [network, bits] of PRIVATE_V4) if ((address ^ network) >>> (32 - bits) === 0) return true;
  return false;
}

/** RFC 8215: translators of the local network. */
const LOCAL_TRANSLATION = 0x0064ff9b;
const LOCAL_TRANSLATION_NEXT = 1;
/** 6to4 (RFC 3056 §2): the IPv4 address stands behind these 16 bits. */
const SIX_TO_FOUR = 0x2002;

/**
 * Whether the IPv6 address at `at` is one of a local network or of this machine, or leads to an IPv4 address that is.
 * @param nat64 the prefix of the translator of this network, if it is known
 */
export function isPrivateV6(octets: Uint8Array, at: number, nat64: Nat64Prefix | undefined): boolean {
  const first = u16At(octets, at);
  // Unique local (RFC 4193), link-local (RFC 4291 §2.5.6) and site-local (RFC 3879).
  if ((first & 0xfe00) === 0xfc00 || (first & 0xff80) === 0xfe80) return true;
  if (nat64 !== undefined && isInPrefix(nat64, octets, at) && isPrivateV4(embeddedAddress(octets, at, nat64.bits)))
    return true;
  if (first === SIX_TO_FOUR) return isPrivateV4(u32At(octets, at + 2));
  return leadsToV4(octets, at) && isPrivateV4(u32At(octets, at + 12));
}

/**
 * Whether the last four octets are an IPv4 address: in IPv4-mapped and IPv4-compatible addresses (RFC 4291 §2.5.5; the
 * latter include :: and ::1), IPv4-translated ones (RFC 2765 §2.1), and those of translators (RFC 6052, RFC 8215).
 */
function leadsToV4(octets: Uint8Array, at: number): boolean {
  const head = i32At(octets, at);
  if (head === LOCAL_TRANSLATION)
    return u16At(octets, at + 4) === LOCAL_TRANSLATION_NEXT || isInPrefix(WELL_KNOWN_PREFIX, octets, at);
  if (head !== 0 || i32At(octets, at + 4) !== 0) return false;
  const next = u32At(octets, at + 8);
  return next === 0 || next === 0xffff || next === 0xffff0000;
}

/** Whether a record gives a private address. */
function givesPrivate(octets: Buffer, addresses: RecordAddresses, nat64: Nat64Prefix | undefined): boolean {
  while (addresses.next()) {
    const { at, bytes } = addresses;
    if (bytes === 4 ? isPrivateV4(u32At(octets, at)) : isPrivateV6(octets, at, nat64)) return true;
  }
  return false;
}

/** The records of a message that give private addresses, by number; undefined: none does. */
export function privateRecords(
  message: ScannedMessage,
  questionEnd: number,
  nat64: Nat64Prefix | undefined,
): ReadonlySet<number> | undefined {
  let found: Set<number> | undefined;
  const record = new ScannedRecords(message, questionEnd);
  const addresses = new RecordAddresses(message.octets);
  while (record.next())
    if (givesPrivate(message.octets, addresses.of(record), nat64)) (found ??= new Set()).add(record.index);
  return found;
}
