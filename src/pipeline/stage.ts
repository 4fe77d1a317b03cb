// What flows through the pipeline, and the shape that all of its stages share.

import type { Failure } from '../base/outcome.js';
import type { Source, Transport } from '../base/observer.js';
import type { Entry } from '../cache/entry.js';
import type { ClientQuery } from '../wire/query.js';
import type { StoredMessage } from '../wire/reply.js';

/** Where a query came from. */
export interface Client {
  /** IP address, with zone where it has one. */
  readonly address: string;
  readonly port: number;
  readonly family: 4 | 6;
  readonly transport: Transport;
}

/** A query on its way through the stages. */
export interface Query extends ClientQuery {
  readonly client: Client;
  /** Ids of upstream servers that are only asked if there is no other. */
  readonly avoid: readonly number[];
}

/** What a stage answers. */
export type Answer =
  | { readonly at: 'stored'; readonly entry: Entry; readonly source: Extract<Source, 'cache' | 'upstream'> }
  /** Made here, e.g. for names that are ours. */
  | { readonly at: 'local'; readonly message: StoredMessage }
  | Failure;

/** Takes an answer. What the answer borrows is good until it returns. */
export type Settle = (answer: Answer) => void;

/** Answers a query: calls `settle` once. At once where it can: a cached answer should not cost a turn of the event loop. */
export type Resolve = (query: Query, settle: Settle) => void;

/** One thing done around the rest of the pipeline. */
export type Stage = (next: Resolve) => Resolve;
