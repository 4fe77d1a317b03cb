// What the daemon puts together for those who want to know of every query: the query log, and dnstap. Most do not, and never
// load it.

import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';

import type { NotedQuery } from './base/observer.js';
import type { Clock, Log } from './base/ports.js';
import type { Config } from './config/schema.js';
import { dataFrame } from './observe/dnstap.js';
import { DnstapStream } from './observe/dnstap-stream.js';
import { type QueryLine, queryLog } from './observe/query-log.js';
import { nameToText } from './wire/name.js';
import { rcodeToText } from './wire/rcode.js';
import { typeToText } from './wire/rrtype.js';

/** What it is made from. */
export interface NotesParts {
  readonly config: Config;
  readonly version: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Takes the lines of the query log. */
  readonly write: (line: string) => void;
  /** Told of each frame of dnstap that nobody took. */
  readonly lost: () => void;
}

/** Whoever is told of queries. */
export interface Notes {
  note(query: NotedQuery): void;
  /** The last ones; undefined: no query log is kept. */
  recent(): readonly QueryLine[] | undefined;
  close(): void;
}

/** Puts it together. */
export function notes({
  config: {
    log: { queries: detail, dnstap },
  },
  version,
  clock,
  log,
  write,
  lost,
}: NotesParts): Notes {
  const lines =
    detail === 'off'
      ? undefined
      : queryLog({
          detail,
          write,
          wallMs: () => clock.wallMs(),
          rcodeName: rcodeToText,
          key: randomBytes(16),
          questionText: question => ({
            name: nameToText(question.subarray(0, -4)),
            type: typeToText(question.readUInt16BE(question.length - 4)),
          }),
        });
  const ourselves = { identity: hostname(), version: `dotstub ${version}` };
  const tap = dnstap === undefined ? undefined : new DnstapStream({ path: dnstap, clock, log, lost });
  return {
    note(query) {
      lines?.note(query);
      tap?.send(dataFrame(ourselves, query, clock.wallMs()));
    },
    recent: () => lines?.recent(),
    close: () => tap?.close(),
  };
}
