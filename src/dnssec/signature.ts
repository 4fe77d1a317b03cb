// Checking the signatures of an RRset (RFC 4035 §5.3).

import { putU16, putU32 } from '../base/octets.js';
import { bounded } from '../base/bounded.js';
import type { FailureCode } from '../base/outcome.js';
import type { Budget } from './budget.js';
import { algorithmText, type Dnskey } from './dnskey.js';
import { ancestorOf, isWildcard, labelCount, type Name, nameText, octetsOf, wildcardOf } from './name.js';
import { type RRset, setText, type Signature } from './rrset.js';
import type { Steps } from './steps.js';

/** Why something is not what its zone signed. */
export interface Flaw {
  readonly code: FailureCode;
  /** Which zone, which key, what exactly. */
  readonly detail: string;
}

/** What came of it. */
export type Checked =
  | {
      readonly at: 'good';
      readonly signature: Signature;
      /** How long that holds. */ readonly ttlSec: number;
      /** It was made from a wildcard. */ readonly expanded: boolean;
    }
  /** Good but for its dates: what counts where the clock is known to be wrong. */
  | { readonly at: 'untimely'; readonly flaw: Flaw; readonly expanded: boolean; readonly signature: Signature }
  | { readonly at: 'flawed'; readonly flaw: Flaw };

/** More keys than that with one tag are no accident (KeyTrap, CVE-2023-50387). */
const MOST_SAME_TAG = 4;
/** More signatures over one RRset, by keys that exist, are not looked at. */
const MOST_SIGNATURES = 8;
/** Octets of signed data whose check is remembered. */
const REMEMBERED_BYTES = 1 << 20;

const HOUR_SEC = 3600;
const DAY_SEC = 86_400;

/** RFC 1982: whether a is before b, both modulo 2^32. */
const before = (a: number, b: number): boolean => a !== b && (b - a) >>> 0 < 0x80000000;

/** Where now lies beside the dates of a signature, clocks that are a little off allowed for. */
function timeOf({ inception, expiration }: Signature, nowSec: number): 'current' | 'expired' | 'early' {
  const now = nowSec >>> 0;
  const skew = Math.min(Math.max(((expiration - inception) >>> 0) / 10, HOUR_SEC), DAY_SEC);
  if (before(expiration, now) && (now - expiration) >>> 0 > skew) return 'expired';
  if (before(now, inception) && (inception - now) >>> 0 > skew) return 'early';
  return 'current';
}

/** The octets that were signed (RFC 4034 §3.1.8.1). */
export function signedOctets(set: RRset, signature: Signature): Buffer {
  // RFC 4035 §5.3.2: fewer labels than the owner has means that a wildcard was signed, and the owner made from it.
  const labels = labelCount(set.owner);
  const owner = octetsOf(
    signature.labels < labels && !(isWildcard(set.owner) && signature.labels === labels - 1)
      ? wildcardOf(ancestorOf(set.owner, signature.labels))
      : set.owner,
  );
  const rdata = set.rdata.length === 1 ? set.rdata : [...set.rdata].sort((a, b) => Buffer.compare(a, b));
  let bytes = signature.head.length;
  for (const each of rdata) bytes += owner.length + 10 + each.length;
  const out = Buffer.allocUnsafe(bytes);
  let at = signature.head.copy(out);
  let last: Buffer | undefined;
  for (const each of rdata) {
    // RFC 4034 §6.3: duplicates count once.
    if (last?.equals(each) === true) continue;
    last = each;
    at += owner.copy(out, at);
    putU16(out, at, set.type);
    putU16(out, at + 2, 1);
    putU32(out, at + 4, signature.originalTtlSec);
    putU16(out, at + 8, each.length);
    at += 10 + each.copy(out, at + 10);
  }
  return out.subarray(0, at);
}

interface Remembered {
  readonly key: Dnskey;
  /** An octet per character: a Buffer would hold on to the pool that it is cut from. */
  readonly data: string;
}

/** Checks signatures. */
export interface Verifier {
  /**
   * Whether one of the keys signed this RRset.
   * @param zone whose keys these are
   * @param nowSec seconds since 1970
   */
  check(set: RRset, zone: Name, keys: readonly Dnskey[], nowSec: number, budget: Budget): Steps<Checked>;
}

/** What is wrong with a signature, the worse the later. */
const WRONGS = [
  'none',
  'no_key',
  'no_zone_key',
  'longer',
  'wrong',
  'early',
  'expired',
  'key_tags',
  'signatures',
] as const;
type Wrong = (typeof WRONGS)[number];

const CODES: Readonly<Record<Wrong, FailureCode>> = {
  none: 'rrsigs_missing',
  no_key: 'dnskey_missing',
  no_zone_key: 'no_zone_key',
  longer: 'bogus',
  wrong: 'bogus',
  early: 'signature_early',
  expired: 'signature_expired',
  key_tags: 'dnssec_limit',
  signatures: 'dnssec_limit',
};

/** Only who is refused needs the words. */
function flawOf(set: RRset, zone: Name, wrong: Wrong, signature: Signature | undefined): Flaw {
  const what = setText(set);
  const of = nameText(zone);
  if (signature === undefined)
    return {
      code: CODES[wrong],
      detail:
        wrong === 'none'
          ? `${what} has no signature of ${of}`
          : `${what}: its signatures do not agree on who signed what`,
    };
  const by = `${what}: its signature by key ${signature.keyTag} (${algorithmText(signature.algorithm)}) of ${of}`;
  const words: Readonly<Record<Wrong, string>> = {
    none: '',
    no_key: `${by}: ${of} has no such key`,
    no_zone_key: `${by}: that key may not sign records of the zone`,
    longer: `${by} speaks of a longer name`,
    wrong: `${by} is wrong`,
    early: `${by} is not valid before ${dateText(signature.inception)}`,
    expired: `${by} expired ${dateText(signature.expiration)}`,
    key_tags: `${what}: more than ${MOST_SAME_TAG} keys of ${of} have tag ${signature.keyTag}`,
    signatures: `${what}: too many signatures to check`,
  };
  return { code: CODES[wrong], detail: words[wrong] };
}

/**
 * Makes a Verifier. It remembers good signatures of authority sections: a zone's SOA and NSEC records come again with every
 * denial. Answers are kept as a whole elsewhere.
 */
export function verifier(): Verifier {
  const remembered = bounded<Remembered>(REMEMBERED_BYTES, () => undefined);

  function verifies(
    key: Dnskey,
    data: Buffer,
    signature: Buffer,
    comesAgain: boolean,
    budget: Budget,
  ): boolean | 'limit' {
    const id = comesAgain ? signature.toString('latin1') : '';
    const text = comesAgain ? data.toString('latin1') : '';
    const known = comesAgain ? remembered.get(id) : undefined;
    if (known?.key === key && known.data === text) return true;
    if (!budget.takeCheck(key.weight)) return 'limit';
    if (!key.verifies(data, signature)) return false;
    if (comesAgain) remembered.set(id, { key, data: text }, text.length + 2 * id.length);
    return true;
  }

  return {
    *check(set, zone, keys, nowSec, budget) {
      const { owner, signatures, section } = set;
      const [first] = signatures;
      // An RRset is in one zone, under one name: signatures that do not agree on these were not made for it.
      for (const each of signatures) {
        if (each.signer !== first?.signer || each.labels !== first.labels)
          return { at: 'flawed', flaw: flawOf(set, zone, 'wrong', undefined) };
      }
      const labels = labelCount(owner) - (isWildcard(owner) ? 1 : 0);
      let worst: Wrong = 'none';
      let blamed: Signature | undefined;
      let untimely: Signature | undefined;
      let tried = 0;
      for (const signature of signatures) {
        if (signature.signer !== zone) continue;
        let wrong: Wrong = 'no_key';
        let usable = 0;
        for (const key of keys) {
          if (!isOf(signature, key)) continue;
          if (!key.isZoneKey || key.isRevoked) wrong = 'no_zone_key';
          else usable++;
        }
        const time = timeOf(signature, nowSec);
        if (usable > 0) {
          if (usable > MOST_SAME_TAG || ++tried > MOST_SIGNATURES) {
            wrong = usable > MOST_SAME_TAG ? 'key_tags' : 'signatures';
            budget.exceed(wrong);
          } else if (signature.labels > labels) wrong = 'longer';
          else {
            // Its dates may be wrong: whether it is good beside that matters only where there is no better one.
            wrong = time === 'current' ? 'wrong' : time;
            const data = signedOctets(set, signature);
            for (const key of keys) {
              if (!isOf(signature, key) || !key.isZoneKey || key.isRevoked) continue;
              // Some keys take long, and some zones have many: not all in one go.
              while (budget.mustPause) yield PAUSE;
              const good = verifies(key, data, signature.octets, section === 'authority', budget);
              if (good === 'limit') return { at: 'flawed', flaw: flawOf(set, zone, 'signatures', signature) };
              if (!good) continue;
              if (time === 'current')
                return {
                  at: 'good',
                  signature,
                  ttlSec: ttlOf(set, signature, nowSec),
                  expanded: signature.labels < labels,
                };
              untimely ??= signature;
              break;
            }
          }
        }
        if (WRONGS.indexOf(wrong) > WRONGS.indexOf(worst)) {
          worst = wrong;
          blamed = signature;
        }
      }
      const flaw = flawOf(set, zone, worst, blamed);
      return untimely === undefined
        ? { at: 'flawed', flaw }
        : { at: 'untimely', flaw, signature: untimely, expanded: untimely.labels < labels };
    },
  };
}

const PAUSE = { at: 'pause' } as const;

const isOf = ({ keyTag, algorithm }: Signature, key: Dnskey): boolean =>
  key.tag === keyTag && key.algorithm === algorithm;

/** RFC 4035 §5.3.3: how long it holds; not longer than any of these says. */
const ttlOf = (set: RRset, signature: Signature, nowSec: number): number =>
  Math.max(0, Math.min(set.ttlSec, signature.ttlSec, signature.originalTtlSec, untilExpiration(signature, nowSec)));

/** Whether this very key has signed an RRset, whatever its flags: how a key is revoked (RFC 5011 §2.1). */
export const signedBy = (set: RRset, key: Dnskey, nowSec: number): boolean =>
  set.signatures.some(
    signature =>
      isOf(signature, key) &&
      signature.signer === set.owner &&
      timeOf(signature, nowSec) === 'current' &&
      key.verifies(signedOctets(set, signature), signature.octets),
  );

/** Seconds until a signature expires; one that is accepted a little late has a moment. */
function untilExpiration({ expiration }: Signature, nowSec: number): number {
  const left = (expiration - (nowSec >>> 0)) | 0;
  return left > 0 ? left : 1;
}

/** RRSIG times as people write them; exact until 2106. */
const dateText = (sec: number): string => new Date(sec * 1000).toISOString().replace('.000Z', 'Z');
