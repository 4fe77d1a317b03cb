// The header fields of HTTP/2: reads those of a request, which must follow the rules of RFC 9113 §8, and writes those of
// a response.

import { type HttpReply, DNS_MESSAGE, MOST_HEADER_BYTES, type RequestHead } from './http-request.js';
import { ENTRY_BYTES, putField } from './hpack.js';

/** Fields of the connection, which HTTP/2 has not (§8.2.2). */
const OF_CONNECTION: ReadonlySet<string> = new Set([
  'connection',
  'proxy-connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
]);
/** What begins each request (§8.3.1). */
const OF_REQUEST: ReadonlySet<string> = new Set([':method', ':scheme', ':authority', ':path']);
/** Those of which each one counts. Of all others it is the first. */
const JOINED: ReadonlySet<string> = new Set(['x-forwarded-for', 'content-encoding']);
/** Those that are read. */
const WANTED: ReadonlySet<string> = new Set([...OF_REQUEST, ...JOINED, 'content-type', 'content-length', 'host']);

/** The header fields of one request. */
export class RequestFields {
  private readonly fields = new Map<string, string>();
  private bytes = 0;
  private hasOthers = false;
  private isMalformed = false;

  /** Whether it has more than it may: what is too much was not kept. */
  get isTooLarge(): boolean {
    return this.bytes > MOST_HEADER_BYTES;
  }

  readonly add = (name: string, value: string): void => {
    this.bytes += name.length + value.length + ENTRY_BYTES;
    const isPseudo = name.startsWith(':');
    if (isPseudo) this.isMalformed ||= this.hasOthers || !OF_REQUEST.has(name) || this.fields.has(name);
    else {
      this.hasOthers = true;
      this.isMalformed ||= OF_CONNECTION.has(name) || (name === 'te' && value !== 'trailers') || !isName(name);
    }
    if (this.isTooLarge || !WANTED.has(name)) return;
    const before = this.fields.get(name);
    if (before === undefined) this.fields.set(name, value);
    else if (JOINED.has(name)) this.fields.set(name, `${before},${value}`);
  };

  /** The head of the request; undefined: it is malformed, and must not be answered (§8.1.1). */
  get head(): RequestHead | undefined {
    const { fields } = this;
    const method = fields.get(':method');
    const target = fields.get(':path');
    // CONNECT has neither scheme nor path (§8.5).
    const isWhole = method === 'CONNECT' || (fields.has(':scheme') && target !== undefined && target !== '');
    const contentLength = fields.get('content-length');
    const isCounted = contentLength === undefined || /^\d+$/.test(contentLength);
    if (this.isMalformed || method === undefined || (!isWhole && !this.isTooLarge) || !isCounted) return undefined;
    return {
      ...{ method, target: target ?? '', contentLength },
      contentType: fields.get('content-type'),
      contentEncoding: fields.get('content-encoding'),
      host: fields.get(':authority') ?? fields.get('host'),
      forwardedFor: fields.get('x-forwarded-for'),
    };
  }
}

/** Without capital letters (§8.2.1), spaces and what else no name has. */
const isName = (name: string): boolean => /^[!#$%&'*+\-.^_`|~0-9a-z]+$/.test(name);

/** Indexes of the static table (RFC 7541, Appendix A). */
const NAME = { status: 8, allow: 22, cacheControl: 24, contentLength: 28, contentType: 31 } as const;
/** The entry with status 200. */
const OK = 0x88;
/** What the fields of a response have room for. */
export const MOST_RESPONSE_HEAD_BYTES = 512;

/** Writes the fields of a response. @returns where they end */
export function putResponseHead(
  into: Buffer,
  at: number,
  { status, contentType, cacheControl, body, allow }: HttpReply,
): number {
  let end: number;
  if (status === 200 && contentType === DNS_MESSAGE) end = at + MESSAGE_HEAD.copy(into, at);
  else end = putHead(into, at, status, contentType);
  end = putField(into, end, NAME.contentLength, String(body.length));
  end = putField(into, end, NAME.cacheControl, cacheControl);
  return allow === undefined ? end : putField(into, end, NAME.allow, allow);
}

function putHead(into: Buffer, at: number, status: number, contentType: string): number {
  let end = at;
  if (status === 200) into[end++] = OK;
  else end = putField(into, end, NAME.status, String(status));
  end = putField(into, end, NAME.contentType, contentType);
  return putField(into, end, 'x-content-type-options', 'nosniff');
}

/** What all responses with a message begin with. */
const MESSAGE_HEAD = (() => {
  const octets = Buffer.alloc(MOST_RESPONSE_HEAD_BYTES);
  return octets.subarray(0, putHead(octets, 0, 200, DNS_MESSAGE));
})();
