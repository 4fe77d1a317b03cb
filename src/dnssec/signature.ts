// Checking the signatures of an RRset (RFC 4035 §5.3).

import { bounded } from '../base/bounded.js';
import type { FailureCode } from '../base/outcome.js';
import { typeToText } from '../wire/rrtype.js';
import type { Budget } from './budget.js';
import { algorithmText, type Dnskey } from './dnskey.js';
import { ancestorOf, isWildcard, labelCount, type Name, nameText, octetsOf, wildcardOf } from './name.js';
import type { RRset, Signature } from './rrset.js';
import type { Steps } from './steps.js';

/** Why something is not what its zone signed. */
export interface Flaw {
  readonly code: FailureCode;
  /** Which zone, which key, what exactly. */
  readonly detail: string;
}

/** What came of it. */
export type Checked =
  | { readonly at: 'good'; readonly signature: Signature; /** How long that holds. */ readonly ttlSec: number; /** It was made from a wildcard. */ readonly expanded: boolean }
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
const before = (a: number, b: number): boolean => a !== b && ((b - a) >>> 0) < 0x80000000;

/** Where now lies beside the dates of a signature, clocks that are a little off allowed for. */
function timeOf({ inception, expiration }: Signature, nowSec: number): 'current' | 'expired' | 'early' {
  const now = nowSec >>> 0;
  const skew = Math.min(Math.max(((expiration - inception) >>> 0) / 10, HOUR_SEC), DAY_SEC);
  if (before(expiration, now) && ((now - expiration) >>> 0) > skew) return 'expired';
  if (before(now, inception) && ((inception - now) >>> 0) > skew) return 'early';
  return 'current';
}

/** The octets that were signed (RFC 4034 §3.1.8.1). */
export function signedOctets(set: RRset, signature: Signature): Buffer {
  // RFC 4035 §5.3.2: fewer labels than the owner has means that a wildcard was signed, and the owner made from it.
  const labels = labelCount(set.owner);
  const owner = octetsOf(signature.labels < labels && !(isWildcard(set.owner) && signature.labels === labels - 1)
    ? wildcardOf(ancestorOf(set.owner, signature.labels)) : set.owner);
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
    out.writeUInt16BE(set.type, at);
    out.writeUInt16BE(1, at + 2);
    out.writeUInt32BE(signature.originalTtlSec, at + 4);
    out.writeUInt16BE(each.length, at + 8);
    at += 10 + each.copy(out, at + 10);
  }
  return out.subarray(0, at);
}

interface Remembered {
  readonly key: Dnskey;
  readonly data: Buffer;
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

const rank = (code: FailureCode): number => ['rrsigs_missing', 'dnskey_missing', 'no_zone_key', 'bogus', 'signature_early', 'signature_expired', 'dnssec_limit'].indexOf(code);

/** Makes a Verifier. It remembers good signatures: a zone's SOA and NSEC records come again with every denial. */
export function verifier(): Verifier {
  const remembered = bounded<Remembered>(REMEMBERED_BYTES, () => undefined);

  function verifies(key: Dnskey, data: Buffer, signature: Buffer, budget: Budget): boolean | 'limit' {
    const id = signature.toString('latin1');
    const known = remembered.get(id);
    if (known?.key === key && known.data.equals(data)) return true;
    if (!budget.takeCheck(key.weight)) return 'limit';
    if (!key.verifies(data, signature)) return false;
    remembered.set(id, { key, data }, data.length + 2 * id.length);
    return true;
  }

  return {
    *check(set, zone, keys, nowSec, budget) {
      const what = `${nameText(set.owner)} ${typeToText(set.type)}`;
      let flaw: Flaw = { code: 'rrsigs_missing', detail: `${what} has no signature of ${nameText(zone)}` };
      let untimely: Checked | undefined;
      const worse = (code: FailureCode, detail: () => string): void => {
        if (rank(code) > rank(flaw.code)) flaw = { code, detail: detail() };
      };
      const [first] = set.signatures;
      // An RRset is in one zone, under one name: signatures that do not agree on these were not made for it.
      if (set.signatures.some(each => each.signer !== first?.signer || each.labels !== first.labels)) {
        return { at: 'flawed', flaw: { code: 'bogus', detail: `${what}: its signatures do not agree on who signed what` } };
      }
      const labels = labelCount(set.owner) - (isWildcard(set.owner) ? 1 : 0);
      let tried = 0;
      for (const signature of set.signatures) {
        if (signature.signer !== zone) continue;
        const by = (): string => `${what}: its signature by key ${signature.keyTag} (${algorithmText(signature.algorithm)}) of ${nameText(zone)}`;
        const candidates = keys.filter(key => key.tag === signature.keyTag && key.algorithm === signature.algorithm);
        if (candidates.length === 0) {
          worse('dnskey_missing', () => `${by()}: ${nameText(zone)} has no such key`);
          continue;
        }
        const usable = candidates.filter(key => key.isZoneKey && !key.isRevoked);
        if (usable.length === 0) {
          worse('no_zone_key', () => `${by()}: that key may not sign records of the zone`);
          continue;
        }
        if (usable.length > MOST_SAME_TAG || ++tried > MOST_SIGNATURES) {
          budget.exceed(usable.length > MOST_SAME_TAG ? 'key_tags' : 'signatures');
          worse('dnssec_limit', () => `${what}: ${usable.length > MOST_SAME_TAG ? `${usable.length} keys of ${nameText(zone)} have tag ${signature.keyTag}` : `more than ${MOST_SIGNATURES} signatures`}`);
          continue;
        }
        if (signature.labels > labels) {
          worse('bogus', () => `${by()} speaks of a longer name`);
          continue;
        }
        const time = timeOf(signature, nowSec);
        // Its dates are wrong: whether it is good beside that matters only where there is no better one.
        if (time !== 'current') {
          worse(time === 'expired' ? 'signature_expired' : 'signature_early',
            () => `${by()} ${time === 'expired' ? `expired ${dateText(signature.expiration)}` : `is not valid before ${dateText(signature.inception)}`}`);
        }
        const data = signedOctets(set, signature);
        for (const key of usable) {
          // Some keys take long, and some zones have many: not all in one go.
          while (budget.turn.isOver) yield { at: 'pause' };
          const good = verifies(key, data, signature.octets, budget);
          if (good === 'limit') return { at: 'flawed', flaw: { code: 'dnssec_limit', detail: `${what}: too many signatures to check` } };
          if (!good) continue;
          const expanded = signature.labels < labels;
          if (time !== 'current') {
            untimely ??= { at: 'untimely', flaw, expanded, signature };
            break;
          }
          // RFC 4035 §5.3.3: not longer than any of these says.
          const ttlSec = Math.max(0, Math.min(set.ttlSec, signature.ttlSec, signature.originalTtlSec, untilExpiration(signature, nowSec)));
          return { at: 'good', signature, ttlSec, expanded };
        }
        if (time === 'current') worse('bogus', () => `${by()} is wrong`);
      }
      return untimely ?? { at: 'flawed', flaw };
    },
  };
}

/** Whether this very key has signed an RRset, whatever its flags: how a key is revoked (RFC 5011 §2.1). */
export const signedBy = (set: RRset, key: Dnskey, nowSec: number): boolean => set.signatures.some(signature =>
  signature.keyTag === key.tag && signature.algorithm === key.algorithm && signature.signer === set.owner
  && timeOf(signature, nowSec) === 'current' && key.verifies(signedOctets(set, signature), signature.octets));

/** Seconds until a signature expires; one that is accepted a little late has a moment. */
function untilExpiration({ expiration }: Signature, nowSec: number): number {
  const left = (expiration - (nowSec >>> 0)) | 0;
  return left > 0 ? left : 1;
}

/** RRSIG times as people write them; exact until 2106. */
const dateText = (sec: number): string => new Date(sec * 1000).toISOString().replace('.000Z', 'Z');
