// The trusted keys: the trust anchors of a plan, with their changes since then (RFC 5011), stored over restarts.

import type { Log } from '../base/ports.js';
import type { WallSec } from '../base/time.js';
import type { Anchor } from '../dnssec/anchors.js';
import { type Name, nameText } from '../dnssec/name.js';
import { type KeyChange, trustPoints, type TrustPoints } from '../dnssec/rollover.js';
import type { OnAnchorKeys } from '../dnssec/chain.js';
import type { StateStore } from '../os/state-store.js';

const STATE_FILE = 'trust-anchors.json';
const MOST_STATE_BYTES = 1 << 20;
const LOST =
  'keys that a zone announces are only believed after they were seen for 30 days, and those days begin anew at the next start';

/** The trust anchors. */
export class Trust {
  private current: TrustPoints;

  constructor(
    private readonly store: StateStore,
    private readonly log: Log,
    anchors: readonly Anchor[],
  ) {
    this.current = trustPoints(anchors, store.read(STATE_FILE, MOST_STATE_BYTES));
    for (const each of this.current.lost) this.tellLost(each);
  }

  /** The trust points as they are now. */
  get points(): TrustPoints {
    return this.current;
  }

  /** Their keys, for the overview. */
  get keys(): readonly { readonly tag: number; readonly state: string }[] {
    return this.current.points.flatMap(({ keys }) => keys.map(({ key, state }) => ({ tag: key.tag, state })));
  }

  /** Trust points of other anchors; known keys of zones that stay are kept. */
  exchanged(anchors: readonly Anchor[]): TrustPoints {
    return trustPoints(anchors, this.current.save());
  }

  /** Replaces the trust points. */
  take(points: TrustPoints): void {
    this.current = points;
    for (const each of points.lost) this.tellLost(each);
    this.save();
  }

  /** The DNSKEY RRset of a trust point was checked. */
  readonly seen: OnAnchorKeys = (zone, keys, set, validated, wallNow) => {
    const before = this.current.lost;
    for (const each of this.current.seen(zone, keys, set, validated, wallNow)) tell(each, this.log);
    for (const each of this.current.lost) if (!before.includes(each)) this.tellLost(each);
    this.save();
  };

  private tellLost(zone: Name): void {
    this.log.error({ zone: nameText(zone) }, lostWords(zone));
  }

  private save(): void {
    this.store.write(STATE_FILE, this.current.save(), LOST);
  }
}

/** What it means that all keys of a zone were revoked, and what to do. */
export const lostWords = (zone: Name): string =>
  `all trust anchors of ${nameText(zone)} were revoked, so nothing in it is validated: put its new keys into dnssec.trust_anchors, or install a newer version`;

const dateOf = (seconds: WallSec | number): string => new Date(seconds * 1000).toISOString().slice(0, 10);

/** Logs a change of a key for the operator. */
function tell({ zone, key: { key, state, until } }: KeyChange, log: Log): void {
  const about = { zone: nameText(zone), key_tag: key.tag, state };
  const name = `key ${key.tag} of ${about.zone}`;
  switch (state) {
    case 'pending': {
      const words = `a trust anchor from ${dateOf(until)} on, if the zone goes on showing it (RFC 5011)`;
      return log.info(about, `${name} is new: ${words}`);
    }
    case 'valid':
      return log.info(about, `${name} is a trust anchor`);
    case 'missing':
      return log.warn(about, `${name}, a trust anchor, is not shown by the zone any more`);
    case 'revoked':
      return log.warn(about, `${name} was revoked: it is not a trust anchor any more`);
    case 'removed':
      return log.info(about, `${name} was revoked 30 days ago, and is not looked for any more`);
  }
}
