// Two limits on what validation may compute. A Budget is for one client's question: all that is done for it counts,
// retries included, whatever the zones it meets say. A Turn is for all questions together: when it is used up, others
// are served first.

import type { DnssecLimit } from '../base/observer.js';

/** Signatures that are checked. */
const MOST_CHECKS = 32;
/** Questions to upstream, beside the client's own. */
const MOST_LOOKUPS = 64;
/** NSEC3 hashes, and rounds of SHA-1 (1 µs each) over all of them. */
const MOST_HASHES = 96;
const MOST_ROUNDS = 3200;
/** Work between two pauses, in checks of P-256 (65 µs each): about 3 ms for all questions together, 0.4 ms for one. */
const TURN_WEIGHT = 40;
const SLICE_WEIGHT = 6;
const ROUNDS_PER_WEIGHT = 50;

/** The work that all questions together may still do before others are served. */
export class Turn {
  private left = TURN_WEIGHT;
  /** Questions wait for their next turn. */
  crowded = false;

  spend(weight: number): void {
    this.left -= weight;
  }

  get isOver(): boolean {
    return this.left <= 0;
  }

  /** Others have been served: a new turn begins. */
  begin(): void {
    this.left = TURN_WEIGHT;
  }
}

/**
 * What one question may cost. Each `take` says whether something was left; the first limit that was exceeded is
 * remembered.
 */
export class Budget {
  private checks = MOST_CHECKS;
  private lookups = MOST_LOOKUPS;
  private hashes = MOST_HASHES;
  private rounds = MOST_ROUNDS;
  private slice = SLICE_WEIGHT;
  /** Slices that were used up: questions with fewer go first. */
  slices = 0;
  exceeded: DnssecLimit | undefined;

  constructor(readonly turn: Turn = new Turn()) {}

  takeCheck(weight: number): boolean {
    if (this.checks-- <= 0) return this.exceed('signatures');
    this.spend(weight);
    return true;
  }

  private spend(weight: number): void {
    this.turn.spend(weight);
    this.slice -= weight;
  }

  /** Others should be served before this question continues. */
  get mustPause(): boolean {
    return this.turn.isOver || (this.slice <= 0 && this.turn.crowded);
  }

  /** Others have been served: this question continues. */
  rested(): void {
    if (this.slice > 0) return;
    this.slice = SLICE_WEIGHT;
    this.slices++;
  }

  takeLookup(): boolean {
    return this.lookups-- > 0 || this.exceed('lookups');
  }

  takeHash(iterations: number): boolean {
    this.rounds -= iterations + 1;
    if (this.hashes-- <= 0 || this.rounds < 0) return this.exceed('nsec3_hashes');
    this.spend((iterations + 1) / ROUNDS_PER_WEIGHT);
    return true;
  }

  /** Notes that a limit was exceeded that is not counted here. Returns false, for the caller to return. */
  exceed(limit: DnssecLimit): false {
    this.exceeded ??= limit;
    return false;
  }
}
