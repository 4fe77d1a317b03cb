// Reads a client's query from octets: the question, the requirements for the reply, or the error.

import { u16At } from '../base/octets.js';
import type { FailureCode } from '../base/outcome.js';
import { findOption, isCookieLength, type Opt, OPTION, readOpt } from './edns.js';
import { countsOf, FLAG, flagsOf, HEADER_BYTES, idOf, opcodeOf } from './header.js';
import { lowerCased, skipName } from './name.js';
import { QUESTION_FIXED_BYTES, Records } from './records.js';
import { CLASS_IN, isMetaType, TYPE } from './rrtype.js';

/** The parts of a query that every reply repeats. */
export interface ReplyTo {
  readonly id: number;
  readonly flags: number;
  /** QNAME, QTYPE and QCLASS exactly as the client sent them; undefined if they could not be read. */
  readonly question: Buffer | undefined;
  /** Undefined: the client does not speak EDNS, and must not get an OPT (RFC 6891 §6.1.1). */
  readonly opt: Opt | undefined;
}

/** A valid query. */
export interface ClientQuery extends ReplyTo {
  readonly question: Buffer;
  readonly type: number;
  /** Recursion Desired. */
  readonly recurse: boolean;
  /** DNSSEC OK. */
  readonly dnssecOk: boolean;
  /** Checking Disabled. */
  readonly checkingDisabled: boolean;
  /** The question in lower case, and CD, which changes the answer. Queries with equal keys may share an answer. */
  readonly key: string;
}

/** The result of reading a message. */
export type Parsed =
  | { readonly at: 'query'; readonly query: ClientQuery }
  /** Must not be answered: too short for a header, or a response (answering responses makes loops). */
  | { readonly at: 'ignore'; readonly reason: 'short' | 'response' }
  /** Asks for a cookie, and nothing else. */
  | { readonly at: 'cookie'; readonly replyTo: ReplyTo }
  | { readonly at: 'reject'; readonly code: FailureCode; readonly replyTo: ReplyTo };

/** Why a message must not be answered; undefined: it may be. */
export function ignoredAs(message: Buffer): 'short' | 'response' | undefined {
  if (message.length < HEADER_BYTES) return 'short';
  return flagsOf(message) & FLAG.QR ? 'response' : undefined;
}

/** Reads a query. Never throws, whatever the octets. */
export function parseQuery(message: Buffer): Parsed {
  const reason = ignoredAs(message);
  if (reason !== undefined) return { at: 'ignore', reason };
  const flags = flagsOf(message);
  const id = idOf(message);
  const counts = countsOf(message);
  const reject = (code: FailureCode, question?: Buffer, opt?: Opt): Parsed => ({
    at: 'reject',
    code,
    replyTo: { id, flags, question, opt },
  });

  if (opcodeOf(flags) !== 0) return reject('opcode');
  // Exactly one question (RFC 9619 §4), and no records in the sections that only responses use.
  if (counts.questions === 0 && counts.answers === 0 && counts.authority === 0) {
    const opt = findOpt(message, HEADER_BYTES);
    const asked = opt === 'malformed' || opt?.version !== 0 ? undefined : findOption(opt, OPTION.COOKIE);
    // RFC 7873 §5.4: a client that only wants a cookie.
    if (asked !== undefined && opt !== 'malformed' && isCookieLength(asked.length))
      return { at: 'cookie', replyTo: { id, flags, question: undefined, opt } };
  }
  if (counts.questions !== 1 || counts.answers !== 0 || counts.authority !== 0) return reject('form_error');
  const nameEnd = skipName(message, HEADER_BYTES);
  // A compressed QNAME could only point into the header, where no name is.
  if (nameEnd === -1 || nameEnd + QUESTION_FIXED_BYTES > message.length) return reject('form_error');
  const question = message.subarray(HEADER_BYTES, nameEnd + QUESTION_FIXED_BYTES);

  const opt = findOpt(message, nameEnd + QUESTION_FIXED_BYTES);
  if (opt === 'malformed') return reject('form_error', question);
  if (opt !== undefined && opt.version !== 0) return reject('bad_version', question, opt);

  const cookie = opt && findOption(opt, OPTION.COOKIE);
  // RFC 7873 §5.2.2
  if (cookie !== undefined && !isCookieLength(cookie.length)) return reject('form_error', question, opt);

  const type = u16At(message, nameEnd);
  if (u16At(message, nameEnd + 2) !== CLASS_IN) return reject('class', question, opt);
  if (type === 0) return reject('form_error', question, opt);
  if (type === TYPE.NXNAME) return reject('nxname', question, opt);
  if (isMetaType(type)) return reject('meta_type', question, opt);

  const dnssecOk = opt?.dnssecOk ?? false;
  const checkingDisabled = (flags & FLAG.CD) !== 0;
  return {
    at: 'query',
    query: {
      id,
      flags,
      question,
      opt,
      type,
      recurse: (flags & FLAG.RD) !== 0,
      dnssecOk,
      checkingDisabled,
      key: cacheKey(question, checkingDisabled),
    },
  };
}

/** The bit for CD in the last character of a key. */
export const KEY_WITH_CD = 4;

/**
 * Which routes are for a client: its answers may be others. ALL_ROUTES: those that are for everybody; NO_ROUTES: none;
 * greater: those for everybody, and those of the group that has this number (run/plan). It is in the last character of a
 * key, from the fourth bit on.
 */
export type RouteSet = number;
export const ALL_ROUTES = 0;
export const NO_ROUTES = 1;
/** The numbers of groups: with the last, a character of a key is still one octet. */
export const FIRST_ROUTE_SET = 2;
export const LAST_ROUTE_SET = 31;
const ROUTES_SHIFT = 3;

/** The key under which answers to this question are stored and shared. */
export function cacheKey(question: Buffer, checkingDisabled: boolean): string {
  // Only the name has letters: a type may have the value of one (HTTPS is 0x41).
  const name = lowerCased(question.subarray(0, -QUESTION_FIXED_BYTES)).toString('latin1');
  const rest = question.toString('latin1', question.length - QUESTION_FIXED_BYTES);
  return `${name}${rest}${String.fromCharCode(checkingDisabled ? KEY_WITH_CD : 0)}`;
}

/** The key of a question of clients that have other routes than ALL_ROUTES. @param key one of `cacheKey` */
export const keyWithRoutes = (key: string, routes: RouteSet): string =>
  routes === ALL_ROUTES
    ? key
    : key.slice(0, -1) + String.fromCharCode(key.charCodeAt(key.length - 1) | (routes << ROUTES_SHIFT));

/** Which routes are for the clients of a key. */
export const routesOfKey = (key: string): RouteSet => key.charCodeAt(key.length - 1) >> ROUTES_SHIFT;

/** Whether a key is that of a question with CD. */
export const keyHasCd = (key: string): boolean => (key.charCodeAt(key.length - 1) & KEY_WITH_CD) !== 0;

const TYPE_AND_CLASS_BYTES = 4;
const KEY_TAIL = TYPE_AND_CLASS_BYTES + 1;

/** The key of the same question for another type. @param key one of `cacheKey` */
export const keyOfType = (key: string, type: number): string =>
  key.slice(0, -KEY_TAIL) + String.fromCharCode(type >> 8, type & 0xff) + key.slice(2 - KEY_TAIL);

/** QTYPE in a key of `cacheKey`. */
export const typeOfKey = (key: string): number =>
  (key.charCodeAt(key.length - KEY_TAIL) << 8) | key.charCodeAt(key.length - KEY_TAIL + 1);

/** The name in a key of `cacheKey`: wire form in lower case, one character per octet. */
export const nameInKey = (key: string): string => key.slice(0, -KEY_TAIL);

/** The OPT of a query: at most one, owned by the root (RFC 6891 §6.1.1), with no octets after the last record. */
function findOpt(message: Buffer, start: number): Opt | undefined | 'malformed' {
  let opt: Opt | undefined;
  const record = new Records(message, start);
  while (record.next()) {
    if (record.type !== TYPE.OPT) continue;
    if (opt !== undefined || message[record.owner] !== 0) return 'malformed';
    opt = readOpt(message, record.fixed);
    if (opt === undefined) return 'malformed';
  }
  return record.endsMessage ? opt : 'malformed';
}

/** Whether the client asks for a padded reply (RFC 7830 §4). */
export const wantsPadding = (query: ReplyTo): boolean =>
  query.opt !== undefined && findOption(query.opt, OPTION.PADDING) !== undefined;
