// What one client's question may cost at most, whatever zones say: counted over all that is done for it, retries included. And
// what all questions together may compute in one go: then others have their turn.

import type { DnssecLimit } from '../base/observer.js';

/** Checks of signatures. */
const MOST_CHECKS = 32;
/** Questions to upstream beside the client's own. */
const MOST_LOOKUPS = 64;
/** NSEC3 hashes, and rounds of SHA-1 that they take together (1 µs each). */
const MOST_HASHES = 96;
const MOST_ROUNDS = 3200;
/** Work done in one go, in checks of P-256 (65 µs): about 3 ms for all questions, and of these so much for one. */
const TURN_WEIGHT = 40;
const SLICE_WEIGHT = 6;
const ROUNDS_PER_WEIGHT = 50;

/** The work that may still be done before others are served; shared by all questions. */
export class Turn {
  private left = TURN_WEIGHT;
  /** Others are waiting. */
  crowded = false;

  spend(weight: number): void {
    this.left -= weight;
  }

  get isOver(): boolean {
    return this.left <= 0;
  }

  /** Others have been served. */
  begin(): void {
    this.left = TURN_WEIGHT;
  }
}

/** A budget. Each `take` says whether there was something left; the first that says no is remembered. */
export class Budget {
  private checks = MOST_CHECKS;
  private lookups = MOST_LOOKUPS;
  private hashes = MOST_HASHES;
  private rounds = MOST_ROUNDS;
  private slice = SLICE_WEIGHT;
  /** What has been spent, in slices: who has had less goes first. */
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

  /** Others should be served before this goes on. */
  get mustPause(): boolean {
    return this.turn.isOver || (this.slice <= 0 && this.turn.crowded);
  }

  /** Others have been served. */
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

  /** Notes that a bound of another kind was met; false, for the caller to return. */
  exceed(limit: DnssecLimit): false {
    this.exceeded ??= limit;
    return false;
  }
}
