// Brings into force what schedules say: by a job at the next minute, and before a query if the clock shows another minute
// than at the last look. A timer alone is too late when the machine has slept, or when its clock was set. Ready replies are
// given without a look, so their memory has the time until which they may be given.

import { minuteOf, nextMinuteMs } from '../base/schedule.js';
import type { Clock } from '../base/ports.js';
import { TimeZone } from '../os/time-zone.js';
import type { Job, JobRun } from '../pipeline/jobs/jobs.js';

/** A part that has schedules. */
export interface Timed {
  /**
   * Milliseconds until other things may be in force; Infinity: they stay.
   * @param scheduleMs milliseconds until a schedule can begin or end; 0: one may have done so since the last look
   */
  changesInMs(scheduleMs: number): number;
  /** Brings into force what should be now. */
  lookAtTime(): void;
}

const MINUTE_SEC = 60;

/** The schedules of all parts. */
export class Times {
  /** The minute of the last look: within it, no schedule begins or ends. */
  private minute: number;

  constructor(
    private readonly clock: Clock,
    private readonly parts: readonly Timed[],
    /**
     * Takes from when and until when that which is in force stays so, in seconds since 1970; Infinity: for ever. At other
     * times it must be looked at first.
     */
    private readonly holds: (fromSec: number, untilSec: number) => void,
    /** That of the machine, which somebody may set while the daemon runs. */
    private readonly zone: Pick<TimeZone, 'look'> = new TimeZone(),
  ) {
    this.minute = minuteOf(clock.wallMs());
  }

  readonly job: Job = {
    name: 'times',
    dueInMs: () => this.staysMs(),
    run: (run: JobRun) => {
      this.lookNow();
      run.done();
    },
  };

  /** Before each query: looks, unless that was done in this minute. */
  look(): void {
    if (minuteOf(this.clock.wallMs()) !== this.minute) this.lookNow();
  }

  /** Milliseconds until other things may be in force, after this was told. */
  private staysMs(): number {
    const now = this.clock.wallMs();
    const isCurrent = minuteOf(now) === this.minute;
    const staysMs = Math.min(...this.parts.map(each => each.changesInMs(isCurrent ? nextMinuteMs(now) : 0)));
    const fromSec = this.minute * MINUTE_SEC;
    this.holds(fromSec, isCurrent || staysMs === Infinity ? Math.ceil((now + staysMs) / 1000) : fromSec);
    return staysMs;
  }

  /** Looks. */
  lookNow(): void {
    // First: what changes may ask when the job is due.
    this.minute = minuteOf(this.clock.wallMs());
    this.zone.look();
    for (const each of this.parts) each.lookAtTime();
    this.staysMs();
  }
}
