// One question that is being answered: its lookups, its cost, and the verdict on its answer.

import type { DnssecLimit } from '../base/observer.js';
import type { AgeSec, WallSec } from '../base/time.js';
import type { ScannedMessage } from '../wire/records.js';
import { TYPE } from '../wire/rrtype.js';
import type { Anchor } from './anchors.js';
import { Budget, type Turn } from './budget.js';
import { Chain, type ChainParts, type ChainRun, type ValidatorSettings } from './chain.js';
import type { Name } from './name.js';
import { readSets, type Sets } from './rrset.js';
import { sentinelFails } from './sentinel.js';
import { lookupKey, type LookupResult, type Steps } from './steps.js';
import { type Finding, validate } from './validate.js';

/** An answer in the form that validation reads. */
export interface ReceivedAnswer extends ScannedMessage {
  readonly rcode: number;
  /** The server that sent it, for messages. */
  readonly upstream: string;
}

/** How an answer is validated. */
export interface ValidationTerms {
  /** Whether a bogus state is stored: no other server is left that could answer differently. */
  readonly final: boolean;
  /** Where its last alias leads, if others answer for that. */
  readonly unfollowed?: Name | undefined;
  readonly note?: ((zone: Name, words: string) => void) | undefined;
}

const NO_RESULTS: ReadonlyMap<string, LookupResult> = new Map();

/** One question, made by the Validator. It is also the context of the chain of trust. */
export class Question implements ChainRun {
  readonly budget: Budget;
  results: ReadonlyMap<string, LookupResult> = NO_RESULTS;
  final = false;
  note: ((zone: Name, words: string) => void) | undefined = undefined;
  /** Made at the first lookup: most questions need none, because the state of the zone is known. */
  private brought: Map<string, LookupResult> | undefined = undefined;

  constructor(
    private readonly chainParts: ChainParts,
    readonly name: Name,
    readonly type: number,
    turn: Turn,
    readonly settings: ValidatorSettings,
    readonly anchors: readonly Anchor[],
    readonly epoch: number,
    readonly wallNow: WallSec,
    readonly ageNow: AgeSec,
    readonly timeless: boolean,
  ) {
    this.budget = new Budget(turn, settings.maxNsec3Iterations);
  }

  /** Adds the result of a lookup. */
  bring(key: string, result: LookupResult): void {
    this.results = this.brought ??= new Map();
    this.brought.set(key, result);
  }

  /** Forgets all results, because their server is not trusted. */
  forget(): void {
    this.brought?.clear();
  }

  /** How often it has paused. */
  get slices(): number {
    return this.budget.slices;
  }

  /** It continues after a pause. */
  rested(): void {
    this.budget.rested();
  }

  /** The first limit that was exceeded, if any. */
  get exceeded(): DnssecLimit | undefined {
    return this.budget.exceeded;
  }

  /** A secure answer must be withheld, to show which keys are trusted (RFC 8509). */
  get sentinelFails(): boolean {
    return sentinelFails(this.name, this.type, this.anchors);
  }

  /**
   * Validates an answer.
   * @returns undefined: it is malformed
   */
  validate(
    answer: ReceivedAnswer,
    questionEnd: number,
    { final, unfollowed, note }: ValidationTerms,
  ): Steps<Finding> | undefined {
    const { name, type } = this;
    const { rcode, upstream } = answer;
    const sets = readSets(answer, questionEnd);
    if (sets === undefined) return undefined;
    // The answer is itself part of the chain of trust.
    if (type === TYPE.DS || type === TYPE.DNSKEY)
      this.bring(lookupKey({ name, type }), { at: 'answer', sets, rcode, upstream });
    this.final = final;
    this.note = note;
    return this.validateSets(sets, rcode, answer.answers + answer.authority, unfollowed);
  }

  /** Validates an answer that is put together from RRsets. @param records how many they have, with their signatures */
  validateSets(sets: Sets, rcode: number, records: number, unfollowed?: Name): Steps<Finding> {
    const { name, type } = this;
    return validate(new Chain(this.chainParts, this), { name, type, rcode, sets, records, unfollowed });
  }
}
