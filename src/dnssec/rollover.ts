// Trust anchors that change (RFC 5011): a zone announces new keys and revokes old ones. The configuration says which
// keys are trusted at first. Later changes are stored in a file.

import { type WallSec, wallSec } from '../base/time.js';
import { type Anchor } from './anchors.js';
import { type Dnskey, dsMatches } from './dnskey.js';
import { MOST_TRACKED_KEYS, sameKey, type TrackedKey, transition, type TrustPoint } from './key-states.js';
import type { Name } from './name.js';
import type { RRset } from './rrset.js';
import { signedBy } from './signature.js';
import { MOST_POINTS, readTrustFile, trustFileText } from './trust-file.js';

const HOUR_SEC = 3600;
/** RFC 5011 §2.3: a trust point is checked again after at most this. */
const LONGEST_WAIT_SEC = 15 * 86_400;

/** A change to be reported to the operator. */
export interface KeyChange {
  readonly zone: Name;
  readonly key: TrackedKey;
}

/** The trust points, with the known keys of each. */
export class TrustPoints {
  private readonly byZone: ReadonlyMap<Name, { readonly anchor: Anchor; point: TrustPoint }>;
  /** Trust points of anchors that are not configured now. They count again when their anchors are configured again. */
  private readonly dormant: readonly TrustPoint[];
  private trusted: readonly Anchor[];

  /**
   * @param configured one anchor for each zone
   * @param saved what `save` returned, maybe with other anchors
   */
  constructor(configured: readonly Anchor[], saved: string) {
    const known = readTrustFile(saved);
    const counting = new Set<TrustPoint>();
    this.byZone = new Map(
      configured.map(anchor => {
        const own = known.filter(point => point.zone === anchor.zone && descends(point, anchor));
        for (const point of own) counting.add(point);
        return [anchor.zone, { anchor, point: merged(anchor.zone, own) }];
      }),
    );
    this.dormant = known.filter(point => !counting.has(point) && point.keys.length > 0);
    this.trusted = this.trustedNow();
  }

  /** The keys that are trusted now. */
  get anchors(): readonly Anchor[] {
    return this.trusted;
  }

  /** Zones of which no key is trusted any more: everything in them counts as unsigned (RFC 5011 §5). */
  get lost(): readonly Name[] {
    return this.trusted.filter(({ ds, keys }) => ds.length + keys.length === 0).map(({ zone }) => zone);
  }

  get points(): readonly TrustPoint[] {
    return [...this.byZone.values()].map(({ point }) => point);
  }

  /**
   * The trust points to be checked now. One that is due later than is possible has a wrong time, and is not included.
   */
  dueAt(wallNow: WallSec): readonly TrustPoint[] {
    return this.points.filter(({ due }) => due <= wallNow || due > wallNow + LONGEST_WAIT_SEC);
  }

  private trustedNow(): readonly Anchor[] {
    return [...this.byZone.values()].map(({ anchor, point }) => {
      const gone = point.keys.filter(({ state }) => state === 'revoked' || state === 'removed');
      const learned = point.keys.filter(({ state }) => state === 'valid' || state === 'missing');
      const keys = [
        ...anchor.keys.filter(key => !gone.some(each => sameKey(each.key, key))),
        ...learned.map(({ key }) => key),
      ];
      return {
        zone: anchor.zone,
        ds: anchor.ds.filter(ds => !gone.some(({ key }) => key.tag === ds.tag && dsMatches(ds, anchor.zone, key))),
        keys: keys.filter((key, i) => keys.findIndex(each => sameKey(each, key)) === i),
      };
    });
  }

  /** Notes a zone's DNSKEY RRset; `validated`: a trusted key has signed it. */
  seen(zone: Name, keys: readonly Dnskey[], set: RRset, validated: boolean, wallNow: WallSec): readonly KeyChange[] {
    const now = wallSec(Math.floor(wallNow));
    const entry = this.byZone.get(zone);
    if (entry === undefined) return [];
    const { anchor, point } = entry;
    const present = keys.filter(key => key.isZoneKey && key.isSep && !key.isRevoked);
    const revoked = revokedKeys(entry, keys, set, now);
    // A revoked key that was only configured is tracked from now on, so that it stays revoked.
    const before = [
      ...point.keys,
      ...revoked
        .filter(key => !point.keys.some(each => sameKey(each.key, key)))
        .map((key): TrackedKey => ({ key, state: 'valid', since: now, until: wallSec(0) })),
    ];
    const after = transition(
      before,
      {
        present: validated ? present : undefined,
        configured: new Set(present.filter(key => isConfigured(anchor, key))),
        revoked,
        ttlSec: set.ttlSec,
      },
      now,
    );
    entry.point = validated
      ? { zone, keys: after, checked: now, due: wallSec(now + waitSec(set, now)) }
      : { ...point, keys: after, due: wallSec(now + HOUR_SEC) };
    this.trusted = this.trustedNow();
    return after
      .filter(each => !point.keys.some(old => sameKey(old.key, each.key) && old.state === each.state))
      .map(key => ({ zone, key }));
  }

  /** A zone's keys could not be fetched. */
  failed(zone: Name, wallNow: WallSec): void {
    const entry = this.byZone.get(zone);
    if (entry !== undefined) entry.point = { ...entry.point, due: wallSec(Math.floor(wallNow) + HOUR_SEC) };
  }

  /** The trust points as text, for a file, or for trust points with other anchors. */
  save(): string {
    return trustFileText([...this.points, ...this.dormant].slice(0, MOST_POINTS));
  }
}

/**
 * Makes the trust points. After a reload with other anchors, they are made from what the old ones `save`.
 * @param saved what `save` returned; text that cannot be read is ignored
 */
export const trustPoints = (configured: readonly Anchor[], saved = ''): TrustPoints =>
  new TrustPoints(configured, saved);

/** Merges saved trust points of one zone. A key that was ever revoked stays revoked. */
function merged(zone: Name, points: readonly TrustPoint[]): TrustPoint {
  const keys: TrackedKey[] = [];
  for (const each of points.flatMap(point => point.keys)) {
    const i = keys.findIndex(({ key }) => sameKey(key, each.key));
    if (i === -1) keys.push(each);
    else if (each.state === 'revoked' || each.state === 'removed') keys[i] = each;
  }
  const [first] = points;
  const never = wallSec(0);
  return { zone, keys: keys.slice(0, MOST_TRACKED_KEYS), checked: first?.checked ?? never, due: first?.due ?? never };
}

const isConfigured = ({ zone, ds, keys }: Anchor, key: Dnskey): boolean =>
  keys.some(each => sameKey(each, key)) ||
  ds.some(each => each.tag === key.tag && each.algorithm === key.algorithm && dsMatches(each, zone, key));

/**
 * Whether a saved trust point is used with this anchor. One of the keys that were trusted when it was saved must be in
 * the anchor; a pending key does not count.
 */
const descends = ({ keys }: TrustPoint, anchor: Anchor): boolean =>
  keys.some(({ key, state }) => state !== 'pending' && isConfigured(anchor, key));

/**
 * The keys of an RRset that their own signature revokes (RFC 5011 §2.1), without the REVOKE bit. Only keys in use are
 * checked.
 */
function revokedKeys(
  { anchor, point }: { readonly anchor: Anchor; readonly point: TrustPoint },
  keys: readonly Dnskey[],
  set: RRset,
  wallNow: WallSec,
): Dnskey[] {
  return keys
    .filter(key => key.isRevoked)
    .flatMap(key => {
      const before = key.unrevoked();
      const matters = point.keys.some(each => sameKey(each.key, before)) || isConfigured(anchor, before);
      return matters && signedBy(set, key, wallNow) ? [before] : [];
    });
}

/** RFC 5011 §2.3: half the TTL or half the remaining validity of the signatures; at least an hour. */
function waitSec({ ttlSec, signatures }: RRset, wallNow: WallSec): number {
  const leftSec = Math.min(...signatures.map(({ expiration }) => (expiration - (wallNow >>> 0)) | 0));
  return Math.floor(Math.max(HOUR_SEC, Math.min(LONGEST_WAIT_SEC, ttlSec / 2, leftSec / 2)));
}
