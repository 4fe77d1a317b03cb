// Lists in the running daemon: read at the start, again when a file or a copy has changed, and exchanged as a whole.

import type { ListOverview, ListsOverview } from '../base/overview.js';
import type { Observer } from '../base/observer.js';
import type { Clock, Log, Random } from '../base/ports.js';
import { type MonoMs, monoAfter } from '../base/time.js';
import type { Job, JobRun } from '../pipeline/jobs/jobs.js';
import { mayStillBeGiven } from '../pipeline/stages/listed.js';
import { Lists } from '../policy/lists/choice.js';
import { isList, type SourceReport } from '../policy/lists/compile.js';
import type { ListPolicy } from '../policy/lists/list-policy.js';
import { SKIPPED, type Skipped } from '../policy/lists/rule.js';
import { KeptLists, type Made, NOTHING_MADE } from './kept-lists.js';
import { ListCompiler } from './list-compiler.js';
import type { ListResult, TaskSource } from './list-worker.js';
import { ListCopies, type ListCopiesParts } from './list-copies.js';
import { GONE, keysOf, ListSources, type Source, sourcesOf, textOf } from './list-sources.js';
import type { ListsPlan, Plan } from './plan.js';
import type { Live, Prepared } from './reload.js';
import { StartError } from './start-error.js';
import type { Timed } from './times.js';

/** The parts that it uses. */
export interface ListServiceParts extends Omit<ListCopiesParts, 'clock' | 'random'> {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly observer: Pick<Observer, 'lists'>;
  readonly policy: ListPolicy;
  /** Called when other groups of clients are in force. */
  readonly takeGroups: (plan: ListsPlan) => void;
  /**
   * Called when other lists are in force: ready replies of before must not be given any more.
   * @param stays picks those that may; left out: none
   */
  readonly forgotten: (stays?: (clientClass: number, reply: Buffer) => boolean) => void;
  /** Called when a job is due at another time. */
  readonly changed: () => void;
}

/** For how long a command waits for fetches; the client of the control socket waits for 15 s. */
const MOST_REFRESH_MS = 12_000;
/** How often files are looked at. */
const LOOK_MS = 5000;
/** Some servers send an error, or nothing, with status 200. That does not take the place of the copy of before. */
const NO_RULES = 'the server has sent no line that is a rule';
interface Carried {
  /** Sources that cannot be read, and have their rules of before. */
  readonly carried: ReadonlySet<number>;
}

/** The lists. */
export class ListService implements Live, Timed {
  static readonly options = ['lists', 'clients'];
  readonly options = ListService.options;
  /** Which routes are for a group stands in these. */
  readonly dependsOn = ['routes'];
  private readonly copies: ListCopies;
  private readonly sources: ListSources;
  private readonly keeper: KeptLists;
  private plan: ListsPlan;
  private made: Made | undefined;
  /** When files are looked at next. */
  private lookAt: MonoMs;
  /** Why lists could not be compiled when that was last tried; undefined: they were. */
  private problem: string | undefined;
  /** Files are looked at one after the other; */
  private readonly looks = new Turns();
  /** and so are lists compiled and exchanged. A look has one of these turns within its own; a reload, until its end. */
  private readonly exchanges = new Turns();
  /** A thread at a time looks at what was downloaded. */
  private readonly trials = new Turns();
  /** The turn of an exchange that has not begun. It will find all that has changed until then. */
  private renewal: Promise<void> | undefined;

  constructor(
    private readonly parts: ListServiceParts,
    { lists }: Plan,
    private readonly compiler = new ListCompiler(),
  ) {
    this.copies = new ListCopies(parts, async (url, path) => this.whyNoList(url, path));
    this.sources = new ListSources(this.copies, parts.clock);
    this.keeper = new KeptLists(parts, this.sources, this.compiler);
    this.plan = lists;
    this.lookAt = parts.clock.monotonicMs();
  }

  /** Reads what is there already, before the first query. */
  async start(): Promise<void> {
    // A look that is due meanwhile waits: it would find that nothing was read, and read all again.
    await this.looks.run(async () => {
      const kept = await this.keeper.read(this.plan);
      if (kept === undefined) await this.renew();
      else
        await this.exchanges.run(async () => {
          this.take(this.plan, kept);
          return Promise.resolve();
        });
    });
  }

  /** Looks at files, and fetches what is due. */
  readonly job: Job = {
    name: 'lists',
    dueInMs: () => {
      if (this.plan.lists.length === 0) return Infinity;
      const files = sourcesOf(this.plan).some(({ at }) => at === 'file')
        ? this.lookAt - this.parts.clock.monotonicMs()
        : Infinity;
      return Math.min(files, ...this.urls.map(([url, refreshMs]) => this.copies.dueInMs(url, refreshMs)));
    },
    run: (run: JobRun) => {
      for (const [url, refreshMs] of this.urls)
        if (this.copies.dueInMs(url, refreshMs) <= 0) void this.fetch(url, refreshMs, false);
      void this.lookAtFiles([]).finally(() => run.done());
    },
  };

  changesInMs(scheduleMs: number): number {
    const { policy } = this.parts;
    return policy.isTimed ? Math.min(scheduleMs, ...policy.paused.map(({ leftMs }) => leftMs)) : Infinity;
  }

  /** Brings schedules and the ends of pauses into force. */
  lookAtTime(): void {
    if (this.parts.policy.look()) this.reviewed();
  }

  /** Fetches and reads lists now. @param name undefined: all. @returns what could not be done, one sentence each */
  async refresh(name: string | undefined): Promise<readonly string[]> {
    const lists = this.plan.lists.filter(list => name === undefined || list.name === name);
    const asked = lists.flatMap(({ sources }) => sources.map(textOf));
    const urls = this.urls.filter(([url]) => asked.includes(url));
    const files = this.lookAtFiles(asked);
    await this.inTime(Promise.all([files, ...urls.map(async ([url, refreshMs]) => this.fetch(url, refreshMs, true))]));
    // By source: a reload meanwhile may have given the lists other names.
    const sources = this.overview.lists.flatMap(list => list.sources).filter(({ source }) => asked.includes(source));
    const problems = sources.flatMap(({ source, problem }) => {
      const words = this.copies.isFetching(source) ? 'it is still being fetched' : problem;
      return words === undefined ? [] : [`${source}: ${words}`];
    });
    return [...new Set(problems)];
  }

  /** Waits for what a command has asked for, as long as that waits for its reply. */
  private async inTime(work: Promise<unknown>): Promise<void> {
    const isDone = await new Promise<boolean>((resolve, reject) => {
      const cancel = this.parts.clock.after(MOST_REFRESH_MS, () => resolve(false));
      void work.finally(cancel).then(() => resolve(true), reject);
    });
    // If it breaks later, nobody else would see that.
    if (!isDone) void work.then();
  }

  /** The rules in force, and for whom. */
  get policy(): ListPolicy {
    return this.parts.policy;
  }

  /** Whether a group has this name. */
  hasGroup(name: string): boolean {
    return this.parts.policy.hasGroup(name);
  }

  /** Downloads that have failed may succeed on another network, and after a sleep. */
  networkChanged(): void {
    this.copies.networkChanged();
  }

  /** Pauses or resumes. */
  paused(change: (policy: ListPolicy) => void): void {
    change(this.parts.policy);
    this.reviewed();
    this.parts.changed();
  }

  /** All lists, for the overview. */
  get overview(): ListsOverview {
    const { policy } = this.parts;
    let index = 0;
    const lists = this.plan.lists.map((list): ListOverview => {
      const sources = list.sources.map(source => this.sourceOverview(source, index++));
      return {
        name: list.name,
        action: list.action,
        rules: sources.reduce((sum, { rules }) => sum + rules, 0),
        sources,
      };
    });
    const { made, problem } = this;
    return { lists, paused: policy.paused, bytes: made?.compiled.table.byteLength ?? 0, problem };
  }

  /** The source of a rule, as it stands in the configuration. */
  sourceText(index: number): string {
    const source = sourcesOf(this.plan)[index];
    return source === undefined ? '' : textOf(source);
  }

  /** Until the reload has ended, nothing else is compiled: a table that a compile uses must not be freed. */
  async prepare({ lists: next }: Plan): Promise<Prepared> {
    const end = await this.exchanges.hold();
    try {
      const made = await this.makeNext(next);
      const commit = (): void => {
        try {
          this.take(next, made);
        } finally {
          end();
        }
      };
      return { commit, abandon: end };
    } catch (error) {
      end();
      throw error;
    }
  }

  /** Stops reading. */
  async close(): Promise<void> {
    await this.compiler.close();
  }

  private get urls(): readonly (readonly [url: string, refreshMs: number])[] {
    return this.plan.lists.flatMap(({ sources, refreshMs }) =>
      sources.flatMap(source => (source.at === 'https' ? [[source.url, refreshMs] as const] : [])),
    );
  }

  /** Fetches a URL, and reads it. @param isAsked also where it has not changed */
  private async fetch(url: string, refreshMs: number, isAsked: boolean): Promise<void> {
    const isTold = this.copies.isFetching(url);
    const isChanged = await this.copies.fetch(url, refreshMs);
    const problem = this.copies.problemOf(url);
    const words = this.copies.has(url) ? 'the copy of before stays in force' : 'there is no copy of before';
    if (problem !== undefined && !isTold) this.warn(url, `cannot be fetched (${problem}): ${words}`);
    if (isChanged || isAsked) await this.renew();
    this.parts.changed();
  }

  /** Why a file is no list, in none of the formats in which the lists with its URL are read. */
  private async whyNoList(url: string, path: string): Promise<string | undefined> {
    const lists = this.plan.lists.filter(({ sources }) => sources.some(source => textOf(source) === url));
    const formats = [...new Set(lists.map(({ format }) => format))];
    const task = {
      sources: formats.map(format => ({ path, format })),
      key: { first: 0, second: 0 },
      ...{ before: undefined, isBeside: true, isTrial: true },
    };
    const result = await this.trials.run(async () => this.compiler.compile(task));
    if (typeof result === 'string') return result;
    if (result.compiled.sources.some(isList)) return undefined;
    return result.problems.find(problem => problem !== undefined) ?? NO_RULES;
  }

  /** @param asked sources that are read again, whether they have changed or not */
  private async lookAtFiles(asked: readonly string[]): Promise<void> {
    await this.looks.run(async () => {
      this.lookAt = monoAfter(this.parts.clock.monotonicMs(), LOOK_MS);
      let isChanged = false;
      for (const source of sourcesOf(this.plan))
        if (source.at === 'file' && (asked.includes(source.path) || (await this.hasChanged(source.path))))
          isChanged = true;
      if (isChanged) await this.renew();
    });
  }

  private async hasChanged(path: string): Promise<boolean> {
    return (await this.sources.markOf(path)).text !== (this.made?.marks.get(path)?.text ?? GONE);
  }

  /** Compiles the lists of the plan in force: a reload that had the turn before may have brought another one. */
  private async renew(): Promise<void> {
    this.renewal ??= this.exchanges.run(async () => {
      this.renewal = undefined;
      this.take(this.plan, await this.make(this.plan));
    });
    return this.renewal;
  }

  /** Forgets the ready replies that rules keep from their clients now. What a list has answered is never kept ready. */
  private reviewed(): void {
    const { policy, forgotten } = this.parts;
    forgotten((clientClass, reply) => mayStillBeGiven(policy, clientClass, reply));
  }

  private warn(source: string, words: string): void {
    this.parts.log.warn({ list: source }, `${source} ${words}`);
  }

  /** What a reload brings into force. @throws StartError */
  private async makeNext(next: ListsPlan): Promise<Made> {
    const { made } = this;
    if (next.text === this.plan.text && made !== undefined) return made;
    const other = await this.make(next);
    if (typeof other !== 'string') return other;
    throw StartError.ofOptions([{ path: 'lists', words: `they cannot be read: ${other}` }]);
  }

  /**
   * Compiles the lists of a plan, from what is on the disk. A source that cannot be read keeps the rules that it has in
   * force. Text: why that failed.
   */
  private async make(plan: ListsPlan): Promise<Made | string> {
    const { clock } = this.parts;
    const keys = keysOf(plan);
    if (keys.length === 0) return { ...NOTHING_MADE, compiled: Lists.none().compiled };
    // Before they are read: a change meanwhile is noticed afterwards.
    const marks = await this.sources.marksOf(plan);
    const startedAt = clock.monotonicMs();
    const result = await this.compiled(plan, keys);
    if (typeof result === 'string') return result;
    const { problems, carried, compiled } = result;
    const about = await this.keeper.aboutOf(plan, marks);
    const inForce = new Map(keys.flatMap((key, i) => (problems[i] === undefined || carried.has(i) ? [[key, i]] : [])));
    return { compiled, problems, inForce, marks, about, ms: clock.monotonicMs() - startedAt, isKept: false };
  }

  /** Compiles, and again each time that another source which has rules in force cannot be read. */
  private async compiled(plan: ListsPlan, keys: readonly string[]): Promise<string | (ListResult & Carried)> {
    const { random, policy } = this.parts;
    const { made: before } = this;
    const word = (): number => (random.uint16() << 16) | random.uint16();
    const all = sourcesOf(plan);
    const sources = plan.lists.flatMap(({ sources: own, format }) =>
      own.map((source): TaskSource => {
        return { path: this.sources.fileOf(source), format };
      }),
    );
    const carried = new Set<number>();
    for (;;) {
      const kept = carried.size === 0 ? undefined : before?.compiled;
      const key = kept === undefined ? { first: word(), second: word() } : policy.lists.table.key;
      const result = await this.compiler.compile({
        sources,
        key,
        before: kept,
        isBeside: before !== undefined,
      });
      if (typeof result === 'string') return result;
      const count = carried.size;
      const problems = result.problems.map((problem, i) => {
        const report = result.compiled.sources[i];
        return problem ?? (all[i]?.at === 'https' && report !== undefined && !isList(report) ? NO_RULES : undefined);
      });
      problems.forEach((problem, i) => {
        const own = before?.inForce.get(keys[i] ?? '');
        if (problem === undefined || own === undefined || carried.has(i)) return;
        carried.add(i);
        sources[i] = { before: own, problem };
      });
      if (carried.size === count) return { ...result, problems, carried };
    }
  }

  /** Brings lists into force; or, if they could not be made, leaves those of before. */
  private take(plan: ListsPlan, made: Made | string): void {
    const { policy, takeGroups, forgotten, changed, log, observer } = this.parts;
    this.problem = typeof made === 'string' ? made : undefined;
    if (typeof made === 'string') return log.warn({}, `lists cannot be read: ${made}; those of before stay in force`);
    const { made: before, plan: planBefore } = this;
    const isOther = made.compiled !== before?.compiled;
    const toldBefore = new Map(before && keysOf(planBefore).map((key, i) => [key, before.problems[i]]));
    const lists = new Lists(plan.lists, listNumbers(plan), made.compiled);
    takeGroups(plan);
    policy.take(lists, plan.classes);
    this.plan = plan;
    this.made = made;
    observer.lists(plan.lists.map(({ name }) => name));
    this.copies.keepOnly(new Set(this.urls.map(([url]) => url)));
    if (isOther && plan.lists.length > 0) this.tell(made, toldBefore);
    // With another plan, a client may be of another group.
    if (plan === planBefore) this.reviewed();
    else forgotten();
    changed();
    // Last: what clients get must not depend on the disk.
    if (isOther) this.keeper.keep(plan, made);
    // Not before the next ones are in force: if that fails, those of before must still be there. They may be being written.
    if (isOther && before !== undefined) void this.parts.store.flush().then(() => release(before.compiled.table));
  }

  /** @param toldBefore the problem of each source that was told already */
  private tell(
    { compiled, problems, inForce, marks, ms, isKept: isOld }: Made,
    toldBefore: ReadonlyMap<string, string | undefined>,
  ): void {
    const { log, policy } = this.parts;
    const { rules } = policy.lists.table;
    const from = isOld ? ', as they were compiled before the restart' : '';
    log.info({ rules, ms: Math.round(ms) }, `lists with ${rules} rules are in force${from}`);
    const keys = keysOf(this.plan);
    sourcesOf(this.plan).forEach((source, i) => {
      const problem = problems[i];
      const key = keys[i] ?? '';
      // A copy that has come since is not lost.
      const isComing = this.sources.isToCome(source, marks) || (source.at === 'https' && !this.copies.has(source.url));
      const isLost = problem !== undefined && source.at === 'https' && !isComing;
      if (isLost) this.copies.lost(source.url);
      const isKept = inForce.has(key);
      const words = isKept ? ` any more (${problem ?? ''}): its rules of before stay in force` : `: ${problem ?? ''}`;
      if (problem !== undefined) {
        if (!isComing && toldBefore.get(key) !== problem) this.warn(textOf(source), `cannot be read${words}`);
        return;
      }
      for (const { line, why, text } of compiled.sources[i]?.told ?? [])
        this.warn(`${textOf(source)}:${line}:`, `${SKIPPED[why]}, so this line is not used: ${text}`);
    });
  }

  private sourceOverview(source: Source, index: number): ListOverview['sources'][number] {
    const { made, copies, parts } = this;
    const report = made?.compiled.sources[index];
    const currentAt = source.at === 'https' ? copies.currentAt(source.url) : undefined;
    const fetching = source.at === 'https' ? copies.problemOf(source.url) : undefined;
    const reading =
      source.at === 'https' && fetching === undefined && currentAt === undefined ? undefined : made?.problems[index];
    return {
      source: textOf(source),
      rules: report?.rules ?? 0,
      skipped: skippedIn(report),
      ageMs: currentAt === undefined ? undefined : Math.max(0, parts.clock.wallMs() - currentAt),
      problem: fetching ?? reading,
    };
  }
}

/** Lines that are not used, by reason in words; rules for browsers are expected. */
function skippedIn(report: SourceReport | undefined): ListOverview['sources'][number]['skipped'] {
  return Object.entries(report?.skipped ?? {}).map(([why, count]) => ({ why: SKIPPED[why as Skipped], count }));
}

/** For each source, the number of its list. */
const listNumbers = ({ lists }: ListsPlan): readonly number[] =>
  lists.flatMap(({ sources }, i) => sources.map(() => i));

/**
 * Frees the memory of a table at once: it moves into a message that nobody receives. Otherwise it would be freed by a
 * collection of old objects, which may come days later; and memory that counts twice makes V8 begin such a collection.
 */
function release(table: ArrayBuffer): void {
  const { port1, port2 } = new MessageChannel();
  port1.postMessage(table, [table]);
  port2.close();
}

/** Things that are done one after the other. */
class Turns {
  private last: Promise<unknown> = Promise.resolve();

  async run<T>(what: () => Promise<T>): Promise<T> {
    const turn = this.last.then(what);
    this.last = turn.catch(() => undefined);
    return turn;
  }

  /** Waits for a turn. @returns ends it */
  async hold(): Promise<() => void> {
    return new Promise(resolve => void this.run(async () => new Promise<void>(resolve)));
  }
}
