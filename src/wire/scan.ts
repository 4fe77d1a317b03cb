// One walk over a response from upstream: whether it is whole, where its TTLs and its OPT are, how long it may be
// kept. The octets stay as they are: with what is learned here, replies are made by copying and patching them.

import { u16At } from '../base/octets.js';
import { extendedErrors, type ExtendedError, findOption, type Opt, OPTION, readOpt } from './edns.js';
import { countsOf, FLAG, flagsOf, HEADER_BYTES, rcodeOf } from './header.js';
import { skipName } from './name.js';
import { QUESTION_FIXED_BYTES, Records, recordsStart, ttlAt } from './records.js';
import { TYPE } from './rrtype.js';

/** What a walk over a whole message found. */
export interface Scan {
  /** The full RCODE, EDNS bits included. */
  readonly rcode: number;
  readonly truncated: boolean;
  /** Just behind the question. */
  readonly questionEnd: number;
  /**
   * Where the message ends without its OPT. Records behind an OPT (nobody sends any) go with it: they are
   * additional data, which may be left out (RFC 2181 §9), while moving them would break pointers.
   */
  readonly end: number;
  readonly answers: number;
  readonly authority: number;
  /** Additional records before the OPT. */
  readonly additional: number;
  /** Offsets of the TTL fields of all records before `end`. */
  readonly ttlOffsets: readonly number[];
  /** Seconds that the message may be kept; 0: not at all. */
  readonly ttlSec: number;
  /** NXDOMAIN, or NOERROR without the asked type (NODATA, RFC 2308 §2). */
  readonly negative: boolean;
  /** Offset of the TTL field of the SOA that limits a negative answer. */
  readonly soaTtlOffset: number | undefined;
  readonly extendedErrors: readonly ExtendedError[];
}

/** Extended errors that are passed on to the client. */
const MAX_EXTENDED_ERRORS = 4;
/** MNAME and RNAME, then five 32-bit numbers, the last of which is MINIMUM. */
const LEAST_SOA_BYTES = 22;

/**
 * Walks a response with exactly one question.
 * @param type the QTYPE asked, which tells data from NODATA
 * @returns undefined if any length, name or count does not fit the octets
 */
export function scanResponse(message: Buffer, type: number): Scan | undefined {
  if (message.length < HEADER_BYTES) return undefined;
  const flags = flagsOf(message);
  const counts = countsOf(message);
  if (counts.questions !== 1) return undefined;
  const nameEnd = skipName(message, HEADER_BYTES);
  if (nameEnd === -1 || nameEnd + QUESTION_FIXED_BYTES > message.length) return undefined;

  const ttlOffsets: number[] = [];
  const answersEnd = counts.answers;
  const authorityEnd = answersEnd + counts.authority;
  let end = -1;
  let additional = 0;
  let opt: Opt | undefined;
  let lowestTtl = Infinity;
  let hasData = false;
  let soaTtlOffset: number | undefined;
  let soaTtl = 0;

  const record = new Records(message, nameEnd + QUESTION_FIXED_BYTES);
  while (record.next()) {
    const { index, type: recordType } = record;
    if (recordType === TYPE.OPT) {
      // Only in the additional section, only once, only at the root (RFC 6891 §6.1.1).
      if (index < authorityEnd || opt !== undefined || message[record.owner] !== 0) return undefined;
      opt = readOpt(message, record.fixed);
      if (opt === undefined) return undefined;
      end = record.owner;
    } else if (end === -1) {
      const ttl = record.ttlSec;
      lowestTtl = Math.min(lowestTtl, ttl);
      ttlOffsets.push(record.ttlOffset);
      if (index < answersEnd) hasData ||= recordType === type || type === TYPE.ANY;
      else if (index < authorityEnd) {
        if (recordType === TYPE.SOA && soaTtlOffset === undefined) {
          if (record.rdataBytes < LEAST_SOA_BYTES) return undefined;
          soaTtlOffset = record.ttlOffset;
          soaTtl = Math.min(ttl, ttlAt(message, record.end - 4));
        }
      } else additional++;
    }
  }
  // There must be nothing behind the last record.
  if (!record.endsMessage) return undefined;

  const rcode = rcodeOf(flags) | ((opt?.extendedRcode ?? 0) << 4);
  const negative = rcode === 3 || (rcode === 0 && !hasData);
  // The SOA limits how long a negative answer is kept; without a SOA it is not kept (RFC 2308 §5). Failures are kept
  // elsewhere.
  const ttlSec =
    rcode !== 0 && rcode !== 3
      ? 0
      : negative
        ? soaTtlOffset === undefined
          ? 0
          : Math.min(lowestTtl, soaTtl)
        : lowestTtl;
  return {
    rcode,
    truncated: (flags & FLAG.TC) !== 0,
    questionEnd: nameEnd + QUESTION_FIXED_BYTES,
    end: end === -1 ? message.length : end,
    answers: counts.answers,
    authority: counts.authority,
    additional,
    ttlOffsets,
    ttlSec,
    negative,
    soaTtlOffset: negative ? soaTtlOffset : undefined,
    extendedErrors: opt === undefined ? [] : extendedErrors(opt, MAX_EXTENDED_ERRORS),
  };
}

/** The OPT record of a message; undefined if there is none, or the message cannot be read as far as that. */
export function optOf(message: Buffer): Opt | undefined {
  const start = recordsStart(message);
  if (start === -1) return undefined;
  const record = new Records(message, start);
  while (record.next()) if (record.type === TYPE.OPT) return readOpt(message, record.fixed);
  return undefined;
}

/** What a response says about idle connections (RFC 7828 §3.1), in ms; undefined if it says nothing. */
export function keepaliveMs(message: Buffer): number | undefined {
  const opt = optOf(message);
  const option = opt && findOption(opt, OPTION.TCP_KEEPALIVE);
  return option?.length === 2 ? 100 * u16At(option, 0) : undefined;
}
