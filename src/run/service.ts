// Whether the daemon takes part in service: it does, it is being taken out, or it stops.

import type { Log } from '../base/ports.js';

/** How the daemon ends. */
export class Service {
  private isDraining = false;
  private timer: NodeJS.Timeout | undefined;

  /** @param stop has the daemon stopped, as a signal would */
  constructor(
    private readonly log: Log,
    private readonly stop: () => void,
  ) {}

  /** It says that it is not ready any more. */
  get draining(): boolean {
    return this.isDraining;
  }

  /** From now on says that it is not ready, and stops after a while. */
  drain(forMs: number): void {
    const seconds = forMs / 1000;
    this.log.info({ seconds }, `being taken out of service: not ready from now on, stopping in ${seconds} s`);
    this.isDraining = true;
    clearTimeout(this.timer);
    this.timer = setTimeout(this.stop, forMs);
  }

  /** Forgets a stop that was to come. */
  close(): void {
    clearTimeout(this.timer);
  }
}
