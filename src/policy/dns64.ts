// DNS64 (RFC 6147): makes IPv6 addresses of IPv4 addresses, for clients that have IPv6 only, behind a translator (NAT64).
// Which answers get any, and the records of them.

import { addressOctets } from '../base/address.js';
import { u16At, u32At } from '../base/octets.js';
import { type ComposedMessage, compose, type RecordData } from '../wire/compose.js';
import { isAtOrBelow } from '../wire/name.js';
import { type ScannedMessage, ScannedRecords } from '../wire/records.js';
import { soaRecord } from '../wire/reply.js';
import { CLASS_IN, TYPE } from '../wire/rrtype.js';
import { RCODE } from '../base/outcome.js';
import { embedded, isSamePrefix, type Nat64Prefix, WELL_KNOWN_ADDRESSES, WELL_KNOWN_PREFIX } from './nat64.js';
import type { Network } from './networks.js';
import { isPrivateV4 } from './rebinding.js';

/** Whether the IPv6 address at some place of a message counts as none (RFC 6147 §5.1.4). */
export type Excludes = (octets: Uint8Array, at: number) => boolean;

/** What the configuration says. */
export interface Dns64Settings {
  /** Undefined: the one that was discovered, if any is to be. */
  readonly prefix: Nat64Prefix | undefined;
  /** Whether the prefix is asked for (RFC 7050). */
  readonly discover: boolean;
  readonly excludes: Excludes;
}

const V4_BYTES = 4;
const V6_BYTES = 16;

/** Compiles networks of IPv6 to a test. */
export function excluding(networks: readonly Network[]): Excludes {
  const compiled = networks.flatMap(({ address, prefix }) => {
    const octets = addressOctets(address);
    return octets?.length === V6_BYTES ? [{ octets, whole: prefix >> 3, mask: (0xff00 >> (prefix & 7)) & 0xff }] : [];
  });
  return (octets, at) =>
    compiled.some(network => {
      for (let i = 0; i < network.whole; i++) if (octets[at + i] !== network.octets[i]) return false;
      return (((octets[at + network.whole] ?? 0) ^ (network.octets[network.whole] ?? 0)) & network.mask) === 0;
    });
}

/** What an answer to a question for AAAA has. */
export type AaaaContents =
  /** No address, or none that counts: one is made of A. */
  | { readonly at: 'none' }
  | { readonly at: 'addresses' }
  /** Addresses, and others that do not count; these by the numbers of their records. */
  | { readonly at: 'mixed'; readonly excluded: ReadonlySet<number> };

/** Looks at the answer section of a message (RFC 6147 §5.1.4). */
export function aaaaContents(message: ScannedMessage, questionEnd: number, excludes: Excludes): AaaaContents {
  let counts = false;
  let excluded: Set<number> | undefined;
  const record = new ScannedRecords(message, questionEnd);
  while (record.next() && record.section === 'answer') {
    if (record.type !== TYPE.AAAA || record.class !== CLASS_IN || record.rdataBytes !== V6_BYTES) continue;
    if (excludes(message.octets, record.rdata)) (excluded ??= new Set()).add(record.index);
    else counts = true;
  }
  if (!counts) return { at: 'none' };
  return excluded === undefined ? { at: 'addresses' } : { at: 'mixed', excluded };
}

/** The TTL of made records where the denial of AAAA has no SOA (RFC 6147 §5.1.7). */
export const WITHOUT_SOA_SEC = 600;

/** The most that the TTL of made records may be: that of the SOA in the denial of AAAA, which has MINIMUM in it already. */
export function mostTtlSec(denial: ScannedMessage, questionEnd: number, elapsedSec: number): number {
  const record = new ScannedRecords(denial, questionEnd);
  while (record.next())
    if (record.type === TYPE.SOA && record.section === 'authority') return Math.max(0, record.ttlSec - elapsedSec);
  return WITHOUT_SOA_SEC;
}

/**
 * The answer section of a question for A, as one for AAAA: aliases as they are, an AAAA record for each A record, and no
 * signatures over A.
 * @param mostSec the most that the TTL of a made record may be
 * @returns undefined: there is no address that the translator translates
 */
export function translated(
  records: readonly RecordData[],
  prefix: Nat64Prefix,
  mostSec: number,
): readonly RecordData[] | undefined {
  // RFC 6052 §3.1: the Well-Known Prefix must not stand for addresses that are not global.
  const isWellKnown = isSamePrefix(prefix, WELL_KNOWN_PREFIX);
  const made: RecordData[] = [];
  let addresses = 0;
  for (const record of records) {
    const { type, ttlSec, rdata } = record;
    if (type === TYPE.CNAME || type === TYPE.DNAME || (type === TYPE.RRSIG && u16At(rdata, 0) !== TYPE.A)) {
      made.push(record);
      continue;
    }
    const address = type === TYPE.A && rdata.length === V4_BYTES ? u32At(rdata, 0) : undefined;
    if (address === undefined || (isWellKnown && isPrivateV4(address))) continue;
    made.push({ ...record, type: TYPE.AAAA, ttlSec: Math.min(ttlSec, mostSec), rdata: embedded(prefix, address) });
    addresses++;
  }
  return addresses > 0 ? made : undefined;
}

const IPV4ONLY = Buffer.from('\x08ipv4only\x04arpa\0', 'latin1');
/** 170.0.0.192.in-addr.arpa and 171.0.0.192.in-addr.arpa. */
const IPV4ONLY_REVERSE = ['170', '171'].map(last =>
  Buffer.from(`\x03${last}\x010\x010\x03192\x07in-addr\x04arpa\0`, 'latin1'),
);
/** A prefix may become another one. */
const IPV4ONLY_TTL_SEC = 600;

/**
 * The answer about ipv4only.arpa and its reverse names, which a resolver with DNS64 gives itself (RFC 8880 §7), so that
 * clients can find the prefix; undefined: the name is another one.
 * @param name lower case
 */
export function ipv4onlyMessage(
  question: Buffer,
  name: Buffer,
  type: number,
  prefix: Nat64Prefix,
): ComposedMessage | undefined {
  const zone = isAtOrBelow(name, IPV4ONLY) ? IPV4ONLY : IPV4ONLY_REVERSE.find(each => isAtOrBelow(name, each));
  if (zone === undefined) return undefined;
  const soa = soaRecord(zone, IPV4ONLY_TTL_SEC);
  if (name.length > zone.length) return compose(question, { authority: [soa] }, { rcode: RCODE.NXDOMAIN });
  const answer = type === TYPE.SOA ? [soa] : ipv4onlyData(zone, type, prefix).map(rdata => ({ ...soa, type, rdata }));
  return answer.length > 0
    ? compose(question, { answer }, { compress: true })
    : compose(question, { authority: [soa] }, { compress: true });
}

function ipv4onlyData(zone: Buffer, type: number, prefix: Nat64Prefix): readonly Buffer[] {
  if (zone !== IPV4ONLY) return type === TYPE.PTR ? [IPV4ONLY] : [];
  if (type === TYPE.AAAA) return WELL_KNOWN_ADDRESSES.map(address => embedded(prefix, address));
  return type === TYPE.A ? WELL_KNOWN_ADDRESSES.map(v4Octets) : [];
}

function v4Octets(address: number): Buffer {
  const octets = Buffer.alloc(V4_BYTES);
  octets.writeUInt32BE(address);
  return octets;
}
