// Special-use names (RFC 6761) and locally served zones (RFC 6303): names that must not be looked up in the public DNS.
// Pure: which zone a name belongs to, and what is answered.

import { RCODE } from '../base/outcome.js';
import { TYPE } from '../wire/rrtype.js';

/** A name in wire form, lower case, one character per octet: the form of keys (`nameInKey`). */
export type NameText = string;

/**
 * What there is in a zone.
 *
 *     localhost   loopback addresses for all names (RFC 6761 §6.3)
 *     absent      nothing, and the zone does not exist in the public DNS either: all names are NXDOMAIN
 *     empty       nothing but its apex, and PTR records of loopback addresses: the public DNS has it without DNSSEC
 *     resolver    questions about the resolver that is asked (RFC 9462); never forwarded, whatever is configured
 */
export type SpecialKind = 'localhost' | 'absent' | 'empty' | 'resolver';

/** A zone of special-use names. */
export interface SpecialZone {
  readonly name: NameText;
  readonly kind: SpecialKind;
}

/** An answer from a zone of special-use names. */
export type SpecialAnswer =
  | { readonly at: 'records'; readonly rdata: readonly Buffer[] }
  /** The SOA record of the zone. */
  | { readonly at: 'soa' }
  | { readonly at: 'denial'; readonly rcode: number };

/** Of names below, which have no escapes. Each start makes these, before its first answer. */
const wireName = (text: string): NameText =>
  `${text
    .split('.')
    .map(label => String.fromCharCode(label.length) + label)
    .join('')}\0`;

const numbers = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);
const ip6 = (nibbles: string): string => `${Array.from(nibbles).reverse().join('.')}.ip6.arpa`;

const LOCALHOST = wireName('localhost');
const LOOPBACK_4 = wireName('1.0.0.127.in-addr.arpa');
const LOOPBACK_6 = wireName(ip6(`${'0'.repeat(31)}1`));

const ZONES: Readonly<Record<SpecialKind, readonly string[]>> = {
  localhost: ['localhost'],
  // RFC 6761 §6.2 and §6.4, RFC 6762 §22.1, RFC 7686, RFC 9476.
  absent: ['test', 'invalid', 'local', 'onion', 'alt'],
  empty: [
    // RFC 8375, RFC 9665.
    'home.arpa',
    'service.arpa',
    // RFC 6303 §4.1 and §4.2.
    ...['10', ...numbers(16, 31).map(each => `${each}.172`), '168.192'].map(each => `${each}.in-addr.arpa`),
    ...['0', '127', '254.169', '2.0.192', '100.51.198', '113.0.203'].map(each => `${each}.in-addr.arpa`),
    '255.255.255.255.in-addr.arpa',
    // RFC 6303 §4.3 to §4.6.
    ...['0'.repeat(32), `${'0'.repeat(31)}1`, 'fd', 'fe8', 'fe9', 'fea', 'feb', '20010db8'].map(ip6),
    // RFC 7793.
    ...numbers(64, 127).map(each => `${each}.100.in-addr.arpa`),
  ],
  resolver: ['resolver.arpa'],
};

const KINDS: readonly SpecialKind[] = ['localhost', 'absent', 'empty', 'resolver'];

/** The zones by name. No zone is in another one. */
const BY_NAME: ReadonlyMap<NameText, SpecialZone> = new Map(
  KINDS.flatMap(kind => ZONES[kind].map(wireName).map(name => [name, { name, kind }] as const)),
);
/** Where the last label of a name begins. */
function lastLabelAt(name: NameText): number {
  let at = 0;
  for (let next = at; name.charCodeAt(next) > 0; next += name.charCodeAt(next) + 1) at = next;
  return at;
}

/**
 * Their last labels, with length octet and root, and the zone of that name, if there is one. For all other names, a look
 * at these is enough.
 */
const LAST_LABELS: readonly { readonly label: NameText; readonly zone: SpecialZone | undefined }[] = [
  ...new Set([...BY_NAME.keys()].map(name => name.slice(lastLabelAt(name)))),
].map(label => ({ label, zone: BY_NAME.get(label) }));

/** The one that a name has. No callback: it would capture the name of each query, and be allocated. */
function lastLabelOf(name: NameText, bytes: number): (typeof LAST_LABELS)[number] | undefined {
  for (const each of LAST_LABELS) if (each.label.length === bytes && name.endsWith(each.label)) return each;
  return undefined;
}

/** The zone of special-use names that a name is in; undefined: it is in none. */
export function specialZoneOf(name: NameText): SpecialZone | undefined {
  const lastBytes = name.length - lastLabelAt(name);
  const last = lastLabelOf(name, lastBytes);
  if (last === undefined || last.zone !== undefined) return last?.zone;
  for (let at = 0; name.charCodeAt(at) > 0; at += name.charCodeAt(at) + 1) {
    const zone = BY_NAME.get(name.slice(at));
    if (zone !== undefined) return zone;
  }
  return undefined;
}

/**
 * Whether a question is about the public side of a zone: the DS record of a zone is its parent's (RFC 4035 §3.1.4.1),
 * and the parents of these zones prove that they are unsigned (RFC 8375 §4, RFC 6303 §5). Without that proof, a client
 * that validates would call every name of the zone bogus.
 */
export const isOfParent = ({ name: zone, kind }: SpecialZone, name: NameText, type: number): boolean =>
  type === TYPE.DS && kind === 'empty' && name === zone;

const LOOPBACK_ADDRESSES: ReadonlyMap<number, Buffer> = new Map([
  [TYPE.A, Buffer.from([127, 0, 0, 1])],
  [TYPE.AAAA, Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])],
]);

/** The names that exist in empty zones beside each apex. */
const POINTERS: readonly NameText[] = [LOOPBACK_4, LOOPBACK_6];

const NO_DATA: SpecialAnswer = { at: 'denial', rcode: RCODE.NOERROR };
const NO_NAME: SpecialAnswer = { at: 'denial', rcode: RCODE.NXDOMAIN };

/** The answer of a zone to a question about a name in it. */
export function specialAnswer(zone: SpecialZone, name: NameText, type: number): SpecialAnswer {
  switch (zone.kind) {
    case 'localhost': {
      const address = LOOPBACK_ADDRESSES.get(type);
      return address === undefined ? (ofApex(zone, name, type) ?? NO_DATA) : { at: 'records', rdata: [address] };
    }
    case 'absent':
      return NO_NAME;
    case 'resolver':
      return ofApex(zone, name, type) ?? NO_DATA;
    case 'empty': {
      if (type === TYPE.PTR && POINTERS.includes(name))
        return { at: 'records', rdata: [Buffer.from(LOCALHOST, 'latin1')] };
      // Names between the apex and a name that exists do exist (RFC 8020 §2).
      const exists = name === zone.name || POINTERS.some(each => each.endsWith(name));
      return ofApex(zone, name, type) ?? (exists ? NO_DATA : NO_NAME);
    }
  }
}

/** RFC 6303 §3: each zone has a SOA record, and an NS record that names itself. */
function ofApex({ name: zone }: SpecialZone, name: NameText, type: number): SpecialAnswer | undefined {
  if (name !== zone) return undefined;
  if (type === TYPE.SOA) return { at: 'soa' };
  return type === TYPE.NS ? { at: 'records', rdata: [Buffer.from(zone, 'latin1')] } : undefined;
}
