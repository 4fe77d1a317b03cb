// Whether the daemon is in service, being taken out of service, or stopping.

import type { Log } from '../base/ports.js';

/** The way out of service. */
export class Service {
  private isDraining = false;
  private timer: NodeJS.Timeout | undefined;

  /**
   * @param stop stops the daemon, as a signal would
   */
  constructor(
    private readonly log: Log,
    private readonly stop: () => void,
  ) {}

  /** Whether it reports that it is not ready any more. */
  get draining(): boolean {
    return this.isDraining;
  }

  /** Reports from now on that it is not ready, and stops after some time. */
  drain(forMs: number): void {
    const seconds = forMs / 1000;
    this.log.info({ seconds }, `being taken out of service: not ready from now on, stopping in ${seconds} s`);
    this.isDraining = true;
    clearTimeout(this.timer);
    this.timer = setTimeout(this.stop, forMs);
  }

  /** Cancels a scheduled stop. */
  close(): void {
    clearTimeout(this.timer);
  }
}
