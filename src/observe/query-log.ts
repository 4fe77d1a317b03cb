// The query log: a line of JSON for each query that got a reply, with the detail that log.queries sets.

import { createHmac } from 'node:crypto';

import type { NotedQuery } from '../base/observer.js';
import type { WallMs } from '../base/time.js';
import { visibleJson } from '../base/visible.js';

/**
 * The detail of a line: everything; the client only as a hash, with a key that ends with the process; or neither client
 * nor name.
 */
export type Detail = 'full' | 'hashed_client' | 'no_name';

/** The fields of a line. */
export interface QueryLine {
  readonly time: string;
  readonly client?: string;
  readonly transport: string;
  readonly name?: string;
  readonly type: string;
  readonly rcode: string;
  readonly source: string;
  readonly upstream?: string;
  readonly verdict?: string;
  readonly failure?: string;
  readonly ms: number;
}

/** The parts of the log. */
export interface QueryLogParts {
  readonly detail: Detail;
  readonly write: (line: string) => void;
  readonly wallMs: () => WallMs;
  /** Random octets: a client has the same hash as long as the daemon runs, and the hash does not reveal its address. */
  readonly key: Buffer;
  /** Name and type of a question in text. */
  readonly questionText: (question: Buffer) => { readonly name: string; readonly type: string };
  readonly rcodeName: (rcode: number) => string;
}

/** The log. */
export interface QueryLog {
  note(query: NotedQuery): void;
  /** The last lines, oldest first. */
  recent(): readonly QueryLine[];
}

/** How many lines are kept, from which `top` counts names and clients. */
const MAX_RECENT = 1000;
const HASH_CHARACTERS = 12;

/** Makes a QueryLog. */
export function queryLog({ detail, write, wallMs, key, questionText, rcodeName }: QueryLogParts): QueryLog {
  // A ring: when it is full, the oldest is at `next`.
  const kept: QueryLine[] = [];
  let next = 0;
  const shown = (address: string): string =>
    detail === 'full'
      ? address
      : createHmac('sha256', key).update(address).digest('base64url').slice(0, HASH_CHARACTERS);

  return {
    note({ client, question, rcode, source, upstream, verdict, failure, seconds }) {
      const { name, type } = question === undefined ? { name: '', type: '' } : questionText(question);
      const line: QueryLine = {
        time: new Date(wallMs()).toISOString(),
        ...(detail === 'no_name' ? {} : { client: shown(client.address), name }),
        transport: client.transport,
        type,
        rcode: rcodeName(rcode),
        source,
        ...(upstream === undefined ? {} : { upstream }),
        ...(verdict === undefined ? {} : { verdict }),
        ...(failure === undefined ? {} : { failure }),
        ms: Math.round(seconds * 1e6) / 1000,
      };
      kept[next] = line;
      next = (next + 1) % MAX_RECENT;
      write(`${visibleJson(JSON.stringify(line))}\n`);
    },
    recent: () => [...kept.slice(next), ...kept.slice(0, next)],
  };
}
