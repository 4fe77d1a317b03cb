// What the chain of trust for a name will probably need, so that it can be asked together with the question instead of
// after it. A wrong guess costs a small question too many; so guesses follow what each zone has shown of its children.

import { bounded } from '../base/bounded.js';
import { TYPE } from '../wire/rrtype.js';
import { type Anchor, anchorFor } from './anchors.js';
import { ancestorOf, labelCount, type Name, parentOf, ROOT_NAME } from './name.js';
import type { Lookup } from './steps.js';
import { nearestKnown, type Zones } from './zones.js';

/** What has been seen of names in one place, 0 … 1: how many are zones, and how many of these are signed. */
interface Habits {
  cuts: number;
  signed: number;
}

/** Each new sight counts this much: one is enough to change the mind. */
const WEIGHT = 0.5;
const LIKELY = 0.5;
/** A DNSKEY set costs more than it may save where few are signed. */
const WORTH_ASKING = 0.3;
/** Between the zone that is known and the name. */
const MOST_ZONES = 4;
const ZONES = 512;
/** The root and the zones right below it have zones below them; others have hosts, until they show something else. */
const DELEGATING_LABELS = 1;
/** Types that are mostly asked for at the top of a zone. */
const APEX_TYPES = new Set<number>([TYPE.SOA, TYPE.NS, TYPE.DNSKEY, TYPE.CDS, TYPE.CDNSKEY, TYPE.NSEC3PARAM]);
/** Where the zone above is not known itself: names between it and the one that was asked for, and that one. */
const BETWEEN = '?';
const AT_THE_END = '*';

/** Where what is learned about a name is kept. */
const placeOf = (name: Name, i: number, { open, top }: Guess): string =>
  i === 0 ? top : name === open[open.length - 1] ? AT_THE_END : BETWEEN;

/** The guesses for one question. */
export interface Guess {
  readonly lookups: readonly Lookup[];
  /** The names between the nearest known zone and the one that was asked for, which may be zones. */
  readonly open: readonly Name[];
  /** That zone. */
  readonly top: Name;
}

const NOTHING: Guess = { lookups: [], open: [], top: ROOT_NAME };

/** Makes guesses. */
export interface Foresight {
  guess(name: Name, type: number, nowSec: number): Guess;
  /** After an answer was found secure or insecure: what the open names were. */
  learn(guess: Guess, nowSec: number): void;
}

/** Makes a Foresight over what is known of zones. */
export function foresight(
  zones: Zones,
  anchors: () => readonly Anchor[],
  isNegative: (name: Name) => Name | undefined,
): Foresight {
  const seen = bounded<Habits>(ZONES, () => undefined);
  const habitsOf = (zone: Name): Habits =>
    seen.get(zone) ?? {
      cuts: zone === BETWEEN ? LIKELY : zone !== AT_THE_END && labelCount(zone) <= DELEGATING_LABELS ? 1 : 0,
      signed: 1,
    };

  function note(zone: Name, cut: boolean, signed: boolean | undefined): void {
    const { cuts, signed: share } = habitsOf(zone);
    seen.set(
      zone,
      {
        cuts: cuts + WEIGHT * ((cut ? 1 : 0) - cuts),
        signed: signed === undefined ? share : share + WEIGHT * ((signed ? 1 : 0) - share),
      },
      1,
    );
  }

  return {
    guess(name, type, nowSec) {
      const anchor = anchorFor(anchors(), name);
      if (anchor === undefined || isNegative(name) !== undefined) return NOTHING;
      const known = nearestKnown(zones, name, anchor.zone, nowSec);
      if (known !== undefined && known.state.at !== 'signed') return NOTHING;
      const lookups: Lookup[] =
        known === undefined && (name !== anchor.zone || type !== TYPE.DNSKEY)
          ? [{ name: anchor.zone, type: TYPE.DNSKEY }]
          : [];
      const top = known?.name ?? anchor.zone;
      const first = labelCount(top) + 1;
      // Its parent speaks of a DS: the name itself need not be a zone.
      const last = labelCount(name) - (type === TYPE.DS ? 1 : 0);
      const open: Name[] = [];
      for (let labels = first; labels <= last && open.length < MOST_ZONES; labels++)
        open.push(ancestorOf(name, labels));
      const guess: Guess = { lookups, open, top };
      open.forEach((each, i) => {
        if (zones.get(each, nowSec)?.at === 'no_cut') return;
        const { cuts, signed } = habitsOf(placeOf(each, i, guess));
        const isApex = each === name && APEX_TYPES.has(type);
        if (cuts < LIKELY && !isApex) return;
        lookups.push({ name: each, type: TYPE.DS });
        if (signed >= WORTH_ASKING && (each !== name || type !== TYPE.DNSKEY))
          lookups.push({ name: each, type: TYPE.DNSKEY });
      });
      return guess;
    },
    learn(guess, nowSec) {
      guess.open.forEach((each, i) => {
        const above = nearestKnown(zones, parentOf(each), ROOT_NAME, nowSec);
        // Below an unsigned zone nothing was asked.
        if (above?.state.at !== 'signed') return;
        const state = zones.get(each, nowSec);
        const cut = state?.at === 'signed' || state?.at === 'unsigned';
        note(placeOf(each, i, guess), cut, cut ? state.at === 'signed' : undefined);
      });
    },
  };
}
