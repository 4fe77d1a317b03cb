// Speculative lookups: queries that the chain of trust for a name will probably need, sent together with the question
// instead of after its answer. A wrong guess costs one small query, so guesses follow statistics about the names of
// each zone.

import { type Bounded, bounded } from '../base/bounded.js';
import type { AgeSec } from '../base/time.js';
import { TYPE } from '../wire/rrtype.js';
import { type Anchor, anchorFor } from './anchors.js';
import { ancestorOf, labelCount, type Name, parentOf, ROOT_NAME } from './name.js';
import type { NegativeAnchors } from './negative.js';
import type { Lookup } from './steps.js';
import { nearestKnown, type Zones } from './zones.js';

/** Shares from 0 to 1 of the names in one place. */
interface Statistics {
  /** The share of names that are zones. */
  cuts: number;
  /** The share of zones that are signed. */
  signed: number;
}

/** The weight of the latest observation: a single one can change a guess. */
const WEIGHT = 0.5;
/** From this share of zones on, a name is asked about. */
const LIKELY = 0.5;
/** From this share of signed zones on, keys are asked for: a DNSKEY RRset is large. */
const WORTH_ASKING = 0.3;
/** The most names between the known zone and the question's name that are asked about. */
const MOST_NAMES = 4;
/** The most places with statistics. */
const MOST_PLACES = 512;
/**
 * Without statistics, the root and top-level domains are expected to have zones below them, and other zones to have
 * hosts.
 */
const DELEGATING_LABELS = 1;
/** Types that are mostly asked for at the apex of a zone. */
const APEX_TYPES = new Set<number>([TYPE.SOA, TYPE.NS, TYPE.DNSKEY, TYPE.CDS, TYPE.CDNSKEY, TYPE.NSEC3PARAM]);
/** The place of names that are not directly below a known zone. */
const BETWEEN = '?';
const AT_THE_END = '*';

/** The place of a name. Names directly below a zone have the zone as their place. */
const placeOf = (name: Name, i: number, { open, top }: Guess): string =>
  i === 0 ? top : name === open[open.length - 1] ? AT_THE_END : BETWEEN;

/** The guesses for one question. */
export interface Guess {
  readonly lookups: readonly Lookup[];
  /** The names between the nearest known zone and the question's name, which may be zones. */
  readonly open: readonly Name[];
  /** The nearest known zone. */
  readonly top: Name;
}

const NOTHING: Guess = { lookups: [], open: [], top: ROOT_NAME };

/** Makes guesses, and learns from their results. */
export class SpeculativeLookups {
  private readonly seen: Bounded<Statistics> = bounded<Statistics>(MOST_PLACES, () => undefined);

  constructor(
    private readonly zones: Zones,
    private readonly anchors: () => readonly Anchor[],
    private readonly negative: Pick<NegativeAnchors, 'covers'>,
  ) {}

  /** The queries to send together with a question. */
  guess(name: Name, type: number, ageNow: AgeSec): Guess {
    const anchor = anchorFor(this.anchors(), name);
    if (anchor === undefined) return NOTHING;
    if (this.negative.covers(name, anchor.zone)) return NOTHING;
    const known = nearestKnown(this.zones, name, anchor.zone, ageNow);
    if (known !== undefined && known.state.at !== 'signed') return NOTHING;
    const lookups: Lookup[] =
      known === undefined && (name !== anchor.zone || type !== TYPE.DNSKEY)
        ? [{ name: anchor.zone, type: TYPE.DNSKEY }]
        : [];
    const top = known?.name ?? anchor.zone;
    // The DS of a name is in the zone above: the name itself need not be a zone.
    const last = labelCount(name) - (type === TYPE.DS ? 1 : 0);
    const open: Name[] = [];
    for (let labels = labelCount(top) + 1; labels <= last && open.length < MOST_NAMES; labels++)
      open.push(ancestorOf(name, labels));
    const guess: Guess = { lookups, open, top };
    let isLikelySigned = true;
    for (const [i, each] of open.entries()) {
      if (this.zones.get(each, ageNow)?.at === 'no_cut') continue;
      const { cuts, signed } = this.statisticsOf(placeOf(each, i, guess));
      const isApex = each === name && APEX_TYPES.has(type);
      if (cuts < LIKELY && !isApex) continue;
      lookups.push({ name: each, type: TYPE.DS });
      isLikelySigned &&= signed >= WORTH_ASKING;
      if (signed >= WORTH_ASKING && (each !== name || type !== TYPE.DNSKEY))
        lookups.push({ name: each, type: TYPE.DNSKEY });
    }
    // In a signed zone, an answer also needs the proof that the name above is no zone (Chain.zoneBelow).
    const between = open.length < 2 ? undefined : parentOf(name);
    const isOpen = between !== undefined && this.zones.get(between, ageNow) === undefined;
    if (isLikelySigned && isOpen && !lookups.some(each => each.name === between))
      lookups.push({ name: between, type: TYPE.DS });
    return guess;
  }

  /** After a secure or insecure answer: remembers which of the open names are zones. */
  learn(guess: Guess, ageNow: AgeSec): void {
    guess.open.forEach((each, i) => {
      const above = nearestKnown(this.zones, parentOf(each), ROOT_NAME, ageNow);
      // Names below an unsigned zone are not asked about.
      if (above?.state.at !== 'signed') return;
      const state = this.zones.get(each, ageNow);
      const isCut = state?.at === 'signed' || state?.at === 'unsigned';
      this.observe(placeOf(each, i, guess), isCut, isCut ? state.at === 'signed' : undefined);
    });
  }

  private statisticsOf(place: string): Statistics {
    const known = this.seen.get(place);
    if (known !== undefined) return known;
    const delegates = place !== AT_THE_END && labelCount(place) <= DELEGATING_LABELS;
    return { cuts: place === BETWEEN ? LIKELY : delegates ? 1 : 0, signed: 1 };
  }

  private observe(place: string, isCut: boolean, isSigned: boolean | undefined): void {
    const { cuts, signed } = this.statisticsOf(place);
    const next = {
      cuts: moved(cuts, isCut),
      signed: isSigned === undefined ? signed : moved(signed, isSigned),
    };
    this.seen.set(place, next, 1);
  }
}

const moved = (share: number, seen: boolean): number => share + WEIGHT * ((seen ? 1 : 0) - share);
