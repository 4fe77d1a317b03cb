// Every message from a client enters here, and every reply leaves here, over all transports. The front reads the
// message, checks whether the client may ask, and resolves the query. `front/reply` makes the replies.

import type { NotedQuery, Observer, Source } from '../base/observer.js';
import { failure, type Failure } from '../base/outcome.js';
import type { Clock } from '../base/ports.js';
import type { AgeSec, MonoMs } from '../base/time.js';
import type { Answer, Outcome } from '../pipeline/answer.js';
import { type Client, type Place, Query } from '../pipeline/query.js';
import type { Resolve } from '../pipeline/stage.js';
import type { Matcher } from '../policy/access.js';
import type { Ruling } from '../policy/rate-limit.js';
import { BriefQuery } from '../wire/brief-query.js';
import { UDP_PAYLOAD_BYTES, withoutOptions } from '../wire/edns.js';
import { FLAG, flagsOf, rcodeOf } from '../wire/header.js';
import { type Parsed, parseQuery, type RouteSet, wantsPadding } from '../wire/query.js';
import type { ReadyReplies } from './ready-replies.js';
import { PlainForms } from './plain-forms.js';
import { emptyReply, failureReply, padsOver, type Reply, type ReplyParts, replyWith } from './reply.js';
import { Waiting, type WaitingClient, type WaitingLimits } from './waiting.js';

/** The parts that the front uses. Its fields are read at each message. */
export interface FrontParts extends ReplyParts, WaitingLimits {
  readonly resolve: Resolve;
  readonly allowed: Matcher;
  /**
   * Takes a query from the share of its client, and says what becomes of it; left out: nobody is limited.
   * @param isProven whether its address is known to be its own
   */
  readonly rule?: (client: Client, isProven: boolean) => Ruling;
  /** Whether a COOKIE option proves the address of a client. */
  readonly proves?: (client: Client, option: Buffer) => boolean;
  /** The group of a client; left out: there are no groups. */
  readonly classOf?: (client: Client) => number;
  /** Which routes are for a group. */
  readonly routesOf?: (clientClass: number) => RouteSet;
  /** Changes when names are asked of other servers than before. Reading it brings into force what schedules say now. */
  readonly routesEpoch?: number;
  /** Replies are added here. */
  readonly ready: ReadyReplies;
  readonly observer: Observer;
  /**
   * Called with every query that gets a reply. While it is set, no ready replies are made, because they would not be
   * reported.
   */
  readonly noted?: ((query: NotedQuery) => void) | undefined;
  readonly clock: Clock;
  readonly ageNow: () => AgeSec;
}

/** Where messages of clients enter. */
export interface Entrance {
  /**
   * Looks for a ready reply to one message, which is [from, to) of `octets`. Left out: `handle` does all.
   * @returns the reply, which the next call may overwrite. Otherwise `handle` must follow, with this as `missed`
   */
  atOnce?(octets: Buffer, from: number, to: number, client: Client): Buffer | boolean | undefined;
  /**
   * Handles one message.
   * @param message if it came over a stream, its memory may be used again afterwards
   * @param respond called once with the reply, now or later; never if the message must not be answered
   * @param missed whether the client was ruled on, and the packet cache searched, already
   * @returns whether a reply will come later
   */
  handle(message: Buffer, client: Client, respond: Respond, missed?: boolean): boolean;
  /** Left out: messages are handled in this thread, during the call. */
  readonly handOver?: MessageHandOver;
}

/** Messages on their way to the thread that handles them. It takes them in order. */
export interface MessageHandOver {
  /** The number of the message that was handed over last. */
  readonly last: number;
  /** Whether a message was taken: its reply is here, or it waits for an answer. */
  isTaken(number: number): boolean;
  /** Calls `then` once, soon after more was taken. */
  whenTaken(then: () => void): void;
}

/** The front. An exception while a message or an answer is handled is a broken invariant, and is not caught here. */
export interface Front extends Entrance {
  /** Queries that wait for an answer. */
  readonly inflight: number;
  /** Refuses all queries that would have to wait from now on. */
  stop(): void;
  /** Answers queries that wait with the failure `shutdown`. @param of which clients' */
  giveUp(of: (client: Client) => boolean): void;
}

/** Takes the reply to a message; undefined: there is none. It is only lent (`answerReply` of wire/reply). */
export type Respond = (reply: Buffer | undefined) => void;

/** Makes a Front. */
export const front = (parts: FrontParts): Front => new MessageFront(parts);

/** A message that is being handled, and its place among the queries that wait. */
class Arrival implements Place {
  /** Whether it has its outcome. */
  isSettled = false;
  /** Takes its outcome, while it waits; */
  settle: ((outcome: Outcome) => void) | undefined = undefined;
  /** and those that began to wait before and after it. */
  before: Arrival | undefined = undefined;
  after: Arrival | undefined = undefined;
  /** The client that it is counted for while it waits; undefined: it does not. */
  private waitsFor: WaitingClient | undefined = undefined;

  constructor(
    private readonly waiting: Waiting,
    readonly message: Buffer,
    readonly client: Client,
    readonly respond: Respond,
    readonly startedAt: MonoMs,
    /** Whether ready replies may be made for such queries. */
    readonly simple: boolean,
    /** The epoch of ready replies when it came. */
    readonly epoch: number,
  ) {}

  take(): Failure | undefined {
    if (this.isSettled || this.waitsFor !== undefined) return undefined;
    const taken = this.waiting.take(this.client.address, this.startedAt);
    if ('code' in taken) return taken;
    this.waitsFor = taken;
    return undefined;
  }

  /** It has its outcome. */
  settled(): void {
    this.isSettled = true;
    if (this.waitsFor !== undefined) this.waiting.leave(this.waitsFor);
    this.waitsFor = undefined;
  }

  /** Whether it waits, which is counted, whoever makes it wait. */
  get waits(): boolean {
    if (this.isSettled) return false;
    this.waitsFor ??= this.waiting.enter(this.client.address);
    return true;
  }
}

/** A message over a limit. */
type Limited = Pick<Arrival, 'message' | 'client' | 'respond'>;

const NO_OFFSETS: readonly number[] = [];

class MessageFront implements Front {
  private readonly waiting: Waiting;
  private stopping = false;
  /**
   * The last of the queries that wait, which are linked: a map leaves its tables behind as it changes, and with them V8
   * keeps all that was in them until it collects old objects.
   */
  private lastUnanswered: Arrival | undefined = undefined;

  private readonly plainForms = new PlainForms();
  private readonly brief = new BriefQuery();

  constructor(private readonly parts: FrontParts) {
    this.waiting = new Waiting(parts);
  }

  get inflight(): number {
    return this.waiting.queries;
  }

  stop(): void {
    this.stopping = true;
  }

  giveUp(of: (client: Client) => boolean): void {
    const unanswered: Arrival[] = [];
    for (let each = this.lastUnanswered; each !== undefined; each = each.before) unanswered.push(each);
    for (const { client, settle } of unanswered.reverse()) if (of(client)) settle?.(failure('shutdown'));
  }

  private enlist(arrival: Arrival): void {
    const last = this.lastUnanswered;
    arrival.before = last;
    if (last !== undefined) last.after = arrival;
    this.lastUnanswered = arrival;
  }

  private delist(arrival: Arrival): void {
    const { before, after } = arrival;
    if (before !== undefined) before.after = after;
    if (after !== undefined) after.before = before;
    else this.lastUnanswered = before;
    arrival.before = arrival.after = arrival.settle = undefined;
  }

  handle(lent: Buffer, client: Client, respond: Respond, missed = false): boolean {
    const { clock, ready, observer } = this.parts;
    const startedAt = clock.monotonicMs();
    const { transport, family } = client;
    const isStream = transport !== 'udp';
    const allowed = this.parts.allowed(client.address);
    const ruling = missed ? 'serve' : this.ruled(client, lent);
    if (ruling !== 'serve' && !isStream) {
      this.limit(ruling, allowed, { message: lent, client, respond });
      return false;
    }
    const clientClass = this.parts.classOf?.(client) ?? 0;
    const simple = allowed && ruling === 'serve' && ready.read(lent, isStream, clientClass);
    if (simple && !missed && !this.stopping) {
      const bytes = ready.find(lent, isStream, padsOver(transport));
      if (bytes !== undefined) {
        observer.cache(ready.negative ? 'hit_negative' : 'hit_positive');
        observer.query(transport, family, ready.type, lent.length);
        this.send(bytes, 'cache', startedAt, respond);
        return false;
      }
    }
    // The query may wait for an answer.
    const message = isStream ? Buffer.from(lent) : lent;
    const parsed: Parsed = simple ? { at: 'query', query: ready.query(message) } : parseQuery(message);
    if (parsed.at === 'ignore') {
      observer.dropped(parsed.reason);
      return false;
    }
    observer.query(transport, family, parsed.at === 'query' ? parsed.query.type : 0, message.length);
    const arrival = new Arrival(this.waiting, message, client, respond, startedAt, simple, ready.epoch);
    if (allowed && ruling === 'serve' && parsed.at === 'query') {
      // First: it may exchange the routes.
      const { routesEpoch } = this.parts;
      const routes = this.parts.routesOf?.(clientClass);
      return this.resolve(Query.from(parsed.query, client, clientClass, routes, arrival, routesEpoch), arrival);
    }

    if (allowed && ruling === 'serve' && parsed.at === 'cookie') {
      this.send(emptyReply(this.parts, parsed.replyTo, client), 'local', startedAt, respond);
      return false;
    }
    this.refuse(parsed, allowed ? ruling : 'serve', allowed, arrival);
    return false;
  }

  /** Answers a message that is not resolved: it is malformed, or its client may not ask, or not so much. */
  private refuse(parsed: Exclude<Parsed, { at: 'ignore' }>, ruling: Ruling, allowed: boolean, arrival: Arrival): void {
    const about = parsed.at === 'query' ? parsed.query : parsed.replyTo;
    const why = failure(
      !allowed ? 'not_allowed' : ruling === 'serve' && parsed.at === 'reject' ? parsed.code : 'rate_limited',
    );
    if (why.code === 'rate_limited') this.parts.observer.rateLimited('refused');
    const bytes = failureReply(this.parts, about, arrival.client, why);
    this.note(arrival, about.question, why, bytes);
    this.send(bytes, 'error', arrival.startedAt, arrival.respond);
  }

  /** What becomes of a message, by its client. A datagram that is served otherwise only with a cookie is read for it. */
  private ruled(client: Client, message: Buffer): Ruling {
    const { brief } = this;
    const { rule, proves } = this.parts;
    if (rule === undefined) return 'serve';
    const isStream = client.transport !== 'udp';
    const ruling = rule(client, isStream);
    if (ruling === 'serve' || isStream) return ruling;
    if (!brief.read(message, 0, message.length)) return ruling === 'unproven' ? 'serve' : 'drop';
    const { cookieAt, cookieBytes } = brief;
    const isProven = cookieBytes > 0 && proves?.(client, message.subarray(cookieAt, cookieAt + cookieBytes)) === true;
    return isProven ? rule(client, true) : ruling;
  }

  /** Drops a datagram over the limit, which was ruled on last, or answers it with TC. */
  private limit(ruling: Exclude<Ruling, 'serve'>, allowed: boolean, { message, client, respond }: Limited): void {
    const { brief } = this;
    const { observer, cookieFor } = this.parts;
    if (!allowed) return observer.dropped('not_allowed');
    if (ruling === 'drop') return observer.rateLimited('dropped');
    if (ruling === 'unproven') observer.unproven();
    else observer.rateLimited('truncated');
    const { cookieAt, cookieBytes, hasCookieRoom } = brief;
    const option = hasCookieRoom ? message.subarray(cookieAt, cookieAt + cookieBytes) : undefined;
    const reply = Buffer.allocUnsafe(message.length);
    respond(reply.subarray(0, brief.writeTruncated(reply, 0, option && cookieFor?.(client, option))));
  }

  /** Resolves a query. True: the answer comes later. */
  private resolve(query: Query, arrival: Arrival): boolean {
    const settle = (outcome: Outcome): void => {
      // It was given up.
      if (arrival.isSettled) return;
      if (arrival.settle !== undefined) this.delist(arrival);
      // Before everything that could throw: an exception must not leave the query counted for ever.
      arrival.settled();
      this.settled(query, arrival, outcome);
    };
    if (this.stopping) settle(failure('shutdown'));
    else this.parts.resolve(query, settle);
    const { waits } = arrival;
    if (!waits) return false;
    arrival.settle = settle;
    this.enlist(arrival);
    return true;
  }

  private settled(query: Query, arrival: Arrival, outcome: Outcome): void {
    const { parts } = this;
    let reply: Reply;
    if (outcome.at === 'failure') {
      reply = { bytes: failureReply(parts, query, query.client, outcome), recordsEnd: 0, ttlOffsets: NO_OFFSETS };
    } else {
      const ageNow = parts.ageNow();
      reply = replyWith(parts, this.plainForms, query, outcome, ageNow);
      // Asked under other rules, the reply is for this client only.
      if (arrival.simple && arrival.epoch === parts.ready.epoch) this.keepReady(query, outcome, reply, ageNow);
    }
    this.note(arrival, query.question, outcome, reply.bytes);
    if (outcome.at === 'failure' && outcome.code === 'dropped') {
      parts.observer.dropped('list');
      return arrival.respond(undefined);
    }
    this.send(reply.bytes, sourceOf(outcome), arrival.startedAt, arrival.respond);
  }

  /** Keeps a reply for clients that ask the same, if it does not depend on the client. */
  private keepReady(query: Query, answer: Answer, { bytes, recordsEnd, ttlOffsets }: Reply, ageNow: AgeSec): void {
    const { noted, ready } = this.parts;
    if (noted !== undefined || !answer.mayBeKeptReady || flagsOf(bytes) & FLAG.TC) return;
    // A server has just sent it. Most names are asked for once: they are in the cache, and need not be here as well.
    if (answer.serverId !== 0) return;
    const { storedAt, ttlSec, negative, extendedErrors } = answer.entry;
    const canBePadded = query.opt !== undefined && extendedErrors.length === 0;
    const isPadded = padsOver(query.client.transport) && wantsPadding(query);
    if (isPadded && (!canBePadded || recordsEnd > UDP_PAYLOAD_BYTES)) return;
    // Without its padding, it is for those who want none as well.
    const reply = isPadded ? withoutOptions(bytes, recordsEnd) : bytes;
    if (reply.length > UDP_PAYLOAD_BYTES) return;
    ready.keep(query, query.clientClass, {
      reply,
      ttlOffsets,
      elapsedSec: answer.elapsedSec(ageNow),
      storedAt,
      ttlSec,
      negative,
      canBePadded,
    });
  }

  private send(bytes: Buffer, source: Source, startedAt: MonoMs, respond: Respond): void {
    const { observer, clock } = this.parts;
    observer.response(rcodeOf(flagsOf(bytes)), source, (clock.monotonicMs() - startedAt) / 1000, bytes.length);
    respond(bytes);
  }

  private note(arrival: Arrival, question: Buffer | undefined, outcome: Outcome, reply: Buffer): void {
    const { noted, clock } = this.parts;
    if (noted === undefined) return;
    const { address, port, transport } = arrival.client;
    const found = outcome.at === 'failure' || outcome.isOwn ? undefined : outcome.entry;
    noted({
      client: { address, port, transport },
      query: arrival.message,
      reply,
      question,
      rcode: rcodeOf(flagsOf(reply)),
      source: sourceOf(outcome),
      upstream: found?.upstream,
      verdict: found?.verdict,
      failure: outcome.at === 'failure' ? outcome.code : undefined,
      seconds: (clock.monotonicMs() - arrival.startedAt) / 1000,
    });
  }
}

const sourceOf = (outcome: Outcome): Source => (outcome.at === 'failure' ? 'error' : outcome.source);
