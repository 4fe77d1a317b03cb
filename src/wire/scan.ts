// One walk over a response from upstream. It checks that the message is complete, finds its TTLs and its OPT, and
// computes how long it may be stored. The octets are not changed: replies are made by copying and patching them.

import { u16At, u32At } from '../base/octets.js';
import { extendedErrors, type ExtendedError, findOption, NO_ERRORS, type Opt, OPTION, readOpt } from './edns.js';
import { countsOf, FLAG, flagsOf, HEADER_BYTES, rcodeOf } from './header.js';
import { MAX_LABEL_BYTES, MAX_NAME_BYTES, skipName } from './name.js';
import { partsOf } from './rdata.js';
import { QUESTION_FIXED_BYTES, Records, recordsStart, ScannedRecords } from './records.js';
import { TYPE } from './rrtype.js';

/** The result of walking a complete message. */
export interface Scan {
  /** The full RCODE, EDNS bits included. */
  readonly rcode: number;
  readonly truncated: boolean;
  /** Just behind the question. */
  readonly questionEnd: number;
  /**
   * Where the message ends without its OPT. Records after an OPT, which are not seen in practice, are removed with it:
   * they are additional data, which may be left out (RFC 2181 §9), while moving them would break pointers.
   */
  readonly end: number;
  readonly answers: number;
  readonly authority: number;
  /** Additional records before the OPT. */
  readonly additional: number;
  /** Offsets of the TTL fields of all records before `end`. */
  readonly ttlOffsets: readonly number[];
  /** For how many seconds the message may be stored; 0: not at all. */
  readonly ttlSec: number;
  /** NXDOMAIN, or NOERROR without the asked type (NODATA, RFC 2308 §2). */
  readonly negative: boolean;
  /** Offset of the TTL field of the SOA that limits a negative answer. */
  readonly soaTtlOffset: number | undefined;
  readonly extendedErrors: readonly ExtendedError[];
}

/** The most extended errors that are passed on to the client. */
const MAX_EXTENDED_ERRORS = 4;
const NO_OFFSETS: readonly number[] = [];
/** A pointer to the name of the question, which most owners are. */
const POINTER_TO_QUESTION = 0xc000 | HEADER_BYTES;
/** MNAME and RNAME, then five 32-bit numbers, the last of which is MINIMUM. */
const LEAST_SOA_BYTES = 22;

/**
 * Walks a response with exactly one question.
 * @param type the QTYPE, which distinguishes data from NODATA
 * @returns undefined if any length, name or count does not fit the octets
 */
export function scanResponse(message: Buffer, type: number): Scan | undefined {
  if (message.length < HEADER_BYTES) return undefined;
  const flags = flagsOf(message);
  const counts = countsOf(message);
  if (counts.questions !== 1) return undefined;
  const nameEnd = skipName(message, HEADER_BYTES);
  if (nameEnd === -1 || nameEnd + QUESTION_FIXED_BYTES > message.length) return undefined;

  let ttlOffsets: number[] | undefined;
  const answersEnd = counts.answers;
  const authorityEnd = answersEnd + counts.authority;
  let end = -1;
  let additional = 0;
  let opt: Opt | undefined;
  let lowestTtl = Infinity;
  let hasData = false;
  let soaTtlOffset: number | undefined;
  let soaTtl = 0;
  let hasNames = false;

  const record = new Records(message, nameEnd + QUESTION_FIXED_BYTES);
  while (record.next()) {
    const { index, type: recordType } = record;
    if (recordType === TYPE.OPT) {
      // Only once, in the additional section, at the root (RFC 6891 §6.1.1).
      if (index < authorityEnd || opt !== undefined || message[record.owner] !== 0) return undefined;
      opt = readOpt(message, record.fixed);
      if (opt === undefined) return undefined;
      end = record.owner;
    } else if (end === -1) {
      const ttl = record.ttlSec;
      lowestTtl = Math.min(lowestTtl, ttl);
      // Most answers have one record. An empty array would get room for 17 with its first.
      if (ttlOffsets === undefined) ttlOffsets = [record.ttlOffset];
      else ttlOffsets.push(record.ttlOffset);
      hasNames ||= u16At(message, record.owner) !== POINTER_TO_QUESTION || partsOf(recordType).length > 0;
      if (index < answersEnd) hasData ||= recordType === type || type === TYPE.ANY;
      else if (index < authorityEnd) {
        if (recordType === TYPE.SOA && soaTtlOffset === undefined) {
          if (record.rdataBytes < LEAST_SOA_BYTES) return undefined;
          soaTtlOffset = record.ttlOffset;
          // MINIMUM is no TTL: its top bit means nothing (RFC 2308 §4).
          soaTtl = Math.min(ttl, u32At(message, record.end - 4));
        }
      } else additional++;
    }
  }
  // There must be no octets after the last record.
  if (!record.endsMessage) return undefined;
  if (hasNames && readsTtls(message, nameEnd + QUESTION_FIXED_BYTES, ttlOffsets ?? NO_OFFSETS)) return undefined;

  const rcode = rcodeOf(flags) | ((opt?.extendedRcode ?? 0) << 4);
  const negative = rcode === 3 || (rcode === 0 && !hasData);
  // The SOA limits how long a negative answer is stored; without a SOA it is not stored (RFC 2308 §5). Failures are
  // stored elsewhere.
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
    ttlOffsets: ttlOffsets ?? NO_OFFSETS,
    ttlSec,
    negative,
    soaTtlOffset: negative ? soaTtlOffset : undefined,
    extendedErrors: opt === undefined ? NO_ERRORS : extendedErrors(opt, MAX_EXTENDED_ERRORS),
  };
}

const POINTER_BITS = 0xc0;

/** Whether a name leads into the TTL of a record. TTLs change while a message is stored, and the name would with them. */
function readsTtls(message: Buffer, questionEnd: number, ttlOffsets: readonly number[]): boolean {
  const record = new ScannedRecords({ octets: message, answers: 0, authority: 0, ttlOffsets }, questionEnd);
  const clean = new Places();
  while (record.next()) {
    if (u16At(message, record.owner) !== POINTER_TO_QUESTION && nameReadsTtls(message, record.owner, ttlOffsets, clean))
      return true;
    let at = record.rdata;
    for (const part of partsOf(record.type)) {
      if (at >= record.end) break;
      if (part !== 'name') {
        at += part === 'string' ? (message[at] ?? 0) + 1 : part;
        continue;
      }
      if (nameReadsTtls(message, at, ttlOffsets, clean)) return true;
      const end = skipName(message, at);
      if (end === -1) break;
      at = end;
    }
  }
  return false;
}

/** Offsets in a message. Most messages need none, so their set is made with the first. */
class Places {
  private set: Set<number> | undefined = undefined;

  has(at: number): boolean {
    return this.set?.has(at) === true;
  }

  add(at: number): void {
    (this.set ??= new Set()).add(at);
  }
}

/**
 * Whether octets that a pointer of a name leads to are part of a TTL. The name may be malformed.
 * @param clean where pointers led that were looked at before: each is looked at once, however many names lead there
 */
function nameReadsTtls(message: Buffer, at: number, ttlOffsets: readonly number[], clean: Places): boolean {
  let position = at;
  let pieceStart = at;
  let isPointedAt = false;
  for (;;) {
    const octet = message[position] ?? 0;
    // Labels that are too long, or too many, end the name: it is malformed.
    const endsPiece = octet === 0 || octet > MAX_LABEL_BYTES || position - pieceStart > MAX_NAME_BYTES;
    if (!endsPiece) {
      position += octet + 1;
      continue;
    }
    const end = position + (octet < POINTER_BITS ? 1 : 2);
    if (isPointedAt && overlapsTtl(ttlOffsets, pieceStart, end)) return true;
    if (octet < POINTER_BITS) return false;
    const target = ((octet & 0x3f) << 8) | (message[position + 1] ?? 0);
    if (target >= pieceStart || clean.has(target)) return false;
    clean.add(target);
    position = pieceStart = target;
    isPointedAt = true;
  }
}

/** @param ttlOffsets rising */
function overlapsTtl(ttlOffsets: readonly number[], start: number, end: number): boolean {
  let low = 0;
  let high = ttlOffsets.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ttlOffsets[middle] ?? 0) + 4 > start) high = middle;
    else low = middle + 1;
  }
  return (ttlOffsets[low] ?? Infinity) < end;
}

/** The OPT record of a message; undefined if there is none, or a record before it is malformed. */
export function optOf(message: Buffer): Opt | undefined {
  const start = recordsStart(message);
  if (start === -1) return undefined;
  const record = new Records(message, start);
  while (record.next()) if (record.type === TYPE.OPT) return readOpt(message, record.fixed);
  return undefined;
}

/** The RCODE with its upper bits, which are in the OPT (RFC 6891 §6.1.3). */
export const fullRcode = (message: Buffer): number =>
  rcodeOf(flagsOf(message)) | ((optOf(message)?.extendedRcode ?? 0) << 4);

/** What a response says about idle connections (RFC 7828 §3.1), in ms; undefined if it says nothing. */
export function keepaliveMs(message: Buffer): number | undefined {
  const opt = optOf(message);
  const option = opt && findOption(opt, OPTION.TCP_KEEPALIVE);
  return option?.length === 2 ? 100 * u16At(option, 0) : undefined;
}
