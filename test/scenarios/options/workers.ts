// Counts the threads of this process, as they come and go.

import type { Worker } from 'node:worker_threads';

/** Threads that were started since it was made, and have not ended. */
export class Workers {
  private readonly running = new Set<Worker>();

  constructor() {
    process.on('worker', this.started);
  }

  get count(): number {
    return this.running.size;
  }

  close(): void {
    process.off('worker', this.started);
  }

  private readonly started = (worker: Worker): void => {
    this.running.add(worker);
    worker.once('exit', () => this.running.delete(worker));
  };
}
