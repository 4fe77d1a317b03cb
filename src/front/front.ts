// Where every message from a client enters and every reply leaves, whatever the transport: read it, see whether the
// sender may ask, have it resolved, and put the reply together.

import { type Failure, failure, failureRow, failureWords, isDnssecFailure } from '../base/outcome.js';
import type { NotedQuery, Observer, Source } from '../base/observer.js';
import type { Clock } from '../base/ports.js';
import type { Answer, Client, Query, Resolve } from '../pipeline/stage.js';
import type { Matcher } from '../policy/access.js';
import { FastQuery } from './fast-query.js';
import { type PacketCache, room } from './packet-cache.js';
import { type ExtendedError, findOption, type Option, OPTION, UDP_PAYLOAD_BYTES } from '../wire/edns.js';
import { FLAG, HEADER_BYTES, rcodeOf, flagsOf } from '../wire/header.js';
import { type ClientQuery, type Parsed, parseQuery, type ReplyTo, wantsPadding } from '../wire/query.js';
import {
  answerReply,
  edeFor,
  headerOnlyReply,
  keepaliveOption,
  type ReplyShape,
  type StoredMessage,
  STREAM_LIMIT_BYTES,
  udpLimit,
} from '../wire/reply.js';
import { withoutDnssec } from '../wire/selection.js';

/** What the front works with. */
export interface FrontParts {
  readonly resolve: Resolve;
  readonly allowed: Matcher;
  /** Ready replies; filled here. */
  readonly packets: PacketCache;
  /** Queries that may wait for upstream at one time; one more gets SERVFAIL at once, instead of a place in a queue. */
  readonly maxInflight: number;
  /** How long an idle stream of a client stays open; told to those who ask (RFC 7828). */
  readonly streamIdleMs: number;
  readonly observer: Observer;
  /** Is told of every query that gets a reply. Then there are no ready replies: nobody would be told of those. */
  readonly noted?: ((query: NotedQuery) => void) | undefined;
  readonly clock: Clock;
  /** The age clock of the cache, seconds. */
  readonly nowSec: () => number;
}

/** The front. */
export interface Front {
  /**
   * Handles one message.
   * @param respond called once with the reply, now or later; never, if the message deserves none
   * @param missed whether the packet cache has been asked for it already
   * @returns whether a reply is still to come
   */
  handle(message: Buffer, client: Client, respond: (reply: Buffer) => void, missed?: boolean): boolean;
  /** Queries that wait for an answer. */
  readonly inflight: number;
  /** From now on refuses what would have to wait. */
  stop(): void;
}

/** Makes a Front. */
export function front(parts: FrontParts): Front {
  const { observer, clock } = parts;
  let inflight = 0;
  let stopping = false;
  const fast = new FastQuery();
  const ready = room(UDP_PAYLOAD_BYTES + 4);

  /** A ready reply to the query just read, if there is one that this client can take. */
  function readyReply(message: Buffer, client: Client): Buffer | undefined {
    const stream = client.transport !== 'udp';
    const nowSec = parts.nowSec();
    if (!parts.packets.find(fast, nowSec)) return undefined;
    const { replyBytes, negative } = parts.packets;
    if (!stream && replyBytes > fast.udpLimitBytes) return undefined;
    if (!parts.packets.copyTo(ready, 0, message, 0, fast.questionBytes, nowSec)) return undefined;
    observer.cache(negative ? 'hit_negative' : 'hit_positive');
    return Buffer.from(ready.octets.subarray(0, replyBytes));
  }

  const ageOf = ({ entry, source }: Extract<Answer, { at: 'stored' }>): number =>
    source === 'upstream' ? 0 : Math.floor(parts.nowSec() - entry.storedSec);

  /** Keeps the reply to a message for those who ask the same, if it is one that does not depend on who asks. */
  function keepReady(
    message: Buffer,
    client: Client,
    answer: Answer,
    bytes: Buffer,
    ttlOffsets: ArrayLike<number>,
  ): void {
    if (
      parts.noted !== undefined ||
      answer.at !== 'stored' ||
      bytes.length > UDP_PAYLOAD_BYTES ||
      flagsOf(bytes) & FLAG.TC
    )
      return;
    const { entry } = answer;
    // Errors of upstream's are counted with every reply, which a ready one would not be.
    if (entry.ttlSec === 0 || entry.extendedErrors.length > 0) return;
    if (!fast.read(message, 0, message.length, client.transport !== 'udp')) return;
    parts.packets.put(fast, {
      reply: bytes,
      ttlOffsets,
      ageSec: ageOf(answer),
      storedSec: entry.storedSec,
      ttlSec: entry.ttlSec,
      negative: entry.negative,
    });
  }

  function reply(startedAtMs: number, source: Source, bytes: Buffer, respond: (reply: Buffer) => void): void {
    observer.response(rcodeOf(flagsOf(bytes)), source, (clock.monotonicMs() - startedAtMs) / 1000, bytes.length);
    respond(bytes);
  }

  function note(
    { address, port, transport }: Client,
    query: Buffer,
    question: Buffer | undefined,
    source: Source,
    answer: Answer,
    bytes: Buffer,
    startedAtMs: number,
  ): void {
    const stored = answer.at === 'stored' ? answer.entry : undefined;
    parts.noted?.({
      client: { address, port, transport },
      query,
      reply: bytes,
      question,
      rcode: rcodeOf(flagsOf(bytes)),
      source,
      upstream: stored?.upstream,
      verdict: stored?.verdict,
      failure: answer.at === 'failure' ? answer.code : undefined,
      seconds: (clock.monotonicMs() - startedAtMs) / 1000,
    });
  }

  function replyFailure(replyTo: ReplyTo, client: Client, why: Failure): Buffer {
    const words = failureWords(why);
    observer.failure(why.code, words);
    const { rcode, ede } = failureRow(why.code);
    const errors = edeFor(ede, words);
    errors.forEach(each => observer.ede(each.infoCode));
    return headerOnlyReply(replyTo, rcode, errors, shapeFor(replyTo, client, report('error', undefined, why)));
  }

  function shapeFor(replyTo: ReplyTo, client: Client, reportText: () => string): ReplyShape {
    const options: Option[] = [];
    const { opt } = replyTo;
    const stream = client.transport !== 'udp';
    if (opt !== undefined && opt.options.length > 0) {
      // RFC 7828 §3.3.2: streams only, and only for those who sent it.
      if (stream && findOption(opt, OPTION.TCP_KEEPALIVE) !== undefined)
        options.push(keepaliveOption(parts.streamIdleMs));
      if (findOption(opt, OPTION.REPORT) !== undefined && isLoopback(client.address)) {
        options.push({ code: OPTION.REPORT, data: Buffer.from(reportText()) });
      }
    }
    return {
      limitBytes: stream ? STREAM_LIMIT_BYTES : udpLimit(replyTo),
      pad: client.transport === 'tls' && wantsPadding(replyTo),
      options,
    };
  }

  /** The reply, where it comes from, and where its TTLs are. */
  function replyTo(query: ClientQuery, client: Client, answer: Answer): readonly [Source, Buffer, ArrayLike<number>] {
    switch (answer.at) {
      case 'failure':
        return ['error', replyFailure(query, client, answer), []];
      case 'local':
        return [
          'local',
          answerReply(query, answer.message, 0, [], shapeFor(query, client, report('local')), false),
          [],
        ];
      case 'stored': {
        const { entry, source } = answer;
        const ageSec = ageOf(answer);
        const errors: readonly ExtendedError[] = entry.extendedErrors;
        errors.forEach(each => observer.ede(each.infoCode));
        const shape = shapeFor(query, client, report(source, answer));
        const shown = query.dnssecOk
          ? entry
          : withoutDnssec<StoredMessage>(entry, HEADER_BYTES + query.question.length, query.type);
        return [source, answerReply(query, shown, ageSec, errors, shape, entry.verdict === 'secure'), shown.ttlOffsets];
      }
    }
  }

  /** Has a query answered; true: not yet. */
  function resolve(query: Query, message: Buffer, startedAtMs: number, respond: (reply: Buffer) => void): boolean {
    let at: 'asking' | 'waiting' | 'settled' = 'asking';
    const settle = (answer: Answer): void => {
      if (at === 'waiting') {
        inflight--;
      }
      at = 'settled';
      const { client } = query;
      const [source, bytes, ttlOffsets] = replyTo(query, client, answer);
      keepReady(message, client, answer, bytes, ttlOffsets);
      if (parts.noted !== undefined) note(client, message, query.question, source, answer, bytes, startedAtMs);
      reply(startedAtMs, source, bytes, respond);
    };
    if (stopping) settle(failure('shutdown'));
    else if (inflight >= parts.maxInflight) settle(failure('overload'));
    else parts.resolve(query, settle);
    // TypeScript does not see that settle may have been called.
    if ((at as string) === 'settled') return false;
    at = 'waiting';
    inflight++;
    return true;
  }

  return {
    handle(message, client, respond, missed = false) {
      const startedAtMs = clock.monotonicMs();
      const allowed = parts.allowed(client.address);
      const simple = allowed && fast.read(message, 0, message.length, client.transport !== 'udp');
      if (simple && !missed && !stopping) {
        const atOnce = readyReply(message, client);
        if (atOnce !== undefined) {
          observer.query(client.transport, client.family, fast.type, message.length);
          reply(startedAtMs, 'cache', atOnce, respond);
          return false;
        }
      }
      const parsed: Parsed = simple ? { at: 'query', query: fast.query(message) } : parseQuery(message);
      if (parsed.at === 'ignore') {
        observer.dropped(parsed.reason);
        return false;
      }
      observer.query(client.transport, client.family, parsed.at === 'query' ? parsed.query.type : 0, message.length);
      if (!allowed || parsed.at === 'reject') {
        const about = parsed.at === 'reject' ? parsed.replyTo : parsed.query;
        const code = !allowed || parsed.at !== 'reject' ? 'not_allowed' : parsed.code;
        const why = failure(code);
        const bytes = replyFailure(about, client, why);
        if (parts.noted !== undefined) note(client, message, about.question, 'error', why, bytes, startedAtMs);
        reply(startedAtMs, 'error', bytes, respond);
        return false;
      }
      return resolve(withClient(parsed.query, client), message, startedAtMs, respond);
    },
    get inflight() {
      return inflight;
    },
    stop() {
      stopping = true;
    },
  };
}

/** The query with its sender. Field by field: V8 gives objects made by spreading a shape that code can not be fast with. */
const withClient = (
  { id, flags, question, opt, type, recurse, dnssecOk, checkingDisabled, key }: ClientQuery,
  client: Client,
): Query => ({ id, flags, question, opt, type, recurse, dnssecOk, checkingDisabled, key, client, avoid: NOBODY });

const NOBODY: readonly string[] = [];

/** The text of the REPORT option: `key=value` words, percent-encoded. */
function report(source: Source, stored?: Extract<Answer, { at: 'stored' }>, why?: Failure): () => string {
  return () => {
    const fields: Record<string, string> = { source };
    if (stored !== undefined) {
      fields['upstream'] = stored.entry.upstream;
      fields['protocol'] = stored.entry.protocol;
      fields['verdict'] = stored.entry.verdict;
    }
    if (why !== undefined) fields['failure'] = why.code;
    if (why !== undefined && isDnssecFailure(why.code)) fields['verdict'] = 'bogus';
    return new URLSearchParams(fields).toString();
  };
}

const isLoopback = (address: string): boolean => address.startsWith('127.') || address === '::1';
