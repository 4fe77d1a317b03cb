// Authentication of a server (RFC 8310 §8.1): the certificate's chain, its names and pins, combined as the
// configuration says.

import { createHash, X509Certificate } from 'node:crypto';

import type { DialTarget, Security } from '../base/ports.js';
import { wallMs, type WallMs } from '../base/time.js';
import { codeWords } from './error-words.js';

/** How a TLS connection is protected. */
export type TlsSecurity = Exclude<Security, { at: 'cleartext' }>;
/** The same, where certificates and pins decide. */
export type CertificateSecurity = Exclude<TlsSecurity, { at: 'dane' }>;

const TOO_EARLY = 'CERT_NOT_YET_VALID';

/** Whether a server may be used. */
export type PeerVerdict =
  | {
      readonly at: 'accepted';
      readonly authenticated: boolean;
      readonly warning: string | undefined;
      /** When the certificate expires; NaN: it does not say. */
      readonly untilMs: WallMs;
    }
  | { readonly at: 'refused'; readonly detail: string };

/**
 * Everything that a verdict depends on besides the certificate: a ticket that was stored under one key must not be used
 * with another.
 */
export const identityKey = ({ address, port, security }: DialTarget): string =>
  JSON.stringify([address, port, security]);

/**
 * Verifies the peer of a full handshake.
 * @param chainProblem OpenSSL's code for a problem with the chain; undefined: it leads to a trusted authority
 * @param clockIsBehind the clock is known to be wrong, or was never set; then a certificate that seems not to be valid
 * yet may be valid
 */
export function verifyPeer(
  peer: CertificateLink,
  chainProblem: string | undefined,
  security: CertificateSecurity,
  address: string,
  clockIsBehind = false,
): PeerVerdict {
  const untilMs = wallMs(Date.parse(peer.valid_to ?? ''));
  const accepted = (authenticated: boolean, warning?: string): PeerVerdict => ({
    at: 'accepted',
    authenticated,
    warning,
    untilMs,
  });
  const proves = security.at === 'authenticated' ? (security.designatedBy?.address ?? address) : address;
  const problem =
    chainProblem !== undefined
      ? (codeWords(chainProblem) ?? chainProblem)
      : nameProblem(new X509Certificate(peer.raw), security.name, proves);
  if (security.at === 'encrypted') return accepted(problem === undefined);

  const { pins, pinPolicy } = security;
  const served = pins.length === 0 ? [] : chainOf(peer).map(pinOf);
  const pinned = pins.length === 0 || pins.some(pin => served.includes(pin));
  if (chainProblem === TOO_EARLY && clockIsBehind && pins.length > 0) {
    // Otherwise the clock could never be set over the network. The pin must match the server's own key: the chain is
    // not verified, so a matching pin further up proves nothing.
    const leaf = new X509Certificate(peer.raw);
    if (pins.includes(pinOf(leaf)) && nameProblem(leaf, security.name, proves) === undefined) {
      return accepted(true, 'its certificate is not valid yet by the clock here, which is wrong: a pin matches');
    }
  }
  const mismatch = `no configured pin matches; the server shows ${served.map(pin => `sha256/${pin}`).join(', ')}`;
  switch (pinPolicy) {
    case 'pin_and_pkix':
      return problem !== undefined
        ? { at: 'refused', detail: problem }
        : pinned
          ? accepted(true)
          : { at: 'refused', detail: mismatch };
    case 'pin_or_pkix':
      return problem === undefined || (pins.length > 0 && pinned)
        ? accepted(true)
        : { at: 'refused', detail: `${problem}; and ${mismatch}` };
    case 'pin_only':
      return pinned && pins.length > 0 ? accepted(true) : { at: 'refused', detail: mismatch };
    case 'report_only':
      return problem !== undefined
        ? { at: 'refused', detail: problem }
        : accepted(true, pinned ? undefined : `${mismatch} (only reported)`);
  }
}

/** A certificate and its issuer's, if the server sent that or we have it. */
export interface CertificateLink {
  readonly raw: Buffer;
  readonly issuerCertificate?: CertificateLink | undefined;
  /** The end of its validity, as OpenSSL writes it. */
  readonly valid_to?: string;
}

/**
 * RFC 8310 §8.1: the name must be among the subjectAltNames (the CN does not count, RFC 6125 §6.4.4; a wildcard must be
 * a whole leftmost label). Without a name, the IP address must be.
 */
export function nameProblem(
  certificate: X509Certificate,
  name: string | undefined,
  address: string,
): string | undefined {
  const proved =
    name === undefined
      ? certificate.checkIP(address)
      : certificate.checkHost(name, { subject: 'never', wildcards: true, partialWildcards: false });
  return proved === undefined
    ? `the certificate is for ${namesIn(certificate)}, not for ${name ?? address}`
    : undefined;
}

const MOST_NAMES_SHOWN = 5;

function namesIn(certificate: X509Certificate): string {
  const names = certificate.subjectAltName?.split(', ').map(each => each.replace(/^(DNS|IP Address):/, '')) ?? [];
  if (names.length === 0) return 'no name at all (it has no subjectAltName)';
  return names.slice(0, MOST_NAMES_SHOWN).join(', ') + (names.length > MOST_NAMES_SHOWN ? ' and others' : '');
}

/** The most certificates that are looked at. */
const MOST_SENT = 16;

/** The certificates that a server sent in DER, its own first, as far as each names the next one as its issuer. */
export function sentChain(leaf: Partial<CertificateLink>): Buffer[] {
  const chain: Buffer[] = [];
  const seen = new Set<Partial<CertificateLink>>();
  let each: Partial<CertificateLink> | undefined = leaf;
  while (each?.raw !== undefined && !seen.has(each) && chain.length < MOST_SENT) {
    seen.add(each);
    chain.push(each.raw);
    each = each.issuerCertificate;
  }
  return chain;
}

/** The certificates of a chain, leaf first. */
function chainOf(leaf: CertificateLink): X509Certificate[] {
  const chain: X509Certificate[] = [];
  const seen = new Set<CertificateLink>();
  // A self-signed root names itself as its issuer.
  for (
    let each: CertificateLink | undefined = leaf;
    each?.raw !== undefined && !seen.has(each);
    each = each.issuerCertificate
  ) {
    seen.add(each);
    chain.push(new X509Certificate(each.raw));
  }
  return chain;
}

/** SHA-256 of the SubjectPublicKeyInfo, base64 (RFC 7858 §4.2). */
const pinOf = (certificate: X509Certificate): string =>
  createHash('sha256')
    .update(certificate.publicKey.export({ type: 'spki', format: 'der' }))
    .digest('base64');

/** A certificate, for display. */
export interface ShownCertificate {
  readonly subject: string;
  readonly issuer: string;
  readonly until: string;
  readonly pin: string;
}

/** The certificates that a server sends, leaf first. */
export const showChain = (leaf: CertificateLink): ShownCertificate[] =>
  chainOf(leaf).map(certificate => ({
    subject: certificate.subjectAltName === undefined ? oneLine(certificate.subject) : namesIn(certificate),
    issuer: oneLine(certificate.issuer),
    until: new Date(certificate.validTo).toISOString().slice(0, 10),
    pin: pinOf(certificate),
  }));

const oneLine = (name: string): string => name.split('\n').join(', ');
