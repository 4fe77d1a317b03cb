// Notices that the contents of files have changed. What is watched are their directories: editors write another file and
// rename it, and Kubernetes exchanges a link somewhere on the way to it.

import { createHash } from 'node:crypto';
import { type FSWatcher, readFileSync, realpathSync, watch } from 'node:fs';
import { dirname } from 'node:path';

/** Changes come in bunches; files are looked at when it has been quiet for so long. */
const QUIET_MS = 300;
/** Where a directory cannot be watched, its files are looked at so often, and watching is tried again. */
const RETRY_MS = 60_000;

/** Watches files. */
export interface FileWatch {
  /** Watches these from now on. */
  follow(paths: readonly string[]): void;
  close(): void;
}

/** What it tells. */
export interface FileWatchEvents {
  /** The contents of these are others than when they were last looked at. A file that cannot be read has not changed. */
  changed(paths: readonly string[]): void;
  /** A directory cannot be watched (any more). Said once; its files are looked at every minute instead. */
  trouble(directory: string, error: Error): void;
}

/** Starts to watch. */
export function watchFiles(paths: readonly string[], events: FileWatchEvents): FileWatch {
  const watching = new Watching(events);
  watching.follow(paths);
  return watching;
}

class Watching implements FileWatch {
  /** By path: the digest of the contents, or undefined as long as it could not be read. */
  private digests = new Map<string, string | undefined>();
  private readonly watchers = new Map<string, FSWatcher>();
  /** Directories about whose trouble something was said. */
  private readonly troubled = new Set<string>();
  private quietTimer: NodeJS.Timeout | undefined;
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
    for (const watcher of this.watchers.values()) watcher.close();
    this.watchers.clear();
    this.digests.clear();
  }

  /** Watches the directories that the files are in now, and no others. */
  private watchDirectories(): void {
    clearTimeout(this.retryTimer);
    const wanted = new Set([...this.digests.keys()].flatMap(directoriesOf));
    for (const [directory, watcher] of this.watchers) {
      if (wanted.has(directory)) continue;
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
        clearTimeout(this.quietTimer);
        this.quietTimer = setTimeout(() => this.look(), QUIET_MS).unref();
      });
      watcher.on('error', error => {
        watcher.close();
        this.watchers.delete(directory);
        this.trouble(directory, error);
        this.retryLater();
      });
      this.watchers.set(directory, watcher);
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

  private look(): void {
    const changed: string[] = [];
    for (const [path, before] of this.digests) {
      const now = digestOf(path);
      // Between two writes there may be none.
      if (now === undefined || now === before) continue;
      this.digests.set(path, now);
      changed.push(path);
    }
    // A link may lead somewhere else now.
    this.watchDirectories();
    if (changed.length > 0) this.events.changed(changed);
  }
}

function digestOf(path: string): string | undefined {
  try {
    return createHash('sha256').update(readFileSync(path)).digest('base64');
  } catch {
    return undefined;
  }
}

/** The directory that a path names, and the one that its links lead to. */
function directoriesOf(path: string): string[] {
  try {
    return [dirname(path), dirname(realpathSync(path))];
  } catch {
    return [dirname(path)];
  }
}
