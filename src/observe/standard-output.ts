// Standard output, where the log and the query log go. A reader that reads slowly or not at all (a stalled pipe, a
// terminal after Ctrl-S) must neither hold up the event loop nor make lines pile up in memory.

import type { Clock } from '../base/ports.js';
import { wordsFor } from '../base/system-error.js';
import type { LogSink } from './log.js';
import { LostLines, MAX_WAITING_BYTES } from './lost-lines.js';

const FLUSH_MS = 1000;

/** A stream for lines; `process.stdout` is one. */
export interface OutputStream {
  readonly isTTY?: boolean;
  /** Octets that wait. */
  readonly writableLength: number;
  write(text: string, then: (error?: Error | null) => void): unknown;
  on(event: 'error', listener: () => void): unknown;
}

/** The output. */
export class StandardOutput implements LogSink {
  private readonly lost: LostLines;

  /** @param ended called when lines are written again after some were lost, with a sentence */
  constructor(
    private readonly stream: OutputStream,
    private readonly clock: Clock,
    ended: (words: string, lines: number) => void,
  ) {
    this.lost = new LostLines({ name: 'standard output', clock, began: () => undefined, ended });
    // Every write reports its error. If the reader goes away, the daemon goes on.
    stream.on('error', () => undefined);
    unblock(stream);
  }

  get isTTY(): boolean {
    return this.stream.isTTY === true;
  }

  /** What cannot be written, as a sentence; undefined: no outage. */
  get unwritten(): string | undefined {
    return this.lost.unwritten;
  }

  /** Writes a line, or loses it. */
  readonly write = (line: string): void => {
    if (this.stream.writableLength > MAX_WAITING_BYTES) this.lost.lost('its reader is too slow');
    else this.stream.write(line, this.written);
  };

  /** Waits until all lines are written, at most for a second. */
  async flush(): Promise<void> {
    return new Promise(resolve => {
      const cancel = this.clock.after(FLUSH_MS, resolve);
      this.stream.write('', () => {
        cancel();
        resolve();
      });
    });
  }

  private readonly written = (error?: Error | null): void => {
    if (error === undefined || error === null) this.lost.written();
    else this.lost.lost(wordsFor(error));
  };
}

/** Node.js makes writing to a terminal wait for the terminal, and has no public way to undo that. */
function unblock(stream: object): void {
  const handle: unknown = '_handle' in stream ? stream._handle : undefined;
  if (isHandle(handle)) handle.setBlocking(false);
}

const isHandle = (value: unknown): value is { setBlocking(on: boolean): void } =>
  typeof value === 'object' && value !== null && 'setBlocking' in value && typeof value.setBlocking === 'function';
