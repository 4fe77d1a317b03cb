// A question on its way through the stages.

import type { Transport } from '../base/observer.js';
import type { Failure } from '../base/outcome.js';
import type { Opt } from '../wire/edns.js';
import { questionName, questionOf } from '../wire/compose.js';
import { lowerCasedStart } from '../wire/name.js';
import { QUESTION_FIXED_BYTES } from '../wire/records.js';
import type { OwnPlace } from '../base/address.js';
import {
  ALL_ROUTES,
  cacheKey,
  type ClientQuery,
  keyHasCd,
  keyWithRoutes,
  type RouteSet,
  routesOfKey,
} from '../wire/query.js';

/** A client. */
export interface Client {
  /** IP address, with zone where it has one. */
  readonly address: string;
  readonly port: number;
  readonly family: 4 | 6;
  readonly transport: Transport;
  /** The address of ours at which it asks; left out: not known. */
  readonly at?: OwnPlace | undefined;
}

/**
 * Why a query is made: a client waits for it, a stored answer is being refreshed, or this program needs the answer
 * itself.
 */
export type QueryPurpose = 'client' | 'refresh' | 'own';

/** The place of a client's query among those that wait, whose number is limited. */
export interface Place {
  /** Takes it. A query that has it keeps it until it is answered. @returns why there is none for it */
  take(): Failure | undefined;
}

/** The fields that may differ in a derived query. */
export interface QueryChange {
  readonly dnssecOk?: boolean;
  readonly checkingDisabled?: boolean;
  readonly avoid?: readonly number[];
  readonly purpose?: QueryPurpose;
}

const NOBODY: readonly number[] = [];

/**
 * One question. The constructor sets all fields in one order, so that V8 compiles every stage for one shape. Other
 * queries are made only by `derive`, so that a new field must be copied in one place only.
 */
export class Query implements ClientQuery {
  private lowerCasedName: Buffer | undefined = undefined;

  constructor(
    readonly id: number,
    readonly flags: number,
    /** QNAME, QTYPE and QCLASS with the letter case of the client. */
    readonly question: Buffer,
    readonly type: number,
    readonly opt: Opt | undefined,
    /** Recursion Desired. */
    readonly recurse: boolean,
    /** DNSSEC OK. */
    readonly dnssecOk: boolean,
    /** Checking Disabled. */
    readonly checkingDisabled: boolean,
    /** The key under which the answer is stored and shared. A derived query has the key of its original. */
    readonly key: string,
    readonly client: Client,
    readonly purpose: QueryPurpose,
    /** The group of clients that it belongs to; 0: none. */
    readonly clientClass: number,
    /** Ids of upstream servers that are only asked if there is no other. */
    readonly avoid: readonly number[],
    /** All queries that are made for one of a client have the same; undefined: it may always wait. */
    readonly place: Place | undefined,
    /** The epoch of the routes when it began: none of its parts is asked under others. Undefined: it begins when asked. */
    readonly routesEpoch: number | undefined,
  ) {}

  /** A client's query. @param routes which routes are for its group */
  static from(
    read: ClientQuery,
    client: Client,
    clientClass = 0,
    routes: RouteSet = ALL_ROUTES,
    place?: Place,
    routesEpoch = 0,
  ): Query {
    return new Query(
      read.id,
      read.flags,
      read.question,
      read.type,
      read.opt,
      read.recurse,
      read.dnssecOk,
      read.checkingDisabled,
      keyWithRoutes(read.key, routes),
      client,
      'client',
      clientClass,
      NOBODY,
      place,
      routesEpoch,
    );
  }

  /**
   * To be called before it waits for somebody else.
   * @returns why it must not; undefined: it may, as those may that no client waits for
   */
  refusedToWait(): Failure | undefined {
    return this.purpose === 'client' ? this.place?.take() : undefined;
  }

  /** Which routes are for the client. */
  get routes(): RouteSet {
    return routesOfKey(this.key);
  }

  /** QNAME in lower case. It is made when it is first needed: an answer from the cache needs only the key. */
  get name(): Buffer {
    return (this.lowerCasedName ??= lowerCasedStart(this.question, this.question.length - QUESTION_FIXED_BYTES));
  }

  /** The same query about another name, in wire form. */
  about(name: Buffer): Query {
    return this.other(name, this.type);
  }

  /** The same query for another type. */
  asking(type: number): Query {
    return this.other(questionName(this.question), type);
  }

  private other(name: Buffer, type: number): Query {
    const question = questionOf(name, type);
    // As with all derived queries: while an answer is validated, queries have CD, and the key is that of the client's.
    const key = cacheKey(question, keyHasCd(this.key));
    return new Query(
      this.id,
      this.flags,
      question,
      type,
      this.opt,
      this.recurse,
      this.dnssecOk,
      this.checkingDisabled,
      keyWithRoutes(key, this.routes),
      this.client,
      this.purpose,
      this.clientClass,
      this.avoid,
      this.place,
      this.routesEpoch,
    );
  }

  /** The same query with some fields changed. */
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
      this.place,
      this.routesEpoch,
    );
    derived.lowerCasedName = this.lowerCasedName;
    return derived;
  }

  /** The same query as if it came now. */
  anew({ clientClass, routes, routesEpoch }: Pick<Query, 'clientClass' | 'routes' | 'routesEpoch'>): Query {
    return new Query(
      this.id,
      this.flags,
      this.question,
      this.type,
      this.opt,
      this.recurse,
      this.dnssecOk,
      this.checkingDisabled,
      keyWithRoutes(cacheKey(this.question, this.checkingDisabled), routes),
      this.client,
      this.purpose,
      clientClass,
      NOBODY,
      this.place,
      routesEpoch,
    );
  }
}
