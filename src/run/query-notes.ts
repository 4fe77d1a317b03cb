// The query log and dnstap, which note every query. Most daemons use neither, and never load this file.

import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';

import type { NotedQuery } from '../base/observer.js';
import type { Clock, Log } from '../base/ports.js';
import { dataFrame } from '../observe/dnstap.js';
import { DnstapStream } from '../observe/dnstap-stream.js';
import { LogFile } from '../observe/log-file.js';
import { type QueryLine, type QueryLog, queryLog } from '../observe/query-log.js';
import { typeOfQuestion } from '../wire/compose.js';
import { nameToText } from '../wire/name.js';
import { rcodeToText } from '../wire/rcode.js';
import { typeToText } from '../wire/rrtype.js';
import type { Plan } from './plan.js';

/** The parts that it is made from. */
export interface QueryNotesParts {
  readonly version: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Takes the lines of the query log if no file is configured. */
  readonly output: { readonly write: (line: string) => void };
  /** Called for each frame of dnstap that was lost. */
  readonly lostFrame: () => void;
}

/** The query log and dnstap of one plan. */
export class QueryNotes {
  private readonly file: LogFile | undefined;
  private readonly lines: QueryLog | undefined;
  private readonly tap: DnstapStream | undefined;
  private readonly ourselves: { readonly identity: string; readonly version: string };

  constructor(
    private readonly parts: QueryNotesParts,
    { queries: detail, query_file: path, dnstap }: Plan['log'],
  ) {
    const { clock, log, lostFrame: lost, output } = parts;
    this.ourselves = { identity: hostname(), version: `dotstub ${parts.version}` };
    this.file =
      path === undefined || detail === 'off' ? undefined : new LogFile({ path, option: 'log.query_file', clock, log });
    this.lines =
      detail === 'off'
        ? undefined
        : queryLog({
            detail,
            write: line => (this.file === undefined ? output.write(line) : this.file.write(line)),
            wallMs: () => clock.wallMs(),
            rcodeName: rcodeToText,
            key: randomBytes(16),
            questionText: question => ({
              name: nameToText(question.subarray(0, -4)),
              type: typeToText(typeOfQuestion(question)),
            }),
          });
    this.tap = dnstap === undefined ? undefined : new DnstapStream({ path: dnstap, clock, log, lost });
  }

  /** Notes a query and its reply. It is bound, because the front calls it for every query. */
  readonly note = (query: NotedQuery): void => {
    this.lines?.note(query);
    this.tap?.send(dataFrame(this.ourselves, query, this.parts.clock.wallMs()));
  };

  /** The last queries; undefined: no query log is kept. */
  recent(): readonly QueryLine[] | undefined {
    return this.lines?.recent();
  }

  /** Problems with writing, as sentences. */
  get unwritten(): readonly string[] {
    return this.file?.unwritten === undefined ? [] : [this.file.unwritten];
  }

  /** Opens a new file after the old one was moved. */
  reopen(): void {
    this.file?.reopen();
  }

  /** Ends both. */
  close(): void {
    this.tap?.close();
    this.file?.close();
  }
}
