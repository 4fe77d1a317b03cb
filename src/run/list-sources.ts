// The sources of lists: files, and copies of what comes over HTTPS; and how they were before they were read.

import { stat } from 'node:fs/promises';

import type { Clock } from '../base/ports.js';
import { isSystemError, wordsFor } from '../base/system-error.js';
import type { ListCopies } from './list-copies.js';
import type { ListPlan, ListsPlan } from './plan.js';

/** A source of a list. */
export type Source = ListPlan['sources'][number];

/** A file as it was. */
export interface Mark {
  /** Changes when the file does. */
  readonly text: string;
  /** Whether another change could have the same time, so that nothing would tell it. */
  readonly isFresh: boolean;
}
/** By path. */
export type Marks = ReadonlyMap<string, Mark>;

/** The sources of all lists, in their order. */
export const sourcesOf = ({ lists }: ListsPlan): readonly Source[] => lists.flatMap(({ sources }) => sources);
/** What it is called: its path, or its URL. */
export const textOf = (source: Source): string => (source.at === 'file' ? source.path : source.url);
/** What each source is. Sources that are the same have the same rules. */
export const keysOf = ({ lists }: ListsPlan): readonly string[] =>
  lists.flatMap(({ sources, format }) => sources.map(source => `${format} ${textOf(source)}`));

/** The text of the mark of a file that is not there. */
export const GONE = 'gone';
/** Longer than the unit of the times of any file system. */
const FRESH_MS = 2000;

/** Where sources are, and their marks. */
export class ListSources {
  constructor(
    private readonly copies: Pick<ListCopies, 'pathOf'>,
    private readonly clock: Pick<Clock, 'wallMs'>,
  ) {}

  /** The file of a source: itself, or its copy. */
  fileOf(source: Source): string {
    return source.at === 'file' ? source.path : this.copies.pathOf(source.url);
  }

  /** Whether there was no copy of a source yet. */
  isToCome(source: Source, marks: Marks): boolean {
    return source.at === 'https' && marks.get(this.fileOf(source))?.text === GONE;
  }

  /** The marks of all files of a plan. */
  async marksOf(plan: ListsPlan): Promise<Marks> {
    const marks = new Map<string, Mark>();
    for (const path of sourcesOf(plan).map(each => this.fileOf(each))) marks.set(path, await this.markOf(path));
    return marks;
  }

  /** A file as it is now. */
  async markOf(path: string): Promise<Mark> {
    try {
      const { mtimeMs, ctimeMs, size, ino } = await stat(path);
      // ctime also changes with the permissions.
      const text = `${mtimeMs} ${ctimeMs} ${size} ${ino}`;
      return { text, isFresh: Math.max(mtimeMs, ctimeMs) > this.clock.wallMs() - FRESH_MS };
    } catch (error) {
      if (!isSystemError(error)) throw error;
      return { text: `${GONE}${error.code === 'ENOENT' ? '' : wordsFor(error)}`, isFresh: false };
    }
  }
}
