// Validation, from outside: what is known of zones, and the questions that are being judged.
//
//   guess     what the chain of trust will probably need, to be asked together with the question
//   judge     the verdict on an answer, as steps (steps.ts) that say what is missing
//   learn     remembers how good the guess was

import { type Anchor, anchorFor } from './anchors.js';
import type { DnssecLimit } from '../base/ports.js';
import { Budget, Turn } from './budget.js';
import { Chain, type ChainParts, type OnAnchorKeys } from './chain.js';
import type { Sha1 } from './dnskey.js';
import { foresight, type Guess } from './foresight.js';
import { isWithin, type Name } from './name.js';
import type { NegativeAnchors } from './negative.js';
import { readSets, type WalkedMessage } from './rrset.js';
import { sentinelFails } from './sentinel.js';
import { TYPE } from '../wire/rrtype.js';
import { verifier } from './signature.js';
import { type Found, type Lookup, lookupKey, type Steps } from './steps.js';
import { type Finding, judge } from './validate.js';
import { type Zones, type ZoneState, zoneTable } from './zones.js';

/** What validation works with. */
export interface ValidatorParts {
  readonly anchors: () => readonly Anchor[];
  readonly negative: NegativeAnchors;
  readonly sha1: Sha1;
  readonly maxNsec3Iterations: number;
  /** Names that may be resolved with a clock that is known to be wrong, so that it can be set. */
  readonly clockNames: readonly Name[];
  /** Seconds since 1970 that a clock can not be before: when the program was made. */
  readonly builtSec: number;
  /** False: the kernel knows that nobody has set its clock. */
  readonly clockIsSet: () => boolean | undefined;
  /** Memory for keys and proofs. */
  readonly bytes: number;
  readonly onAnchorKeys?: OnAnchorKeys;
}

/** The time, by both clocks. */
export interface Now {
  /** Seconds since 1970. */
  readonly wallSec: number;
  /** The age clock of caches. */
  readonly ageSec: number;
}

/** An answer as it is judged. */
export interface Judgeable extends WalkedMessage {
  readonly questionEnd: number;
}

/** One question being answered. */
export interface Question {
  readonly name: Name;
  readonly type: number;
  /** What to ask together with it. */
  readonly guess: Guess;
  /** What lookups have brought; filled by whoever drives the steps. */
  readonly found: Map<string, Found>;
  /** Which limit was met, if any. */
  readonly exceeded: DnssecLimit | undefined;
  /**
   * Judges an answer.
   * @param final what is bogus is remembered: there is nobody else to ask
   * @returns undefined: it is malformed
   */
  judge(answer: Judgeable, upstream: string, final: boolean, note?: (zone: Name, words: string) => void): Steps<Finding> | undefined;
  /** What is secure is withheld, to tell which keys are believed (RFC 8509). */
  readonly sentinelFails: boolean;
  /** To be called when all is settled. */
  learn(): void;
}

/** Validation. */
export interface Validator {
  question(name: Name, type: number, now: Now): Question;
  /** Whether this zone's keys are believed by configuration. */
  isAnchor(zone: Name): boolean;
  readonly zones: Zones;
  /** What all questions may compute in one go. */
  readonly turn: Turn;
  /** Looks at the keys of an anchor's zone anew; what comes of it goes to `onAnchorKeys`. */
  renew(zone: Name, found: Found, now: Now): ZoneState | undefined;
  /** The clock can not be right. */
  clockIsWrong(wallSec: number): boolean;
}

/** Makes a Validator. */
export function validator(parts: ValidatorParts): Validator {
  const zones = zoneTable(parts.bytes);
  const turn = new Turn();
  const isNegativeAnchor = (name: Name): Name | undefined => parts.negative.covering(name);
  const chainParts: ChainParts = { ...parts, zones, verifier: verifier(), isNegativeAnchor };
  const sight = foresight(zones, parts.anchors, isNegativeAnchor);
  const clockIsWrong = (wallSec: number): boolean => wallSec < parts.builtSec;
  return {
    zones,
    turn,
    clockIsWrong,
    renew(zone, found, { wallSec, ageSec }) {
      const anchor = anchorFor(parts.anchors(), zone);
      if (anchor?.zone !== zone) return undefined;
      const key = lookupKey({ name: zone, type: TYPE.DNSKEY });
      const budget = new Budget();
      const run = { budget, wallSec, ageSec, timeless: false, final: true, found: new Map([[key, found]]) };
      const steps = new Chain(chainParts, run).anchored(anchor);
      // It has all it needs, and as its own question has the whole turn.
      for (;;) {
        const step = steps.next();
        if (step.done === true) return step.value;
        budget.turn.begin();
      }
    },
    isAnchor: zone => anchorFor(parts.anchors(), zone)?.zone === zone,
    question(name, type, { wallSec, ageSec }) {
      const budget = new Budget(turn);
      const found = new Map<string, Found>();
      const own: Lookup = { name, type };
      const guess = sight.guess(name, type, ageSec);
      const timeless = parts.clockNames.some(each => isWithin(name, each)) && (clockIsWrong(wallSec) || parts.clockIsSet() === false);
      return {
        name, type, found, guess: { ...guess, lookups: guess.lookups.filter(each => each.name !== name || each.type !== type) },
        get sentinelFails() {
          return sentinelFails(name, type, parts.anchors());
        },
        get exceeded() {
          return budget.exceeded;
        },
        judge(answer, upstream, final, note) {
          const sets = readSets(answer, answer.questionEnd);
          if (sets === undefined) return undefined;
          found.set(lookupKey(own), { at: 'answer', sets, rcode: answer.rcode, upstream });
          const run = { budget, wallSec, ageSec, timeless, final, found };
          return judge(new Chain(chainParts, note === undefined ? run : { ...run, note }), { name, type, rcode: answer.rcode, sets });
        },
        learn: () => sight.learn(guess, ageSec),
      };
    },
  };
}
