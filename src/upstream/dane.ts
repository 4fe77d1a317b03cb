// Authenticates a server by its TLSA records (RFC 6698, RFC 7671). Pure: the records are proven by DNSSEC before they
// come here.
//
//   usage          the record is about          also required
//   0  PKIX-TA     an issuer in the chain       name, dates, a trusted authority
//   1  PKIX-EE     the server's certificate     name, dates, a trusted authority
//   2  DANE-TA     an issuer, sent or not       name, dates, a verified chain up to that issuer
//   3  DANE-EE     the server's certificate     nothing (RFC 7671 §5.1)

import { createHash, createPublicKey, X509Certificate } from 'node:crypto';

import type { WallMs } from '../base/time.js';
import { type Tlsa, TLSA_MATCHING, TLSA_SELECTOR, TLSA_USAGE, tlsaText } from '../wire/tlsa.js';
import { codeWords } from './error-words.js';
import {
  hasNameConstraints,
  isForServers,
  isSignedBy,
  MOST_LINKS,
  nameProblem,
  pathLengthProblem,
} from './identity.js';

/** What a handshake has shown about a server. */
export interface DanePeer {
  /** The certificates in DER, the server's own first. */
  readonly chain: readonly Buffer[];
  /** OpenSSL's code for a problem with the chain; undefined: it leads to a trusted authority. */
  readonly pkixProblem: string | undefined;
}

/** Proven TLSA records. */
export interface TlsaSet {
  /** The owner as it was asked for, for messages. */
  readonly owner: string;
  /** The names that a certificate may hold (RFC 7671 §7): none of the others counts. */
  readonly names: readonly string[];
  readonly records: readonly Tlsa[];
}

/** Whether a server is the one that the records are about. */
export type DaneVerdict =
  { readonly at: 'proved'; readonly by: Tlsa } | { readonly at: 'refused'; readonly detail: string };

/** The most records of a set that are used. */
const MOST_TLSA_RECORDS = 32;

/**
 * Judges a server. It never throws.
 * @param now for the dates of certificates, where they count
 */
export function judgeByTlsa(peer: DanePeer, set: TlsaSet, now: WallMs): DaneVerdict {
  const usable = usableRecords(set.records);
  // RFC 7671 §4.1 leaves a client that does not insist on DANE to other means. This one was told to insist.
  if (usable.length === 0)
    return refused(`none of the ${set.records.length} TLSA records of ${set.owner} can be used here`);
  const path = new CertificatePath(peer, set.names, now);
  let flaw: string | undefined;
  for (const record of usable) {
    const found = path.check(record);
    if (found.at === 'matches') return { at: 'proved', by: record };
    if (found.at === 'flawed') flaw ??= `the TLSA record "${shortText(record)}" matches, but ${found.detail}`;
  }
  return refused(flaw ?? path.mismatch(set));
}

const refused = (detail: string): DaneVerdict => ({ at: 'refused', detail });

const DIGEST_BYTES: ReadonlyMap<number, number> = new Map([
  [TLSA_MATCHING.SHA2_256, 32],
  [TLSA_MATCHING.SHA2_512, 64],
]);

/** The records that mean something here, only those with the strongest digest for each usage and selector. */
export function usableRecords(records: readonly Tlsa[]): readonly Tlsa[] {
  const known = records.slice(0, MOST_TLSA_RECORDS).filter(isUsable);
  // RFC 7671 §9. FULL is no digest, and is always used.
  return known.filter(
    each =>
      each.matching === TLSA_MATCHING.FULL ||
      !known.some(
        other => other.usage === each.usage && other.selector === each.selector && other.matching > each.matching,
      ),
  );
}

/** RFC 6698 §4.1, RFC 7671 §4.1: a record with an unknown number, or whose data cannot match anything, is unusable. */
function isUsable({ usage, selector, matching, data }: Tlsa): boolean {
  if (usage > TLSA_USAGE.DANE_EE || selector > TLSA_SELECTOR.SPKI) return false;
  if (matching !== TLSA_MATCHING.FULL) return DIGEST_BYTES.get(matching) === data.length;
  return selector === TLSA_SELECTOR.CERT ? certificateOf(data) !== undefined : keyOf(data) !== undefined;
}

/** The result of comparing a record with the chain. */
type Match = { readonly at: 'matches' | 'differs' } | { readonly at: 'flawed'; readonly detail: string };

const MATCHES: Match = { at: 'matches' };
const DIFFERS: Match = { at: 'differs' };

/** The certificates of a server, and what is wrong with them. */
class CertificatePath {
  /** The server's own certificate first. Those that cannot be read, and all after them, are left out. */
  private readonly chain: readonly X509Certificate[];
  /** How many of them, from the first on, were each signed by the next one. The first always counts. */
  private readonly linked: number;
  /** Why the path does not go on behind them; undefined: it is complete. */
  private readonly linkProblem: string | undefined;

  constructor(
    private readonly peer: DanePeer,
    private readonly names: readonly string[],
    private readonly now: WallMs,
  ) {
    const read = peer.chain.slice(0, MOST_LINKS).map(certificateOf);
    const end = read.indexOf(undefined);
    this.chain = read.slice(0, end === -1 ? undefined : end).filter(each => each !== undefined);
    let linked = Math.min(1, this.chain.length);
    let problem: string | undefined;
    for (; linked < this.chain.length; linked++) {
      const [below, above] = [this.chain[linked - 1], this.chain[linked]];
      if (below === undefined || above === undefined) break;
      problem = issueProblem(below, above);
      if (problem !== undefined) break;
    }
    this.linked = linked;
    this.linkProblem = problem;
  }

  check(record: Tlsa): Match {
    switch (record.usage) {
      case TLSA_USAGE.DANE_EE:
        return this.own(record) ? MATCHES : DIFFERS;
      case TLSA_USAGE.PKIX_EE:
        return this.own(record) ? this.flawed(this.pkixProblem(0)) : DIFFERS;
      case TLSA_USAGE.PKIX_TA:
        return this.byIssuer(record, last => this.pkixProblem(last));
      default: {
        const sent = this.byIssuer(record, last => this.problem(last));
        return sent.at === 'matches' || record.matching !== TLSA_MATCHING.FULL ? sent : this.byUnsent(record, sent);
      }
    }
  }

  /** Why no record matches, for people. */
  mismatch({ owner, records }: TlsaSet): string {
    const [own] = this.chain;
    const spki = own && spkiOf(own.raw);
    const shown =
      spki === undefined
        ? 'the server shows no certificate that can be read'
        : `the server shows the key "3 1 1 ${createHash('sha256').update(spki).digest('hex')}"`;
    const published = records.slice(0, MOST_SHOWN).map(each => `"${shortText(each)}"`);
    const others = records.length > MOST_SHOWN ? ` and ${records.length - MOST_SHOWN} more` : '';
    return `no TLSA record of ${owner} matches (${published.join(', ')}${others}); ${shown}`;
  }

  private own(record: Tlsa): boolean {
    const [own] = this.chain;
    return own !== undefined && matches(record, own);
  }

  /** An issuer that the server sent, or that this machine trusts. A self-signed server certificate is not an issuer. */
  private byIssuer(record: Tlsa, problemUpTo: (last: number) => string | undefined): Match {
    const at = this.chain.findIndex((each, i) => i > 0 && matches(record, each));
    if (at === -1) return DIFFERS;
    if (at < this.linked) return this.flawed(problemUpTo(at));
    return { at: 'flawed', detail: this.linkProblem ?? 'the certificates do not lead to it' };
  }

  /** RFC 7671 §5.2: a record that holds a whole certificate or key is an issuer that the server need not send. */
  private byUnsent({ selector, data }: Tlsa, otherwise: Match): Match {
    const certificate = selector === TLSA_SELECTOR.CERT ? certificateOf(data) : undefined;
    const key = selector === TLSA_SELECTOR.SPKI ? keyOf(data) : undefined;
    for (const [i, each] of this.chain.slice(0, this.linked).entries()) {
      const issued =
        certificate !== undefined
          ? issueProblem(each, certificate) === undefined
          : key !== undefined && safely(() => each.verify(key)) === true;
      if (issued) return this.flawed(this.problem(i) ?? (certificate && this.authorityProblem(certificate, i)));
    }
    return otherwise;
  }

  private flawed(detail: string | undefined): Match {
    return detail === undefined ? MATCHES : { at: 'flawed', detail };
  }

  private pkixProblem(last: number): string | undefined {
    const { pkixProblem } = this.peer;
    return pkixProblem === undefined ? this.problem(last) : (codeWords(pkixProblem) ?? pkixProblem);
  }

  /** What is wrong with the server's names, and with purposes, dates and limits up to this certificate. */
  private problem(last: number): string | undefined {
    const [own] = this.chain;
    if (own === undefined) return 'the server shows no certificate';
    const problems = this.names.map(name => nameProblem(own, name, ''));
    if (!problems.includes(undefined)) return problems[0] ?? 'there is no name that the certificate could be for';
    if (!isForServers(own)) return 'its certificate is not for a TLS server (extended key usage)';
    const wrongDate = dateProblem(own, this.now);
    if (wrongDate !== undefined) return wrongDate;
    for (const [i, each] of this.chain.slice(1, last + 1).entries()) {
      const problem = this.authorityProblem(each, i);
      if (problem !== undefined) return problem;
    }
    return undefined;
  }

  /** What is wrong with an authority behind so many certificates after the server's own. */
  private authorityProblem(authority: X509Certificate, behind: number): string | undefined {
    if (!isForServers(authority)) return 'one of its authorities is not for TLS servers (extended key usage)';
    // RFC 5280 §4.2.1.9: self-issued certificates do not count.
    const between = this.chain.slice(1, behind + 1).filter(({ subject, issuer }) => subject !== issuer).length;
    return dateProblem(authority, this.now) ?? pathLengthProblem(authority, between);
  }
}

const MOST_SHOWN = 4;
const MOST_HEX_SHOWN = 64;
const shortText = (record: Tlsa): string => {
  const text = tlsaText(record);
  return text.length > MOST_HEX_SHOWN + 12 ? `${text.slice(0, MOST_HEX_SHOWN)}…` : text;
};

/** Whether a record is about this certificate. */
function matches({ selector, matching, data }: Tlsa, { raw }: X509Certificate): boolean {
  const selected = selector === TLSA_SELECTOR.CERT ? raw : spkiOf(raw);
  if (selected === undefined) return false;
  switch (matching) {
    case TLSA_MATCHING.FULL:
      return data.equals(selected);
    case TLSA_MATCHING.SHA2_256:
      return data.equals(createHash('sha256').update(selected).digest());
    default:
      return data.equals(createHash('sha512').update(selected).digest());
  }
}

/** Why a certificate is not issued by another one; undefined: it is. */
function issueProblem(certificate: X509Certificate, issuer: X509Certificate): string | undefined {
  const isIssued = safely(() => isSignedBy(certificate, issuer));
  if (isIssued !== true) return 'one of its certificates is not signed by the next one';
  if (!issuer.ca) return 'one of its certificates is signed by a certificate that is no authority';
  // They are not evaluated here, and an authority with them may not issue certificates for every name.
  return hasNameConstraints(issuer)
    ? 'one of its authorities may only issue for some names (name constraints), which is not supported'
    : undefined;
}

function dateProblem({ validFrom, validTo }: X509Certificate, now: WallMs): string | undefined {
  if (!(Date.parse(validFrom) <= now)) return codeWords('CERT_NOT_YET_VALID');
  return now <= Date.parse(validTo) ? undefined : codeWords('CERT_HAS_EXPIRED');
}

/** A certificate from DER; undefined: it cannot be read. */
const certificateOf = (der: Buffer): X509Certificate | undefined => safely(() => new X509Certificate(der));

const keyOf = (der: Buffer): ReturnType<typeof createPublicKey> | undefined =>
  safely(() => createPublicKey({ key: der, format: 'der', type: 'spki' }));

/** The result of OpenSSL; undefined: it does not understand these octets. */
function safely<V>(compute: () => V): V | undefined {
  try {
    return compute();
  } catch {
    return undefined;
  }
}

const DER_SEQUENCE = 0x30;
const DER_VERSION = 0xa0;
/** serialNumber, signature, issuer, validity and subject come before the key (RFC 5280 §4.1). */
const FIELDS_BEFORE_KEY = 5;

/**
 * The SubjectPublicKeyInfo of a certificate, as it stands there: a key that Node.js cannot read is compared, too.
 * @returns undefined: the DER is malformed
 */
export function spkiOf(der: Buffer): Buffer | undefined {
  const certificate = elementAt(der, 0, der.length);
  const tbs = certificate && elementAt(der, certificate.start, certificate.end);
  if (tbs === undefined) return undefined;
  let at = tbs.start;
  if (der[at] === DER_VERSION) at = elementAt(der, at, tbs.end)?.end ?? tbs.end;
  for (let i = 0; i < FIELDS_BEFORE_KEY; i++) at = elementAt(der, at, tbs.end)?.end ?? tbs.end;
  const key = elementAt(der, at, tbs.end);
  return key === undefined || der[at] !== DER_SEQUENCE ? undefined : der.subarray(at, key.end);
}

/** The contents of the DER element at `at`; undefined: it does not fit before `limit`. */
function elementAt(
  der: Buffer,
  at: number,
  limit: number,
): { readonly start: number; readonly end: number } | undefined {
  const first = der[at + 1];
  if (first === undefined) return undefined;
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
  const start = at + 2 + lengthBytes;
  if (lengthBytes > 3 || first === 0x80 || start > limit) return undefined;
  const length = lengthBytes === 0 ? first : der.readUIntBE(at + 2, lengthBytes);
  return start + length > limit ? undefined : { start, end: start + length };
}
