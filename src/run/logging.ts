// The log, the query log and dnstap.

import type { NotedQuery } from '../base/observer.js';
import type { ConfigurableLog } from '../observe/log.js';
import type { QueryLine } from '../observe/query-log.js';
import type { Plan } from './plan.js';
import type { QueryNotes, QueryNotesParts } from './query-notes.js';
import type { Live, Prepared } from './reload.js';

/** The parts that it uses. */
export interface LoggingParts extends QueryNotesParts {
  readonly log: ConfigurableLog;
}

/** The log, the query log and dnstap. */
export class Logging implements Live {
  static readonly options = ['log.level', 'log.format', 'log.queries', 'log.query_file', 'log.dnstap'];
  readonly options = Logging.options;
  private notes: QueryNotes | undefined;
  private plan: Plan['log'];
  /** Called when queries begin to be noted, because ready replies are not noted. */
  private onBegin: () => void = () => undefined;

  private constructor(
    private readonly parts: LoggingParts,
    { log }: Plan,
  ) {
    this.plan = log;
  }

  /** Opens the logs of a plan. */
  static async open(parts: LoggingParts, plan: Plan): Promise<Logging> {
    const logging = new Logging(parts, plan);
    logging.notes = await notesOf(parts, plan);
    return logging;
  }

  /** Notes a query; undefined: queries are not noted. */
  get noted(): ((query: NotedQuery) => void) | undefined {
    return this.notes?.note;
  }

  /** The last queries; undefined: no query log is kept. */
  recent(): readonly QueryLine[] | undefined {
    return this.notes?.recent();
  }

  /** Problems with writing, as sentences. */
  get unwritten(): readonly string[] {
    return this.notes?.unwritten ?? [];
  }

  /** Opens the query log again, after its file was moved. */
  reopen(): void {
    this.notes?.reopen();
  }

  /** Calls `then` whenever queries begin to be noted. */
  whenNoting(then: () => void): void {
    this.onBegin = then;
  }

  async prepare(next: Plan): Promise<Prepared> {
    const { log } = next;
    const same = (['queries', 'query_file', 'dnstap'] as const).every(key => log[key] === this.plan[key]);
    const notes = same ? this.notes : await notesOf(this.parts, next);
    return {
      commit: () => {
        const { level, format } = log;
        if (level !== this.plan.level || format !== this.plan.format) this.parts.log.configure({ level, format });
        this.plan = log;
        if (same) return;
        const before = this.notes;
        this.notes = notes;
        before?.close();
        if (before === undefined) this.onBegin();
      },
      abandon: () => (same ? undefined : notes?.close()),
    };
  }

  /** Ends the query log and dnstap. */
  close(): void {
    this.notes?.close();
  }
}

async function notesOf(parts: LoggingParts, { log }: Plan): Promise<QueryNotes | undefined> {
  if (log.queries === 'off' && log.dnstap === undefined) return undefined;
  const { QueryNotes: Notes } = await import('./query-notes.js');
  return new Notes(parts, log);
}
