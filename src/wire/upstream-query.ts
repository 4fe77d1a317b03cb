// Queries as they leave us: nothing of the client's message but its question, and the flags that change the
// answer. Client options (cookies, client subnet, anything unknown) end here.

import { OPTION, type Option, QUERY_PADDING_BLOCK, writeOpt } from './edns.js';
import { FLAG, flagsOf, HEADER_BYTES, idOf, opcodeOf, writeHeader } from './header.js';
import { sameIgnoringCase } from './name.js';

/** What to ask. */
export interface Ask {
  /** QNAME, QTYPE and QCLASS. */
  readonly question: Buffer;
  readonly dnssecOk: boolean;
  readonly checkingDisabled: boolean;
}

/** How to ask it. */
export interface AskOptions {
  /** RFC 8467: pad to 128 octets. Only where the octets travel encrypted, else padding protects nothing. */
  readonly pad: boolean;
  /** Ask for the server's idle timeout (RFC 7828 §3.2.1: empty option, streams only). */
  readonly keepalive: boolean;
}

const KEEPALIVE: Option = { code: OPTION.TCP_KEEPALIVE, data: Buffer.alloc(0) };

/** Writes a query message. */
export function upstreamQuery(id: number, ask: Ask, { pad, keepalive }: AskOptions): Buffer {
  const before = HEADER_BYTES + ask.question.length;
  const options = keepalive ? [KEEPALIVE] : [];
  const opt = writeOpt({ dnssecOk: ask.dnssecOk, options }, pad ? [before, QUERY_PADDING_BLOCK] : undefined);
  const message = Buffer.allocUnsafe(before + opt.length);
  writeHeader(message, id, FLAG.RD | (ask.checkingDisabled ? FLAG.CD : 0), {
    questions: 1,
    answers: 0,
    authority: 0,
    additional: 1,
  });
  ask.question.copy(message, HEADER_BYTES);
  opt.copy(message, before);
  return message;
}

/** Whether a message can be the response to anything: long enough for a header, QR set, a standard query. */
export const isResponse = (message: Buffer): boolean =>
  message.length >= HEADER_BYTES && (flagsOf(message) & FLAG.QR) !== 0 && opcodeOf(flagsOf(message)) === 0;

/** Whether a response repeats this question, letter case aside (RFC 5452 §9.1). */
export function answersQuestion(message: Buffer, question: Buffer): boolean {
  const end = HEADER_BYTES + question.length;
  // Type and class are no letters, even where they have the value of one.
  const nameEnd = end - 4;
  return message.readUInt16BE(4) === 1 && message.length >= end
    && sameIgnoringCase(message.subarray(HEADER_BYTES, nameEnd), question.subarray(0, -4))
    && message.subarray(nameEnd, end).equals(question.subarray(-4));
}

/** Whether a response belongs to the query with this id and question. */
export const answersQuery = (message: Buffer, id: number, question: Buffer): boolean =>
  isResponse(message) && idOf(message) === id && answersQuestion(message, question);
