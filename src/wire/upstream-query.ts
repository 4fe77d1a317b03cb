// Queries to upstream. They contain only the question and the flags that change the answer. Options of the client
// (cookies, client subnet, unknown ones) are not passed on.

import { Beginnings, copyOctets, putU16, u16At } from '../base/octets.js';
import { RCODE } from '../base/outcome.js';
import type { Random } from '../base/ports.js';
import { plainQuery, questionOf } from './compose.js';
import { OPTION, PADDING_BLOCK, UDP_PAYLOAD_BYTES } from './edns.js';
import { framed } from './frame.js';
import { FLAG, flagsOf, HEADER_BYTES, idOf, opcodeOf, rcodeOf } from './header.js';
import { ROOT, sameIgnoringCase } from './name.js';
import type { RouteSet } from './query.js';
import { QUESTION_FIXED_BYTES } from './records.js';
import { TYPE } from './rrtype.js';
import { fullRcode } from './scan.js';

/** A question with its flags. */
export interface Ask {
  /** QNAME, QTYPE and QCLASS. */
  readonly question: Buffer;
  readonly dnssecOk: boolean;
  readonly checkingDisabled: boolean;
  /** Which routes are for who asks; left out: those that are for everybody. */
  readonly routes?: RouteSet;
  /** The epoch of the routes (`Upstream` in upstream/pool) when the question began; left out: it begins now. */
  readonly routesEpoch?: number | undefined;
}

/** EDNS options of a query. */
export interface AskOptions {
  /** RFC 8467: pad to a multiple of 128 octets. Only with encryption: without, padding protects nothing. */
  readonly pad: boolean;
  /** Ask for the server's idle timeout (RFC 7828 §3.2.1: empty option, streams only). */
  readonly keepalive: boolean;
  /** Ask the server not to pass our subnet on: a client subnet of 0 octets (RFC 7871 §7.1.2). */
  readonly hideSubnet: boolean;
  /** A DNS cookie (RFC 7873), for queries in cleartext. */
  readonly cookie?: Buffer;
}

/** The question for the name servers of the root, which every resolver can answer. */
export const ROOT_NS: Ask = {
  question: questionOf(ROOT, TYPE.NS),
  dnssecOk: false,
  checkingDisabled: false,
};

const OPT_BYTES = 11;
const OPTION_BYTES = 4;
/** Family, and two prefix lengths that are 0. */
const SUBNET_BYTES = 4;
const FAMILY_IPV4 = 1;

/** Octets of the query that `writeUpstreamQuery` writes. */
function queryBytes(ask: Ask, { pad, keepalive, hideSubnet, cookie }: AskOptions): number {
  const bare =
    HEADER_BYTES +
    ask.question.length +
    OPT_BYTES +
    (keepalive ? OPTION_BYTES : 0) +
    (hideSubnet ? OPTION_BYTES + SUBNET_BYTES : 0) +
    (cookie === undefined ? 0 : OPTION_BYTES + cookie.length);
  return pad ? Math.ceil((bare + OPTION_BYTES) / PADDING_BLOCK.query) * PADDING_BLOCK.query : bare;
}

/** Writes the query at `at`, over octets that are 0. */
function writeQuery(
  out: Buffer,
  at: number,
  id: number,
  ask: Ask,
  { pad, keepalive, hideSubnet, cookie }: AskOptions,
  end: number,
): void {
  putU16(out, at, id);
  putU16(out, at + 2, FLAG.RD | (ask.checkingDisabled ? FLAG.CD : 0));
  putU16(out, at + 4, 1);
  putU16(out, at + 10, 1);
  let opt = at + HEADER_BYTES;
  copyOctets(ask.question, 0, ask.question.length, out, opt);
  opt += ask.question.length;
  putU16(out, opt + 1, TYPE.OPT);
  putU16(out, opt + 3, UDP_PAYLOAD_BYTES);
  if (ask.dnssecOk) out[opt + 7] = 0x80;
  let option = opt + OPT_BYTES;
  putU16(out, opt + 9, end - option);
  if (keepalive) {
    putU16(out, option, OPTION.TCP_KEEPALIVE);
    option += OPTION_BYTES;
  }
  if (hideSubnet) {
    putU16(out, option, OPTION.CLIENT_SUBNET);
    putU16(out, option + 2, SUBNET_BYTES);
    putU16(out, option + OPTION_BYTES, FAMILY_IPV4);
    option += OPTION_BYTES + SUBNET_BYTES;
  }
  if (cookie !== undefined) {
    putU16(out, option, OPTION.COOKIE);
    putU16(out, option + 2, cookie.length);
    option += OPTION_BYTES + cookie.copy(out, option + OPTION_BYTES);
  }
  if (pad) {
    putU16(out, option, OPTION.PADDING);
    putU16(out, option + 2, end - option - OPTION_BYTES);
  }
}

/** A query message. Without options it has no EDNS, for servers without EDNS. */
export function upstreamQuery(id: number, ask: Ask, options: AskOptions | undefined): Buffer {
  if (options === undefined) return plainQuery(id, FLAG.RD | (ask.checkingDisabled ? FLAG.CD : 0), ask.question);
  const bytes = queryBytes(ask, options);
  const message = Buffer.alloc(bytes);
  writeQuery(message, 0, id, ask, options, bytes);
  return message;
}

/** More than the octets of any frame: the longest name, and all options, padded. */
const FRAME_ROOM_BYTES = 1024;
const frames = new Beginnings(Buffer.allocUnsafeSlow(FRAME_ROOM_BYTES));

/**
 * A query message as it goes onto a stream, its length before it (RFC 7766 §8). Without options it has no EDNS, for
 * servers without EDNS. It is only lent: the next one overwrites it.
 */
export function upstreamFrame(id: number, ask: Ask, options: AskOptions | undefined): Buffer {
  if (options === undefined) return framed(upstreamQuery(id, ask, undefined));
  const bytes = queryBytes(ask, options);
  const frame = frames.of(2 + bytes).fill(0);
  putU16(frame, 0, bytes);
  writeQuery(frame, 2, id, ask, options, 2 + bytes);
  return frame;
}

/** Whether a message can be a response: long enough for a header, QR set, a standard query. */
export const isResponse = (message: Buffer): boolean =>
  message.length >= HEADER_BYTES && (flagsOf(message) & FLAG.QR) !== 0 && opcodeOf(flagsOf(message)) === 0;

/** Whether a response repeats this question, letter case ignored (RFC 5452 §9.1). */
export function answersQuestion(message: Buffer, question: Buffer): boolean {
  if (u16At(message, 4) !== 1 || message.length < HEADER_BYTES + question.length) return false;
  // Type and class are compared as octets: their values may equal those of letters.
  const nameBytes = question.length - 4;
  if (!sameIgnoringCase(message, HEADER_BYTES, question, nameBytes)) return false;
  for (let i = nameBytes; i < question.length; i++) if (message[HEADER_BYTES + i] !== question[i]) return false;
  return true;
}

/** Whether a response repeats the name of this question octet by octet. */
export const repeatsCase = (message: Buffer, question: Buffer): boolean =>
  message.compare(question, 0, question.length, HEADER_BYTES, HEADER_BYTES + question.length) === 0;

/** The question with its letters in random case. Length octets are no letters. */
export function withRandomCase(question: Buffer, random: Random): Buffer {
  const mixed = Buffer.from(question);
  let bits = 0;
  let left = 0;
  for (let i = 0; i < mixed.length - QUESTION_FIXED_BYTES; i++) {
    const small = (mixed[i] ?? 0) | 0x20;
    if (small < 0x61 || small > 0x7a) continue;
    if (left === 0) {
      bits = random.uint16();
      left = 16;
    }
    mixed[i] = small ^ ((bits & 1) << 5);
    bits >>= 1;
    left--;
  }
  return mixed;
}

/**
 * Whether a response reports an error without repeating the question: some servers do not copy a question that they did
 * not read. Over TLS its id is enough to match it. Every other response must repeat the question. Where only the header
 * comes back, its counts may still be those of the query.
 */
export function isErrorWithoutQuestion(message: Buffer): boolean {
  if (message.length === HEADER_BYTES) return isError(rcodeOf(flagsOf(message)));
  // Read one by one: this is called for every message.
  if (u16At(message, 4) !== 0 || u16At(message, 6) !== 0 || u16At(message, 8) !== 0) return false;
  return isError(fullRcode(message));
}

const isError = (rcode: number): boolean => rcode !== RCODE.NOERROR && rcode !== RCODE.NXDOMAIN;

/**
 * An error with its question, in place of one that came without. An RCODE that needs EDNS becomes SERVFAIL.
 */
export function errorWithQuestion(message: Buffer, question: Buffer): Buffer {
  const whole = Buffer.alloc(HEADER_BYTES + question.length);
  message.copy(whole, 0, 0, 4);
  if (rcodeOf(flagsOf(message)) === RCODE.NOERROR) putU16(whole, 2, flagsOf(message) | RCODE.SERVFAIL);
  putU16(whole, 4, 1);
  question.copy(whole, HEADER_BYTES);
  return whole;
}

/** Whether a response belongs to the query with this id and question. */
export const answersQuery = (message: Buffer, id: number, question: Buffer): boolean =>
  isResponse(message) &&
  idOf(message) === id &&
  (answersQuestion(message, question) || isErrorWithoutQuestion(message));
