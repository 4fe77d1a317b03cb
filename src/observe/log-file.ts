// A file that lines are appended to, and that another program rotates: it moves the file, and has us open a new one.
// Lines that cannot be written are counted and reported, and the file is tried again, because a full disk is emptied at
// some time.

import { close, constants, createWriteStream, open, write, type WriteStream } from 'node:fs';

import type { Cancel, Clock, Log } from '../base/ports.js';
import { LostLines, MAX_WAITING_BYTES } from './lost-lines.js';

/** The parts of the file. */
export interface LogFileParts {
  readonly path: string;
  /** The option that sets its path. */
  readonly option: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** The delay after a failure before the file is opened again, which doubles with each failure in a row. */
const FIRST_RETRY_MS = 1000;
const MAX_RETRY_MS = 60_000;

/** Opening a FIFO that nobody reads would wait for ever, and the process could not end. */
const FLAGS = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK | constants.O_NOCTTY;
const FILES = {
  open: (path: string, _flags: unknown, mode: number, then: (error: Error | null, fd: number) => void) =>
    open(path, FLAGS, mode, then),
  write,
  close,
};

type State =
  | { readonly at: 'open'; readonly stream: WriteStream }
  | { readonly at: 'waiting'; readonly cancel: Cancel }
  | { readonly at: 'closed' };

/** The file. */
export class LogFile {
  private state: State;
  private readonly lost: LostLines;
  private retryMs = FIRST_RETRY_MS;
  /** Whether the file may end with a part of a line, because the disk became full in the middle of it. */
  private isTorn = false;

  /** Opens it. */
  constructor(private readonly parts: LogFileParts) {
    const { path, option, clock, log } = parts;
    this.lost = new LostLines({
      name: path,
      clock,
      began(why) {
        const words = 'lines are lost until it can be written again, which is tried now and then';
        log.warn({ file: path, reason: why }, `${path}: ${why} (${option}): ${words}`);
      },
      ended: (words, lines) => log.warn({ file: path, lost: lines }, words),
    });
    this.state = { at: 'open', stream: this.open() };
  }

  /** What cannot be written, as a sentence; undefined: no outage. */
  get unwritten(): string | undefined {
    return this.lost.unwritten;
  }

  write(line: string): void {
    const { state } = this;
    if (state.at === 'closed') return;
    if (state.at !== 'open' || state.stream.destroyed) this.lost.lost('it could not be written a moment ago');
    else if (state.stream.writableLength > MAX_WAITING_BYTES) this.lost.lost('the disk is too slow');
    else state.stream.write(line, this.written);
  }

  /** Opens the file again, which creates it if it was moved. */
  reopen(): void {
    if (this.state.at === 'closed') return;
    this.leave();
    this.retryMs = FIRST_RETRY_MS;
    this.state = { at: 'open', stream: this.open() };
  }

  /** Writes the waiting lines; later lines are dropped, and the file is not opened again. */
  close(): void {
    this.leave();
    this.state = { at: 'closed' };
  }

  private leave(): void {
    if (this.state.at === 'open') this.state.stream.end();
    else if (this.state.at === 'waiting') this.state.cancel();
  }

  private open(): WriteStream {
    // The names that a household asks for must not be readable for all users of the machine.
    const stream = createWriteStream(this.parts.path, { mode: 0o640, fs: FILES });
    stream.on('error', error => this.failed(stream, error));
    if (this.isTorn) stream.write('\n', error => (this.isTorn = error !== undefined && error !== null));
    return stream;
  }

  private failed(stream: WriteStream, { message }: Error): void {
    this.lost.begin(message);
    this.isTorn ||= stream.bytesWritten > 0;
    if (this.state.at !== 'open' || this.state.stream !== stream) return;
    const cancel = this.parts.clock.after(this.retryMs, () => {
      this.state = { at: 'open', stream: this.open() };
    });
    this.state = { at: 'waiting', cancel };
    this.retryMs = Math.min(2 * this.retryMs, MAX_RETRY_MS);
  }

  /** One function for all lines, called with the result of each. */
  private readonly written = (error?: Error | null): void => {
    if (error !== undefined && error !== null) {
      this.lost.lost(error.message);
      return;
    }
    this.retryMs = FIRST_RETRY_MS;
    this.lost.written();
  };
}
