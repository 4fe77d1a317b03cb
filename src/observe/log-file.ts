// A file that lines are appended to, and that another program rotates: it moves the file, and has us open a new one.
// Lines that cannot be written are counted and reported, and the file is tried again, because a full disk is emptied at
// some time.

import { createWriteStream, type WriteStream } from 'node:fs';

import type { Cancel, Clock, Log } from '../base/ports.js';
import type { MonoMs } from '../base/time.js';

/** The parts of the file. */
export interface LogFileParts {
  readonly path: string;
  /** The option that sets its path. */
  readonly option: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** The most memory for lines that wait for a slow disk; more lines are lost, and counted. */
const MAX_WAITING_BYTES = 1 << 20;
/** The delay after a failure before the file is opened again, which doubles with each failure in a row. */
const FIRST_RETRY_MS = 1000;
const MAX_RETRY_MS = 60_000;
/** An outage is over after this long without a lost line. */
const QUIET_MS = 10_000;

type State =
  | { readonly at: 'open'; readonly stream: WriteStream }
  | { readonly at: 'waiting'; readonly cancel: Cancel }
  | { readonly at: 'closed' };

/** The state while lines are lost, and for some time after. */
interface Outage {
  lines: number;
  lastAtMs: MonoMs;
  readonly why: string;
}

/** The file. */
export class LogFile {
  private state: State;
  private outage: Outage | undefined;
  private retryMs = FIRST_RETRY_MS;

  /** Opens it. */
  constructor(private readonly parts: LogFileParts) {
    this.state = { at: 'open', stream: this.open() };
  }

  /** What cannot be written, as a sentence; undefined: no outage. */
  get unwritten(): string | undefined {
    return this.outage && `${this.parts.path} cannot be written (${this.outage.why}): ${lostText(this.outage.lines)}`;
  }

  write(line: string): void {
    const { state } = this;
    if (state.at === 'closed') return;
    if (state.at !== 'open' || state.stream.destroyed) this.lost('it could not be written a moment ago');
    else if (state.stream.writableLength > MAX_WAITING_BYTES) this.lost('the disk is too slow');
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
    const stream = createWriteStream(this.parts.path, { flags: 'a', mode: 0o640 });
    stream.on('error', error => this.failed(stream, error));
    return stream;
  }

  private failed(stream: WriteStream, { message }: Error): void {
    this.begin(message);
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
      this.lost(error.message);
      return;
    }
    this.retryMs = FIRST_RETRY_MS;
    if (this.outage === undefined || this.parts.clock.monotonicMs() - this.outage.lastAtMs < QUIET_MS) return;
    const { path } = this.parts;
    const { lines } = this.outage;
    this.outage = undefined;
    this.parts.log.warn({ file: path, lost: lines }, `${path} is written again: ${lostText(lines)}`);
  };

  private lost(why: string): void {
    const outage = this.begin(why);
    outage.lines++;
    outage.lastAtMs = this.parts.clock.monotonicMs();
  }

  /** Reports the outage once. */
  private begin(why: string): Outage {
    if (this.outage !== undefined) return this.outage;
    const { path, option, log, clock } = this.parts;
    log.warn(
      { file: path, reason: why },
      `${path}: ${why} (${option}): lines are lost until it can be written again, which is tried now and then`,
    );
    this.outage = { lines: 0, lastAtMs: clock.monotonicMs(), why };
    return this.outage;
  }
}

const lostText = (lines: number): string => `${lines} ${lines === 1 ? 'line was' : 'lines were'} lost`;
