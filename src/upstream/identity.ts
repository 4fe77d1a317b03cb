// Authentication of a server (RFC 8310 §8.1): the certificate's chain, its names and pins, combined as the
// configuration says.
//
// Pins have the semantics of DANE (RFC 7671). A pin of the server's own key needs nothing else (usage 3, §5.1). A pin of
// a key further up names a trust anchor (usage 2, §5.2): it proves no more than what that authority has certified. So
// all signatures, dates and usages below it count, and the certificate must be for this server.

import { createHash, X509Certificate } from 'node:crypto';

import { withoutZone } from '../base/address.js';
import type { DialTarget, Security } from '../base/ports.js';
import { wallMs, type WallMs } from '../base/time.js';
import { oneLine } from '../base/tls-error.js';
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
export const identityKey = ({ address, port, security, alpn = 'dot' }: DialTarget): string =>
  // A session must not be resumed for another protocol (RFC 8446 §4.2.11, RFC 7301 §3.1).
  JSON.stringify([address, port, security, alpn]);

/** The time by which certificates are judged. */
export interface JudgingTime {
  readonly nowMs: WallMs;
  /** The clock is known to be wrong, or was never set: a certificate that seems not to be valid yet may be valid. */
  readonly isBehind: boolean;
}

/**
 * Verifies the peer of a full handshake. It throws if a certificate cannot be read.
 * @param chainProblem OpenSSL's code for a problem with the chain; undefined: it leads to a trusted authority
 */
export function verifyPeer(
  peer: CertificateLink,
  chainProblem: string | undefined,
  security: CertificateSecurity,
  address: string,
  { nowMs, isBehind }: JudgingTime,
): PeerVerdict {
  const untilMs = wallMs(Date.parse(peer.valid_to ?? ''));
  const accepted = (authenticated: boolean, warning?: string): PeerVerdict => ({
    at: 'accepted',
    authenticated,
    warning,
    untilMs,
  });
  const leaf = new X509Certificate(peer.raw);
  const proves = security.at === 'authenticated' ? (security.designatedBy?.address ?? address) : address;
  const mismatchedName = nameProblem(leaf, security.name, proves);
  const problem =
    chainProblem === undefined
      ? mismatchedName
      : (codeWords(chainProblem) ?? `its certificate was not accepted (${oneLine(chainProblem)})`);
  if (security.at === 'encrypted') return accepted(problem === undefined);

  const { pins, pinPolicy } = security;
  if (chainProblem === TOO_EARLY && isBehind && pins.includes(pinOf(leaf)) && mismatchedName === undefined) {
    // Otherwise the clock could never be set over the network. The pin must match the server's own key: without a
    // clock, a chain proves nothing.
    return accepted(true, 'its certificate is not valid yet by the clock here, which is wrong: a pin matches');
  }
  const links = (): Iterable<Link> =>
    linksOf(peer, { nowMs, leafProblem: mismatchedName, isTrusted: chainProblem === undefined });
  const pinned = pins.length > 0 && matches(links(), pins);
  const mismatch = (): string => mismatchWords([...links()], pins);
  switch (pinPolicy) {
    case 'pin_and_pkix':
      if (problem !== undefined) return { at: 'refused', detail: problem };
      return pins.length === 0 || pinned ? accepted(true) : { at: 'refused', detail: mismatch() };
    case 'pin_or_pkix':
      return problem === undefined || pinned
        ? accepted(true)
        : { at: 'refused', detail: `${problem}; and ${mismatch()}` };
    case 'pin_only':
      return pinned ? accepted(true) : { at: 'refused', detail: mismatch() };
    case 'report_only':
      if (problem !== undefined) return { at: 'refused', detail: problem };
      return accepted(true, pins.length === 0 || pinned ? undefined : `${mismatch()} (only reported)`);
  }
}

/**
 * A certificate and the one that it names as its issuer's, if the server sent that or we have it. Node.js looks for it by
 * names and key identifiers alone. Nobody has checked that its key signed anything.
 */
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
      ? certificate.checkIP(withoutZone(address))
      : certificate.checkHost(name, { subject: 'never', wildcards: true, partialWildcards: false });
  return proved === undefined
    ? `the certificate is for ${namesIn(certificate)}, not for ${name ?? address}`
    : undefined;
}

const MOST_NAMES_SHOWN = 5;
const MOST_NAME_LENGTH = 255;

function namesIn(certificate: X509Certificate): string {
  const names = certificate.subjectAltName?.split(', ').map(each => each.replace(/^(DNS|IP Address):/, '')) ?? [];
  if (names.length === 0) return 'no name at all (it has no subjectAltName)';
  const shown = names.slice(0, MOST_NAMES_SHOWN).map(nameWords);
  return shown.join(', ') + (names.length > MOST_NAMES_SHOWN ? ' and others' : '');
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

/** A certificate that the server shows, and why a pin of its key would not count; undefined: it would. */
interface Link {
  readonly certificate: X509Certificate;
  readonly pin: string;
  readonly problem: string | undefined;
}

/** What the links of a chain are judged by. */
interface ChainFacts {
  readonly nowMs: WallMs;
  /** Why the server's own certificate is not for this server. */
  readonly leafProblem: string | undefined;
  /** Whether OpenSSL has found that the server's certificate leads to a trusted authority. */
  readonly isTrusted: boolean;
}

/** The most certificates of a chain that are looked at. Real chains have two to four. */
export const MOST_LINKS = 10;

/** The certificates of a chain, the server's own first. They are judged as they are asked for. */
function* linksOf(peer: CertificateLink, facts: ChainFacts): Generator<Link, void> {
  let below = new X509Certificate(peer.raw);
  yield { certificate: below, pin: pinOf(below), problem: undefined };
  // What is wrong with a link is wrong with all links above it.
  let problem = facts.leafProblem ?? useProblem(below, facts.nowMs);
  const seen = new Set([peer]);
  let authorities = 0;
  for (let each = peer.issuerCertificate; each?.raw !== undefined; each = each.issuerCertificate) {
    // A self-signed certificate names itself as its issuer's.
    if (seen.has(each) || seen.size >= MOST_LINKS) return;
    seen.add(each);
    const issuer = new X509Certificate(each.raw);
    problem ??=
      issuerProblem(below, issuer) ??
      useProblem(issuer, facts.nowMs) ??
      constraintProblem(issuer, authorities, facts.isTrusted);
    yield { certificate: issuer, pin: pinOf(issuer), problem };
    // RFC 5280 §4.2.1.9: self-issued certificates do not count for the length of a path.
    if (issuer.subject !== issuer.issuer) authorities++;
    below = issuer;
  }
}

/** Why a certificate does not prove that `issuer` signed it as an authority. */
function issuerProblem(certificate: X509Certificate, issuer: X509Certificate): string | undefined {
  if (!isSignedBy(certificate, issuer))
    return `the key of ${subjectWords(issuer)} did not sign the certificate of ${subjectWords(certificate)}`;
  return issuer.ca ? undefined : `the certificate of ${subjectWords(issuer)} is not that of an authority`;
}

/** Whether a certificate names `issuer` as its issuer, and the key of that has signed it. It throws on an unknown key. */
export const isSignedBy = (certificate: X509Certificate, issuer: X509Certificate): boolean =>
  certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);

// RFC 5280 §4.2.1.12. For an authority, OpenSSL and the browsers read the extension as a limit on what it certifies.
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';
const ANY_USAGE = '2.5.29.37.0';

/** Why a certificate cannot be used now in the chain of a TLS server. */
function useProblem(certificate: X509Certificate, nowMs: WallMs): string | undefined {
  const { validFrom, validTo } = certificate;
  const of = `the certificate of ${subjectWords(certificate)}`;
  if (!(Date.parse(validFrom) <= nowMs)) return `${of} is not valid yet (or the clock here is wrong)`;
  if (!(nowMs <= Date.parse(validTo))) return `${of} has expired (or the clock here is wrong)`;
  return isForServers(certificate) ? undefined : `${of} is not for TLS servers`;
}

/** Whether its extended key usage, if it has any, allows TLS servers. For an authority: what it certifies. */
export function isForServers(certificate: X509Certificate): boolean {
  // In spite of its name, this is the extension extKeyUsage. The type says that it is always there.
  const usages = certificate.keyUsage as readonly string[] | undefined;
  return usages === undefined || usages.includes(SERVER_AUTH) || usages.includes(ANY_USAGE);
}

/** The id of nameConstraints (RFC 5280 §4.2.1.10) in DER. */
const NAME_CONSTRAINTS = Buffer.from('0603551d1e', 'hex');

/** Whether an authority may only certify some names. Which ones is not read here. */
export const hasNameConstraints = ({ raw }: X509Certificate): boolean => raw.includes(NAME_CONSTRAINTS);

/** basicConstraints (RFC 5280 §4.2.1.9) in DER: critical or not, cA, and a pathLenConstraint of one octet. */
const PATH_LENGTH = /0603551d13(?:0101ff)?040830060101ff0201([0-7][0-9a-f])/;

/**
 * Why an authority must not have issued what is below it.
 * @param authorities how many authorities are between it and the server's certificate
 */
function constraintProblem(authority: X509Certificate, authorities: number, isTrusted: boolean): string | undefined {
  // OpenSSL has checked the constraints of a chain that it trusts. For others, all name constraints are refused: they
  // are rare, and reading them is a large source of errors.
  if (isTrusted) return undefined;
  if (hasNameConstraints(authority))
    return `the certificate of ${subjectWords(authority)} has name constraints, which are understood only if upstream.ca_file holds its authority`;
  return pathLengthProblem(authority, authorities);
}

/** Why an authority must not have as many authorities between it and the server's certificate (RFC 5280 §4.2.1.9). */
export function pathLengthProblem(authority: X509Certificate, authorities: number): string | undefined {
  const [, most] = PATH_LENGTH.exec(authority.raw.toString('hex')) ?? [];
  return most !== undefined && authorities > parseInt(most, 16)
    ? `the certificate of ${subjectWords(authority)} does not allow that many authorities below it`
    : undefined;
}

/** Whether a pin that counts is among these. */
function matches(links: Iterable<Link>, pins: readonly string[]): boolean {
  for (const { pin, problem } of links) if (problem === undefined && pins.includes(pin)) return true;
  return false;
}

/** Why no pin matches. It lists only pins that would count: people copy them into their configuration. */
function mismatchWords(links: readonly Link[], pins: readonly string[]): string {
  const shown = links.filter(({ problem }) => problem === undefined).map(({ pin }) => `sha256/${pin}`);
  const mismatch = `no configured pin matches; the server shows ${shown.join(', ')}`;
  const ignored = links.find(({ pin, problem }) => problem !== undefined && pins.includes(pin));
  return ignored === undefined
    ? mismatch
    : `${mismatch}; it also shows sha256/${ignored.pin}, which does not count: ${ignored.problem ?? ''}`;
}

/** SHA-256 of the SubjectPublicKeyInfo, base64 (RFC 7858 §4.2). */
const pinOf = (certificate: X509Certificate): string =>
  createHash('sha256')
    .update(certificate.publicKey.export({ type: 'spki', format: 'der' }))
    .digest('base64');

/** Words for an exception while a certificate was judged. */
export const unjudged = (error: unknown): string =>
  `its certificate cannot be judged: ${oneLine(error instanceof Error ? error.message : String(error))}`;

/** A certificate, for display. */
export interface ShownCertificate {
  readonly subject: string;
  readonly issuer: string;
  /** Whether the next certificate's key, or its own, signed it. Otherwise the issuer is only what it says itself. */
  readonly issuerProved: boolean;
  readonly until: string;
  readonly pin: string;
  /** Why the pin would not count: e.g. nobody has proved that this key signed the certificate before it. */
  readonly problem?: string;
}

/** The certificates that a server shows, its own first. It throws if one cannot be read. */
export function showChain(
  peer: CertificateLink,
  name: string | undefined,
  address: string,
  nowMs: WallMs,
  isTrusted: boolean,
): ShownCertificate[] {
  const leafProblem = nameProblem(new X509Certificate(peer.raw), name, address);
  const links = [...linksOf(peer, { nowMs, leafProblem, isTrusted })];
  return links.map(({ certificate, pin, problem }, i) => ({
    subject: subjectWords(certificate),
    issuer: nameWords(certificate.issuer),
    issuerProved: isSignedBy(certificate, links[i + 1]?.certificate ?? certificate),
    until: new Date(certificate.validTo).toISOString().slice(0, 10),
    pin,
    ...(problem === undefined ? {} : { problem }),
  }));
}

const subjectWords = (certificate: X509Certificate): string =>
  certificate.subjectAltName === undefined ? nameWords(certificate.subject) : namesIn(certificate);

/** A distinguished name in one line. The server wrote it, so it may be anything. */
const nameWords = (name: string | undefined): string =>
  oneLine((name ?? '').split('\n').join(', ')).slice(0, MOST_NAME_LENGTH) || 'no name';
