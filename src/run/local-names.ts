// Local names: reads hosts files and leases, follows their changes, and exchanges the table of names as a whole.

import { setImmediate as nextTurn } from 'node:timers/promises';

import type { LocalFileOverview, LocalOverview } from '../base/overview.js';
import type { Clock, Log } from '../base/ports.js';
import { wordsFor } from '../base/system-error.js';
import type { MonoMs, WallMs } from '../base/time.js';
import { visible } from '../base/visible.js';
import { type FileWatch, watchFiles } from '../os/file-watch.js';
import { readRegularFile } from '../os/regular-file.js';
import { deviceNameFrom } from '../policy/local/host-name.js';
import { readHosts } from '../policy/local/hosts.js';
import { type LeaseEntry, readLeases } from '../policy/local/leases.js';
import type { LineProblem } from '../policy/local/lines.js';
import { LocalTable, MOST_NAMES } from '../policy/local/table.js';
import type { LocalFile, LocalPlan, Plan } from './plan.js';
import { type Live, type Prepared, ready } from './reload.js';

/** The parts that it uses. */
export interface LocalNamesParts {
  readonly clock: Clock;
  readonly log: Log;
  /** Called when the names have changed: ready replies and failures of before must be forgotten. */
  readonly changed: () => void;
}

/** A larger file is not read. */
const LIMITS = { mostBytes: 1 << 23, mayBeLink: true } as const;
/** For how long files are read in one piece, milliseconds: queries are answered in between. */
const SLICE_MS = 4;
/** The clock is looked at after so many lines. */
const LINES_PER_LOOK = 64;
/** Missing files are looked for this often: a lease file comes with the first lease, maybe in a directory that is not there. */
const RETRY_MS = 60_000;

/** What Kea may have beside its file: while leases are cleaned up, older ones are in other files, or in one in their place. */
const KEA_COMPLETED = '.completed';
const KEA_OLDER = ['.2', '.1'];

/** The contents of a file. */
interface Contents {
  /** The octets, those of older files first; undefined: it was never read. */
  readonly octets: readonly Buffer[] | undefined;
  readonly readMs: WallMs | undefined;
  readonly error: string | undefined;
}

/** Files that were read, and the table that was made of them. */
interface Loaded {
  readonly plan: LocalPlan;
  /** By the number of the file. */
  readonly contents: readonly Contents[];
  readonly table: LocalTable;
  readonly files: readonly LocalFileOverview[];
}

/** A file as it becomes part of a table. */
interface Tally {
  names: number;
  problems: number;
  firstProblem: string | undefined;
}

const NOTHING: LocalPlan = { files: [], records: [], ownZones: [] };

/** The local names. */
export class LocalNames implements Live {
  static readonly options = ['local.hosts', 'local.leases', 'local.records', 'local.own_zones'];
  readonly options = LocalNames.options;
  private loaded: Loaded = { plan: NOTHING, contents: [], table: new LocalTable(), files: [] };
  private watch: FileWatch | undefined;
  private retryTimer: NodeJS.Timeout | undefined;
  /** Refreshes run one after the other; the last one. */
  private refreshing: Promise<void> = Promise.resolve();
  /** Whether a refresh waits that has not begun: it does for all changes until then. */
  private isDue = false;
  private closed = false;

  constructor(
    private readonly parts: LocalNamesParts,
    private readonly started: Plan,
  ) {}

  /** The names at present. */
  get table(): LocalTable {
    return this.loaded.table;
  }

  /** For the overview. */
  get overview(): LocalOverview {
    return { names: this.loaded.table.names, files: this.loaded.files };
  }

  /** Reads the files for the first time. What cannot be read is told, and tried again. */
  async start(): Promise<void> {
    this.take(await this.load(this.started.local, []));
  }

  async prepare({ local }: Plan): Promise<Prepared> {
    const { plan, contents } = this.loaded;
    const known = local.files.map(({ path, format }) => {
      const at = plan.files.findIndex(each => each.path === path && each.format === format);
      return contents[at] ?? NEVER_READ;
    });
    const loaded = await this.load(local, known);
    return ready(() => this.take(loaded));
  }

  /** Stops watching. */
  async close(): Promise<void> {
    this.closed = true;
    clearTimeout(this.retryTimer);
    this.watch?.close();
    await this.refreshing;
  }

  private take(loaded: Loaded): void {
    const before = this.loaded;
    this.loaded = loaded;
    if (before.plan !== loaded.plan) this.follow();
    this.tell(before.files, loaded.files);
    if (before.table !== loaded.table) this.parts.changed();
    clearTimeout(this.retryTimer);
    if (loaded.contents.some(({ error }) => error !== undefined) && !this.closed)
      this.retryTimer = setTimeout(() => this.refresh(), RETRY_MS).unref();
  }

  /** Watches the files of the plan, and reads them once more: they may have changed before they were watched. */
  private follow(): void {
    const paths = this.loaded.plan.files.flatMap(pathsOf);
    if (this.closed || (paths.length === 0 && this.watch === undefined)) return;
    this.watch ??= watchFiles([], {
      changed: () => this.refresh(),
      lost: () => this.refresh(),
      trouble: (directory, { message }) => this.trouble(directory, message),
    });
    this.watch.follow([...new Set(paths)]);
    this.refresh();
  }

  private refresh(): void {
    if (this.isDue || this.closed) return;
    this.isDue = true;
    this.refreshing = this.refreshing.then(async () => {
      this.isDue = false;
      if (this.closed) return;
      const { plan, contents } = this.loaded;
      const loaded = await this.load(plan, contents);
      // A reload has brought other files, and reads them itself.
      if (this.loaded.plan === plan) this.take(loaded);
    });
  }

  /** @param before contents of the same files, which count where they cannot be read now */
  private async load(plan: LocalPlan, before: readonly Contents[]): Promise<Loaded> {
    const contents = plan.files.map((file, i) => this.contentsOf(file, before[i]));
    const isSame = plan === this.loaded.plan && contents.every(({ octets }, i) => octets === before[i]?.octets);
    if (isSame) {
      const { table } = this.loaded;
      const files = this.loaded.files.map((each, i) => ({ ...each, error: contents[i]?.error }));
      return { plan, contents, table, files };
    }
    const table = new LocalTable(plan.ownZones);
    for (const record of plan.records) table.addRecord(record);
    const pauses = new Pauses(this.parts.clock);
    const files: LocalFileOverview[] = [];
    for (const [i, file] of plan.files.entries()) {
      const { octets = [], readMs, error } = contents[i] ?? NEVER_READ;
      const tally = await filled(table, file, octets, pauses);
      files.push({ path: file.path, format: file.format, ...tally, readMs, error });
    }
    return { plan, contents, table, files };
  }

  private contentsOf(file: LocalFile, before: Contents = NEVER_READ): Contents {
    try {
      const octets = readOf(file);
      const isSame =
        before.octets?.length === octets.length && octets.every((each, i) => before.octets?.[i]?.equals(each) === true);
      return isSame ? { ...before, error: undefined } : { octets, readMs: this.parts.clock.wallMs(), error: undefined };
    } catch (error) {
      return { ...before, error: wordsFor(error) };
    }
  }

  /** Says in the log what is wrong with the files that was not wrong before. */
  private tell(before: readonly LocalFileOverview[], now: readonly LocalFileOverview[]): void {
    const { log } = this.parts;
    for (const { path, error, problems, firstProblem } of now) {
      const last = before.find(each => each.path === path);
      if (error !== undefined && error !== last?.error) log.warn({ file: path }, `${path} cannot be read (${error})`);
      if (firstProblem !== undefined && firstProblem !== last?.firstProblem)
        log.warn(
          { file: path, lines: problems },
          `${firstProblem} (lines of the file that cannot be used: ${problems})`,
        );
    }
    log.debug({ names: this.loaded.table.names }, 'local names were read');
  }

  private trouble(directory: string, message: string): void {
    const words = 'its files are looked at every minute';
    this.parts.log.warn({ directory }, `${directory} is not watched for changes (${message}): ${words}`);
  }
}

const NEVER_READ: Contents = { octets: undefined, readMs: undefined, error: undefined };

/** The paths that belong to a file. */
const pathsOf = ({ path, format }: LocalFile): readonly string[] =>
  format === 'kea' ? [path, `${path}${KEA_COMPLETED}`, ...KEA_OLDER.map(each => path + each)] : [path];

/** The contents of a file, those of older files first. @throws the system's error */
function readOf({ path, format }: LocalFile): readonly Buffer[] {
  const octets = readRegularFile(path, LIMITS);
  if (format !== 'kea') return [octets];
  const completed = readIfThere(`${path}${KEA_COMPLETED}`);
  const older = completed === undefined ? KEA_OLDER.map(each => readIfThere(path + each)) : [completed];
  return [...older.filter(each => each !== undefined), octets];
}

/** @throws the system's error, unless there is no such file */
function readIfThere(path: string): Buffer | undefined {
  try {
    return readRegularFile(path, LIMITS);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Lets queries be answered while files are read. */
class Pauses {
  private lines = 0;
  private since: MonoMs;

  constructor(private readonly clock: Clock) {
    this.since = clock.monotonicMs();
  }

  /** Undefined: it is not time for a pause. */
  atLine(): Promise<void> | undefined {
    if (++this.lines % LINES_PER_LOOK !== 0 || this.clock.monotonicMs() - this.since < SLICE_MS) return undefined;
    return this.pause();
  }

  private async pause(): Promise<void> {
    await nextTurn();
    this.since = this.clock.monotonicMs();
  }
}

/** Fills a table with what a file says. */
async function filled(
  table: LocalTable,
  file: LocalFile,
  contents: readonly Buffer[],
  pauses: Pauses,
): Promise<Readonly<Tally>> {
  const tally: Tally = { names: 0, problems: 0, firstProblem: undefined };
  const before = table.names;
  const note = ({ line, words }: Omit<LineProblem, 'at'>): void => {
    tally.problems++;
    tally.firstProblem ??= visible(`${file.path}:${line}: ${words}`);
  };
  /** The leases by address: of several entries, the last one counts. */
  const leases = new Map<string, LeaseEntry>();
  let isFull = false;
  for (const octets of contents) {
    const steps = file.format === 'hosts' ? readHosts(octets) : readLeases(octets, file.format);
    for (const step of steps) {
      const pause = pauses.atLine();
      if (pause !== undefined) await pause;
      if (step?.at === 'problem') note(step);
      else if (step?.at === 'host') isFull ||= !table.addHost(step.address, step.names, 'hosts');
      else if (step !== undefined) isFull ||= !noted(leases, step);
    }
  }
  for (const { address, host, until } of leases.values()) {
    const pause = pauses.atLine();
    if (pause !== undefined) await pause;
    const name = host === undefined ? undefined : deviceNameFrom(host, file.domain);
    if (name !== undefined) isFull ||= !table.addHost(address, [name], 'leases', until);
  }
  if (isFull) note({ line: 1, words: `there are more than ${MOST_NAMES} local names; the rest does not count` });
  tally.names = table.names - before;
  return tally;
}

/** @returns false: there are too many */
function noted(leases: Map<string, LeaseEntry>, entry: LeaseEntry): boolean {
  const key = entry.address.toString('latin1');
  if (!leases.has(key) && leases.size >= MOST_NAMES) return false;
  leases.set(key, entry);
  return true;
}
