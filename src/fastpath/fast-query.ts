// Reads the queries that nearly all clients send, without allocating: one question in class IN, RD set, and at most an
// OPT. All other queries are left to wire/query, which is complete; this reader must only be right about the queries
// that it accepts.

import { u16At, u32At } from '../base/octets.js';
import { FLAG, flagsOf, HEADER_BYTES, idOf } from '../wire/header.js';
import { finishedHash, FNV_OFFSET, hashed } from '../base/hash.js';
import { CLASSIC_PAYLOAD_BYTES, type Opt, OPTION, readOpt, UDP_PAYLOAD_BYTES } from '../wire/edns.js';
import { type ClientQuery, KEY_WITH_CD } from '../wire/query.js';
import { CLASS_IN, isMetaType, TYPE } from '../wire/rrtype.js';

/** Octets of the longest key: a name, type, class, and one octet of flags. */
export const MAX_KEY_BYTES = 255 + 4 + 1;
const WORD_BYTES = 4;

/** Bits of a key's last octet: what changes a reply beside the question; beside KEY_WITH_CD, which changes the answer. */
const WITH_EDNS = 1;
const WITH_DO = 2;
/** Only for a query without DO: with DO, AD makes no difference. */
const WITH_AD = 8;
/** The class of the client is in the upper half: other groups get other answers. */
const CLASS_SHIFT = 4;

/** The class of the clients whose key ends with this octet. */
export const classOfKey = (lastOctet: number): number => lastOctet >> CLASS_SHIFT;

const OPT_BYTES = 11;

/** One query, as last read. The fields are valid only until the next `read`. */
export class FastQuery {
  /** The lower-cased question and the flags octet. */
  readonly key: Buffer;
  /** The same memory as words. */
  readonly keyWords: Int32Array;
  keyBytes = 0;
  /** The hash of the key, a signed 32-bit number. */
  hash = 0;
  /** QNAME, QTYPE and QCLASS in the message. */
  questionBytes = 0;
  type = 0;
  /** The hash of the key without its last octet. */
  private questionHash = 0;
  /** Octets of the longest reply over UDP. */
  udpLimitBytes = 0;
  /** Over a stream: whether it has the PADDING option. */
  isPadded = false;

  constructor() {
    const memory = new ArrayBuffer(Math.ceil(MAX_KEY_BYTES / WORD_BYTES) * WORD_BYTES);
    this.key = Buffer.from(memory);
    this.keyWords = new Int32Array(memory);
  }

  /**
   * Reads the message at [start, start + length).
   * @param stream whether to check the options that matter on streams (keepalive; padding)
   * @returns false: it is not a simple query
   */
  read(message: Buffer, start: number, length: number, stream: boolean): boolean {
    const end = start + length;
    if (length < HEADER_BYTES + 5) return false;
    const flags = u16At(message, start + 2);
    // A standard query with RD; of the other bits only AD and CD may be set.
    if ((flags & ~(FLAG.AD | FLAG.CD)) !== FLAG.RD) return false;
    if (u32At(message, start + 4) !== 0x10000 || u16At(message, start + 8) !== 0) return false;
    const additional = u16At(message, start + 10);
    if (additional > 1) return false;

    const { key } = this;
    let at = start + HEADER_BYTES;
    let hash = FNV_OFFSET;
    let filled = 0;
    for (;;) {
      const labelBytes = message[at] ?? 0xff;
      // A longer label is a compression pointer or malformed; both are left to wire/query.
      if (labelBytes > 63 || filled + labelBytes + 1 > 255 || at + labelBytes + 5 > end) return false;
      const labelEnd = at + labelBytes + 1;
      for (; at < labelEnd; at++) {
        let octet = message[at] ?? 0;
        // Length octets are less than letters, so they need no case of their own.
        if (octet >= 0x41 && octet <= 0x5a) octet |= 0x20;
        key[filled++] = octet;
        hash = hashed(hash, octet);
      }
      if (labelBytes === 0) break;
    }
    const type = u16At(message, at);
    if (u16At(message, at + 2) !== CLASS_IN || type === 0 || type === TYPE.ANY || isMetaType(type)) return false;
    for (const typeEnd = at + 4; at < typeEnd; at++) {
      const octet = message[at] ?? 0;
      key[filled++] = octet;
      hash = hashed(hash, octet);
    }

    let bits = flags & FLAG.CD ? KEY_WITH_CD : flags & FLAG.AD ? WITH_AD : 0;
    let limit = CLASSIC_PAYLOAD_BYTES;
    this.isPadded = false;
    if (additional === 1) {
      // One OPT of version 0, directly after the question, up to the end of the message.
      if (at + OPT_BYTES > end || message[at] !== 0 || u16At(message, at + 1) !== TYPE.OPT || message[at + 6] !== 0)
        return false;
      if (at + OPT_BYTES + u16At(message, at + 9) !== end) return false;
      if (!this.optionsAreIndifferent(message, at + OPT_BYTES, end, stream)) return false;
      limit = Math.min(Math.max(u16At(message, at + 3), CLASSIC_PAYLOAD_BYTES), UDP_PAYLOAD_BYTES);
      if ((message[at + 7] ?? 0) & 0x80) bits = (bits & ~WITH_AD) | WITH_DO;
      bits |= WITH_EDNS;
    } else if (at !== end) return false;

    key[filled++] = bits;
    this.questionHash = hash;
    this.hash = finishedHash(hashed(hash, bits));
    this.keyBytes = filled;
    this.questionBytes = filled - 1;
    this.type = type;
    this.udpLimitBytes = limit;
    return true;
  }

  /** Whether the options are well-formed and none of them changes the reply, but for its padding. */
  private optionsAreIndifferent(message: Buffer, start: number, end: number, stream: boolean): boolean {
    let at = start;
    while (at < end) {
      if (at + 4 > end) return false;
      const code = u16At(message, at);
      // The reply to a client with a cookie has a cookie, and one to a client that asks for an identity may have that.
      if (code === OPTION.REPORT || code === OPTION.COOKIE || code === OPTION.NSID) return false;
      if (stream && code === OPTION.TCP_KEEPALIVE) return false;
      if (stream && code === OPTION.PADDING) this.isPadded = true;
      at += 4 + u16At(message, at + 2);
    }
    return at === end;
  }

  /** Puts the class of the client into the key, once after `read`. @param clientClass 0 to 15 */
  ofClass(clientClass: number): void {
    if (clientClass === 0) return;
    const { key, questionBytes } = this;
    const bits = (key[questionBytes] ?? 0) | (clientClass << CLASS_SHIFT);
    key[questionBytes] = bits;
    this.hash = finishedHash(hashed(this.questionHash, bits));
  }

  /** Sets key and hash to those of a query that `query` returned. Other fields stay as they were. */
  recall({ key: text, flags, opt, dnssecOk, checkingDisabled }: ClientQuery, clientClass = 0): void {
    const { key } = this;
    const last = text.length - 1;
    let hash = FNV_OFFSET;
    for (let i = 0; i < last; i++) {
      const octet = text.charCodeAt(i);
      key[i] = octet;
      hash = hashed(hash, octet);
    }
    let bits = checkingDisabled ? KEY_WITH_CD : flags & FLAG.AD && !dnssecOk ? WITH_AD : 0;
    if (opt !== undefined) bits |= dnssecOk ? WITH_EDNS | WITH_DO : WITH_EDNS;
    bits |= clientClass << CLASS_SHIFT;
    key[last] = bits;
    this.hash = finishedHash(hashed(hash, bits));
    this.keyBytes = text.length;
    this.questionBytes = last;
  }

  /** The same result as parseQuery for the message that was last read, which starts at 0. It shares memory with it. */
  query(message: Buffer): ClientQuery {
    const { key, questionBytes } = this;
    const bits = key[questionBytes] ?? 0;
    key[questionBytes] = bits & KEY_WITH_CD;
    const text = key.toString('latin1', 0, this.keyBytes);
    key[questionBytes] = bits;
    const end = HEADER_BYTES + questionBytes;
    // The root name before the fixed fields is one octet. `read` has checked that the options are well-formed.
    const opt: Opt | undefined = bits & WITH_EDNS ? readOpt(message, end + 1) : undefined;
    return {
      id: idOf(message),
      flags: flagsOf(message),
      question: message.subarray(HEADER_BYTES, end),
      opt,
      type: this.type,
      recurse: true,
      dnssecOk: (bits & WITH_DO) !== 0,
      checkingDisabled: (bits & KEY_WITH_CD) !== 0,
      key: text,
    };
  }
}
