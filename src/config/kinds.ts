// The kinds of values that options have: how each is read from YAML, what is allowed, and how it is written back. No kind
// depends on a particular option.

import { isIP, isIPv4 } from '../base/address.js';
import { HTTPS_PORT } from '../base/port-numbers.js';
import { parseSchedule, type Schedule, scheduleText } from '../base/schedule.js';
import { bad, good, type Kind, same, text } from './kind.js';
import { nearest } from './nearest.js';
import { parseAddressPort } from './network-kinds.js';

/** One of several words. */
export function oneOf<const W extends string>(words: readonly W[]): Kind<W> {
  const allowed = words.join(' | ');
  return {
    allowed,
    read(input) {
      const word = words.find(each => each === input);
      if (word !== undefined) return good(word);
      // Programs that write YAML 1.1 turn `off` into false.
      const text = input === false ? 'off' : input;
      const near = typeof text === 'string' ? nearest(text, words) : undefined;
      return bad(near === undefined ? 'no such choice' : `did you mean ${near}?`);
    },
    write: value => value,
    schema: { enum: words },
  };
}

/** true or false. */
export const flag: Kind<boolean> = {
  allowed: 'true | false',
  read: input => (typeof input === 'boolean' ? good(input) : bad('not a truth value')),
  write: value => value,
  schema: { type: 'boolean' },
};

/** A whole number, `min` to `max`. */
export function count(min: number, max: number): Kind<number> {
  return {
    allowed: `a whole number, ${min} to ${max}`,
    read(input) {
      if (typeof input !== 'number' || !Number.isInteger(input)) return bad('not a whole number');
      return input < min || input > max ? bad('out of range') : good(input);
    },
    write: value => value,
    schema: { type: 'integer', minimum: min, maximum: max },
  };
}

/** A unit of a quantity. */
interface Unit {
  readonly suffix: string;
  /** How many of the smallest unit it is. */
  readonly factor: number;
}

/** A quantity with units. Values are in the smallest one. */
interface Quantity {
  readonly noun: string;
  readonly example: string;
  /** Smallest first. */
  readonly units: readonly Unit[];
  /** The unit of a bare number. */
  readonly bare: Unit;
}

const MS: Unit = { suffix: 'ms', factor: 1 };
const SECOND: Unit = { suffix: 's', factor: 1000 };
const BYTE: Unit = { suffix: 'B', factor: 1 };

const TIME: Quantity = {
  noun: 'a duration',
  example: '30s',
  units: [
    MS,
    SECOND,
    { suffix: 'm', factor: 60_000 },
    { suffix: 'h', factor: 3_600_000 },
    { suffix: 'd', factor: 86_400_000 },
  ],
  bare: SECOND,
};
const SIZE: Quantity = {
  noun: 'a size',
  example: '16MiB',
  units: [
    BYTE,
    { suffix: 'KiB', factor: 1024 },
    { suffix: 'MiB', factor: 1024 ** 2 },
    { suffix: 'GiB', factor: 1024 ** 3 },
  ],
  bare: BYTE,
};

/** A number with a unit; the value, `min` and `max` are in the smallest unit. */
function measured({ noun, example, units, bare }: Quantity, min: number, max: number): Kind<number> {
  const pattern = new RegExp(`^(\\d+(?:\\.\\d+)?)\\s*(${units.map(({ suffix }) => suffix).join('|')})$`);
  const write = (value: number): string | number => {
    const unit = units.findLast(({ factor }) => value % factor === 0);
    return value === 0 || unit === undefined ? value : `${value / unit.factor}${unit.suffix}`;
  };
  return {
    allowed: `${noun} such as ${example}, ${write(min)} to ${write(max)}`,
    read(input) {
      const match = typeof input === 'string' ? pattern.exec(input) : null;
      const unit = typeof input === 'number' ? bare : units.find(({ suffix }) => suffix === match?.[2]);
      if (unit === undefined) return bad(`not ${noun}`);
      const value = (typeof input === 'number' ? input : Number(match?.[1])) * unit.factor;
      if (!Number.isInteger(value)) return bad(`not a whole number of ${units[0]?.suffix ?? ''}`);
      return value < min || value > max ? bad('out of range') : good(value);
    },
    write,
    schema: { type: ['string', 'number'], pattern: pattern.source },
  };
}

/** A duration. The value, `min` and `max` are in ms; a bare number in the file is seconds. */
export const duration = (min: number, max: number): Kind<number> => measured(TIME, min, max);
/** A size. The value, `min` and `max` are in bytes, and so is a bare number in the file. */
export const size = (min: number, max: number): Kind<number> => measured(SIZE, min, max);

/** A value of `kind`, or `off`. */
export function orOff<T extends object>(kind: Kind<T>): Kind<T | 'off'> {
  return {
    allowed: `off | ${kind.allowed}`,
    // Programs that write YAML 1.1 turn `off` into false.
    read: input => (input === 'off' || input === false ? good('off') : kind.read(input)),
    write: value => (value === 'off' ? value : kind.write(value)),
    schema: { anyOf: [{ const: 'off' }, kind.schema] },
  };
}

/** An absolute path. */
export const path = text(
  'an absolute path such as /etc/dotstub/key.pem',
  input => (input.startsWith('/') ? input : undefined),
  same,
);

const NFT_NAME = /^[a-z][a-z0-9_.-]{0,30}$/i;

/** The name of a table or a set of nftables. */
export const nftName = text(
  'a name of nftables such as fw4: a letter, then at most 30 letters, digits, underscores, dots and hyphens',
  input => (NFT_NAME.test(input) ? input : undefined),
  same,
);

const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/i;

/** A domain name in ASCII. The value is in lower case, without a final dot. */
export const domainName = text(
  'a domain name such as dns.quad9.net',
  input => {
    const bare = input.endsWith('.') && input !== '.' ? input.slice(0, -1) : input;
    return bare.length <= 253 && bare.split('.').every(label => LABEL.test(label)) ? bare.toLowerCase() : undefined;
  },
  same,
);

/** The zone of a route: a domain name, or the root. */
export const routeZone = text(
  'a domain name such as corp.example, or "." for all names of a route with clients',
  input => {
    if (input === '.') return input;
    const parsed = domainName.read(input);
    return parsed.ok ? parsed.value : undefined;
  },
  same,
);

/** A host name that a certificate can be valid for: a domain name that is not an IP address. */
export const hostName = text(
  'a host name such as dns.quad9.net',
  input => {
    const parsed = domainName.read(input);
    return parsed.ok && !/^[\d.]+$/.test(parsed.value) ? parsed.value : undefined;
  },
  same,
);

/** An HTTP URL, taken apart. */
export interface HttpUrl {
  /** A host name, or an address without brackets. */
  readonly host: string;
  readonly port: number;
  /** With its query. */
  readonly path: string;
}

const HTTP_PORT = 80;
const MOST_URL_CHARACTERS = 2048;

/** A URL of HTTP without TLS. */
export const httpUrl: Kind<HttpUrl> = text(
  'a URL such as http://connectivity.example/generate_204, without TLS, a password and a fragment',
  input => {
    if (input.length > MOST_URL_CHARACTERS || !URL.canParse(input)) return undefined;
    const { protocol, username, password, hash, hostname, port, pathname, search } = new URL(input);
    const host = hostname.replace(/^\[(.*)\]$/, '$1');
    const isHost = isIP(host) !== 0 || hostName.read(host).ok;
    if (protocol !== 'http:' || username + password + hash !== '' || !isHost) return undefined;
    return { host, port: Number(port === '' ? HTTP_PORT : port), path: pathname + search };
  },
  ({ host, port, path }) =>
    `http://${host.includes(':') ? `[${host}]` : host}${port === HTTP_PORT ? '' : `:${port}`}${path}`,
);

/** Where a server is asked over HTTPS. */
export interface HttpsPlace {
  /** Undefined: the server's own name or address. */
  readonly host: string | undefined;
  readonly port: number;
  /** With the query component, if there is one. */
  readonly path: string;
}

const MOST_PATH = 255;

/**
 * A path, or a URL, of DNS over HTTPS. Variables of a URI template (RFC 8484 §4.1.1), which many providers write, are
 * taken out, because they are for GET.
 */
export const httpsPlace = text<HttpsPlace>(
  'a path such as /dns-query, or a URL such as https://dns.example/dns-query with a host name',
  input => {
    const bare = input.replace(/\{[?&]dns\}$/, '');
    if (/[^!-~]|[{}"<>\\^`|#]/.test(bare) || bare.length > MOST_PATH) return undefined;
    if (/^\/(?!\/)/.test(bare)) return { host: undefined, port: HTTPS_PORT, path: bare };
    const url = URL.canParse(bare) ? new URL(bare) : undefined;
    if (url?.protocol !== 'https:' || url.username !== '' || url.password !== '' || url.port === '0') return undefined;
    // Addresses come from `addresses`, and what the certificate must hold from names.
    const host = hostName.read(url.hostname);
    if (!host.ok) return undefined;
    const port = url.port === '' ? HTTPS_PORT : Number(url.port);
    return { host: host.value, port, path: url.pathname + url.search };
  },
  ({ host, port, path }) =>
    host === undefined ? path : `https://${host}${port === HTTPS_PORT ? '' : `:${port}`}${path}`,
);

/** The path of a URL. */
export const urlPath = text(
  'the path of a URL such as /dns-query',
  input =>
    /^\/(?!\/)[!-~]*$/.test(input) && !/[{}"<>\\^`|#?]/.test(input) && input.length <= MOST_PATH ? input : undefined,
  same,
);

/** Where a store is that speaks the protocol of Redis. Names are never looked up. */
export interface StoreUrl {
  readonly at: { readonly address: string; readonly port: number } | { readonly path: string };
  readonly database: number;
}

const REDIS_PORT = 6379;

/** The URL of a store. */
export const storeUrl = text<StoreUrl>(
  'the URL of a store such as redis://127.0.0.1:6379/0 or unix:///run/redis/redis.sock, with an IP address and without a password',
  input => {
    const [, path] = /^unix:\/\/(\/[^?#]+)$/.exec(input) ?? [];
    if (path !== undefined) return { at: { path }, database: 0 };
    const [, place = '', database = '0'] = /^redis:\/\/([^/?#@]+)(?:\/(\d{1,5})?)?$/.exec(input) ?? [];
    const parsed = parseAddressPort(place);
    if (parsed === undefined) return undefined;
    return { at: { address: parsed.address, port: parsed.port ?? REDIS_PORT }, database: Number(database) };
  },
  ({ at, database }) =>
    'path' in at
      ? `unix://${at.path}`
      : `redis://${isIPv4(at.address) ? at.address : `[${at.address}]`}:${at.port}/${database}`,
);

/** A name of a list or of a group of clients. */
export const label = text(
  'a word of letters, digits, - and _ such as kids',
  input => (/^[a-z0-9][a-z0-9_-]{0,31}$/i.test(input) ? input : undefined),
  same,
);

/** The hardware address of a device: lower case, with colons. */
export const hardwareAddress = text(
  'six octets such as aa:bb:cc:dd:ee:ff',
  input => {
    const address = input.toLowerCase().replaceAll('-', ':');
    return /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(address) ? address : undefined;
  },
  same,
);

/** The source of a list. */
export type ListSource =
  { readonly at: 'file'; readonly path: string } | { readonly at: 'https'; readonly url: string };

/** A file, or a URL of HTTPS: over HTTP, anybody on the way could decide which names there are. */
export const listSource = text<ListSource>(
  'an absolute path such as /etc/dotstub/ads.txt, or a URL such as https://lists.example/ads.txt',
  input => {
    if (input.startsWith('/')) return { at: 'file', path: input };
    if (input.length > MOST_URL_CHARACTERS || !URL.canParse(input)) return undefined;
    const { protocol, username, password, hostname, href } = new URL(input);
    const isHost = isIP(hostname.replace(/^\[(.*)\]$/, '$1')) !== 0 || hostName.read(hostname).ok;
    return protocol === 'https:' && username + password === '' && isHost ? { at: 'https', url: href } : undefined;
  },
  source => (source.at === 'file' ? source.path : source.url),
);

/** Times of the week. */
export const schedule = text<Schedule>(
  'times of the week such as "mon-fri 20:00-07:00" or "06:30-22:00"',
  parseSchedule,
  scheduleText,
);

/** SHA-256 of a SubjectPublicKeyInfo (RFC 7858 §4.2, in the notation of RFC 7469). The value is the base64 alone. */
export const pin = text(
  'a pin such as sha256/ and 44 characters of base64',
  input => {
    const base64 = /^sha256\/([A-Za-z0-9+/]{43}=)$/.exec(input)?.[1];
    return base64;
  },
  value => `sha256/${value}`,
);

/** A short text that is sent as it is, printable ASCII. */
export const identity = text(
  'a text such as resolver-1, 1 to 64 printable ASCII characters',
  input => (/^[\x20-\x7e]{1,64}$/.test(input) ? input : undefined),
  same,
);

const MOST_RECORD_CHARACTERS = 4096;

/** A record in presentation form. The plan reads it. */
export const recordText = text(
  'a record such as "nas.home.arpa. 300 A 192.168.1.10"',
  input => (/^\S+\s+\S/.test(input) && input.length <= MOST_RECORD_CHARACTERS ? input : undefined),
  same,
);

const DS = /^(\S+)\s+(?:\d+\s+)?(?:IN\s+)?(?:DS\s+)?(\d{1,5})\s+(\d{1,3})\s+([124])\s+([0-9A-Fa-f][0-9A-Fa-f\s]*)$/i;
const DNSKEY = /^(\S+)\s+(?:\d+\s+)?(?:IN\s+)?DNSKEY\s+(\d{1,5})\s+3\s+(\d{1,3})\s+([A-Za-z0-9+/=\s]+)$/i;
/** Hex digits of a DS digest, by digest type. */
const DIGEST_HEX: Readonly<Record<string, number>> = { 1: 40, 2: 64, 4: 96 };

/** A DS or DNSKEY record in presentation form; TTL and class are optional (RFC 4034 §2.2, §5.3). */
export const trustAnchor = text(
  'a DS or DNSKEY record such as ". DS 20326 8 2 " and 64 hex digits',
  input => {
    const [owner = ''] = input.split(/\s/);
    if (owner !== '.' && !domainName.read(owner).ok) return undefined;
    if (DNSKEY.test(input)) return input;
    const ds = DS.exec(input);
    return ds?.[4] !== undefined && ds[5]?.replace(/\s/g, '').length === DIGEST_HEX[ds[4]] ? input : undefined;
  },
  same,
);
