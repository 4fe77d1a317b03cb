// The files of a package: paths, modes and contents, without owners and times, which are the same for all.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** One file. */
export interface Entry {
  /** Relative to the root of the package. */
  readonly path: string;
  readonly octets: Buffer;
  readonly mode: 0o644 | 0o755;
}

/** A file that is read. */
export const file = (path: string, text: string | Buffer): Entry => ({
  path,
  octets: Buffer.from(text),
  mode: 0o644,
});

/** A file that is run. */
export const executable = (path: string, text: string | Buffer): Entry => ({ ...file(path, text), mode: 0o755 });

/**
 * All files of a folder. Scripts, which name their interpreter, are to be run.
 * @param to the folder that they are in then
 */
export const folder = (from: string, to: string): Entry[] =>
  readdirSync(from, { recursive: true, withFileTypes: true })
    .filter(each => each.isFile())
    .map(each => {
      const path = join(each.parentPath, each.name);
      const octets = readFileSync(path);
      const make = octets.toString('latin1', 0, 2) === '#!' ? executable : file;
      return make(join(to, path.slice(join(from, '/').length)), octets);
    });

/** The same files in another folder. */
export const under = (to: string, entries: readonly Entry[]): Entry[] =>
  entries.map(entry => ({ ...entry, path: join(to, entry.path) }));

/** Sorted by path, whatever order the file system has them in. */
export const sorted = (entries: readonly Entry[]): Entry[] =>
  entries.toSorted((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));

/** All folders of the files, each before what is in it. */
export function foldersOf(entries: readonly Entry[]): string[] {
  const folders = new Set<string>();
  for (const { path } of entries) for (let each = dirname(path); each !== '.'; each = dirname(each)) folders.add(each);
  return [...folders].toSorted();
}

/** Writes the files into a folder. */
export function writeEntries(to: string, entries: readonly Entry[]): void {
  for (const { path, octets, mode } of entries) {
    mkdirSync(dirname(join(to, path)), { recursive: true });
    writeFileSync(join(to, path), octets, { mode });
  }
}
