// What is read of a query over its client's limit: where its question ends, and its cookie; and the reply to it, which is empty with
// TC set. Whoever sent it asks again over TCP, which proves the address. The reply is never longer than the query, so that nobody
// can have more octets sent to a forged address than he has sent. A client that has had a cookie from us expects one in every reply
// (RFC 7873 §5.3): there is room for it, since such a client sends as much.

import { copyOctets, putU16, u16At } from '../base/octets.js';
import { COOKIE_BYTES, isCookieLength, OPTION, UDP_PAYLOAD_BYTES } from './edns.js';
import { FLAG, HEADER_BYTES, OPCODE_MASK } from './header.js';
import { TYPE } from './rrtype.js';

/** Octets of an OPT without options (RFC 6891 §6.1.2). */
const OPT_BYTES = 11;
const OPTION_HEAD_BYTES = 4;
const MOST_NAME_BYTES = 255;

/** One query, as last read: a header, one question, and perhaps an OPT right behind it. */
export class BriefQuery {
  private octets: Uint8Array = Buffer.alloc(0);
  private at = 0;
  private bytes = 0;
  /** Where the question ends, from the start of the message. */
  private questionEnd = 0;
  private hasOpt = false;
  /** Where the data of its COOKIE option is in `octets`, and how long that is; 0: there is none. */
  cookieAt = 0;
  cookieBytes = 0;

  /** Reads the `bytes` octets at `at`. @returns false: it is no standard query, or has no readable question */
  read(octets: Uint8Array, at: number, bytes: number): boolean {
    this.octets = octets;
    this.at = at;
    this.bytes = bytes;
    this.hasOpt = false;
    this.cookieAt = this.cookieBytes = 0;
    if (bytes < HEADER_BYTES || u16At(octets, at + 4) !== 1) return false;
    if ((u16At(octets, at + 2) & (FLAG.QR | OPCODE_MASK)) !== 0) return false;
    let end = HEADER_BYTES;
    for (let label = -1; label !== 0; end += label + 1) {
      label = octets[at + end] ?? 0xff;
      // A compressed name cannot be first in a message.
      if (label > 63 || end + label + 1 > Math.min(bytes, HEADER_BYTES + MOST_NAME_BYTES)) return false;
    }
    this.questionEnd = end += 4;
    if (end > bytes) return false;
    this.hasOpt = end + OPT_BYTES <= bytes && octets[at + end] === 0 && u16At(octets, at + end + 1) === TYPE.OPT;
    if (this.hasOpt) this.readOptions(end + OPT_BYTES, Math.min(bytes, end + OPT_BYTES + u16At(octets, at + end + 9)));
    return true;
  }

  private readOptions(start: number, end: number): void {
    const { octets, at } = this;
    for (let from = start; from + 4 <= end;) {
      const length = u16At(octets, at + from + 2);
      if (from + 4 + length > end) return;
      if (u16At(octets, at + from) === OPTION.COOKIE) {
        this.cookieAt = at + from + 4;
        this.cookieBytes = length;
        return;
      }
      from += 4 + length;
    }
  }

  /** Whether the reply has room for a cookie. */
  get hasCookieRoom(): boolean {
    const { cookieBytes, questionEnd, bytes } = this;
    return isCookieLength(cookieBytes) && questionEnd + OPT_BYTES + OPTION_HEAD_BYTES + COOKIE_BYTES <= bytes;
  }

  /**
   * Writes the reply with TC to the query that was read, and returns how many octets it has.
   * @param cookie the data of a COOKIE option for it, if there is room
   */
  writeTruncated(to: Uint8Array, toAt: number, cookie?: Uint8Array): number {
    const { octets, at, questionEnd } = this;
    copyOctets(octets, at, questionEnd, to, toAt);
    putU16(to, toAt + 2, FLAG.QR | FLAG.TC | FLAG.RA | (u16At(octets, at + 2) & (FLAG.RD | FLAG.CD)));
    putU16(to, toAt + 6, 0);
    putU16(to, toAt + 8, 0);
    putU16(to, toAt + 10, this.hasOpt ? 1 : 0);
    if (!this.hasOpt) return questionEnd;
    const opt = toAt + questionEnd;
    to[opt] = 0;
    putU16(to, opt + 1, TYPE.OPT);
    putU16(to, opt + 3, UDP_PAYLOAD_BYTES);
    // No extended RCODE, version 0; of the flags only DO (RFC 3225 §3).
    putU16(to, opt + 5, 0);
    putU16(to, opt + 7, u16At(octets, at + questionEnd + 7) & 0x8000);
    const optionBytes = cookie === undefined ? 0 : OPTION_HEAD_BYTES + cookie.length;
    putU16(to, opt + 9, optionBytes);
    if (cookie !== undefined) {
      putU16(to, opt + OPT_BYTES, OPTION.COOKIE);
      putU16(to, opt + OPT_BYTES + 2, cookie.length);
      copyOctets(cookie, 0, cookie.length, to, opt + OPT_BYTES + OPTION_HEAD_BYTES);
    }
    return questionEnd + OPT_BYTES + optionBytes;
  }
}
