// Has lists compiled in a thread of its own, so that no query waits meanwhile.

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { setFlagsFromString } from 'node:v8';
import { Worker } from 'node:worker_threads';

import { isSystemError } from '../base/system-error.js';
import { IN_PLACE } from '../os/compiling.js';
import type { LocalRecord, RuleLimit } from '../policy/lists/rule.js';
import type { ListResult, ListTask } from './list-worker.js';

/** Compiles lists. A failure of the system is words. */
export class ListCompiler {
  private readonly running = new Set<Worker>();
  private isClosed = false;

  /** @param script the script of the thread: `list-worker` in this folder */
  constructor(private readonly script = new URL('./list-worker.js', import.meta.url)) {}

  /** Does a task. Text: why it could not be done. */
  async compile(task: ListTask): Promise<ListResult | string> {
    if (this.isClosed) return 'the daemon is stopping';
    const start = (): Worker => new Worker(this.script, { workerData: task });
    const worker = task.isBeside ? withoutHelpers(start) : start();
    this.running.add(worker);
    try {
      return await new Promise<ListResult | string>((resolve, reject) => {
        worker.once('message', (result: ListResult) => resolve(withBuffers(result)));
        worker.once('error', error => {
          if (isSystemError(error)) resolve(`there is no thread for it (${error.message})`);
          else reject(new Error('the thread that compiles lists has ended', { cause: error }));
        });
        worker.once('exit', () => resolve('the thread was stopped'));
      });
    } finally {
      this.running.delete(worker);
    }
  }

  /** A digest of the program that compiles: another one may make other rules of the same sources. */
  async sum(): Promise<string> {
    return createHash('sha256')
      .update(await readFile(this.script))
      .digest('hex');
  }

  /** Stops what is running. */
  async close(): Promise<void> {
    this.isClosed = true;
    await Promise.all([...this.running].map(async worker => worker.terminate()));
  }
}

/**
 * Starts a thread whose code V8 optimises in that thread, at its low priority: else this takes 100 ms of other threads,
 * of ordinary priority, for which those that answer have to wait. V8 reads the flag when it sets up the thread.
 */
function withoutHelpers(start: () => Worker): Worker {
  // Where memory is small, all threads are without them (os/compiling).
  if (process.execArgv.includes(IN_PLACE)) return start();
  setFlagsFromString(IN_PLACE);
  const restore = (): void => setFlagsFromString('--concurrent-recompilation');
  try {
    return start().once('online', restore).once('exit', restore);
  } catch (error) {
    restore();
    throw error;
  }
}

/** Buffers that went from thread to thread have become plain arrays of octets. */
function withBuffers({ compiled, problems }: ListResult): ListResult {
  const records = new Map<number, LocalRecord[]>();
  for (const [place, all] of compiled.records)
    records.set(
      place,
      all.map(each => ({ ...each, rdata: Buffer.from(each.rdata) })),
    );
  const limits = new Map<number, RuleLimit>();
  for (const [place, limit] of compiled.limits)
    limits.set(place, { ...limit, exempt: limit.exempt.map(each => Buffer.from(each)) });
  return { compiled: { ...compiled, records, limits }, problems };
}
