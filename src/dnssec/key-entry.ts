// Finds which keys of a zone its parent's DS records, or the trust anchor, make trusted (RFC 4035 §5.2). Pure: nothing
// is fetched, and no signature is checked.

import type { DnssecLimit } from '../base/observer.js';
import { EDE } from '../base/outcome.js';
import type { ExtendedError } from '../wire/edns.js';
import {
  algorithmText,
  Dnskey,
  type Ds,
  dsMatches,
  knowsAlgorithm,
  knowsDigest,
  MOST_SAME_TAG,
  SHA1_DIGEST,
  type Sha1,
} from './dnskey.js';
import { type Name, nameText, ROOT_NAME } from './name.js';
import type { RRset } from './rrset.js';
import type { Flaw } from './signature.js';

/** The most keys of a zone; a DNSKEY RRset with more costs too much. */
const MOST_KEYS = 16;
/** The most DS records that match a key by tag and algorithm, but not by digest. */
const MOST_FAILED_DS = 4;

/** The trusted DS records or keys of a zone. */
export interface TrustedKeys {
  readonly ds: readonly Ds[];
  readonly keys: readonly Dnskey[];
}

/** The usable part of the DS records of a delegation. */
export type Delegation =
  | { readonly at: 'usable'; readonly trusted: TrustedKeys }
  /** All have algorithms or digests that are not supported: the zone counts as unsigned (RFC 4035 §5.2). */
  | { readonly at: 'unsigned'; readonly why: ExtendedError };

const isUsable = (ds: Ds, sha1: Sha1): boolean =>
  knowsAlgorithm(ds.algorithm, sha1) && knowsDigest(ds.digestType, sha1);

/** Selects the usable DS records of a zone. */
export function delegationOf(zone: Name, all: readonly Ds[], sha1: Sha1): Delegation {
  const usable = all.filter(ds => isUsable(ds, sha1));
  if (usable.length === 0) {
    const digest = all.find(ds => knowsAlgorithm(ds.algorithm, sha1));
    const algorithms = [...new Set(all.map(ds => algorithmText(ds.algorithm)))].join(', ');
    return {
      at: 'unsigned',
      why:
        digest === undefined
          ? { infoCode: EDE.UNSUPPORTED_DNSKEY_ALGORITHM, text: `${nameText(zone)} is signed with ${algorithms} only` }
          : {
              infoCode: EDE.UNSUPPORTED_DS_DIGEST,
              text: `the DS of ${nameText(zone)} has digest type ${digest.digestType} only`,
            },
    };
  }
  // RFC 4509 §3: SHA-1 digests are ignored beside better ones.
  const strong = usable.filter(ds => ds.digestType !== SHA1_DIGEST);
  return { at: 'usable', trusted: { ds: strong.length > 0 ? strong : usable, keys: [] } };
}

/** Selects the usable part of a trust anchor. */
export function usableAnchor(zone: Name, { ds, keys }: TrustedKeys, sha1: Sha1): Delegation {
  const trusted = {
    ds: ds.filter(each => isUsable(each, sha1)),
    keys: keys.filter(key => knowsAlgorithm(key.algorithm, sha1)),
  };
  return trusted.ds.length + trusted.keys.length > 0
    ? { at: 'usable', trusted }
    : {
        at: 'unsigned',
        why: { infoCode: EDE.UNSUPPORTED_DNSKEY_ALGORITHM, text: `no trust anchor of ${nameText(zone)} can be used` },
      };
}

/** The keys of a zone, and which of them are trusted. */
export type KeyEntry =
  /** One of `entries` must have signed the DNSKEY RRset. One chain that is valid is enough (RFC 6840 §5.11). */
  | { readonly at: 'entry'; readonly keys: readonly Dnskey[]; readonly entries: readonly Dnskey[] }
  /** None is trusted. */
  | { readonly at: 'no_entry'; readonly keys: readonly Dnskey[]; readonly flaw: Flaw }
  /** Checking them would cost too much. */
  | { readonly at: 'limit'; readonly limit: DnssecLimit; readonly flaw: Flaw };

const limit = (which: DnssecLimit, detail: string): KeyEntry => ({
  at: 'limit',
  limit: which,
  flaw: { code: 'dnssec_limit', detail },
});

/** Finds the trusted keys of a DNSKEY RRset. */
export function keyEntry(zone: Name, set: RRset, trusted: TrustedKeys): KeyEntry {
  const text = nameText(zone);
  const keys = set.rdata.flatMap(rdata => Dnskey.read(rdata) ?? []);
  if (keys.length > MOST_KEYS) return limit('dnskeys', `${text} has ${keys.length} keys, more than ${MOST_KEYS}`);
  const tags = new Map<number, number>();
  for (const { tag } of keys) tags.set(tag, (tags.get(tag) ?? 0) + 1);
  const crowded = [...tags].find(([, count]) => count > MOST_SAME_TAG);
  if (crowded !== undefined) return limit('key_tags', `${crowded[1]} keys of ${text} have the same tag ${crowded[0]}`);

  let flaw: Flaw | undefined;
  let failed = 0;
  const entries = new Set<Dnskey>();
  for (const ds of trusted.ds) {
    for (const key of keys) {
      if (key.tag !== ds.tag || key.algorithm !== ds.algorithm) continue;
      const found = mismatch(ds, zone, key);
      if (found === undefined) entries.add(key);
      else {
        flaw ??= found.flaw;
        if (found.isOtherKey && ++failed >= MOST_FAILED_DS)
          return limit('ds', `${text}: ${failed} DS records speak of keys that do not match them`);
      }
    }
  }
  for (const key of keys)
    if (!key.isRevoked && trusted.keys.some(each => each.rdata.equals(key.rdata))) entries.add(key);
  if (entries.size > 0) return { at: 'entry', keys, entries: [...entries] };
  return { at: 'no_entry', keys, flaw: flaw ?? { code: 'dnskey_missing', detail: missingText(zone, trusted) } };
}

/** Why a DS with the tag and algorithm of a key does not make it trusted; undefined: it does. */
function mismatch(ds: Ds, zone: Name, key: Dnskey): { readonly flaw: Flaw; readonly isOtherKey: boolean } | undefined {
  const text = nameText(zone);
  if (!key.isZoneKey) {
    const detail = `${text}: the DS speaks of key ${key.tag}, which is not a zone key`;
    return { flaw: { code: 'no_zone_key', detail }, isOtherKey: false };
  }
  if (key.isRevoked) {
    const detail = `${text}: the DS speaks of key ${key.tag}, which is revoked`;
    return { flaw: { code: 'dnskey_missing', detail }, isOtherKey: false };
  }
  if (dsMatches(ds, zone, key)) return undefined;
  const detail = `${text}: the DS for key ${ds.tag} is of another key`;
  return { flaw: { code: 'dnskey_missing', detail }, isOtherKey: true };
}

function missingText(zone: Name, { ds, keys }: TrustedKeys): string {
  const tags = [...new Set([...ds, ...keys].map(({ tag }) => tag))].join(', ');
  const source = keys.length > 0 || zone === ROOT_NAME ? 'the trust anchor' : 'its DS';
  return `${nameText(zone)} has no key ${tags}, which ${source} speaks of`;
}
