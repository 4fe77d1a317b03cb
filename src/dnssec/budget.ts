// Two limits on what validation may compute. A Budget is for one client's question: all work for it counts, retries
// included, whatever zones are involved. A Turn is for all questions together: when it is used up, other work of the
// event loop comes first.

import type { DnssecLimit } from '../base/observer.js';

const LIMITS = {
  /** Signatures that are checked, */
  checks: 32,
  /**
   * without those that lead to the keys of a zone, or prove that it has none: only the first question about a zone needs
   * them. As many as 16 aliases need, each in another zone of another top-level domain.
   */
  visits: 64,
  /** Queries to upstream besides the client's own. */
  lookups: 64,
  /** NSEC3 hashes, and rounds of SHA-1 (1 µs each) in all of them. */
  hashes: 96,
  rounds: 3200,
} as const;
/** A name of 34 labels (ip6.arpa) needs this many hashes with the most iterations that the configuration allows. */
const DEEP_NAME_HASHES = 72;
/**
 * The work between two pauses, in checks of P-256 (65 µs each): about 3 ms for all questions together, 0.4 ms for one.
 */
const TURN_WEIGHT = 40;
const SLICE_WEIGHT = 6;
const ROUNDS_PER_WEIGHT = 50;

/** The work that all questions together may still do in this turn of the event loop. */
export class Turn {
  private left = TURN_WEIGHT;
  /** Whether questions wait for their next turn. */
  crowded = false;

  spend(weight: number): void {
    this.left -= weight;
  }

  get isOver(): boolean {
    return this.left <= 0;
  }

  /** Begins a new turn. */
  begin(): void {
    this.left = TURN_WEIGHT;
  }
}

/**
 * The limits of one question. Each `take` says whether something was left. The first limit that was exceeded is
 * remembered.
 */
export class Budget {
  private checks: number = LIMITS.checks;
  private lookups: number = LIMITS.lookups;
  private hashes: number = LIMITS.hashes;
  private rounds: number;
  private visits: number = LIMITS.visits;
  private slice = SLICE_WEIGHT;
  /** How many slices were used up. Questions with fewer come first. */
  slices = 0;
  exceeded: DnssecLimit | undefined;
  /** NSEC3 hashes by parameters and name: none is computed twice. */
  readonly hashed = new Map<string, string>();

  /** @param mostIterations of NSEC3; with more, a zone counts as unsigned */
  constructor(
    readonly turn: Turn = new Turn(),
    mostIterations = 0,
  ) {
    this.rounds = Math.max(LIMITS.rounds, DEEP_NAME_HASHES * (mostIterations + 1));
  }

  takeCheck(weight: number): boolean {
    if (this.checks-- <= 0) return this.exceed('signatures');
    this.spend(weight);
    return true;
  }

  /** The signature that was checked last was good, and leads to a state of a zone that is kept. */
  visited(): void {
    if (this.visits-- > 0) this.checks++;
  }

  private spend(weight: number): void {
    this.turn.spend(weight);
    this.slice -= weight;
  }

  /** Whether this question must pause, so that other work is done. */
  get mustPause(): boolean {
    return this.turn.isOver || (this.slice <= 0 && this.turn.crowded);
  }

  /** The question continues after a pause. */
  rested(): void {
    if (this.slice > 0) return;
    this.slice = SLICE_WEIGHT;
    this.slices++;
  }

  takeLookup(): boolean {
    return this.lookups-- > 0 || this.exceed('lookups');
  }

  /** Whether another lookup is left, for those that can be done without. */
  get hasLookups(): boolean {
    return this.lookups > 0;
  }

  takeHash(iterations: number): boolean {
    this.rounds -= iterations + 1;
    if (this.hashes-- <= 0 || this.rounds < 0) return this.exceed('nsec3_hashes');
    this.spend((iterations + 1) / ROUNDS_PER_WEIGHT);
    return true;
  }

  /** Notes that a limit was exceeded that is not counted here. Always returns false, for the caller to return. */
  exceed(limit: DnssecLimit): false {
    this.exceeded ??= limit;
    return false;
  }
}
