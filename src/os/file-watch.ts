// Notices changes in the contents of files. The directories are watched, not the files: editors write another file and
// rename it, and others replace a link that leads to the file, or to a directory in its path.

import { createHash } from 'node:crypto';
import { type FSWatcher, readlinkSync, statSync, watch } from 'node:fs';
import { join, resolve } from 'node:path';

import { isSystemError } from '../base/system-error.js';

import { readRegularFile } from './regular-file.js';

/** Changes come in groups; files are read after this long without one. */
const QUIET_MS = 300;
/** And after this long in any case. */
const MOST_WAIT_MS = 3000;
/** Certificates, keys, and the configuration. */
const LIMITS = { mostBytes: 1 << 24, mayBeLink: true } as const;
/** If a directory cannot be watched, its files are read this often, and watching is tried again. */
const RETRY_MS = 60_000;

/** Watches files. */
export interface FileWatch {
  /** Watches these files from now on, and no others. */
  follow(paths: readonly string[]): void;
  close(): void;
}

/** The events of a watch. */
export interface FileWatchEvents {
  /**
   * The contents of these files have changed since they were last read. A file that cannot be read does not count as
   * changed.
   */
  changed(paths: readonly string[]): void;
  /**
   * Files that could be read cannot be read any more, for longer than writing one takes. Once they can, they count as
   * changed.
   */
  lost?(paths: readonly string[]): void;
  /** A directory cannot be watched (any more). Reported once; its files are read every minute instead. */
  trouble(directory: string, error: Error): void;
}

/** Starts to watch. */
export function watchFiles(paths: readonly string[], events: FileWatchEvents): FileWatch {
  const watching = new Watching(events);
  watching.follow(paths);
  return watching;
}

class Watching implements FileWatch {
  /** The digest of the contents, by path; undefined while the file could not be read. */
  private digests = new Map<string, string | undefined>();
  private readonly watchers = new Map<string, { readonly watcher: FSWatcher; readonly inode: number }>();
  /** Directories whose trouble was reported. */
  private readonly troubled = new Set<string>();
  private quietTimer: NodeJS.Timeout | undefined;
  /** When the first change came that was not looked at yet; undefined: there is none. */
  private changedAt: number | undefined;
  /** Files that were lost. */
  private readonly missing = new Set<string>();
  private retryTimer: NodeJS.Timeout | undefined;

  constructor(private readonly events: FileWatchEvents) {}

  follow(paths: readonly string[]): void {
    const before = this.digests;
    this.digests = new Map(paths.map(path => [path, before.get(path) ?? digestOf(path)]));
    this.watchDirectories();
  }

  close(): void {
    clearTimeout(this.quietTimer);
    clearTimeout(this.retryTimer);
    for (const { watcher } of this.watchers.values()) watcher.close();
    this.watchers.clear();
    this.digests.clear();
  }

  /** Watches the current directories of the files, and no others. */
  private watchDirectories(): void {
    clearTimeout(this.retryTimer);
    const wanted = new Set([...this.digests.keys()].flatMap(directoriesOf));
    for (const [directory, { watcher, inode }] of this.watchers) {
      // Another directory may have taken its name.
      if (wanted.has(directory) && inode === inodeOf(directory)) continue;
      watcher.close();
      this.watchers.delete(directory);
    }
    let failed = false;
    for (const directory of wanted) if (!this.watchers.has(directory) && !this.watch(directory)) failed = true;
    if (failed) this.retryLater();
  }

  private retryLater(): void {
    clearTimeout(this.retryTimer);
    this.retryTimer = setTimeout(() => this.look(), RETRY_MS).unref();
  }

  private watch(directory: string): boolean {
    try {
      const watcher = watch(directory, { persistent: false }, () => {
        this.lookSoon();
      });
      watcher.on('error', error => {
        watcher.close();
        this.watchers.delete(directory);
        this.trouble(directory, error);
        this.retryLater();
      });
      this.watchers.set(directory, { watcher, inode: statSync(directory).ino });
      this.troubled.delete(directory);
      return true;
    } catch (error) {
      this.trouble(directory, error);
      return false;
    }
  }

  private trouble(directory: string, error: unknown): void {
    if (this.troubled.has(directory)) return;
    this.troubled.add(directory);
    this.events.trouble(directory, error instanceof Error ? error : new Error(String(error)));
  }

  /** Looks when nothing has changed for a moment, but not much later: other files of a directory may change all the time. */
  private lookSoon(): void {
    const now = performance.now();
    this.changedAt ??= now;
    if (this.quietTimer !== undefined && now - this.changedAt > MOST_WAIT_MS) return;
    clearTimeout(this.quietTimer);
    this.quietTimer = setTimeout(() => this.look(), QUIET_MS).unref();
  }

  private look(): void {
    this.quietTimer = undefined;
    this.changedAt = undefined;
    const changed: string[] = [];
    const lost: string[] = [];
    for (const [path, before] of this.digests) {
      const now = digestOf(path);
      // Between two writes the file may be missing.
      if (now === undefined) {
        if (before !== undefined && !this.missing.has(path)) lost.push(path);
        continue;
      }
      if (now === before && !this.missing.delete(path)) continue;
      this.digests.set(path, now);
      changed.push(path);
    }
    // A link may point somewhere else now.
    this.watchDirectories();
    if (changed.length > 0) this.events.changed(changed);
    if (this.events.lost === undefined || lost.length === 0) return;
    for (const path of lost) this.missing.add(path);
    this.events.lost(lost);
  }
}

function digestOf(path: string): string | undefined {
  try {
    return createHash('sha256').update(readRegularFile(path, LIMITS)).digest('base64');
  } catch {
    return undefined;
  }
}

/** Undefined: it is not there. */
const inodeOf = (directory: string): number | undefined => statSync(directory, { throwIfNoEntry: false })?.ino;

/** The most links that are followed, as in the kernel. */
const MOST_LINKS = 40;

/** The directories of a file and of all links that lead to it, without links in their own paths. */
function directoriesOf(path: string): string[] {
  const directories = new Set<string>();
  // The rest of the path, and the directory that it starts from.
  const rest = resolve(path).split('/').slice(1);
  let at = '/';
  for (let links = 0; rest.length > 0 && links < MOST_LINKS;) {
    const name = rest.shift() ?? '';
    const here = join(at, name);
    const target = linkTarget(here);
    if (target === undefined && rest.length > 0) at = here;
    else directories.add(at);
    if (target === undefined) continue;
    links++;
    rest.unshift(...resolve(at, target).split('/').slice(1));
    at = '/';
  }
  return [...directories];
}

/** Undefined: it is no link. */
function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return undefined;
  }
}
