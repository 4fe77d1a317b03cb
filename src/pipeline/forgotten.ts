// What is forgotten while the snapshot of the last start is read. The rest of the file still has it, and it must not come back
// from there. All else is taken.

import type { Name } from '../dnssec/name.js';

/** Whether a name, or an answer that leads to it, is meant. */
export type IsMeant = (name: Name) => boolean;

/** Each record that is read is held against all of them, so that more than this many are taken for all names. */
const MOST = 64;

/** What was forgotten so far. */
export class ForgottenWhileRead {
  private isReading = true;
  private meant: readonly IsMeant[] = [];
  /** Negative answers were forgotten, of whatever name. */
  private negative = false;

  /** Whether this name was forgotten; undefined: none was. */
  get isForgotten(): IsMeant | undefined {
    const { meant } = this;
    return meant.length === 0 ? undefined : name => meant.some(is => is(name));
  }

  /** Whether negative answers were. */
  get hasNegative(): boolean {
    return this.negative;
  }

  /** Whether denials were: with any name, because it may be in any gap. */
  get hasDenials(): boolean {
    return this.negative || this.meant.length > 0;
  }

  /** Some names are forgotten. */
  names(isMeant: IsMeant): void {
    if (this.isReading) this.meant = this.meant.length < MOST ? [...this.meant, isMeant] : [() => true];
  }

  /** Negative answers are forgotten. */
  negatives(): void {
    if (this.isReading) this.negative = true;
  }

  /** All was read: from now on nothing comes back. */
  end(): void {
    this.isReading = false;
    this.meant = [];
    this.negative = false;
  }
}
