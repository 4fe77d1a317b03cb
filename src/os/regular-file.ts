// Reads whole files that may be anything: what is no regular file is not waited for, and a file that is too large is
// not read.

import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from 'node:fs';

/** How a file is read. */
export interface ReadLimits {
  /** A longer file is refused. */
  readonly mostBytes: number;
  /** Whether the path may be a symbolic link. */
  readonly mayBeLink: boolean;
  /** More that is wrong with it, in a few words; undefined: nothing. */
  readonly problemOf?: (stats: Stats) => string | undefined;
}

/** What is wrong with a file, in a few words; undefined: nothing. @param problemOf more that may be wrong with it */
export function fileProblem(stats: Stats, problemOf: ReadLimits['problemOf']): string | undefined {
  if (stats.isDirectory()) return 'it is a directory';
  return stats.isFile() ? problemOf?.(stats) : 'it is not a regular file';
}

/**
 * Reads a regular file.
 * @throws the system's error, or an Error that says what is wrong with the file
 */
export function readRegularFile(path: string, { mostBytes, mayBeLink, problemOf }: ReadLimits): Buffer {
  // Opening a FIFO would wait for a writer, and reading one for what it writes.
  const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;
  const fd = openSync(path, mayBeLink ? flags : flags | constants.O_NOFOLLOW);
  try {
    const stats = fstatSync(fd);
    const problem =
      fileProblem(stats, problemOf) ?? (stats.size > mostBytes ? `it is larger than ${mostBytes} octets` : undefined);
    if (problem !== undefined) throw new Error(problem);
    const octets = Buffer.alloc(stats.size);
    let filled = 0;
    while (filled < octets.length) {
      const bytes = readSync(fd, octets, filled, octets.length - filled, filled);
      if (bytes === 0) break;
      filled += bytes;
    }
    return octets.subarray(0, filled);
  } finally {
    closeSync(fd);
  }
}
