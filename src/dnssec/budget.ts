// What one client's question may cost at most, whatever zones say: counted over all that is done for it, retries included.

import type { DnssecLimit } from '../base/ports.js';

/** Checks of signatures. */
const MOST_CHECKS = 32;
/** Questions to upstream beside the client's own. */
const MOST_LOOKUPS = 64;
/** NSEC3 hashes, each of so many iterations as max_nsec3_iterations allows. */
const MOST_HASHES = 96;
/** Work done in one go, in checks of P-256 (70 µs): a pause follows. */
const TURN_WEIGHT = 24;

/** A budget. Each `take` says whether there was something left; the first that says no is remembered. */
export class Budget {
  private checks = MOST_CHECKS;
  private lookups = MOST_LOOKUPS;
  private hashes = MOST_HASHES;
  private turn = TURN_WEIGHT;
  exceeded: DnssecLimit | undefined;

  takeCheck(weight: number): boolean {
    this.turn -= weight;
    return this.checks-- > 0 || this.exceed('signatures');
  }

  takeLookup(): boolean {
    return this.lookups-- > 0 || this.exceed('lookups');
  }

  takeHash(iterations: number): boolean {
    // An iteration of SHA-1 is about 2 µs.
    this.turn -= (iterations + 1) / 35;
    return this.hashes-- > 0 || this.exceed('nsec3_hashes');
  }

  /** Notes that a bound of another kind was met; false, for the caller to return. */
  exceed(limit: DnssecLimit): false {
    this.exceeded ??= limit;
    return false;
  }

  /** Others should be served first. */
  get tired(): boolean {
    return this.turn <= 0;
  }

  /** After a pause. */
  rested(): void {
    this.turn = TURN_WEIGHT;
  }
}
