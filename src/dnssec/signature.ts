// Checks the signatures of an RRset (RFC 4035 §5.3).

import { type Bounded, bounded } from '../base/bounded.js';
import { putU16, putU32 } from '../base/octets.js';
import type { FailureCode } from '../base/outcome.js';
import type { WallSec } from '../base/time.js';
import type { Budget } from './budget.js';
import { algorithmText, type Dnskey, MOST_SAME_TAG } from './dnskey.js';
import { dateText } from './explain.js';
import { ancestorOf, hasWildcardLabel, labelCount, type Name, nameText, octetsOf, wildcardOf } from './name.js';
import type { PreparedKeys } from './prepared-keys.js';
import { type RRset, setText, type Signature } from './rrset.js';
import { PAUSE, type Steps } from './steps.js';

/** Why validation has failed. */
export interface Flaw {
  readonly code: FailureCode;
  /** Which zone and which key, in detail. */
  readonly detail: string;
}

/** The result of checking an RRset's signatures. */
export type SignatureCheck =
  | {
      readonly at: 'good';
      readonly signature: Signature;
      readonly ttlSec: number;
      /** Whether the RRset was made from a wildcard. */
      readonly expanded: boolean;
    }
  /** Valid except for its dates, which is enough if the clock is known to be wrong. */
  | { readonly at: 'untimely'; readonly flaw: Flaw; readonly expanded: boolean; readonly signature: Signature }
  | { readonly at: 'flawed'; readonly flaw: Flaw };

/** The most signatures over one RRset, by known keys, that are checked. */
const MOST_SIGNATURES = 8;
/** The size of the memory for checked signatures, in octets of signed data. */
const REMEMBERED_BYTES = 1 << 20;

const HOUR_SEC = 3600;
const DAY_SEC = 86_400;

/** RFC 1982: whether a is before b, both modulo 2^32. */
const before = (a: number, b: number): boolean => a !== b && (b - a) >>> 0 < 0x80000000;

/** Whether a signature is valid now. Clocks may be a little off. */
function timeOf({ inception, expiration }: Signature, wallNow: WallSec): 'current' | 'expired' | 'early' {
  const now = wallNow >>> 0;
  const skew = Math.min(Math.max(((expiration - inception) >>> 0) / 10, HOUR_SEC), DAY_SEC);
  if (before(expiration, now) && (now - expiration) >>> 0 > skew) return 'expired';
  if (before(now, inception) && (inception - now) >>> 0 > skew) return 'early';
  return 'current';
}

/** The octets that were signed (RFC 4034 §3.1.8.1). */
export function signedOctets(set: RRset, signature: Signature): Buffer {
  // RFC 4035 §5.3.2: if the signature has fewer labels than the owner, the signed owner is the wildcard that the RRset
  // was made from.
  const labels = labelCount(set.owner);
  const owner = octetsOf(
    signature.labels < labels && !(hasWildcardLabel(set.owner) && signature.labels === labels - 1)
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

/** A signature that was found valid. */
interface Remembered {
  readonly key: Dnskey;
  /** The signed octets, one per character: a Buffer would keep alive the whole pool that it is part of. */
  readonly data: string;
}

/** What may be wrong with a signature. The last in this list that was found is reported. */
const WRONGS = [
  'none',
  'no_key',
  'no_zone_key',
  'longer',
  'shorter',
  'backwards',
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
  shorter: 'bogus',
  backwards: 'bogus',
  wrong: 'bogus',
  early: 'signature_early',
  expired: 'signature_expired',
  key_tags: 'dnssec_limit',
  signatures: 'dnssec_limit',
};

/** The text takes time, and an answer may have a thousand refused RRsets: it is made when it is read. */
const flawOf = (set: RRset, zone: Name, wrong: Wrong, signature: Signature | undefined): Flaw => ({
  code: CODES[wrong],
  get detail() {
    return detailOf(set, zone, wrong, signature);
  },
});

function detailOf(set: RRset, zone: Name, wrong: Wrong, signature: Signature | undefined): string {
  const what = setText(set);
  const of = nameText(zone);
  if (signature === undefined) return `${what} has no signature of ${of}`;
  const by = `${what}: its signature by key ${signature.keyTag} (${algorithmText(signature.algorithm)}) of ${of}`;
  const words: Readonly<Record<Wrong, string>> = {
    none: '',
    no_key: `${by}: ${of} has no such key`,
    no_zone_key: `${by}: that key may not sign records of the zone`,
    longer: `${by} speaks of a longer name`,
    shorter: `${by} speaks of a name above the zone`,
    backwards: `${by} ends before it begins`,
    wrong: `${by} is wrong`,
    early: `${by} is not valid before ${dateText(signature.inception)}`,
    expired: `${by} expired ${dateText(signature.expiration)}`,
    key_tags: `${what}: more than ${MOST_SAME_TAG} keys of ${of} have tag ${signature.keyTag}`,
    signatures: `${what}: too many signatures to check`,
  };
  return words[wrong];
}

/** The result of checking one signature. */
type SignatureAttempt =
  { readonly at: 'good' } | { readonly at: 'untimely' | 'wrong'; readonly wrong: Wrong } | 'limit';

/**
 * Checks signatures. It remembers valid signatures of authority sections, because the SOA and NSEC records of a zone
 * come again with every denial. Answers are stored in the cache as a whole, so their signatures need not be remembered.
 */
export class Verifier {
  private readonly remembered: Bounded<Remembered> = bounded<Remembered>(REMEMBERED_BYTES, () => undefined);

  /** @param prepared left out: keys are not prepared */
  constructor(private readonly prepared?: PreparedKeys) {}

  /**
   * Whether one of the keys signed this RRset.
   * @param zone the owner of the keys
   */
  *check(set: RRset, zone: Name, keys: readonly Dnskey[], wallNow: WallSec, budget: Budget): Steps<SignatureCheck> {
    const { owner, signatures } = set;
    const labels = labelCount(owner) - (hasWildcardLabel(owner) ? 1 : 0);
    const zoneLabels = labelCount(zone);
    let worst: Wrong = 'none';
    let blamed: Signature | undefined;
    let untimely: Signature | undefined;
    let tried = 0;
    // RFC 6840 §5.4: any good one is enough, whatever stands beside it.
    for (const signature of longestFirst(signatures)) {
      if (signature.signer !== zone) continue;
      const usable = usableKeys(signature, keys);
      if (usable > 0 && usable <= MOST_SAME_TAG) tried++;
      let wrong = hindrance(signature, keys, usable, tried, labels, zoneLabels);
      if (wrong === 'key_tags' || wrong === 'signatures') budget.exceed(wrong);
      if (wrong === undefined) {
        const attempt = yield* this.attempt(set, signature, keys, wallNow, budget);
        if (attempt === 'limit') return { at: 'flawed', flaw: flawOf(set, zone, 'signatures', signature) };
        if (attempt.at === 'good')
          return {
            at: 'good',
            signature,
            ttlSec: ttlOf(set, signature, wallNow),
            expanded: signature.labels < labels,
          };
        if (attempt.at === 'untimely') untimely ??= signature;
        wrong = attempt.wrong;
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
  }

  /** Checks one signature with each key that may have made it. */
  private *attempt(
    set: RRset,
    signature: Signature,
    keys: readonly Dnskey[],
    wallNow: WallSec,
    budget: Budget,
  ): Steps<SignatureAttempt> {
    // A signature with wrong dates is checked, too: if the clock is known to be wrong, dates do not count.
    const time = timeOf(signature, wallNow);
    const data = signedOctets(set, signature);
    for (const key of keys) {
      if (!isOf(signature, key) || !key.isZoneKey || key.isRevoked) continue;
      // Some keys are slow to check, and some zones have many: other questions get a turn in between.
      while (budget.mustPause) yield PAUSE;
      const good = this.verifies(key, data, signature.octets, set.section === 'authority', budget);
      if (good === 'limit') return 'limit';
      if (good) return time === 'current' ? GOOD : { at: 'untimely', wrong: time };
    }
    return { at: 'wrong', wrong: time === 'current' ? 'wrong' : time };
  }

  private verifies(
    key: Dnskey,
    data: Buffer,
    signature: Buffer,
    comesAgain: boolean,
    budget: Budget,
  ): boolean | 'limit' {
    const id = comesAgain ? signature.toString('latin1') : '';
    const text = comesAgain ? data.toString('latin1') : '';
    const known = comesAgain ? this.remembered.get(id) : undefined;
    if (known?.key === key && known.data === text) return true;
    if (!budget.takeCheck(key.weight)) return 'limit';
    const isGood = this.prepared?.verifies(key, data, signature) ?? key.verifies(data, signature);
    if (!isGood) return false;
    if (comesAgain) this.remembered.set(id, { key, data: text }, text.length + 2 * id.length);
    return true;
  }
}

const GOOD = { at: 'good' } as const;

/** How many keys may have made a signature and may sign records of the zone. */
function usableKeys(signature: Signature, keys: readonly Dnskey[]): number {
  let usable = 0;
  for (const key of keys) if (isOf(signature, key) && key.isZoneKey && !key.isRevoked) usable++;
  return usable;
}

/** Why a signature need not be checked; undefined: it must be. */
function hindrance(
  signature: Signature,
  keys: readonly Dnskey[],
  usable: number,
  tried: number,
  ownerLabels: number,
  zoneLabels: number,
): Wrong | undefined {
  if (usable === 0) return keys.some(key => isOf(signature, key)) ? 'no_zone_key' : 'no_key';
  if (usable > MOST_SAME_TAG) return 'key_tags';
  if (tried > MOST_SIGNATURES) return 'signatures';
  if (signature.labels > ownerLabels) return 'longer';
  if (signature.labels < zoneLabels) return 'shorter';
  return before(signature.expiration, signature.inception) ? 'backwards' : undefined;
}

/** Those that do not speak of a wildcard come first: they need no proof that the wildcard applies. */
const longestFirst = (signatures: readonly Signature[]): readonly Signature[] =>
  signatures.length < 2 ? signatures : signatures.toSorted((a, b) => b.labels - a.labels);

const isOf = ({ keyTag, algorithm }: Signature, key: Dnskey): boolean =>
  key.tag === keyTag && key.algorithm === algorithm;

/** RFC 4035 §5.3.3: the TTL is the lowest of these. */
const ttlOf = (set: RRset, signature: Signature, wallNow: WallSec): number =>
  Math.max(0, Math.min(set.ttlSec, signature.ttlSec, signature.originalTtlSec, untilExpiration(signature, wallNow)));

/** Whether this key has signed an RRset, whatever the key's flags: a key revokes itself in this way (RFC 5011 §2.1). */
export const signedBy = (set: RRset, key: Dnskey, wallNow: WallSec): boolean =>
  set.signatures.some(
    signature =>
      isOf(signature, key) &&
      signature.signer === set.owner &&
      timeOf(signature, wallNow) === 'current' &&
      key.verifies(signedOctets(set, signature), signature.octets),
  );

/** Seconds until a signature expires; 1 if it is accepted although it has just expired. */
export function untilExpiration({ expiration }: Signature, wallNow: WallSec): number {
  const left = (expiration - (wallNow >>> 0)) | 0;
  return left > 0 ? left : 1;
}
