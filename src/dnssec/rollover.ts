// Trust anchors that live (RFC 5011): which keys are believed changes as a zone announces new ones and revokes old ones. What
// is configured is where it begins; what was learned is kept in a file.
//
//   pending   announced, and signed by a key that is believed: believed itself after the hold-down time
//   valid     believed
//   missing   believed, though the zone does not show it at the moment
//   revoked   taken back by a signature of its own, for ever
//   removed   revoked a while ago, and forgotten but for that

import type { Anchor } from './anchors.js';
import { Dnskey, dsMatches } from './dnskey.js';
import { type Name, nameOf, nameText } from './name.js';
import type { RRset } from './rrset.js';
import { signedBy } from './signature.js';
import { nameFromText } from '../wire/name.js';

const STATES = ['pending', 'valid', 'missing', 'revoked', 'removed'] as const;
export type KeyState = (typeof STATES)[number];

/** A key that has been seen at a trust point. */
export interface TrackedKey {
  /** As it was before it was revoked. */
  readonly key: Dnskey;
  readonly state: KeyState;
  /** Seconds since 1970. */
  readonly sinceSec: number;
  /** Of a pending one: when it will be believed. */
  readonly untilSec: number;
}

/** What a zone showed. */
export interface Sight {
  /** Its keys with the SEP flag, not revoked; undefined: nobody who is believed has signed them. */
  readonly present: readonly Dnskey[] | undefined;
  /** Those of them that are believed by configuration. */
  readonly configured: ReadonlySet<Dnskey>;
  /** Its keys that are revoked by their own signature, as they were before. */
  readonly revoked: readonly Dnskey[];
  readonly ttlSec: number;
}

const DAY_SEC = 86_400;
/** RFC 5011 §2.4.1, §2.4.2 */
const HOLD_DOWN_SEC = 30 * DAY_SEC;
const HOUR_SEC = 3600;
/** A zone that shows new keys all the time does not fill the memory. */
const MOST_TRACKED = 32;

const same = (a: Dnskey, b: Dnskey): boolean => a.rdata.equals(b.rdata);

/** RFC 5011 §4: what becomes of the keys of a trust point when it was looked at. */
export function transition(
  keys: readonly TrackedKey[],
  { present, configured, revoked, ttlSec }: Sight,
  nowSec: number,
): readonly TrackedKey[] {
  const moved = keys.flatMap((each): TrackedKey[] => {
    const to = (state: KeyState): TrackedKey[] => [{ ...each, state, sinceSec: nowSec, untilSec: 0 }];
    if (each.state !== 'removed' && each.state !== 'revoked' && revoked.some(key => same(key, each.key)))
      return to('revoked');
    const shown = present?.some(key => same(key, each.key));
    switch (each.state) {
      case 'pending':
        // Gone before its time: it was never there.
        if (shown === false) return [];
        return shown === true && nowSec >= each.untilSec ? to('valid') : [each];
      case 'valid':
        return shown === false ? to('missing') : [each];
      case 'missing':
        return shown === true ? to('valid') : [each];
      case 'revoked':
        return nowSec >= each.sinceSec + HOLD_DOWN_SEC ? to('removed') : [each];
      case 'removed':
        return [each];
    }
  });
  const added = (present ?? [])
    .filter(key => !keys.some(each => same(each.key, key)))
    .map((key): TrackedKey =>
      configured.has(key)
        ? { key, state: 'valid', sinceSec: nowSec, untilSec: 0 }
        : { key, state: 'pending', sinceSec: nowSec, untilSec: nowSec + Math.max(HOLD_DOWN_SEC, ttlSec) },
    );
  return [...moved, ...added].slice(0, MOST_TRACKED);
}

/** A change that an operator should know. */
export interface Change {
  readonly zone: Name;
  readonly key: TrackedKey;
}

/** A zone with anchors of its own. */
export interface TrustPoint {
  readonly zone: Name;
  readonly keys: readonly TrackedKey[];
  /** When it was last looked at with success, seconds since 1970; 0: never. */
  readonly checkedSec: number;
  /** When it is to be looked at again. */
  readonly dueSec: number;
}

/** The trust points. */
export interface TrustPoints {
  /** What is believed now. */
  readonly anchors: readonly Anchor[];
  readonly points: readonly TrustPoint[];
  /** Takes note of a zone's DNSKEY RRset; `validated`: a believed key has signed it. */
  seen(zone: Name, keys: readonly Dnskey[], set: RRset, validated: boolean, wallSec: number): readonly Change[];
  /** A zone's keys could not be looked at. */
  failed(zone: Name, wallSec: number): void;
  /** For a file. */
  save(): string;
}

/**
 * Makes the trust points.
 * @param saved what `save` gave; what can not be read is as if it were not there
 */
export function trustPoints(configured: readonly Anchor[], saved = ''): TrustPoints {
  const isConfigured = ({ zone, ds, keys }: Anchor, key: Dnskey): boolean =>
    keys.some(each => same(each, key)) ||
    ds.some(each => each.tag === key.tag && each.algorithm === key.algorithm && dsMatches(each, zone, key));
  const savedPoints = parse(saved);
  const points = new Map<Name, TrustPoint>(
    configured.map(anchor => {
      const known = savedPoints.find(({ zone }) => zone === anchor.zone);
      // What was learned came from keys that were believed then: it counts as long as one of them is configured still.
      const descends = known?.keys.some(({ key }) => isConfigured(anchor, key)) === true;
      return [
        anchor.zone,
        known !== undefined && descends ? known : { zone: anchor.zone, keys: [], checkedSec: 0, dueSec: 0 },
      ];
    }),
  );
  const believed = (): readonly Anchor[] =>
    configured.map(anchor => {
      const tracked = points.get(anchor.zone)?.keys ?? [];
      const gone = tracked.filter(({ state }) => state === 'revoked' || state === 'removed');
      const isGone = (key: Dnskey): boolean => gone.some(each => same(each.key, key));
      const keys = [
        ...anchor.keys.filter(key => !isGone(key)),
        ...tracked.filter(({ state }) => state === 'valid' || state === 'missing').map(({ key }) => key),
      ];
      return {
        zone: anchor.zone,
        ds: anchor.ds.filter(ds => !gone.some(({ key }) => key.tag === ds.tag && dsMatches(ds, anchor.zone, key))),
        keys: keys.filter((key, i) => keys.findIndex(each => same(each, key)) === i),
      };
    });
  let anchors = believed();

  return {
    get anchors() {
      return anchors;
    },
    get points() {
      return [...points.values()];
    },
    seen(zone, keys, set, validated, wallSec) {
      const nowSec = Math.floor(wallSec);
      const point = points.get(zone);
      const anchor = configured.find(each => each.zone === zone);
      if (point === undefined || anchor === undefined) return [];
      const present = keys.filter(key => key.isZoneKey && key.isSep && !key.isRevoked);
      const revoked = keys
        .filter(key => key.isRevoked)
        .flatMap(key => {
          const before = key.unrevoked();
          const tracked = point.keys.some(each => same(each.key, before)) || isConfigured(anchor, before);
          return tracked && signedBy(set, key, nowSec) ? [before] : [];
        });
      // A revoked key that was only configured is tracked from now on, so that it stays revoked.
      const before = [
        ...point.keys,
        ...revoked
          .filter(key => !point.keys.some(each => same(each.key, key)))
          .map((key): TrackedKey => ({ key, state: 'valid', sinceSec: nowSec, untilSec: 0 })),
      ];
      const after = transition(
        before,
        {
          present: validated ? present : undefined,
          configured: new Set(present.filter(key => isConfigured(anchor, key))),
          revoked,
          ttlSec: set.ttlSec,
        },
        nowSec,
      );
      const leftSec = Math.min(...set.signatures.map(({ expiration }) => (expiration - (nowSec >>> 0)) | 0));
      points.set(
        zone,
        validated
          ? // RFC 5011 §2.3
            {
              zone,
              keys: after,
              checkedSec: nowSec,
              dueSec: nowSec + Math.floor(Math.max(HOUR_SEC, Math.min(15 * DAY_SEC, set.ttlSec / 2, leftSec / 2))),
            }
          : { ...point, keys: after, dueSec: nowSec + HOUR_SEC },
      );
      const changes = after.filter(
        each => !point.keys.some(old => same(old.key, each.key) && old.state === each.state),
      );
      anchors = believed();
      return changes.map(key => ({ zone, key }));
    },
    failed(zone, wallSec) {
      const point = points.get(zone);
      if (point !== undefined) points.set(zone, { ...point, dueSec: Math.floor(wallSec) + HOUR_SEC });
    },
    save: () =>
      JSON.stringify(
        {
          version: 1,
          points: [...points.values()].map(({ zone, keys, checkedSec, dueSec }) => ({
            zone: nameText(zone),
            checkedSec,
            dueSec,
            keys: keys.map(({ key, ...rest }) => ({ tag: key.tag, ...rest, dnskey: key.rdata.toString('base64') })),
          })),
        },
        undefined,
        1,
      ),
  };
}

function parse(saved: string): TrustPoint[] {
  try {
    const { version, points } = JSON.parse(saved) as { version?: unknown; points?: unknown };
    return version === 1 && Array.isArray(points) ? points.flatMap(readPoint) : [];
  } catch {
    return [];
  }
}

function readPoint(value: unknown): TrustPoint[] {
  const { zone, keys, checkedSec, dueSec } = value as {
    zone?: unknown;
    keys?: unknown;
    checkedSec?: unknown;
    dueSec?: unknown;
  };
  const wire = typeof zone === 'string' ? nameFromText(zone) : undefined;
  if (wire === undefined || !Array.isArray(keys) || !isTime(checkedSec) || !isTime(dueSec)) return [];
  return [{ zone: nameOf(wire), checkedSec, dueSec, keys: keys.flatMap(readKey).slice(0, MOST_TRACKED) }];
}

function readKey(value: unknown): TrackedKey[] {
  const { dnskey, state, sinceSec, untilSec } = value as {
    dnskey?: unknown;
    state?: unknown;
    sinceSec?: unknown;
    untilSec?: unknown;
  };
  const key = typeof dnskey === 'string' ? Dnskey.read(Buffer.from(dnskey, 'base64')) : undefined;
  const known = STATES.find(each => each === state);
  return key !== undefined && known !== undefined && isTime(sinceSec) && isTime(untilSec)
    ? [{ key, state: known, sinceSec, untilSec }]
    : [];
}

const isTime = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value) && value >= 0;
