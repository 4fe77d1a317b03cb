// Gives memory that was freed back to the kernel. V8 compiles in threads of its own, and glibc keeps an arena for each of
// them, with all that compiling once took: 30 MB and more after a load, as much as a hundred thousand answers.

import type { Cancel, Clock } from '../base/ports.js';
import type { Libc } from '../os/libc.js';

/** A trim takes about a millisecond. Most code is compiled in the first minutes. */
const EVERY_MS = 60_000;
/** The first one, when what a start needs has been compiled. */
const FIRST_MS = 5000;

/** Trims from time to time. */
export class FreedMemory {
  private cancel: Cancel | undefined = undefined;

  /** @param libc undefined: it does nothing */
  constructor(
    private readonly clock: Clock,
    private readonly libc: Pick<Libc, 'trimMemory'> | undefined,
  ) {
    if (libc !== undefined) this.trimAfter(FIRST_MS);
  }

  close(): void {
    this.cancel?.();
  }

  private trimAfter(ms: number): void {
    this.cancel = this.clock.after(ms, () => {
      this.libc?.trimMemory();
      this.trimAfter(EVERY_MS);
    });
  }
}
