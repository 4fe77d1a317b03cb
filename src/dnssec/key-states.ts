// The states of a key at a trust point, and how they change (RFC 5011 §4). Pure.
//
//   pending   announced, and signed by a trusted key: trusted itself after the hold-down time
//   valid     trusted
//   missing   trusted, though the zone does not show it at the moment
//   revoked   taken back by a signature of its own, for ever
//   removed   revoked a while ago; remembered so that it is never trusted again

import { type WallSec, wallSec } from '../base/time.js';
import type { Dnskey } from './dnskey.js';
import type { Name } from './name.js';

/** All states. */
export const KEY_STATES = ['pending', 'valid', 'missing', 'revoked', 'removed'] as const;
/** The state of a key at a trust point. */
export type KeyState = (typeof KEY_STATES)[number];

/** A key that has been seen at a trust point. */
export interface TrackedKey {
  /** The key, without the REVOKE bit. */
  readonly key: Dnskey;
  readonly state: KeyState;
  /** When it entered this state. */
  readonly since: WallSec;
  /** For a pending key: when it becomes trusted. For others 0. */
  readonly until: WallSec;
}

/** What the DNSKEY RRset of a trust point shows. */
export interface KeyObservation {
  /** Its keys with the SEP flag, not revoked; undefined: no trusted key has signed the RRset. */
  readonly present: readonly Dnskey[] | undefined;
  /** Those of them that are trusted by configuration. */
  readonly configured: ReadonlySet<Dnskey>;
  /** Keys that their own signature revokes, without the REVOKE bit. */
  readonly revoked: readonly Dnskey[];
  readonly ttlSec: number;
}

/** RFC 5011 §2.4.1, §2.4.2 */
const HOLD_DOWN_SEC = 30 * 86_400;
/** The most keys that are remembered for a trust point, even if the zone publishes new ones all the time. */
export const MOST_TRACKED_KEYS = 32;
const NEVER = wallSec(0);

/** Whether two keys have the same RDATA. */
export const sameKey = (a: Dnskey, b: Dnskey): boolean => a.rdata.equals(b.rdata);

/** RFC 5011 §4: the keys of a trust point after its DNSKEY RRset was checked. */
export function transition(
  keys: readonly TrackedKey[],
  { present, configured, revoked, ttlSec }: KeyObservation,
  wallNow: WallSec,
): readonly TrackedKey[] {
  const moved = keys.flatMap((each): TrackedKey[] => {
    const to = (state: KeyState): TrackedKey[] => [{ ...each, state, since: wallNow, until: NEVER }];
    if (each.state !== 'removed' && each.state !== 'revoked' && revoked.some(key => sameKey(key, each.key)))
      return to('revoked');
    const shown = present?.some(key => sameKey(key, each.key));
    switch (each.state) {
      case 'pending':
        // RFC 5011 §2.2: a key that disappears in the hold-down time starts anew.
        if (shown === false) return [];
        return shown === true && wallNow >= each.until ? to('valid') : [each];
      case 'valid':
        return shown === false ? to('missing') : [each];
      case 'missing':
        return shown === true ? to('valid') : [each];
      case 'revoked':
        return wallNow >= each.since + HOLD_DOWN_SEC ? to('removed') : [each];
      case 'removed':
        return [each];
    }
  });
  const added = (present ?? [])
    .filter(key => !keys.some(each => sameKey(each.key, key)))
    .map((key): TrackedKey =>
      configured.has(key)
        ? { key, state: 'valid', since: wallNow, until: NEVER }
        : { key, state: 'pending', since: wallNow, until: wallSec(wallNow + Math.max(HOLD_DOWN_SEC, ttlSec)) },
    );
  return [...moved, ...added].slice(0, MOST_TRACKED_KEYS);
}

/** A zone with its own trust anchors. */
export interface TrustPoint {
  readonly zone: Name;
  readonly keys: readonly TrackedKey[];
  /** When it was last checked successfully; 0: never. */
  readonly checked: WallSec;
  /** When it is checked next. */
  readonly due: WallSec;
}
