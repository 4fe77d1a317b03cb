// Reads requests of DNS over HTTPS (RFC 8484 §4.1), and writes the header fields of their responses. No sockets: the same
// rules hold for HTTP/1.1 and HTTP/2.

import { addressOctets, unmappedText } from '../base/address.js';
import { u32At } from '../base/octets.js';
import { RCODE } from '../base/outcome.js';
import { FLAG, flagsOf, MAX_MESSAGE_BYTES, rcodeOf } from '../wire/header.js';
import { Records, recordsStart } from '../wire/records.js';
import { TYPE } from '../wire/rrtype.js';

/** The media type of DNS messages (RFC 8484 §6). */
export const DNS_MESSAGE = 'application/dns-message';
/** A target that is longer gets 414. A query in base64url takes some hundred characters. */
export const MOST_TARGET = 8192;
/** Larger header fields get 431. */
export const MOST_HEADER_BYTES = 16_384;

/** What a field counts beside its octets. */
const FIELD_BYTES = 32;

/** The size of header fields, as HTTP/2 counts it (RFC 9113 §6.5.2). @param fields names and values, in turn */
export const headerBytes = (fields: readonly string[]): number =>
  fields.reduce((sum, each) => sum + each.length, (fields.length / 2) * FIELD_BYTES);

/** The head of a request, of either version of HTTP, but for its target. */
export interface RequestParts {
  readonly method: string;
  readonly contentType: string | undefined;
  readonly contentEncoding: string | undefined;
  readonly contentLength: string | undefined;
  /** The host that the client means, with its port. */
  readonly host: string | undefined;
  /** All X-Forwarded-For fields, joined by commas. */
  readonly forwardedFor: string | undefined;
}

/** The head of a request. */
export interface RequestHead extends RequestParts {
  /** The path and the query of the URL; the whole URL in requests to proxies (RFC 9112 §3.2.2). */
  readonly target: string;
}

/** A response. */
export interface HttpReply {
  readonly status: number;
  readonly contentType: string;
  readonly cacheControl: string;
  readonly body: Buffer;
  /** The methods that are allowed, with 405 (RFC 9110 §15.5.6). */
  readonly allow?: string;
}

/** What a request wants: an answer to a message, to send the message in its body, the page, or nothing that is served. */
export type Wanted =
  | { readonly at: 'message'; readonly message: Buffer }
  | { readonly at: 'body' }
  | { readonly at: 'reply'; readonly reply: HttpReply };

/** A short text as a response. */
export const textReply = (status: number, words: string, allow?: string): HttpReply => ({
  status,
  contentType: 'text/plain; charset=utf-8',
  cacheControl: 'no-store',
  body: Buffer.from(`${words}\n`),
  ...(allow === undefined ? {} : { allow }),
});

export const TOO_LARGE = textReply(413, `a DNS message has at most ${MAX_MESSAGE_BYTES} octets`);
export const MISDIRECTED = textReply(
  421,
  'in cleartext, ask under localhost or an IP address; a reverse proxy must be in listen_https.proxies',
);
export const NO_MESSAGE = textReply(400, 'this is no DNS query: it is too short, or a response');
export const FIELDS_TOO_LARGE = textReply(431, `header fields have at most ${MOST_HEADER_BYTES} octets`);

const wants = (reply: HttpReply): Wanted => ({ at: 'reply', reply });

/**
 * Reads the head of a request.
 * @param path the path of queries
 */
export function readRequest(head: RequestHead, path: string): Wanted {
  if (head.target.length > MOST_TARGET)
    return wants(textReply(414, `a URL has at most ${MOST_TARGET} characters: send the message with POST`));
  const isRead = head.method === 'GET' || head.method === 'HEAD';
  const begin = beginOfGet(path);
  // Mostly there is nothing else.
  if (isRead && head.target.startsWith(begin)) {
    const wanted = fromText(head.target.slice(begin.length));
    if (wanted !== undefined) return wanted;
  }
  const target = unescaped(head.target.replace(/^https?:\/\/[^/?#]*/i, ''));
  const [, at = '', parameters] = /^([^?#]*)(?:\?([^#]*))?/.exec(target) ?? [];
  const isQuery = at === unescaped(path);
  if (!isQuery && at !== '/') return wants(textReply(404, `there is nothing here: DNS queries go to ${path}`));
  // The path of queries may be `/` itself.
  const isPage = at === '/' && (!isQuery || (isRead && dnsParameters(parameters).length === 0));
  if (isPage) return wants(isRead ? pageFor(path) : textReply(405, 'this page is only read', 'GET, HEAD'));
  if (isRead) return fromParameters(parameters);
  if (head.method !== 'POST')
    return wants(textReply(405, 'DNS queries come with GET or POST (RFC 8484)', 'GET, HEAD, POST'));
  return fromBody(head);
}

/** With letters, digits and the like as they are: written as %41, they mean the same (RFC 3986 §6.2.2.2). */
const unescaped = (target: string): string =>
  target.replace(/%([0-9a-f]{2})/gi, (escaped: string, octet: string) => {
    const character = String.fromCharCode(parseInt(octet, 16));
    return /[A-Za-z0-9._~-]/.test(character) ? character : escaped;
  });

/** What a target begins with whose rest is a message. */
export const beginOfGet = (path: string): string => `${path}?dns=`;

const dnsParameters = (parameters = ''): readonly string[] =>
  parameters.split('&').flatMap(each => (each.startsWith('dns=') ? [each.slice(4)] : []));

/** RFC 8484 §4.1.1 and §6: base64url without padding. */
function fromParameters(parameters: string | undefined): Wanted {
  const [text, ...more] = dnsParameters(parameters);
  if (text === undefined) return wants(textReply(400, 'the query is missing: ?dns= and a DNS message in base64url'));
  if (more.length > 0) return wants(textReply(400, 'there is more than one ?dns='));
  return fromText(text) ?? wants(textReply(400, '?dns= is not base64url without padding (RFC 4648 §5)'));
}

const fromText = (text: string): Wanted | undefined =>
  /^[A-Za-z0-9_-]+$/.test(text) && text.length % 4 !== 1
    ? { at: 'message', message: Buffer.from(text, 'base64url') }
    : undefined;

function fromBody({ contentType = '', contentEncoding = 'identity', contentLength }: RequestHead): Wanted {
  if (contentType.replace(/;.*/s, '').trim().toLowerCase() !== DNS_MESSAGE)
    return wants(textReply(415, `the body of a query has the media type ${DNS_MESSAGE}`));
  if (contentEncoding.toLowerCase() !== 'identity')
    return wants(textReply(415, 'the body of a query has no content encoding'));
  return Number(contentLength ?? 0) > MAX_MESSAGE_BYTES ? wants(TOO_LARGE) : { at: 'body' };
}

const pageFor = (path: string): HttpReply => ({
  ...textReply(
    200,
    `This is a DNS resolver. It answers DNS queries over HTTPS (RFC 8484).

To use it, enter the address of this page with ${path} at its end where a browser or
a system asks for a DNS server over HTTPS, such as "Secure DNS" or "DNS over HTTPS":

  https://NAME${path}

To try it:

  curl --doh-url https://NAME${path} https://www.example.com/
  kdig @NAME +https=${path} www.example.com

Other addresses of this server lead to nothing.`,
  ),
});

/** The value of each character of base64url (RFC 4648 §5); -1: it is none. */
export const SIX_BITS: Int8Array = (() => {
  const values = new Int8Array(256).fill(-1);
  const characters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  for (let i = 0; i < characters.length; i++) values[characters.charCodeAt(i)] = i;
  return values;
})();

/**
 * Reads base64url without padding, in octets [from, to). @param into has room for as many
 * @returns how many octets it stands for; -1: it is malformed, or nothing
 */
export function fromBase64url(text: Uint8Array, from: number, to: number, into: Uint8Array): number {
  const rest = (to - from) & 3;
  if (to <= from || rest === 1) return -1;
  let written = 0;
  let wrong = 0;
  let at = from;
  for (; at + 4 <= to; at += 4) {
    const high = (sixBitsAt(text, at) << 6) | sixBitsAt(text, at + 1);
    const low = (sixBitsAt(text, at + 2) << 6) | sixBitsAt(text, at + 3);
    wrong |= high | low;
    into[written++] = high >>> 4;
    into[written++] = (high << 4) | (low >>> 8);
    into[written++] = low;
  }
  if (rest !== 0) {
    const high = (sixBitsAt(text, at) << 6) | sixBitsAt(text, at + 1);
    const low = rest === 3 ? sixBitsAt(text, at + 2) << 6 : 0;
    wrong |= high | low;
    into[written++] = high >>> 4;
    if (rest === 3) into[written++] = (high << 4) | (low >>> 8);
  }
  return wrong < 0 ? -1 : written;
}

const sixBitsAt = (text: Uint8Array, at: number): number => SIX_BITS[text[at] ?? 0] ?? -1;

/** The response with a DNS message. It is 200 whatever the RCODE (RFC 8484 §4.2.1). */
export class MessageReply implements HttpReply {
  readonly status = 200;
  readonly contentType = DNS_MESSAGE;

  /**
   * @param freshSec for how many seconds caches may keep it; undefined: not at all
   * @param isShared whether those may that several clients use
   */
  constructor(
    readonly body: Buffer,
    readonly freshSec: number | undefined,
    readonly isShared: boolean,
  ) {}

  get cacheControl(): string {
    const { freshSec, isShared } = this;
    return freshSec === undefined ? 'no-store' : `${isShared ? '' : 'private, '}max-age=${freshSec}`;
  }

  /** The same with a body of its own. */
  get kept(): MessageReply {
    return new MessageReply(Buffer.from(this.body), this.freshSec, this.isShared);
  }
}

/**
 * The response with a DNS message.
 * @param isShared whether all clients get the same answers, so that caches that several of them use may keep it
 */
export const messageReply = (message: Buffer, isShared: boolean): MessageReply =>
  new MessageReply(message, freshSeconds(message), isShared);

/** MINIMUM is the last field of an SOA record (RFC 1035 §3.3.13). */
const MINIMUM_BYTES = 4;

/**
 * For how many seconds a reply may be cached: the smallest TTL of its answers, and for what does not exist, what the SOA
 * record says (RFC 8484 §5.1, RFC 2308 §5). Undefined: not at all, because it reports a failure.
 */
export function freshSeconds(message: Buffer): number | undefined {
  const flags = flagsOf(message);
  const rcode = rcodeOf(flags);
  const start = recordsStart(message);
  if ((rcode !== RCODE.NOERROR && rcode !== RCODE.NXDOMAIN) || (flags & FLAG.TC) !== 0 || start === -1)
    return undefined;
  const records = new Records(message, start);
  let least: number | undefined;
  let answers = 0;
  let denied = false;
  while (records.next() && records.section !== 'additional') {
    const { section, type, ttlSec } = records;
    const isSoa = section === 'authority' && type === TYPE.SOA;
    if (section === 'answer') answers++;
    else if (!isSoa) continue;
    denied ||= isSoa;
    const ttl = isSoa ? Math.min(ttlSec, u32At(message, records.end - MINIMUM_BYTES)) : ttlSec;
    least = Math.min(least ?? ttl, ttl);
  }
  const isWhole = rcode === RCODE.NOERROR ? answers > 0 || denied : denied;
  return records.isMalformed || !isWhole ? undefined : least;
}

/**
 * Whether a host is this machine by an address or by `localhost`. In cleartext, a browser may be made to ask under another
 * name that leads here, so that a page from elsewhere could read the answers (DNS rebinding). Over TLS the certificate
 * would not be valid for that name.
 */
export function isThisMachine(host = ''): boolean {
  const name = host.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
  return addressOctets(name) !== undefined || /^(.*\.)?localhost$/i.test(name);
}

/** More addresses than these are no chain of proxies. */
const MOST_PROXIES = 32;

/**
 * The address of the client behind reverse proxies: the last one in X-Forwarded-For that is no proxy of ours. Whatever is
 * before it, the client may have written. If all are proxies, the first one asks itself.
 * @returns undefined: there is a text that is no address, so nobody knows who asks
 */
export function forwardedClient(forwardedFor: string, isProxy: (address: string) => boolean): string | undefined {
  const texts = forwardedFor.split(',');
  let address: string | undefined;
  for (const text of texts.slice(-MOST_PROXIES).reverse()) {
    address = canonical(text.trim());
    if (address === undefined || !isProxy(address)) return address;
  }
  return texts.length > MOST_PROXIES ? undefined : address;
}

/** An address as sockets write it: as text it is the same for the same client. */
function canonical(text: string): string | undefined {
  const octets = text.includes('%') ? undefined : addressOctets(text);
  return octets && unmappedText(octets);
}
