// Writes outcomes as octets for a client, with the options that it requested and within the limit of its transport.
// Failures and extended errors in replies are counted here.

import { isLoopback } from '../base/address.js';
import type { Observer, Transport } from '../base/observer.js';
import { type Failure, failureRow, failureWords, isDnssecFailure, RCODE } from '../base/outcome.js';
import type { AgeSec } from '../base/time.js';
import type { Answer, Outcome } from '../pipeline/answer.js';
import type { Client, Query } from '../pipeline/query.js';
import type { PlainForms } from './plain-forms.js';
import { findOption, isCookieLength, type Option, OPTION } from '../wire/edns.js';
import { type ReplyTo, wantsPadding } from '../wire/query.js';
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

/** The parts that replies are made with. */
export interface ReplyParts {
  readonly observer: Observer;
  /** How long an idle stream of a client stays open now, sent to clients that ask for it (RFC 7828). */
  readonly streamIdleMs: (transport: Exclude<Transport, 'udp' | 'https'>) => number;
  /** The COOKIE option for a client that sent one (RFC 7873 §5.2); left out: there are no cookies. */
  readonly cookieFor?: (client: Client, option: Buffer) => Buffer;
  /** What clients that ask for it are told about which server this is (RFC 5001); left out: nothing. */
  readonly identity?: Buffer | undefined;
}

/** Whether replies to padded queries are padded: only where they are encrypted (RFC 7830 §6). */
export const padsOver = (transport: Transport): boolean => transport === 'tls' || transport === 'https';

/** A reply to a query. */
export interface Reply {
  readonly bytes: Buffer;
  /** Where its OPT begins, if it has one and is not truncated. */
  readonly recordsEnd: number;
  /** Where its TTLs are, if it is not truncated. */
  readonly ttlOffsets: ArrayLike<number>;
}

const NO_OPTIONS: readonly Option[] = [];

/** The reply with an answer. */
export function replyWith(
  parts: ReplyParts,
  plainForms: PlainForms,
  query: Query,
  answer: Answer,
  ageNow: AgeSec,
): Reply {
  const { entry } = answer;
  const { extendedErrors } = entry;
  for (const { infoCode } of extendedErrors) parts.observer.ede(infoCode);
  const shape = shapeFor(parts, query, query.client, answer);
  const shown: StoredMessage = query.dnssecOk || answer.isOwn ? entry : plainForms.of(query, entry, shape.limitBytes);
  const isSecure = entry.verdict === 'secure';
  return {
    bytes: answerReply(query, shown, answer.elapsedSec(ageNow), extendedErrors, shape, isSecure),
    recordsEnd: shown.octets.length,
    ttlOffsets: shown.ttlOffsets,
  };
}

/** The reply that reports a failure, which is counted here. */
export function failureReply(parts: ReplyParts, replyTo: ReplyTo, client: Client, why: Failure): Buffer {
  const words = failureWords(why);
  parts.observer.failure(why.code, words);
  const { rcode, ede } = failureRow(why.code);
  const errors = edeFor(ede, words);
  for (const { infoCode } of errors) parts.observer.ede(infoCode);
  return headerOnlyReply(replyTo, rcode, errors, shapeFor(parts, replyTo, client, why));
}

/** The reply to a query that only asks for a cookie (RFC 7873 §5.4). */
export const emptyReply = (parts: ReplyParts, replyTo: ReplyTo, client: Client): Buffer =>
  headerOnlyReply(replyTo, RCODE.NOERROR, [], shapeFor(parts, replyTo, client));

function shapeFor(
  { streamIdleMs, cookieFor, identity }: ReplyParts,
  replyTo: ReplyTo,
  client: Client,
  outcome?: Outcome,
): ReplyShape {
  const { opt } = replyTo;
  const { transport } = client;
  const isStream = transport !== 'udp';
  const hasOptions = opt !== undefined && opt.optionsBytes > 0;
  const options: Option[] = [];
  // Caches of HTTP may give a reply to others.
  const cookie = hasOptions && transport !== 'https' ? findOption(opt, OPTION.COOKIE) : undefined;
  // A malformed one is answered with FORMERR, and no cookie.
  if (cookie !== undefined && isCookieLength(cookie.length) && cookieFor !== undefined)
    options.push({ code: OPTION.COOKIE, data: cookieFor(client, cookie) });
  // RFC 7828 §3.3.2: only on streams, and only for clients that sent it.
  // HTTP has its own ways to say so.
  if (hasOptions && isStream && transport !== 'https' && findOption(opt, OPTION.TCP_KEEPALIVE) !== undefined)
    options.push(keepaliveOption(streamIdleMs(transport)));
  // RFC 5001 §2.2: only for clients that sent it.
  if (identity !== undefined && hasOptions && findOption(opt, OPTION.NSID) !== undefined)
    options.push({ code: OPTION.NSID, data: identity });
  if (outcome !== undefined && hasOptions && isLoopback(client.address) && findOption(opt, OPTION.REPORT) !== undefined)
    options.push({ code: OPTION.REPORT, data: Buffer.from(reportText(outcome)) });
  return {
    limitBytes: isStream ? STREAM_LIMIT_BYTES : udpLimit(replyTo),
    pad: padsOver(transport) && wantsPadding(replyTo),
    options: options.length === 0 ? NO_OPTIONS : options,
  };
}

/** The text of the REPORT option: `key=value` words, percent-encoded. */
function reportText(outcome: Outcome): string {
  const fields: Record<string, string> = { source: outcome.at === 'failure' ? 'error' : outcome.source };
  if (outcome.at === 'failure') {
    fields['failure'] = outcome.code;
    if (isDnssecFailure(outcome.code)) fields['verdict'] = 'bogus';
    if (outcome.cached) fields['origin'] = 'cache';
  } else if (!outcome.isOwn) {
    const { upstream, protocol = '', verdict } = outcome.entry;
    Object.assign(fields, { upstream, protocol, verdict });
  }
  return new URLSearchParams(fields).toString();
}
