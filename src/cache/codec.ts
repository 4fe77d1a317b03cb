// Entries as octets, for whoever keeps them: the records of the answer cache, and any other place that holds octets.
//
//   stored f64 · TTL u32 · message octets u16 · TTL offsets u16 · rcode, answers, authority, additional u16 · negative u8 ·
//   verdict u8 · server u16 · protocol u8 · extended errors u8 · (u16) · seconds of the verdict u32 · offsets u16 each ·
//   message · extended errors (code u16, octets u16, text)

import { copyOctets, putU16, putU32, u16At, u32At } from '../base/octets.js';
import type { UpstreamProtocol } from '../base/observer.js';
import type { Verdict } from '../base/outcome.js';
import { type AgeSec, ageSec } from '../base/time.js';
import { type ExtendedError, NO_ERRORS } from '../wire/edns.js';
import { HEADER_BYTES } from '../wire/header.js';
import type { Entry } from './entry.js';

/** The memory that entries are written to: the same octets as bytes and as doubles. */
export interface EntryMemory {
  readonly octets: Buffer;
  readonly doubles: Float64Array;
}

const TTL_AT = 8;
const MESSAGE_BYTES_AT = 12;
const OFFSETS_AT = 14;
const RCODE_AT = 16;
const ANSWERS_AT = 18;
const AUTHORITY_AT = 20;
const ADDITIONAL_AT = 22;
const NEGATIVE_AT = 24;
const VERDICT_AT = 25;
const SERVER_AT = 26;
const PROTOCOL_AT = 28;
const ERRORS_AT = 29;
const VERDICT_SEC_AT = 32;
const ENTRY_FIXED_BYTES = 36;
const ERROR_FIXED_BYTES = 4;
/** Four bits of the header, and eight of the OPT (RFC 6891 §6.1.3). */
const MAX_RCODE = 0xfff;
/** In place of the seconds of a verdict: nothing ends it. */
const NO_END = 0xffffffff;

const VERDICTS: readonly Verdict[] = ['unchecked', 'secure', 'insecure', 'bogus', 'indeterminate'];
/** Any other octet stands for "no protocol". */
const PROTOCOLS: readonly UpstreamProtocol[] = ['dot', 'udp', 'tcp', 'https'];

/** Numbers for the labels of servers, so that an entry need not contain the text. Number 0 stands for no server. */
export class ServerLabels {
  /** By number. */
  private readonly labels: string[] = [''];
  private readonly numbers = new Map<string, number>([['', 0]]);

  /** The number of a label; new labels get new numbers. Above MAX_LABELS, labels are not stored any more: 0. */
  numberOf(label: string): number {
    const { labels, numbers } = this;
    const number = numbers.get(label);
    if (number !== undefined) return number;
    if (labels.length > MAX_LABELS) return 0;
    numbers.set(label, labels.length);
    return labels.push(label) - 1;
  }

  /** The label with a number. */
  labelOf(number: number): string {
    return this.labels[number] ?? '';
  }
}

/** A laptop meets a few new resolvers in each network; 16 bits are enough for the numbers. */
const MAX_LABELS = 4095;

/** Writes entries as octets, and reads them. */
export class EntryCodec {
  constructor(readonly labels: ServerLabels) {}

  /** How many octets `write` writes. */
  bytesOf(entry: Entry): number {
    let bytes = ENTRY_FIXED_BYTES + 2 * entry.ttlOffsets.length + entry.octets.length;
    for (const { text } of entry.extendedErrors) bytes += ERROR_FIXED_BYTES + Buffer.byteLength(text);
    return bytes;
  }

  /** Writes an entry at `at`, a multiple of 8. */
  write({ octets, doubles }: EntryMemory, at: number, entry: Entry): void {
    const { ttlOffsets, extendedErrors } = entry;
    doubles[at >> 3] = entry.storedAt;
    putU32(octets, at + TTL_AT, entry.ttlSec);
    putU16(octets, at + MESSAGE_BYTES_AT, entry.octets.length);
    putU16(octets, at + OFFSETS_AT, ttlOffsets.length);
    putU16(octets, at + RCODE_AT, entry.rcode);
    putU16(octets, at + ANSWERS_AT, entry.answers);
    putU16(octets, at + AUTHORITY_AT, entry.authority);
    putU16(octets, at + ADDITIONAL_AT, entry.additional);
    octets[at + NEGATIVE_AT] = entry.negative ? 1 : 0;
    octets[at + VERDICT_AT] = VERDICTS.indexOf(entry.verdict);
    putU16(octets, at + SERVER_AT, this.labels.numberOf(entry.upstream));
    octets[at + PROTOCOL_AT] = entry.protocol === undefined ? PROTOCOLS.length : PROTOCOLS.indexOf(entry.protocol);
    octets[at + ERRORS_AT] = extendedErrors.length;
    putU32(octets, at + VERDICT_SEC_AT, Math.min(entry.verdictSec, NO_END));
    let to = at + ENTRY_FIXED_BYTES;
    for (let i = 0; i < ttlOffsets.length; i++, to += 2) putU16(octets, to, ttlOffsets[i] ?? 0);
    copyOctets(entry.octets, 0, entry.octets.length, octets, to);
    to += entry.octets.length;
    for (const { infoCode, text } of extendedErrors) {
      const bytes = octets.write(text, to + ERROR_FIXED_BYTES);
      putU16(octets, to, infoCode);
      putU16(octets, to + 2, bytes);
      to += ERROR_FIXED_BYTES + bytes;
    }
  }

  /** Reads the entry at `at`. It borrows the memory. */
  read(memory: EntryMemory, at: number): Entry {
    const { octets } = memory;
    const offsets = u16At(octets, at + OFFSETS_AT);
    const ttlOffsets: number[] = [];
    let from = at + ENTRY_FIXED_BYTES;
    for (let i = 0; i < offsets; i++, from += 2) ttlOffsets.push(u16At(octets, from));
    const end = from + u16At(octets, at + MESSAGE_BYTES_AT);
    const errors = octets[at + ERRORS_AT] ?? 0;
    const verdictSec = u32At(octets, at + VERDICT_SEC_AT);
    return {
      octets: octets.subarray(from, end),
      rcode: u16At(octets, at + RCODE_AT),
      answers: u16At(octets, at + ANSWERS_AT),
      authority: u16At(octets, at + AUTHORITY_AT),
      additional: u16At(octets, at + ADDITIONAL_AT),
      ttlOffsets,
      storedAt: this.storedAt(memory, at),
      ttlSec: this.ttlSec(memory, at),
      negative: octets[at + NEGATIVE_AT] === 1,
      verdict: VERDICTS[octets[at + VERDICT_AT] ?? 0] ?? 'unchecked',
      verdictSec: verdictSec === NO_END ? Infinity : verdictSec,
      extendedErrors: errors === 0 ? NO_ERRORS : readErrors(octets, end, errors),
      upstream: this.labels.labelOf(u16At(octets, at + SERVER_AT)),
      protocol: PROTOCOLS[octets[at + PROTOCOL_AT] ?? 0],
    };
  }

  /** When the entry at `at` was stored, without reading all of it. */
  storedAt({ doubles }: EntryMemory, at: number): AgeSec {
    return ageSec(doubles[at >> 3] ?? 0);
  }

  /** The number of the server of the entry at `at`. */
  serverAt({ octets }: EntryMemory, at: number): number {
    return u16At(octets, at + SERVER_AT);
  }

  /** Gives the entry at `at` another date and server: what it was written with means nothing in another process. */
  adopt({ octets, doubles }: EntryMemory, at: number, storedAt: AgeSec, server: number): void {
    doubles[at >> 3] = storedAt;
    putU16(octets, at + SERVER_AT, server);
  }

  /** Whether octets [from, to) from elsewhere are an entry, as far as its lengths go. */
  isEntry(octets: Buffer, from: number, to: number): boolean {
    const offsetsAt = from + ENTRY_FIXED_BYTES;
    if (offsetsAt > to) return false;
    const message = u16At(octets, from + MESSAGE_BYTES_AT);
    const offsets = u16At(octets, from + OFFSETS_AT);
    let end = offsetsAt + 2 * offsets + message;
    if (end > to || message < HEADER_BYTES || u16At(octets, from + RCODE_AT) > MAX_RCODE) return false;
    for (let i = 0; i < offsets; i++) if (u16At(octets, offsetsAt + 2 * i) + 4 > message) return false;
    for (let errors = octets[from + ERRORS_AT] ?? 0; errors > 0; errors--) {
      if (end + ERROR_FIXED_BYTES > to) return false;
      end += ERROR_FIXED_BYTES + u16At(octets, end + 2);
    }
    return end === to;
  }

  /** Whether the entry at `at` is a denial. */
  isNegative({ octets }: EntryMemory, at: number): boolean {
    return octets[at + NEGATIVE_AT] === 1;
  }

  /** The verdict of the entry at `at`. */
  verdictAt({ octets }: EntryMemory, at: number): Verdict {
    return VERDICTS[octets[at + VERDICT_AT] ?? 0] ?? 'unchecked';
  }

  /** How long the entry at `at` lives. */
  ttlSec({ octets }: EntryMemory, at: number): number {
    return u32At(octets, at + TTL_AT);
  }
}

function readErrors(octets: Buffer, start: number, count: number): readonly ExtendedError[] {
  const errors: ExtendedError[] = [];
  let at = start;
  for (let i = 0; i < count; i++) {
    const end = at + ERROR_FIXED_BYTES + u16At(octets, at + 2);
    errors.push({ infoCode: u16At(octets, at), text: octets.toString('utf8', at + ERROR_FIXED_BYTES, end) });
    at = end;
  }
  return errors;
}
