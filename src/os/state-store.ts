// Files in state_directory: the state that the daemon keeps over a restart. A file is replaced as a whole, and written
// in pieces that do not hold up the event loop. A failed write is tried again. A start that fails changes no file: they
// may be those of a daemon that runs.

import { constants, lstatSync, rmSync, type Stats } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';

import type { Cancel, Clock, Log } from '../base/ports.js';
import { wordsFor } from '../base/system-error.js';
import { fileProblem, readRegularFile } from './regular-file.js';

/** The contents for a file: a text, or pieces, which are generated again for every attempt. */
export type StateContents = string | (() => Iterable<Buffer>);

/** The files of one directory. */
export interface StateStore {
  /** The start has succeeded: what was to be removed and written until now is, and from now on all is at once. */
  begin(): void;
  /**
   * Reads a file.
   * @param mostBytes a longer one is not read
   * @returns empty if there is none, or it cannot be trusted
   */
  read(name: string, mostBytes: number): string;
  /**
   * Reads a file in pieces, without holding up the event loop. It yields nothing if there is none, or it cannot be
   * trusted. A piece is valid until the next is asked for.
   */
  pieces(name: string): AsyncIterable<Buffer>;
  /** Removes a file. */
  remove(name: string): void;
  /**
   * Writes a file soon, but not now: that a question shows something new must not hold it up. If several contents wait for
   * the same file, the newest is written.
   * @param lost what a failed write means for the operator, a sentence without a full stop
   */
  write(name: string, contents: StateContents, lost: string): void;
  /** A sentence for each file that could not be written and is tried again. */
  readonly unwritten: readonly string[];
  /** Resolved when all pending writes were tried, and none before `begin`. A file that failed before is tried at once. */
  flush(): Promise<void>;
  /** Tries pending writes one last time. Nothing is written afterwards. */
  close(): Promise<void>;
}

/** The parts that it uses. */
export interface StateStoreParts {
  readonly clock: Clock;
  readonly log: Log;
}

/** Longer than most servers take to answer. A write computes for a millisecond, and the first for seven. */
const SOON_MS = 250;
const FIRST_RETRY_MS = 1000;
const MAX_RETRY_MS = 600_000;
/** How much of a text is written at a time, */
const PIECE_BYTES = 1 << 18;
/** and how much of a file is read at a time. */
const READ_BYTES = 1 << 19;

/** Makes the store of a directory. */
export const stateStore = (directory: string, parts: StateStoreParts): StateStore =>
  new DirectoryStore(directory, parts);

class DirectoryStore implements StateStore {
  private readonly files = new Map<string, StateFile>();
  /** What the start has to do with each file, the last only; undefined: it has succeeded. */
  private held: Map<string, () => void> | undefined = new Map();
  private closed = false;

  constructor(
    private readonly directory: string,
    private readonly parts: StateStoreParts,
  ) {}

  read(name: string, mostBytes: number): string {
    const path = join(this.directory, name);
    try {
      return readRegularFile(path, { mostBytes, mayBeLink: false, problemOf }).toString('utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        this.parts.log.warn({ file: path }, `${path} is not used: ${wordsFor(error)}`);
    }
    return '';
  }

  async *pieces(name: string): AsyncIterable<Buffer> {
    const path = join(this.directory, name);
    let file: FileHandle | undefined;
    try {
      // Without a file, node:fs/promises need not be loaded.
      if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return;
      file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
      const why = fileProblem(await file.stat(), problemOf);
      if (why !== undefined) {
        this.parts.log.warn({ file: path }, `${path} is not used: ${why}`);
        return;
      }
      yield* readAhead(file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        this.parts.log.warn({ file: path }, `${path} is not used: ${wordsFor(error)}`);
    } finally {
      await file?.close();
    }
  }

  begin(): void {
    const held = this.held ?? [];
    this.held = undefined;
    for (const [, change] of held) change();
  }

  remove(name: string): void {
    this.change(name, () => {
      this.files.get(name)?.forget();
      rmSync(join(this.directory, name), { force: true });
    });
  }

  write(name: string, contents: StateContents, lost: string): void {
    if (!this.closed) this.change(name, () => this.fileOf(name).write(contents, lost));
  }

  private change(name: string, change: () => void): void {
    if (this.held === undefined) change();
    else this.held.set(name, change);
  }

  private fileOf(name: string): StateFile {
    let file = this.files.get(name);
    if (file === undefined) {
      file = new StateFile(join(this.directory, name), this.parts);
      this.files.set(name, file);
    }
    return file;
  }

  get unwritten(): readonly string[] {
    return [...this.files.values()].map(({ problem }) => problem).filter(problem => problem !== undefined);
  }

  async flush(): Promise<void> {
    await Promise.all([...this.files.values()].map(async file => file.flush()));
  }

  async close(): Promise<void> {
    this.closed = true;
    await this.flush();
    for (const file of this.files.values()) file.close();
  }
}

/** One file. */
class StateFile {
  /** The contents to be written next. */
  private waiting: StateContents | undefined;
  /** The write in progress. */
  private writing: Promise<void> | undefined;
  /** Whether it was removed after it was last to be written. */
  private isForgotten = false;
  private lost = '';
  private retryMs = FIRST_RETRY_MS;
  /** Stops the timer of the next attempt; undefined: there is none. */
  private cancelStart: Cancel | undefined;
  /** Why it cannot be written, as a sentence. */
  problem: string | undefined;

  constructor(
    private readonly path: string,
    private readonly parts: StateStoreParts,
  ) {}

  write(contents: StateContents, lost: string): void {
    this.waiting = contents;
    this.isForgotten = false;
    this.lost = lost;
    if (this.writing === undefined) this.startAfter(SOON_MS);
  }

  private startAfter(ms: number): void {
    this.cancelStart ??= this.parts.clock.after(ms, () => {
      this.cancelStart = undefined;
      void this.start();
    });
  }

  /** The file is removed: what waits is not written, and what is being written is removed, too. */
  forget(): void {
    this.waiting = undefined;
    this.isForgotten = true;
    this.problem = undefined;
    this.close();
  }

  /** Writes the waiting contents now. */
  async flush(): Promise<void> {
    this.close();
    await this.start();
  }

  /** Stops trying. */
  close(): void {
    this.cancelStart?.();
    this.cancelStart = undefined;
  }

  private async start(): Promise<void> {
    this.writing ??= this.writeWaiting().finally(() => (this.writing = undefined));
    await this.writing;
  }

  /** Writes until nothing waits, or an attempt fails. */
  private async writeWaiting(): Promise<void> {
    while (this.waiting !== undefined) {
      const contents = this.waiting;
      this.waiting = undefined;
      try {
        await replaceFile(this.path, contents);
        if (this.isForgotten) await rm(this.path, { force: true });
        this.succeeded();
      } catch (error) {
        if (this.isForgotten) return;
        this.waiting ??= contents;
        this.failed(error);
        return;
      }
    }
  }

  private succeeded(): void {
    this.retryMs = FIRST_RETRY_MS;
    if (this.problem === undefined) return;
    this.problem = undefined;
    this.parts.log.info({ file: this.path }, `${this.path} is written again`);
  }

  private failed(error: unknown): void {
    const { log } = this.parts;
    const sentence = `${this.path} cannot be written (${wordsFor(error)}): ${this.lost}`;
    if (this.problem === undefined)
      log.warn(
        { file: this.path },
        `${sentence}. It is tried again. Make its directory writable for this user, or set state_directory`,
      );
    this.problem = sentence;
    this.close();
    this.startAfter(this.retryMs);
    this.retryMs = Math.min(2 * this.retryMs, MAX_RETRY_MS);
  }
}

/** The octets of a file. While the caller is busy with a piece, the next one is read. */
async function* readAhead(file: FileHandle): AsyncIterable<Buffer> {
  // An error waits until its octets are due.
  const read = async (octets: Buffer) => Promise.allSettled([file.read(octets, 0, octets.length)]);
  let [octets, next] = [Buffer.alloc(READ_BYTES), Buffer.alloc(READ_BYTES)];
  for (let reading = read(octets); ;) {
    const [result] = await reading;
    if (result.status === 'rejected') throw result.reason;
    if (result.value.bytesRead === 0) return;
    reading = read(next);
    yield octets.subarray(0, result.value.bytesRead);
    [octets, next] = [next, octets];
  }
}

const MAY_BE_WRITTEN_BY_OTHERS = 0o022;

/** What makes a state file untrustworthy. */
function problemOf({ uid, mode }: Stats): string | undefined {
  if (uid !== 0 && uid !== process.getuid?.()) return 'it belongs to another user';
  if ((mode & MAY_BE_WRITTEN_BY_OTHERS) === 0) return undefined;
  return `others may write it (mode ${(mode & 0o777).toString(8)}): make that 600 to keep what is in it`;
}

/** Replaces a file. After a crash at any point, the file has the old or the new contents. */
async function replaceFile(path: string, contents: StateContents): Promise<void> {
  const temporary = `${path}.new`;
  // Left over from a process that was killed.
  await rm(temporary, { force: true });
  const file = await open(
    temporary,
    constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
    0o600,
  );
  try {
    try {
      for (const piece of typeof contents === 'string' ? pieces(contents) : contents()) await writeAll(file, piece);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    // On a full disk, free the space for others.
    await rm(temporary, { force: true }).catch(() => undefined);
    throw error;
  }
}

function* pieces(text: string): Iterable<Buffer> {
  const octets = Buffer.from(text);
  for (let at = 0; at < octets.length; at += PIECE_BYTES) yield octets.subarray(at, at + PIECE_BYTES);
}

async function writeAll(file: FileHandle, piece: Buffer): Promise<void> {
  for (let written = 0; written < piece.length;) {
    const { bytesWritten } = await file.write(piece, written);
    written += bytesWritten;
  }
}
