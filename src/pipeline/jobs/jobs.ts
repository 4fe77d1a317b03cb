// Background jobs: work that is done when it is due, without a query of a client.

import type { Cancel, Clock } from '../../base/ports.js';
import { type MonoMs, monoAfter } from '../../base/time.js';

/** One run of a job. */
export interface JobRun {
  /** The registry is closed: results that arrive now must not be used. */
  readonly closed: boolean;
  /** Must be called once when the run is over, whatever its result. */
  done(): void;
}

/** A job. */
export interface Job {
  readonly name: string;
  /** Milliseconds until it is due. Called by `begin`, after each run, and by `lookAgain`. */
  dueInMs(): number;
  /** Does the work. */
  run(run: JobRun): void;
}

/** The state of a job. */
export interface JobState {
  readonly name: string;
  readonly running: boolean;
  /** When it is checked next; undefined while it runs, and before `begin`. */
  readonly nextAt: MonoMs | undefined;
}

/** The longest timer. With a longer one, a sleep of the machine would delay a job for too long. */
const LONGEST_MS = 3_600_000;
/** The shortest time from the end of a run to the next: a job that always says it is due must not take all the time. */
const SHORTEST_MS = 1000;

interface Scheduled {
  readonly job: Job;
  running: boolean;
  /** Before that it is not run. Looking again does not move this, so it cannot postpone a job that is due. */
  notBefore: MonoMs;
  nextAt: MonoMs | undefined;
  cancel: Cancel;
}

const nothing = (): void => undefined;

/** The jobs. Each has at most one run at a time; before `begin`, and after `close`, none is run. */
export class Jobs {
  private readonly jobs: Scheduled[] = [];
  private hasBegun = false;
  private isClosed = false;

  constructor(private readonly clock: Clock) {}

  /** Adds a job. It is run when it is due. */
  add(job: Job): void {
    const notBefore = this.shortestFromNow();
    const scheduled: Scheduled = { job, running: false, notBefore, nextAt: undefined, cancel: nothing };
    this.jobs.push(scheduled);
    this.schedule(scheduled);
  }

  /** The start has succeeded. One that fails asks nobody, and changes nothing. */
  begin(): void {
    this.hasBegun = true;
    this.lookAgain();
  }

  /** Checks all jobs again, because something that their due times depend on has changed. */
  lookAgain(): void {
    for (const each of this.jobs) if (!each.running) this.schedule(each);
  }

  /** The states of all jobs. */
  get states(): readonly JobState[] {
    return this.jobs.map(({ job: { name }, running, nextAt }) => ({ name, running, nextAt }));
  }

  /** Closes the registry. May be called twice. */
  close(): void {
    this.isClosed = true;
    for (const each of this.jobs) {
      each.cancel();
      each.nextAt = undefined;
    }
  }

  private shortestFromNow(): MonoMs {
    return monoAfter(this.clock.monotonicMs(), SHORTEST_MS);
  }

  private schedule(scheduled: Scheduled): void {
    if (this.isClosed || !this.hasBegun) return;
    scheduled.cancel();
    const now = this.clock.monotonicMs();
    const dueInMs = Math.max(scheduled.job.dueInMs(), scheduled.notBefore - now, 0);
    const waitMs = Math.min(dueInMs, LONGEST_MS);
    scheduled.nextAt = monoAfter(now, waitMs);
    scheduled.cancel = this.clock.after(waitMs, () => {
      // The timer may have fired only to check the due time again.
      if (dueInMs > LONGEST_MS && scheduled.job.dueInMs() > 0) this.schedule(scheduled);
      else this.run(scheduled);
    });
  }

  private run(scheduled: Scheduled): void {
    if (this.isClosed) return;
    scheduled.running = true;
    scheduled.nextAt = undefined;
    const run = new Run(
      () => this.isClosed,
      () => {
        scheduled.running = false;
        scheduled.notBefore = this.shortestFromNow();
        this.schedule(scheduled);
      },
    );
    scheduled.job.run(run);
  }
}

/** One run. Only the first call of `done` counts. */
class Run implements JobRun {
  private over = false;

  constructor(
    private readonly isClosed: () => boolean,
    private readonly whenDone: () => void,
  ) {}

  get closed(): boolean {
    return this.isClosed();
  }

  done(): void {
    if (this.over) return;
    this.over = true;
    this.whenDone();
  }
}
