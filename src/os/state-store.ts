// Files in state_directory: the state that the daemon keeps over a restart. A file is replaced as a whole, and written
// in pieces that do not hold up the event loop. What fails is tried again, and never thrown: the directory may be
// read-only, or full. A start that fails changes no file: they may be those of a daemon that runs.

import { constants, lstatSync, type Stats } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';

import type { Cancel, Clock, Log } from '../base/ports.js';
import { isSystemError, wordsFor } from '../base/system-error.js';
import { fileProblem, readRegularFile } from './regular-file.js';

/** The contents for a file: a text, or pieces, which are generated again for every attempt. */
export type StateContents = string | (() => Iterable<Buffer>);

/** Whether a write is tried again although the disk is full. */
export type WhenFull = 'again' | 'leave';

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
  /**
   * Removes a file, which is begun at once.
   * @param lost what it means for the operator that it is still there, a sentence without a full stop
   */
  remove(name: string, lost: string): void;
  /** Leaves a file to somebody else: it is neither written nor removed any more. */
  leave(name: string): void;
  /**
   * Writes a file soon, but not now: that a question shows something new must not hold it up. If several contents wait for
   * the same file, the newest is written.
   * @param lost what a failed write means for the operator, a sentence without a full stop
   * @param whenFull what follows where the disk has no room for it; `leave` for what may be large and can be made anew: each
   *   attempt would take all room from others for a while
   */
  write(name: string, contents: StateContents, lost: string, whenFull?: WhenFull): void;
  /** A sentence for each file that could not be written or removed. */
  readonly unwritten: readonly string[];
  /** Resolved when all that waits was tried, and nothing before `begin`. A file that failed before is tried at once. */
  flush(): Promise<void>;
  /** Tries what waits one last time. Nothing is written or removed afterwards. */
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

  remove(name: string, lost: string): void {
    if (!this.closed) this.change(name, () => this.fileOf(name).remove(lost));
  }

  leave(name: string): void {
    this.held?.delete(name);
    this.files.get(name)?.leave();
  }

  write(name: string, contents: StateContents, lost: string, whenFull: WhenFull = 'again'): void {
    if (!this.closed) this.change(name, () => this.fileOf(name).change({ contents, lost, whenFull }));
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

/** What is to become of a file. */
interface Change {
  /** undefined: it is removed. */
  readonly contents: StateContents | undefined;
  /** What it means that this has failed. */
  readonly lost: string;
  readonly whenFull: WhenFull;
}

/** One file. */
class StateFile {
  /** What comes next. */
  private waiting: Change | undefined;
  /** The changes in progress. */
  private changing: Promise<void> | undefined;
  /** How often it was left to somebody else: what began before that is not tried again. */
  private left = 0;
  private retryMs = FIRST_RETRY_MS;
  /** Stops the timer of the next attempt; undefined: there is none. */
  private cancelStart: Cancel | undefined;
  /** What could not be done, as a sentence. */
  problem: string | undefined;

  constructor(
    private readonly path: string,
    private readonly parts: StateStoreParts,
  ) {}

  change(change: Change): void {
    this.waiting = change;
    if (this.changing === undefined) this.startAfter(SOON_MS);
  }

  /** What is being written is removed afterwards. */
  remove(lost: string): void {
    this.waiting = { contents: undefined, lost, whenFull: 'again' };
    void this.flush();
  }

  leave(): void {
    this.waiting = undefined;
    this.problem = undefined;
    this.left++;
    this.close();
  }

  private startAfter(ms: number): void {
    this.cancelStart ??= this.parts.clock.after(ms, () => {
      this.cancelStart = undefined;
      void this.start();
    });
  }

  /** Does what waits now. */
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
    if (this.changing === undefined && this.waiting !== undefined)
      this.changing = this.changeAll().finally(() => {
        this.changing = undefined;
        // What came after the last look is not left waiting; a failure has its own timer.
        if (this.waiting !== undefined && this.cancelStart === undefined) void this.start();
      });
    await this.changing;
  }

  /** Until nothing waits, or an attempt fails. */
  private async changeAll(): Promise<void> {
    while (this.waiting !== undefined) {
      const change = this.waiting;
      const { left } = this;
      this.waiting = undefined;
      try {
        await (change.contents === undefined ? removeFile(this.path) : replaceFile(this.path, change.contents));
        this.succeeded(change);
      } catch (error) {
        if (left !== this.left || this.isToBeRemoved) continue;
        const isLeft = change.whenFull === 'leave' && isFull(error);
        if (!isLeft) this.waiting ??= change;
        this.failed(error, change);
        return;
      }
    }
  }

  private get isToBeRemoved(): boolean {
    return this.waiting !== undefined && this.waiting.contents === undefined;
  }

  private succeeded({ contents }: Change): void {
    this.retryMs = FIRST_RETRY_MS;
    if (this.problem === undefined) return;
    this.problem = undefined;
    this.parts.log.info({ file: this.path }, `${this.path} is ${contents === undefined ? 'removed' : 'written again'}`);
  }

  private failed(error: unknown, { contents, lost }: Change): void {
    const { log } = this.parts;
    const what = contents === undefined ? 'removed' : 'written';
    const again = this.waiting === undefined ? '' : 'It is tried again. ';
    const sentence = `${this.path} cannot be ${what} (${wordsFor(error)}): ${lost}`;
    if (this.problem === undefined)
      log.warn(
        { file: this.path },
        `${sentence}. ${again}Make its directory writable for this user, or set state_directory`,
      );
    this.problem = sentence;
    this.close();
    if (this.waiting === undefined) return;
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

const isFull = (error: unknown): boolean => isSystemError(error) && ['ENOSPC', 'EDQUOT'].includes(error.code ?? '');

/** Removes a file, if it is there: in a read-only file system, even one that is not there cannot be removed. */
async function removeFile(path: string): Promise<void> {
  if (isThere(path)) await rm(path, { force: true });
}

/** Whether there is a file, or anything else, at a path. */
function isThere(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch (error) {
    // A part of the path is no directory, or may not be read: then nothing here has written it.
    if (isSystemError(error)) return false;
    throw error;
  }
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
