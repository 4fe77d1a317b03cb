// The thread that reads the sources of lists and makes their table. It has one task, and ends.

import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { constants as osConstants, setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';

import { isSystemError, wordsFor } from '../base/system-error.js';
import { fileProblem } from '../os/regular-file.js';
import { Compilation, type CompiledLists, type SourceReader } from '../policy/lists/compile.js';
import type { HashKey } from '../policy/lists/name-hash.js';
import { type ListFormat, MOST_LIST_BYTES } from '../policy/lists/rule.js';

/** The task. */
export interface ListTask {
  readonly sources: readonly TaskSource[];
  readonly key: HashKey;
  /** Lists of before, whose table has the same key; undefined: no source takes its rules from them. */
  readonly before: CompiledLists | undefined;
  /** Whether clients ask meanwhile. */
  readonly isBeside: boolean;
  /** Whether it is only asked what the sources are: each is read to its first rule. Left out: all of them are read. */
  readonly isTrial?: boolean;
}

/** One source: a file, or the source of this number in the lists of before, because the file cannot be read. */
export type TaskSource =
  { readonly path: string; readonly format: ListFormat } | { readonly before: number; readonly problem: string };

/** The result. */
export interface ListResult {
  readonly compiled: CompiledLists;
  /** Why a source could not be read, in the order of the sources. */
  readonly problems: readonly (string | undefined)[];
}

/**
 * Between pieces, others may run: whoever waits for the core that this thread has does so for the time of one. With
 * pieces of 8 KiB, one query in a hundred noticed that.
 */
const PIECE_BYTES = 1 << 11;
/** Longer than it takes to hand over a core. */
const PAUSE_MS = 0.05;

function run({ sources, key, before, isBeside, isTrial = false }: ListTask): ListResult {
  const pause = isBeside ? letOthersRun : () => undefined;
  const compilation = new Compilation(key);
  const piece = Buffer.alloc(PIECE_BYTES);
  const problems = sources.map(source => {
    if ('before' in source) {
      if (before !== undefined) compilation.carry(before, source.before);
      return source.problem;
    }
    const reader = compilation.source(source.format);
    const isEnough = (): boolean => isTrial && reader.report.rules > 0;
    const problem = readInto(reader, source.path, piece, { pause, isEnough });
    reader.end();
    return problem;
  });
  return { compiled: compilation.finish(pause), problems };
}

/** What is done between pieces. */
interface Between {
  readonly pause: () => void;
  readonly isEnough: () => boolean;
}

/** Reads a file piece by piece. @returns why it could not be read */
function readInto(reader: SourceReader, path: string, piece: Buffer, { pause, isEnough }: Between): string | undefined {
  let fd: number | undefined;
  try {
    // Opening a FIFO would wait for a writer.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    const stats = fstatSync(fd);
    if (stats.size > MOST_LIST_BYTES) return `it is larger than ${MOST_LIST_BYTES} octets`;
    const problem = fileProblem(stats, undefined);
    if (problem !== undefined) return problem;
    for (let left = MOST_LIST_BYTES; left > 0 && !isEnough();) {
      const bytes = readSync(fd, piece, 0, piece.length, null);
      if (bytes === 0) break;
      reader.push(piece.subarray(0, bytes));
      left -= bytes;
      pause();
    }
    return undefined;
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return wordsFor(error);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

const neverChanges = new Int32Array(new SharedArrayBuffer(4));

/**
 * Sleeps for a moment. The lowest priority alone is not enough: in Linux, a thread that wakes may have to wait until the
 * next tick, up to 10 ms, for one that is computing, whatever their priorities.
 */
const letOthersRun = (): void => void Atomics.wait(neverChanges, 0, 0, PAUSE_MS);

/** Whoever answers goes first where there are fewer cores than threads. In Linux, "this process" is this thread. */
function goLast(): void {
  try {
    setPriority(osConstants.priority.PRIORITY_LOW);
  } catch {
    // A sandbox does not allow it: then it goes on as it is.
  }
}

if (parentPort !== null) {
  goLast();
  const result = run(workerData as ListTask);
  parentPort.postMessage(result, [result.compiled.table]);
}
