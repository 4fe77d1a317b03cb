// Validation, as seen from outside.
//
//   guess      what the chain of trust will probably need, to be asked together with the question
//   question   one question; its `validate` gives the verdict on an answer, as steps that say what is missing (steps.ts)
//   learn      remembers how good the guess was

import type { AgeSec, WallSec } from '../base/time.js';
import { TYPE } from '../wire/rrtype.js';
import { type Anchor, anchorFor } from './anchors.js';
import { Budget, Turn } from './budget.js';
import { Chain, type ChainParts, type ChainRun, type OnAnchorKeys, type ValidatorSettings } from './chain.js';
import { isWithin, type Name } from './name.js';
import type { NegativeAnchors } from './negative.js';
import type { PreparedKeys } from './prepared-keys.js';
import { Question } from './question.js';
import { Verifier } from './signature.js';
import { type Guess, SpeculativeLookups } from './speculative.js';
import { type LookupResult, lookupKey } from './steps.js';
import { type Zones, type ZoneState, zoneTable } from './zones.js';

/** The parts of a Validator. Settings and anchors are read at each question, so that a reload can change them. */
export interface ValidatorParts {
  /**
   * When settings or anchors have changed, `zones.clear()` must be called, to forget states that depend on the old
   * ones.
   */
  readonly settings: () => ValidatorSettings;
  readonly anchors: () => readonly Anchor[];
  readonly negative: NegativeAnchors;
  /** When the program was built: a clock that is earlier is wrong. */
  readonly built: WallSec;
  /** False: the system says that its clock was never set. */
  readonly clockIsSet: () => boolean | undefined;
  /** The size of the table of zones, in octets. */
  readonly bytes: number;
  readonly onAnchorKeys?: OnAnchorKeys;
  /** Left out: keys are not prepared. */
  readonly preparedKeys?: PreparedKeys;
}

/** The time on both clocks. */
export interface Now {
  readonly wallNow: WallSec;
  readonly ageNow: AgeSec;
}

/** Validates answers, with a table of known zones. */
export class Validator {
  readonly zones: Zones;
  /** The amount that all questions together may compute in a turn of the event loop. */
  readonly turn = new Turn();
  private readonly chainParts: ChainParts;
  private readonly speculative: SpeculativeLookups;

  constructor(private readonly parts: ValidatorParts) {
    this.zones = zoneTable(parts.bytes);
    this.chainParts = {
      zones: this.zones,
      verifier: new Verifier(parts.preparedKeys),
      negative: parts.negative,
      ...(parts.onAnchorKeys === undefined ? {} : { onAnchorKeys: parts.onAnchorKeys }),
    };
    this.speculative = new SpeculativeLookups(this.zones, parts.anchors, parts.negative);
  }

  /** The lookups that the chain of trust for a name will probably need. */
  guess(name: Name, type: number, ageNow: AgeSec): Guess {
    return this.speculative.guess(name, type, ageNow);
  }

  /** Learns how good a guess was. Must be called after a question for which something was looked up. */
  learn(guess: Guess, ageNow: AgeSec): void {
    this.speculative.learn(guess, ageNow);
  }

  /** Begins a question. */
  question(name: Name, type: number, { wallNow, ageNow }: Now): Question {
    const settings = this.parts.settings();
    const timeless =
      settings.clockNames.some(each => isWithin(name, each)) &&
      (this.clockIsWrong(wallNow) || this.parts.clockIsSet() === false);
    const anchors = this.parts.anchors();
    const { epoch } = this.zones;
    return new Question(this.chainParts, name, type, this.turn, settings, anchors, epoch, wallNow, ageNow, timeless);
  }

  /** Whether keys of this zone are trusted by configuration. */
  isAnchor(zone: Name): boolean {
    return anchorFor(this.parts.anchors(), zone)?.zone === zone;
  }

  /** The zone of the nearest trust anchor above a name, or at it; undefined: there is none. */
  anchorOf(name: Name): Name | undefined {
    return anchorFor(this.parts.anchors(), name)?.zone;
  }

  /**
   * Checks the keys of an anchor's zone again; the result goes to `onAnchorKeys`. undefined: there is no such anchor.
   */
  renew(zone: Name, found: LookupResult, { wallNow, ageNow }: Now): ZoneState | undefined {
    const anchors = this.parts.anchors();
    const anchor = anchorFor(anchors, zone);
    if (anchor?.zone !== zone) return undefined;
    const settings = this.parts.settings();
    const budget = new Budget(undefined, settings.maxNsec3Iterations);
    const run: ChainRun = {
      settings,
      anchors,
      epoch: this.zones.epoch,
      budget,
      wallNow,
      ageNow,
      timeless: false,
      final: true,
      results: new Map([[lookupKey({ name: zone, type: TYPE.DNSKEY }), found]]),
      note: undefined,
    };
    const steps = new Chain(this.chainParts, run).anchored(anchor);
    // Nothing must be fetched, and no other question shares its turn: it may compute everything at once.
    for (;;) {
      const step = steps.next();
      if (step.done === true) return step.value;
      budget.turn.begin();
      budget.rested();
    }
  }

  /** Whether the clock is known to be wrong. */
  clockIsWrong(wallNow: WallSec): boolean {
    return wallNow < this.parts.built;
  }

  /** Forgets failures: another network or server may give valid answers. Proven states stay. */
  forgetFailures(): void {
    this.zones.forgetFailures();
  }
}

/** Makes a Validator. */
export const validator = (parts: ValidatorParts): Validator => new Validator(parts);
