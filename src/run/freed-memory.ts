// Gives memory that was freed back to the kernel. V8 compiles in threads of its own, and glibc keeps an arena for each of
// them, with all that compiling once took: 30 MB and more after a load, as much as a hundred thousand answers.

import type { Cancel, Clock } from '../base/ports.js';
import type { Libc } from '../os/libc.js';

/** A trim takes about a millisecond. */
const EVERY_MS = 60_000;
/** Most code is compiled when a load comes for the first time: until then, more often. */
const OFTEN_MS = 5000;
const OFTEN = 12;

/** Trims from time to time. */
export class FreedMemory {
  private cancel: Cancel | undefined = undefined;
  private trims = 0;

  /** @param libc undefined: it does nothing */
  constructor(
    private readonly clock: Clock,
    private readonly libc: Pick<Libc, 'trimMemory'> | undefined,
  ) {
    if (libc !== undefined) this.trimLater();
  }

  close(): void {
    this.cancel?.();
  }

  private trimLater(): void {
    this.cancel = this.clock.after(this.trims < OFTEN ? OFTEN_MS : EVERY_MS, () => {
      this.libc?.trimMemory();
      this.trims++;
      this.trimLater();
    });
  }
}
