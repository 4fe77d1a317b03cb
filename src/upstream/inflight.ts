// The queries in flight on one connection, by message id (RFC 7766 §7: replies may come in any order; §6.2.1: ids must
// be unique among queries in flight).

import type { Random } from '../base/ports.js';
import type { MonoMs } from '../base/time.js';
import { idOf } from '../wire/header.js';
import { answersQuestion, type Ask, isErrorWithoutQuestion, isResponse } from '../wire/upstream-query.js';

/** The owner's object for a query. Once it is `done` (answered elsewhere, or given up), a late reply is not used. */
export interface Waiter {
  readonly done: boolean;
  /** Set when the query leaves; before that it waits for a connection. */
  isSent: boolean;
}

/** One query that has been sent. */
export class Sent<T extends Waiter> {
  id = 0;
  /** Its neighbours by age. */
  older: Sent<T> | undefined;
  newer: Sent<T> | undefined;

  /**
   * @param form the form of its EDNS options (edns-forms)
   * @param before how many queries of its owner the connection had answered before
   */
  constructor(
    readonly waiter: T,
    readonly ask: Ask,
    readonly form: number,
    readonly sentAtMs: MonoMs,
    readonly before: number,
  ) {}
}

/** The result of matching a message from the server. */
export type Match<T extends Waiter> =
  { readonly at: 'reply'; readonly sent: Sent<T> } | { readonly at: 'id_mismatch' | 'question_mismatch' };

const FIRST_SLOTS = 64;
const IDS = 0x10000;

/**
 * The table. The query with id n is in slot n modulo the number of slots, and is the only one there. All queries are
 * linked by age.
 */
export class Inflight<T extends Waiter> {
  size = 0;
  private slots: (Sent<T> | undefined)[] = emptySlots(FIRST_SLOTS);
  private oldest: Sent<T> | undefined;
  private newest: Sent<T> | undefined;

  constructor(private readonly random: Random) {}

  /** Adds a query under an unpredictable id that is not in use; undefined: all ids are in use. */
  add(sent: Sent<T>): number | undefined {
    // A server that never answers some queries must not fill the table.
    this.dropDone();
    if (this.size === IDS) return undefined;
    if (2 * this.size >= this.slots.length && this.slots.length < IDS) this.grow();
    const mask = this.slots.length - 1;
    let id = this.random.uint16();
    // The table is at most half full, so the next free slot is near. The id stays unpredictable, because the search
    // began at a random one.
    while (this.slots[id & mask] !== undefined) id = (id + 1) & 0xffff;
    sent.id = id;
    this.slots[id & mask] = sent;
    this.size++;
    sent.older = this.newest;
    if (this.newest === undefined) this.oldest = sent;
    else this.newest.newer = sent;
    this.newest = sent;
    return id;
  }

  /** Finds and removes the query that a message answers. A message that answers none changes nothing. */
  match(message: Buffer): Match<T> {
    if (!isResponse(message)) return ID_MISMATCH;
    const id = idOf(message);
    const sent = this.withId(id);
    if (sent === undefined) return ID_MISMATCH;
    if (!answersQuestion(message, sent.ask.question) && !isErrorWithoutQuestion(message)) return QUESTION_MISMATCH;
    this.remove(sent);
    return { at: 'reply', sent };
  }

  /** The query with this id. */
  withId(id: number): Sent<T> | undefined {
    const sent = this.slots[id & (this.slots.length - 1)];
    return sent?.id === id ? sent : undefined;
  }

  /** The oldest query that somebody still waits for. */
  get first(): Sent<T> | undefined {
    this.dropDone();
    return this.oldest;
  }

  /** Whether somebody still waits for an answer. */
  get isAwaited(): boolean {
    return this.first !== undefined;
  }

  /** Removes and returns all queries, oldest first. */
  takeAll(): Sent<T>[] {
    const all = this.all();
    this.slots = emptySlots(FIRST_SLOTS);
    this.oldest = this.newest = undefined;
    this.size = 0;
    return all;
  }

  /** Returns all queries, oldest first, without removing them. */
  all(): Sent<T>[] {
    const all: Sent<T>[] = [];
    for (let each = this.oldest; each !== undefined; each = each.newer) all.push(each);
    return all;
  }

  /** Removes the oldest queries as long as they are done. */
  private dropDone(): void {
    while (this.oldest?.waiter.done === true) this.remove(this.oldest);
  }

  private remove(sent: Sent<T>): void {
    this.slots[sent.id & (this.slots.length - 1)] = undefined;
    this.size--;
    if (sent.older === undefined) this.oldest = sent.newer;
    else sent.older.newer = sent.newer;
    if (sent.newer === undefined) this.newest = sent.older;
    else sent.newer.older = sent.older;
    // Unlink removed nodes: an old-generation node that points at new ones would keep them alive until a full GC.
    sent.older = sent.newer = undefined;
  }

  private grow(): void {
    // Two queries in different slots modulo n are in different slots modulo 2n, too.
    this.slots = emptySlots(2 * this.slots.length);
    for (const each of this.all()) this.slots[each.id & (this.slots.length - 1)] = each;
  }
}

const ID_MISMATCH = { at: 'id_mismatch' } as const;
const QUESTION_MISMATCH = { at: 'question_mismatch' } as const;

const emptySlots = <T extends Waiter>(count: number): (Sent<T> | undefined)[] =>
  new Array<Sent<T> | undefined>(count).fill(undefined);
