// What the certificate of a listener says: for which names and addresses it is, and from when until when. Pure, apart from
// the reading of X.509.

import { X509Certificate } from 'node:crypto';

import { addressOctets, addressText, withoutZone } from '../base/address.js';
import { hostNameFrom } from '../base/host-name.js';

/** What a certificate says. */
export interface CertificateFacts {
  /** The DNS names in its subjectAltName, lower case, in their order. A wildcard begins with `*.`. */
  readonly names: readonly string[];
  /** The IP addresses in it. */
  readonly addresses: readonly string[];
  /** From when and until when it is valid, milliseconds since 1970. NaN: it does not say. */
  readonly startsMs: number;
  readonly endsMs: number;
}

/** Whether it is valid now. `ends_soon`: whoever renews it should have done so. */
export type Validity = 'valid' | 'ends_soon' | 'expired' | 'early';

/** How long before its end a certificate should have been renewed, ms: those of 90 days are renewed after 60. */
const RENEWED_BEFORE_MS = 14 * 86_400_000;
/** But a certificate that is made for some days is not about to end as soon as it begins. */
const RENEWED_BEFORE_SHARE = 1 / 4;
/** The most names and addresses of a certificate that are looked at. */
const MOST_NAMES = 100;

/** Reads the first certificate of a chain, PEM. @throws the error of OpenSSL if there is none */
export function certificateFacts(chain: Buffer | string): CertificateFacts {
  const certificate = new X509Certificate(chain);
  const alternatives = (certificate.subjectAltName?.split(', ') ?? []).slice(0, MOST_NAMES);
  const valuesOf = (kind: string): string[] =>
    alternatives.filter(each => each.startsWith(kind)).map(each => each.slice(kind.length).toLowerCase());
  return {
    names: valuesOf('DNS:').filter(name => hostNameFrom(name.replace(/^\*\./, '')) !== undefined),
    addresses: valuesOf('IP Address:').flatMap(plainAddress),
    startsMs: Date.parse(certificate.validFrom),
    endsMs: Date.parse(certificate.validTo),
  };
}

/** An address in the form in which addresses are written here; none: it is no address. */
function plainAddress(text: string): string[] {
  const octets = addressOctets(text);
  if (octets === undefined) return [];
  return [addressText(octets, 0, octets.length === 4 ? 4 : 16)];
}

/** Whether a certificate is valid. */
export function validityOf({ startsMs, endsMs }: CertificateFacts, nowMs: number): Validity {
  if (nowMs >= endsMs) return 'expired';
  if (nowMs < startsMs) return 'early';
  const soonMs = Math.min(RENEWED_BEFORE_MS, (endsMs - startsMs) * RENEWED_BEFORE_SHARE);
  return endsMs - nowMs < soonMs ? 'ends_soon' : 'valid';
}

/** Whether clients that check the dates accept it. */
export const isInForce = (facts: CertificateFacts, nowMs: number): boolean =>
  ['valid', 'ends_soon'].includes(validityOf(facts, nowMs));

/** The name under which a listener is announced: the first one that is no wildcard. */
export const announcedName = ({ names }: Pick<CertificateFacts, 'names'>): string | undefined =>
  names.find(name => !name.startsWith('*.'));

/** Whether a certificate is for an IP address, as verified discovery needs (RFC 9462 §4.2). */
export function coversAddress({ addresses }: CertificateFacts, address: string): boolean {
  return plainAddress(withoutZone(address)).some(each => addresses.includes(each));
}

const MOST_SHOWN = 5;

/** For which names and addresses a certificate is. */
export function subjectsWords({ names, addresses }: Pick<CertificateFacts, 'names' | 'addresses'>): string {
  const all = [...names, ...addresses];
  if (all.length === 0) return 'no name at all';
  return all.slice(0, MOST_SHOWN).join(', ') + (all.length > MOST_SHOWN ? ' and others' : '');
}

/** `2026-03-01`; the time of the day matters to nobody. */
export const dayText = (ms: number): string =>
  Number.isNaN(ms) ? 'an unknown day' : new Date(ms).toISOString().slice(0, 10);

/** What is wrong with its dates, in words that follow "the certificate". */
export function datesWords(facts: CertificateFacts, nowMs: number): string {
  switch (validityOf(facts, nowMs)) {
    case 'expired':
      return `has expired on ${dayText(facts.endsMs)}`;
    case 'early':
      return `is not valid before ${dayText(facts.startsMs)}`;
    default:
      return `ends on ${dayText(facts.endsMs)}, and was not renewed so far`;
  }
}
