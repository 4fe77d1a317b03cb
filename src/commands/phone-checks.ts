// Whether phones accept the certificate of a listener, and if not, why and what to do about it. Their rules are those of
// any TLS client, and some of their own: Apple's limits of 2019 and 2020 for certificates of servers, and the keys and
// signatures that both take.

import type { X509Certificate } from 'node:crypto';

import { addressOctets } from '../base/address.js';
import { oneLine } from '../base/tls-error.js';
import {
  announcedName,
  certificateFacts,
  type CertificateFacts,
  datesWords,
  isInForce,
} from '../policy/server-certificate.js';
import { codeWords } from '../upstream/error-words.js';
import type { JudgedChain } from '../upstream/fetch-chain.js';
import { isForServers, nameProblem } from '../upstream/identity.js';

/** Kinds of phones: with Android, and of Apple. */
export type Phones = 'android' | 'apple';

/** Why phones would not accept something. */
export interface Obstacle {
  readonly phones: readonly Phones[];
  readonly words: string;
  /** What to do about it. */
  readonly advice: string;
}

/** What is judged. */
export interface ShownToPhones extends JudgedChain {
  /** Under which name phones ask. */
  readonly name: string;
  /** The option with the file of the chain. */
  readonly option: string;
  /** Whether the roots are those of an authority of one's own, and not those that phones come with. */
  readonly isOwnAuthority: boolean;
  readonly nowMs: number;
}

const ALL: readonly Phones[] = ['android', 'apple'];
const DAY_MS = 86_400_000;
/** The most days that Apple's systems accept: of authorities that they come with (since 2020), and of others (since 2019). */
const MOST_DAYS = { public: 398, own: 825 } as const;
const LEAST_RSA_BITS = 2048;

const RENEW = 'renew it (dotstub takes the new files by itself)';
const PUBLIC =
  'get one of a public authority, for a name in a domain of yours (ACME with the DNS-01 challenge needs no open port)';
const REMAKE = 'make a new one with a key on the curve P-256, or RSA with 2048 bits';

/** All that keeps phones from accepting what a listener shows; none: they accept it. */
export function obstaclesOf(shown: ShownToPhones): readonly Obstacle[] {
  const { certificates, name, nowMs } = shown;
  const [leaf] = certificates;
  if (leaf === undefined) return [{ phones: ALL, words: 'the listener shows no certificate', advice: PUBLIC }];
  const facts = certificateFacts(leaf.raw);
  const mismatch = nameProblem(leaf, name, name);
  const dates = datesObstacle(facts, nowMs);
  return [
    ...(dates ?? chainObstacle(shown, leaf)),
    ...(mismatch === undefined
      ? []
      : [{ phones: ALL, words: mismatch, advice: 'name one that it is for, or get one for this name' }]),
    ...lifetimeObstacle(facts, shown),
    ...usageObstacle(leaf),
    ...keyObstacle(leaf),
    ...signatureObstacle(certificates),
  ];
}

/** Undefined: it is valid now. */
function datesObstacle(facts: CertificateFacts, nowMs: number): Obstacle[] | undefined {
  if (isInForce(facts, nowMs)) return undefined;
  const words = `the certificate ${datesWords(facts, nowMs)}, or the clock here is wrong`;
  return [{ phones: ALL, words, advice: RENEW }];
}

function chainObstacle({ problem, option, isOwnAuthority }: ShownToPhones, leaf: X509Certificate): Obstacle[] {
  const issuer = oneLine(leaf.issuer.split('\n').join(', '));
  const roots = isOwnAuthority ? 'the authority of --ca' : 'the authorities that phones come with';
  const wholeChain = `${option} must hold the whole chain: fullchain.pem of certbot, not cert.pem`;
  const own = `${PUBLIC}; for iPhones alone, "dotstub phone --ca FILE" puts an authority of yours into the profile`;
  const obstacle = (words: string, advice: string): Obstacle[] => [{ phones: ALL, words, advice }];
  switch (problem) {
    case undefined:
      return [];
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
      return obstacle('the certificate is self-signed, and phones do not know it', own);
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
      return obstacle(
        `the certificate comes alone, and its issuer (${issuer}) is none of ${roots}`,
        isOwnAuthority ? wholeChain : `${wholeChain}. If the issuer is an authority of yours: ${own}`,
      );
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
      return obstacle(`the chain of the certificate (from ${issuer}) leads to none of ${roots}`, own);
    default:
      return obstacle(codeWords(problem) ?? `the certificate was not accepted (${oneLine(problem)})`, RENEW);
  }
}

/** A certificate whose chain does not lead to a public authority is judged like those of one's own. */
function lifetimeObstacle(
  { startsMs, endsMs }: CertificateFacts,
  { problem, isOwnAuthority }: Pick<ShownToPhones, 'problem' | 'isOwnAuthority'>,
): Obstacle[] {
  const most = problem === undefined && !isOwnAuthority ? MOST_DAYS.public : MOST_DAYS.own;
  const days = (endsMs - startsMs) / DAY_MS;
  if (days <= most) return [];
  const words = `the certificate is valid for ${Math.ceil(days)} days, and iPhones accept ${most} at most`;
  return [{ phones: ['apple'], words, advice: `make one that is valid for ${most} days or less` }];
}

function usageObstacle(leaf: X509Certificate): Obstacle[] {
  const advice = 'make one with the extended key usage serverAuth';
  if (!isForServers(leaf)) return [{ phones: ALL, words: 'the certificate is not for TLS servers', advice }];
  // The type says that it is always there.
  const usages = leaf.keyUsage as readonly string[] | undefined;
  if (usages !== undefined) return [];
  return [{ phones: ['apple'], words: 'the certificate does not say that it is for TLS servers', advice }];
}

function keyObstacle({ publicKey }: X509Certificate): Obstacle[] {
  const { asymmetricKeyType: type, asymmetricKeyDetails: { modulusLength = 0, namedCurve = '' } = {} } = publicKey;
  const obstacle = (words: string, phones = ALL): Obstacle[] => [{ phones, words, advice: REMAKE }];
  if (type === 'rsa')
    return modulusLength >= LEAST_RSA_BITS
      ? []
      : obstacle(`the key of the certificate is too short: RSA with ${modulusLength} bits`);
  if (type !== 'ec') return obstacle(`phones do not know the kind of key of the certificate (${type ?? 'unknown'})`);
  if (namedCurve === 'prime256v1' || namedCurve === 'secp384r1') return [];
  // BoringSSL, which Android uses, offers no signatures on it.
  if (namedCurve === 'secp521r1') return obstacle('Android does not take keys on the curve P-521', ['android']);
  return obstacle(`phones do not know the curve of the key of the certificate (${oneLine(namedCurve)})`);
}

/** RSA (PKCS #1 v1.5 and PSS) and ECDSA with SHA-2: the values of these object identifiers, in hexadecimal digits. */
const KNOWN_SIGNATURES: ReadonlySet<string> = new Set([
  '2a864886f70d01010b',
  '2a864886f70d01010c',
  '2a864886f70d01010d',
  '2a864886f70d01010a',
  '2a8648ce3d040302',
  '2a8648ce3d040303',
  '2a8648ce3d040304',
]);

/** What a root has signed itself with does not count. */
function signatureObstacle(certificates: readonly X509Certificate[]): Obstacle[] {
  const counting = certificates.filter((each, i) => i === 0 || each.subject !== each.issuer);
  if (counting.every(({ raw }) => KNOWN_SIGNATURES.has(signatureAlgorithm(raw)))) return [];
  const words = 'a certificate is signed in a way that phones do not accept (they want RSA or ECDSA, with SHA-256)';
  return [{ phones: ALL, words, advice: PUBLIC }];
}

/** The object identifier of a certificate's signatureAlgorithm (RFC 5280 §4.1.1.2), which OpenSSL has read already. */
function signatureAlgorithm(der: Buffer): string {
  const certificate = valueAt(der, 0);
  const signed = valueAt(der, certificate.start);
  const algorithm = valueAt(der, signed.end);
  const identifier = valueAt(der, algorithm.start);
  return der.toString('hex', identifier.start, identifier.end);
}

/** Where the contents of the DER value at `at` are (X.690 §8.1); nothing, at the end, if it is cut off. */
function valueAt(der: Buffer, at: number): { readonly start: number; readonly end: number } {
  const first = der[at + 1] ?? 0;
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
  const start = at + 2 + lengthBytes;
  if (start > der.length || lengthBytes > 4) return { start: der.length, end: der.length };
  const length = lengthBytes === 0 ? first : der.readUIntBE(at + 2, lengthBytes);
  return { start, end: Math.min(der.length, start + length) };
}

/**
 * Under which name phones ask: the one that was given, else the first of the certificate that is no wildcard.
 * @returns an obstacle: it has none
 */
export function nameFor(facts: Pick<CertificateFacts, 'names'>, given: string | undefined): string | Obstacle {
  if (given !== undefined) return given;
  const name = announcedName(facts);
  if (name !== undefined) return name;
  const [wildcard] = facts.names;
  if (wildcard === undefined)
    return { phones: ALL, words: 'the certificate holds no DNS name, and phones ask by name', advice: PUBLIC };
  const words = `the certificate is for ${wildcard}, which is many names`;
  return {
    phones: ALL,
    words,
    advice: `say which one phones are to use: "dotstub phone ${wildcard.replace('*', 'dns')}"`,
  };
}

/** Those of our addresses that are among those of a name. Both may be written in any form. */
export const ledTo = (found: readonly string[], ours: readonly string[]): readonly string[] =>
  ours.filter(each => found.some(other => isSameAddress(each, other)));

/** Whether two texts are the same address. */
export function isSameAddress(a: string, b: string): boolean {
  const [one, other] = [addressOctets(a), addressOctets(b)];
  return one !== undefined && other?.equals(one) === true;
}
