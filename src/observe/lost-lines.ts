// Counts lines that could not be written, from the first one until lines are written again.

import type { Clock } from '../base/ports.js';
import type { MonoMs } from '../base/time.js';

/** The most memory for lines that wait for a slow reader or disk; more lines are lost, and counted. */
export const MAX_WAITING_BYTES = 1 << 20;
/** An outage is over after this long without a lost line. */
const QUIET_MS = 10_000;

/** The parts that it uses. */
export interface LostLinesParts {
  /** Where the lines go: the subject of a sentence. */
  readonly name: string;
  readonly clock: Clock;
  /** Called at the start of an outage. */
  readonly began: (why: string) => void;
  /** Called at its end, with a sentence. */
  readonly ended: (words: string, lines: number) => void;
}

/** The state while lines are lost, and for some time after. */
interface Outage {
  lines: number;
  lastAtMs: MonoMs;
  readonly why: string;
}

/** The lost lines. */
export class LostLines {
  private outage: Outage | undefined;

  constructor(private readonly parts: LostLinesParts) {}

  /** What cannot be written, as a sentence; undefined: no outage. */
  get unwritten(): string | undefined {
    return this.outage && `${this.parts.name} cannot be written (${this.outage.why}): ${lostText(this.outage.lines)}`;
  }

  /** A line was lost. */
  lost(why: string): void {
    const outage = this.begin(why);
    outage.lines++;
    outage.lastAtMs = this.parts.clock.monotonicMs();
  }

  /** Lines will be lost. The start of an outage is reported once. */
  begin(why: string): Outage {
    if (this.outage !== undefined) return this.outage;
    const outage = { lines: 0, lastAtMs: this.parts.clock.monotonicMs(), why };
    // First, because the report may be a line that is lost.
    this.outage = outage;
    this.parts.began(why);
    return outage;
  }

  /** A line was written. */
  written(): void {
    const { outage, parts } = this;
    if (outage === undefined || parts.clock.monotonicMs() - outage.lastAtMs < QUIET_MS) return;
    this.outage = undefined;
    parts.ended(`${parts.name} is written again: ${lostText(outage.lines)}`, outage.lines);
  }
}

const lostText = (lines: number): string => `${lines} ${lines === 1 ? 'line was' : 'lines were'} lost`;
