// Validation, from outside: what is known of zones, and the questions that are being judged.
//
//   guess     what the chain of trust will probably need, to be asked together with the question
//   judge     the verdict on an answer, as steps (steps.ts) that say what is missing
//   learn     remembers how good the guess was

import { type Anchor, anchorFor } from './anchors.js';
import type { DnssecLimit } from '../base/observer.js';
import { Budget, Turn } from './budget.js';
import { Chain, type ChainParts, type ChainRun, type OnAnchorKeys } from './chain.js';
import type { Sha1 } from './dnskey.js';
import { foresight, type Guess } from './foresight.js';
import { isWithin, type Name } from './name.js';
import type { NegativeAnchors } from './negative.js';
import { readSets } from './rrset.js';
import { sentinelFails } from './sentinel.js';
import type { ScannedMessage } from '../wire/records.js';
import { TYPE } from '../wire/rrtype.js';
import { verifier } from './signature.js';
import { type Found, lookupKey, type Steps } from './steps.js';
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
export interface Judgeable extends ScannedMessage {
  readonly rcode: number;
  readonly upstream: string;
}

/** One question being answered. */
export interface Question {
  readonly name: Name;
  readonly type: number;
  /** What lookups have brought; filled by whoever drives the steps. */
  bring(key: string, found: Found): void;
  /** What they have brought so far is from a server that is not believed. */
  forget(): void;
  /** How often it had to rest so far. */
  readonly slices: number;
  /** It goes on after a rest. */
  rested(): void;
  /** Which limit was met, if any. */
  readonly exceeded: DnssecLimit | undefined;
  /**
   * Judges an answer.
   * @param final what is bogus is remembered: there is nobody else to ask
   * @returns undefined: it is malformed
   */
  judge(
    answer: Judgeable,
    questionEnd: number,
    final: boolean,
    note?: (zone: Name, words: string) => void,
  ): Steps<Finding> | undefined;
  /** What is secure is withheld, to tell which keys are believed (RFC 8509). */
  readonly sentinelFails: boolean;
}

const NOTHING_FOUND: ReadonlyMap<string, Found> = new Map();

/** What the chain needs to know of a question. Most need no lookup: the zone is known. */
class Asked implements Question, ChainRun {
  readonly budget: Budget;
  found: ReadonlyMap<string, Found> = NOTHING_FOUND;
  final = false;
  note: ((zone: Name, words: string) => void) | undefined = undefined;
  private brought: Map<string, Found> | undefined = undefined;

  constructor(
    private readonly chainParts: ChainParts,
    readonly name: Name,
    readonly type: number,
    turn: Turn,
    readonly wallSec: number,
    readonly ageSec: number,
    readonly timeless: boolean,
  ) {
    this.budget = new Budget(turn);
  }

  bring(key: string, found: Found): void {
    this.found = this.brought ??= new Map();
    this.brought.set(key, found);
  }

  forget(): void {
    this.brought?.clear();
  }

  get slices(): number {
    return this.budget.slices;
  }

  rested(): void {
    this.budget.rested();
  }

  get exceeded(): DnssecLimit | undefined {
    return this.budget.exceeded;
  }

  get sentinelFails(): boolean {
    return sentinelFails(this.name, this.type, this.chainParts.anchors());
  }

  judge(
    answer: Judgeable,
    questionEnd: number,
    final: boolean,
    note?: (zone: Name, words: string) => void,
  ): Steps<Finding> | undefined {
    const { name, type } = this;
    const sets = readSets(answer, questionEnd);
    if (sets === undefined) return undefined;
    // Part of the chain itself.
    if (type === TYPE.DS || type === TYPE.DNSKEY)
      this.bring(lookupKey({ name, type }), { at: 'answer', sets, rcode: answer.rcode, upstream: answer.upstream });
    this.final = final;
    this.note = note;
    return judge(new Chain(this.chainParts, this), {
      name,
      type,
      rcode: answer.rcode,
      sets,
      records: answer.answers + answer.authority,
    });
  }
}

/** Validation. */
export interface Validator {
  /** What the chain of trust will probably need. */
  guess(name: Name, type: number, ageSec: number): Guess;
  question(name: Name, type: number, now: Now): Question;
  /** To be called when a question is settled for which something was looked up: how good the guess was. */
  learn(guess: Guess, ageSec: number): void;
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
      const run = {
        budget,
        wallSec,
        ageSec,
        timeless: false,
        final: true,
        found: new Map([[key, found]]),
        note: undefined,
      };
      const steps = new Chain(chainParts, run).anchored(anchor);
      // It has all it needs, and as its own question has the whole turn.
      for (;;) {
        const step = steps.next();
        if (step.done === true) return step.value;
        budget.turn.begin();
        budget.rested();
      }
    },
    isAnchor: zone => anchorFor(parts.anchors(), zone)?.zone === zone,
    guess: (name, type, ageSec) => sight.guess(name, type, ageSec),
    learn: (guess, ageSec) => sight.learn(guess, ageSec),
    question(name, type, { wallSec, ageSec }) {
      const timeless =
        parts.clockNames.some(each => isWithin(name, each)) && (clockIsWrong(wallSec) || parts.clockIsSet() === false);
      return new Asked(chainParts, name, type, turn, wallSec, ageSec, timeless);
    },
  };
}
