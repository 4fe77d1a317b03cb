// The header fields of HTTP/2: reads those of a request, which must follow the rules of RFC 9113 §8, and writes those of
// a response.

import { copyOctets } from '../base/octets.js';
import { DNS_MESSAGE, type HttpReply, MessageReply, MOST_HEADER_BYTES, type RequestHead } from './http-request.js';
import { ENTRY_BYTES, putField } from './hpack.js';

/** Fields of the connection, which HTTP/2 has not (§8.2.2). */
const OF_CONNECTION: ReadonlySet<string> = new Set([
  'connection',
  'proxy-connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
]);
/** The header fields of one request. */
export class RequestFields {
  private method: string | undefined = undefined;
  private scheme: string | undefined = undefined;
  private authority: string | undefined = undefined;
  private path: string | undefined = undefined;
  private contentType: string | undefined = undefined;
  private contentEncoding: string | undefined = undefined;
  private contentLength: string | undefined = undefined;
  private host: string | undefined = undefined;
  private forwardedFor: string | undefined = undefined;
  /** Whether the client waits to be told that it shall send the body (RFC 9110 §10.1.1). */
  expectsContinue = false;
  /** Their size, as far as it matters (RFC 9113 §6.5.2). */
  bytes = 0;
  /** Whether there was a field that is not of the request line. */
  private hasOthers = false;
  private isMalformed = false;

  /** Whether it has more than it may: what is too much was not kept. */
  get isTooLarge(): boolean {
    return this.bytes > MOST_HEADER_BYTES;
  }

  readonly add = (name: string, value: string): void => {
    this.bytes += name.length + value.length + ENTRY_BYTES;
    // A reference of one octet may stand for a long value, as often as the block has octets: no more is looked at.
    if (this.isTooLarge) return;
    this.isMalformed ||= NO_VALUE.test(value);
    if (name.startsWith(':')) this.addPseudo(name, value);
    else this.addOther(name, value);
  };

  /** What begins each request, once (§8.3.1). */
  private addPseudo(name: string, value: string): void {
    this.isMalformed ||= this.hasOthers;
    switch (name) {
      case ':method':
        this.isMalformed ||= this.method !== undefined;
        this.method = value;
        break;
      case ':scheme':
        this.isMalformed ||= this.scheme !== undefined;
        this.scheme = value;
        break;
      case ':authority':
        this.isMalformed ||= this.authority !== undefined;
        this.authority = value;
        break;
      case ':path':
        this.isMalformed ||= this.path !== undefined;
        this.path = value;
        break;
      default:
        this.isMalformed = true;
    }
  }

  private addOther(name: string, value: string): void {
    this.hasOthers = true;
    switch (name) {
      // Of several, the first one counts,
      case 'content-type':
        this.contentType ??= value;
        break;
      case 'content-length':
        this.contentLength ??= value;
        this.isMalformed ||= this.contentLength !== value || !/^\d+$/.test(value);
        break;
      case 'host':
        this.host ??= value;
        break;
      case 'expect':
        this.expectsContinue = value.toLowerCase() === '100-continue';
        break;
      // or all of them.
      case 'content-encoding':
        this.contentEncoding = joined(this.contentEncoding, value);
        break;
      case 'x-forwarded-for':
        this.forwardedFor = joined(this.forwardedFor, value);
        break;
      default:
        this.isMalformed ||= OF_CONNECTION.has(name) || (name === 'te' && value !== 'trailers') || !isName(name);
    }
  }

  /** Whether they may follow a body (§8.1). */
  get areTrailers(): boolean {
    const { method, scheme, authority, path } = this;
    return !this.isMalformed && !this.isTooLarge && [method, scheme, authority, path].every(each => each === undefined);
  }

  /** The head of the request; undefined: it is malformed, and must not be answered (§8.1.1). */
  get head(): RequestHead | undefined {
    const { method, scheme, path: target = '', authority, contentType, contentEncoding, contentLength } = this;
    // CONNECT has neither scheme nor path (§8.5).
    const isWhole = method === 'CONNECT' || (scheme !== undefined && target !== '');
    if (this.isMalformed || method === undefined || (!isWhole && !this.isTooLarge)) return undefined;
    const { host, forwardedFor } = this;
    return { method, target, contentType, contentEncoding, contentLength, host: authority ?? host, forwardedFor };
  }
}

const joined = (before: string | undefined, value: string): string =>
  before === undefined ? value : `${before},${value}`;

/** Ends of lines, and spaces around it, are in no value (§8.2.1). */
const NO_VALUE = /[\0\r\n]|^[ \t]|[ \t]$/;

/** Without capital letters (§8.2.1), spaces and what else no name has. */
const isName = (name: string): boolean => /^[!#$%&'*+\-.^_`|~0-9a-z]+$/.test(name);

/** Indexes of the static table (RFC 7541, Appendix A). */
const NAME = { status: 8, allow: 22, cacheControl: 24, contentLength: 28, contentType: 31 } as const;
/** The entry with status 200. */
const OK = 0x88;
/** What the fields of a response have room for. */
export const MOST_RESPONSE_HEAD_BYTES = 512;

/** Writes the fields of a response. @returns where they end */
export function putResponseHead(into: Buffer, at: number, reply: HttpReply): number {
  if (reply instanceof MessageReply) return putMessageHead(into, at, reply);
  const { status, contentType, cacheControl, body, allow } = reply;
  let end = putHead(into, at, status, contentType);
  end = putField(into, end, NAME.contentLength, String(body.length));
  end = putField(into, end, NAME.cacheControl, cacheControl);
  return allow === undefined ? end : putField(into, end, NAME.allow, allow);
}

/** Writes the fields of a response with a message: only two of them differ. */
function putMessageHead(into: Buffer, at: number, { freshSec, isShared, body }: MessageReply): number {
  const begin = freshSec === undefined ? NOT_KEPT : isShared ? KEPT : KEPT_BY_ONE;
  copyOctets(begin, 0, begin.length, into, at);
  let end = at + begin.length;
  if (freshSec !== undefined) {
    // The length of the value is known now.
    const digits = putDigits(into, end, freshSec) - end;
    const others = isShared ? MAX_AGE.length : PRIVATE.length + MAX_AGE.length;
    into[end - others - 1] = others + digits;
    end += digits;
  }
  into[end++] = 0x0f;
  into[end++] = NAME.contentLength - 0x0f;
  const digits = putDigits(into, end + 1, body.length) - (end + 1);
  into[end] = digits;
  return end + 1 + digits;
}

/** Writes a number below 2^32 in decimal. @returns where it ends */
function putDigits(into: Buffer, at: number, value: number): number {
  let digits = 1;
  for (let power = 10; power <= value; power *= 10) digits++;
  let rest = value;
  for (let i = at + digits - 1; i >= at; i--) {
    const tenth = Math.floor(rest / 10);
    into[i] = 0x30 + rest - 10 * tenth;
    rest = tenth;
  }
  return at + digits;
}

/** Writes the fields of the response that tells a client to send its body. @returns where they end */
export const putContinue = (into: Buffer, at: number): number => putField(into, at, NAME.status, '100');

function putHead(into: Buffer, at: number, status: number, contentType: string): number {
  let end = at;
  if (status === 200) into[end++] = OK;
  else end = putField(into, end, NAME.status, String(status));
  end = putField(into, end, NAME.contentType, contentType);
  return putField(into, end, 'x-content-type-options', 'nosniff');
}

const PRIVATE = 'private, ';
const MAX_AGE = 'max-age=';

/** What responses with a message begin with, up to the end of such a value of cache-control. */
const beginOfMessage = (cacheControl: string): Buffer => {
  const octets = Buffer.alloc(MOST_RESPONSE_HEAD_BYTES);
  return octets.subarray(0, putField(octets, putHead(octets, 0, 200, DNS_MESSAGE), NAME.cacheControl, cacheControl));
};
const NOT_KEPT = beginOfMessage('no-store');
const KEPT = beginOfMessage(MAX_AGE);
const KEPT_BY_ONE = beginOfMessage(`${PRIVATE}${MAX_AGE}`);
