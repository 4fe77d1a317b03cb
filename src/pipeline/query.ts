// A question on its way through the stages.

import type { Transport } from '../base/observer.js';
import type { Opt } from '../wire/edns.js';
import { questionName } from '../wire/compose.js';
import { lowerCased } from '../wire/name.js';
import type { ClientQuery } from '../wire/query.js';

/** Who asks. */
export interface Client {
  /** IP address, with zone where it has one. */
  readonly address: string;
  readonly port: number;
  readonly family: 4 | 6;
  readonly transport: Transport;
}

/** Why it is asked: a client waits for it, a kept answer is to be renewed, or this program needs it itself. */
export type QueryPurpose = 'client' | 'refresh' | 'own';

/** What may differ in a query that is made from another one. */
export interface QueryChange {
  readonly dnssecOk?: boolean;
  readonly checkingDisabled?: boolean;
  readonly avoid?: readonly number[];
  readonly purpose?: QueryPurpose;
}

const NOBODY: readonly number[] = [];

/**
 * One question. All fields are set by the constructor, in one order: V8 then compiles every stage for one shape. Another query
 * is only made by `derive`, so that a new field has one place to be copied in.
 */
export class Query implements ClientQuery {
  private lowerCasedName: Buffer | undefined = undefined;

  constructor(
    readonly id: number,
    readonly flags: number,
    /** QNAME, QTYPE and QCLASS as they were sent. */
    readonly question: Buffer,
    readonly type: number,
    readonly opt: Opt | undefined,
    /** Recursion Desired. */
    readonly recurse: boolean,
    /** DNSSEC OK. */
    readonly dnssecOk: boolean,
    /** Checking Disabled. */
    readonly checkingDisabled: boolean,
    /** What the answer is kept and shared under. A derived query has the key of the one that it was made from. */
    readonly key: string,
    readonly client: Client,
    readonly purpose: QueryPurpose,
    /** The group of clients that it belongs to; 0: none. */
    readonly clientClass: number,
    /** Ids of upstream servers that are only asked if there is no other. */
    readonly avoid: readonly number[],
  ) {}

  /** A client's query. */
  static from(read: ClientQuery, client: Client): Query {
    return new Query(
      read.id,
      read.flags,
      read.question,
      read.type,
      read.opt,
      read.recurse,
      read.dnssecOk,
      read.checkingDisabled,
      read.key,
      client,
      'client',
      0,
      NOBODY,
    );
  }

  /** QNAME in lower case. Made when it is first needed: an answer from the cache needs only the key. */
  get name(): Buffer {
    return (this.lowerCasedName ??= lowerCased(questionName(this.question)));
  }

  /** The same query with something changed. */
  derive(change: QueryChange): Query {
    const derived = new Query(
      this.id,
      this.flags,
      this.question,
      this.type,
      this.opt,
      this.recurse,
      change.dnssecOk ?? this.dnssecOk,
      change.checkingDisabled ?? this.checkingDisabled,
      this.key,
      this.client,
      change.purpose ?? this.purpose,
      this.clientClass,
      change.avoid ?? this.avoid,
    );
    derived.lowerCasedName = this.lowerCasedName;
    return derived;
  }
}
