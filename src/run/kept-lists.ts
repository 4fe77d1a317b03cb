// The compiled lists in the state directory, for the next start (policy/lists/kept).

import { createHash } from 'node:crypto';

import type { Clock, Log } from '../base/ports.js';
import type { StateStore } from '../os/state-store.js';
import type { CompiledLists } from '../policy/lists/compile.js';
import { KeptListsError, KeptListsReader, keptPieces, OtherSources } from '../policy/lists/kept.js';
import type { ListCompiler } from './list-compiler.js';
import { keysOf, type ListSources, type Marks, sourcesOf } from './list-sources.js';
import type { ListsPlan } from './plan.js';

const FILE = 'lists.compiled';
const LOST = 'after a restart, lists are compiled anew before the first query is answered';
const STILL_THERE = 'it takes up space, and is not used';
const NO_COPY = 'there is no copy yet';

/** What was compiled, and from what. */
export interface Made {
  readonly compiled: CompiledLists;
  /** Why a source could not be read, the last time that this was tried, in the order of the sources. */
  readonly problems: readonly (string | undefined)[];
  /** The number of each source whose rules are in force, by what it is. */
  readonly inForce: ReadonlyMap<string, number>;
  /** The files as they were, by path, with the copies of what comes over HTTPS. */
  readonly marks: Marks;
  /** The digest of all that it depends on. */
  readonly about: string;
  /** How long that took. */
  readonly ms: number;
  /** Whether it was taken from the disk, where the process before has kept it. */
  readonly isKept: boolean;
}

/** What stands for no lists, but for the table. */
export const NOTHING_MADE = {
  problems: [],
  inForce: new Map<string, number>(),
  marks: new Map<string, never>(),
  about: '',
  ms: 0,
  isKept: false,
};

/** The parts that it uses. */
export interface KeptListsParts {
  readonly store: Pick<StateStore, 'pieces' | 'write' | 'remove'>;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly log: Pick<Log, 'info' | 'warn'>;
}

/** Reads and writes them. */
export class KeptLists {
  constructor(
    private readonly parts: KeptListsParts,
    private readonly sources: ListSources,
    private readonly compiler: Pick<ListCompiler, 'sum'>,
  ) {}

  /** What the compiled lists of a plan depend on, as a digest. */
  async aboutOf(plan: ListsPlan, marks: Marks): Promise<string> {
    const keys = keysOf(plan);
    const sources = sourcesOf(plan).map((source, i) => [keys[i], marks.get(this.sources.fileOf(source))?.text]);
    return createHash('sha256')
      .update(JSON.stringify([await this.compiler.sum(), sources]))
      .digest('hex');
  }

  /**
   * What the process before has compiled from the same sources, if none of them has changed since. Else clients wait until
   * all is compiled: somebody who has changed a list and restarts the daemon expects it to count for the first answer.
   */
  async read(plan: ListsPlan): Promise<Made | undefined> {
    const { store, clock, log } = this.parts;
    const keys = keysOf(plan);
    if (keys.length === 0) return undefined;
    const startedAt = clock.monotonicMs();
    const marks = await this.sources.marksOf(plan);
    const about = await this.aboutOf(plan, marks);
    const reader = new KeptListsReader(about);
    try {
      for await (const chunk of store.pieces(FILE)) reader.take(chunk);
      const compiled = reader.finish();
      if (compiled === undefined) return undefined;
      if (compiled.sources.length !== keys.length) throw new KeptListsError('it is damaged: sources are missing');
      const problems = sourcesOf(plan).map(source => (this.sources.isToCome(source, marks) ? NO_COPY : undefined));
      const inForce = new Map(keys.flatMap((key, i) => (problems[i] === undefined ? [[key, i]] : [])));
      const ms = clock.monotonicMs() - startedAt;
      return { compiled, problems, inForce, marks, about, ms, isKept: true };
    } catch (error) {
      if (!(error instanceof KeptListsError)) throw error;
      const words = `${FILE} is not used: ${error.message}`;
      if (error instanceof OtherSources) log.info({ file: FILE }, words);
      else log.warn({ file: FILE }, words);
      return undefined;
    }
  }

  /** Keeps what was compiled for the next start, if all sources were read but those that are to come. */
  keep(plan: ListsPlan, { compiled, problems, inForce, marks, about, isKept }: Made): void {
    const { store } = this.parts;
    if (isKept) return;
    const keys = keysOf(plan);
    const isWhole = sourcesOf(plan).every(
      (source, i) => problems[i] === undefined || (this.sources.isToCome(source, marks) && !inForce.has(keys[i] ?? '')),
    );
    // A copy is only ever replaced as a whole, from here.
    const isFresh = sourcesOf(plan).some(source => source.at === 'file' && marks.get(source.path)?.isFresh === true);
    if (keys.length === 0 || !isWhole || isFresh) return store.remove(FILE, STILL_THERE);
    store.write(FILE, () => keptPieces(compiled, about), LOST, 'leave');
  }
}
