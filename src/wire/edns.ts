// EDNS(0) (RFC 6891): the OPT pseudo-record and its options.
//
//   OPT record   root name (0), TYPE 41, CLASS = sender's UDP payload size,
//                TTL = extended RCODE (8 bits), version (8), DO (1), Z (15), then RDATA = options
//   option       code (16 bits), length (16), data

import { putU16, u16At } from '../base/octets.js';
import { TYPE } from './rrtype.js';

/** Option codes that are used here. */
export const OPTION = {
  NSID: 3,
  CLIENT_SUBNET: 8,
  COOKIE: 10,
  TCP_KEEPALIVE: 11,
  PADDING: 12,
  EDE: 15,
  /**
   * From the range for local use (RFC 6891 §9). `dotstub query` sends it empty over loopback, and the reply has text
   * that says where the answer came from. Nothing else sends it, and it is never sent upstream.
   */
  REPORT: 65313,
} as const;

/** Octets of a COOKIE option: the client's part, and with a server's part as we make it (RFC 9018 §4). */
export const CLIENT_COOKIE_BYTES = 8;
export const COOKIE_BYTES = CLIENT_COOKIE_BYTES + 16;

/** Whether a COOKIE option may be so long: the client's part, and none or 8 to 32 octets of a server (RFC 7873 §4). */
export const isCookieLength = (bytes: number): boolean => bytes === CLIENT_COOKIE_BYTES || (bytes >= 16 && bytes <= 40);

/**
 * The payload size that we advertise and never exceed over UDP (the DNS flag day 2020 value, below any sane path MTU).
 */
export const UDP_PAYLOAD_BYTES = 1232;
/** The payload of a UDP message without EDNS (RFC 1035 §4.2.1). */
export const CLASSIC_PAYLOAD_BYTES = 512;
/** Queries, and replies to padded queries over TLS, are padded to a multiple of these (RFC 8467 §4.1). */
export const PADDING_BLOCK = { query: 128, response: 468 } as const;

const OPT_FIXED_BYTES = 11;
const DO_BIT = 0x8000;

/** An OPT record as found in a message. */
export interface Opt {
  /** The sender's UDP payload size, at least 512 (RFC 6891 §6.2.3: lower values count as 512). */
  readonly udpSize: number;
  /** The upper eight bits of the RCODE. */
  readonly extendedRcode: number;
  readonly version: number;
  /** DNSSEC OK (RFC 3225). */
  readonly dnssecOk: boolean;
  /** The message, which has the options at `optionsAt`; they are known to be well-formed. */
  readonly octets: Buffer;
  readonly optionsAt: number;
  readonly optionsBytes: number;
}

/**
 * Reads an OPT record whose fixed fields start behind its root name.
 * @param at offset of its TYPE
 * @returns undefined if an option's length runs past the RDATA
 */
export function readOpt(message: Buffer, at: number): Opt | undefined {
  const optionsAt = at + 10;
  const end = Math.min(optionsAt + u16At(message, at + 8), message.length);
  for (let i = optionsAt; i < end;) {
    if (i + 4 > end) return undefined;
    i += 4 + u16At(message, i + 2);
    if (i > end) return undefined;
  }
  return {
    udpSize: Math.max(u16At(message, at + 2), CLASSIC_PAYLOAD_BYTES),
    extendedRcode: message[at + 4] ?? 0,
    version: message[at + 5] ?? 0,
    dnssecOk: (u16At(message, at + 6) & DO_BIT) !== 0,
    octets: message,
    optionsAt,
    optionsBytes: end - optionsAt,
  };
}

/** The data of the first option with this code, or undefined. */
export function findOption(opt: Opt, code: number): Buffer | undefined {
  const { octets, optionsAt, optionsBytes } = opt;
  for (let i = optionsAt; i < optionsAt + optionsBytes;) {
    const length = u16At(octets, i + 2);
    if (u16At(octets, i) === code) return octets.subarray(i + 4, i + 4 + length);
    i += 4 + length;
  }
  return undefined;
}

/** One option to be written. */
export interface Option {
  readonly code: number;
  readonly data: Buffer;
}

/** The fields of an OPT record. */
export interface OptFields {
  /** The full twelve-bit RCODE; its low four bits are in the header. */
  readonly rcode?: number;
  readonly dnssecOk: boolean;
  readonly options: readonly Option[];
}

/**
 * Writes an OPT record.
 * @param padTo if given: `[length of the message before this record, block]`; a padding option (RFC 7830) makes
 *   the whole message a multiple of `block` octets
 */
export function writeOpt(fields: OptFields, padTo?: readonly [messageBytes: number, block: number]): Buffer {
  const optionsBytes = fields.options.reduce((sum, option) => sum + 4 + option.data.length, 0);
  let bytes = OPT_FIXED_BYTES + optionsBytes;
  if (padTo !== undefined) {
    const [before, block] = padTo;
    bytes = Math.ceil((before + bytes + 4) / block) * block - before;
  }
  // Padding octets are zero (RFC 7830 §3). Memory from the pool, because alloc would allocate separately for each.
  const opt = Buffer.allocUnsafe(bytes).fill(0);
  putU16(opt, 1, TYPE.OPT);
  putU16(opt, 3, UDP_PAYLOAD_BYTES);
  opt.writeUInt8((fields.rcode ?? 0) >> 4, 5);
  putU16(opt, 7, fields.dnssecOk ? DO_BIT : 0);
  putU16(opt, 9, bytes - OPT_FIXED_BYTES);
  let at = OPT_FIXED_BYTES;
  for (const { code, data } of fields.options) {
    putU16(opt, at, code);
    putU16(opt, at + 2, data.length);
    at += 4 + data.copy(opt, at + 4);
  }
  if (padTo !== undefined) {
    putU16(opt, at, OPTION.PADDING);
    putU16(opt, at + 2, bytes - at - 4);
  }
  return opt;
}

/**
 * Pads a message that ends with an OPT record without options to a multiple of `block` octets, as `writeOpt` does.
 * @returns a copy
 */
export function paddedCopy(message: Buffer, block: number): Buffer {
  const { length } = message;
  const bytes = Math.ceil((length + 4) / block) * block;
  const padded = Buffer.allocUnsafe(bytes);
  message.copy(padded);
  padded.fill(0, length);
  putU16(padded, length - 2, bytes - length);
  putU16(padded, length, OPTION.PADDING);
  putU16(padded, length + 2, bytes - length - 4);
  return padded;
}

/** A copy of a message whose OPT record begins at `at` and is the last one, without the options in it. */
export function withoutOptions(message: Buffer, at: number): Buffer {
  const copy = Buffer.from(message.subarray(0, at + OPT_FIXED_BYTES));
  putU16(copy, at + OPT_FIXED_BYTES - 2, 0);
  return copy;
}

/** One Extended DNS Error (RFC 8914). */
export interface ExtendedError {
  readonly infoCode: number;
  /** For people; may be empty. */
  readonly text: string;
}

// Long enough for any explanation, short enough for a UDP reply; RFC 8914 §2 leaves the limit to the sender.
const MAX_EDE_TEXT_BYTES = 200;

/** Makes an EDE option; a long text is cut at a whole UTF-8 character. */
export function edeOption({ infoCode, text }: ExtendedError): Option {
  const utf8 = cutText(Buffer.from(text));
  const data = Buffer.alloc(2 + utf8.length);
  putU16(data, 0, infoCode);
  utf8.copy(data, 2);
  return { code: OPTION.EDE, data };
}

/** As much of a text as is sent, whole UTF-8 characters. */
function cutText(utf8: Buffer): Buffer {
  let end = Math.min(utf8.length, MAX_EDE_TEXT_BYTES);
  while (end < utf8.length && end > 0 && ((utf8[end] ?? 0) & 0xc0) === 0x80) end--;
  return utf8.subarray(0, end);
}

/** The EDE options in an OPT record, at most `most` of them, their texts cut as they are when they are sent. */
export function extendedErrors(opt: Opt, most: number): readonly ExtendedError[] {
  let found: ExtendedError[] | undefined;
  const { octets, optionsAt, optionsBytes } = opt;
  for (let i = optionsAt; i < optionsAt + optionsBytes && (found?.length ?? 0) < most;) {
    const length = u16At(octets, i + 2);
    if (u16At(octets, i) === OPTION.EDE && length >= 2) {
      // Some senders end the text with a NUL, which receivers must expect (RFC 8914 §2).
      const text = cutText(octets.subarray(i + 6, i + 4 + length))
        .toString('utf8')
        .replace(/\0+$/, '');
      (found ??= []).push({ infoCode: u16At(octets, i + 4), text });
    }
    i += 4 + length;
  }
  return found ?? NO_ERRORS;
}

/** What most messages have. */
export const NO_ERRORS: readonly ExtendedError[] = [];
