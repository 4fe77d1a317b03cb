// A file that lines are appended to, and that somebody else rotates: moves away, and has us open anew. What cannot be written is
// counted and said, and the file is tried again: a full disk is emptied some day.

import { createWriteStream, type WriteStream } from 'node:fs';

import type { Cancel, Clock, Log } from '../base/ports.js';
import type { MonoMs } from '../base/time.js';

/** What it is made from. */
export interface LogFileParts {
  readonly path: string;
  /** The option that names it. */
  readonly option: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** Lines that wait for a slow disk may take so much memory; more are lost, and counted. */
const MAX_WAITING_BYTES = 1 << 20;
/** So long after a failure the file is opened anew, doubling at each failure in a row. */
const FIRST_RETRY_MS = 1000;
const MAX_RETRY_MS = 60_000;
/** With no line lost for so long an outage is over. */
const QUIET_MS = 10_000;

type State =
  | { readonly at: 'open'; readonly stream: WriteStream }
  | { readonly at: 'waiting'; readonly cancel: Cancel }
  | { readonly at: 'closed' };

/** While lines are lost, and for a while after. */
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

  /** What cannot be written, as a sentence; undefined: all is well. */
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

  /** Goes on in a file of the same name, made anew where it was moved away. */
  reopen(): void {
    if (this.state.at === 'closed') return;
    this.leave();
    this.retryMs = FIRST_RETRY_MS;
    this.state = { at: 'open', stream: this.open() };
  }

  /** Writes what is waiting; later lines are dropped, and nothing is opened again. */
  close(): void {
    this.leave();
    this.state = { at: 'closed' };
  }

  private leave(): void {
    if (this.state.at === 'open') this.state.stream.end();
    else if (this.state.at === 'waiting') this.state.cancel();
  }

  private open(): WriteStream {
    // What a household asks for is not for all users of the machine.
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

  /** One function for all lines: called for each with what came of it. */
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

  /** Says it once. */
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
