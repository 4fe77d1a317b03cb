// Service parameters (RFC 9460 §2.2, RFC 9461 §5): how a resolver is reached. They come in SVCB records (RFC 9462) and
// in DHCP options (RFC 9463).

import { addressOctets, addressText } from '../base/address.js';
import { putU16 } from '../base/octets.js';

/** The parameters that are supported here. */
export interface ServiceParameters {
  /** ALPN ids: `dot`, `h2` and others. */
  readonly alpn: readonly string[];
  /** Undefined: the default port of the protocol. */
  readonly port: number | undefined;
  /** The addresses of ipv4hint and ipv6hint. */
  readonly hints: readonly string[];
  /** The URI template for DNS over HTTPS. */
  readonly dohpath: string | undefined;
}

const KEY = { MANDATORY: 0, ALPN: 1, NO_DEFAULT_ALPN: 2, PORT: 3, IPV4HINT: 4, IPV6HINT: 6, DOHPATH: 7 } as const;
const UNDERSTOOD: ReadonlySet<number> = new Set(Object.values(KEY));
/** The most addresses of a family and ALPN ids that are read. */
export const MOST_HINTS = 4;
const MOST_ALPN = 16;

/** The mandatory keys of a value. */
function* keysIn(octets: Buffer, start: number, end: number): Iterable<number> {
  for (let at = start; at + 2 <= end; at += 2) yield octets.readUInt16BE(at);
}

/**
 * Reads the parameters that fill the octets from `start` to `end`.
 * @returns undefined: malformed, or a mandatory key is not supported here, so that they must not be used (RFC 9460 §8)
 */
export function readServiceParameters(octets: Buffer, start: number, end: number): ServiceParameters | undefined {
  let alpn: readonly string[] = [];
  let port: number | undefined;
  let dohpath: string | undefined;
  const hints: string[] = [];
  for (let at = start; at < end;) {
    if (at + 4 > end) return undefined;
    const key = octets.readUInt16BE(at);
    const value = at + 4;
    const bytes = octets.readUInt16BE(at + 2);
    at = value + bytes;
    if (at > end) return undefined;
    switch (key) {
      case KEY.ALPN:
        alpn = alpnIds(octets, value, at);
        break;
      case KEY.PORT:
        if (bytes !== 2 || octets.readUInt16BE(value) === 0) return undefined;
        port = octets.readUInt16BE(value);
        break;
      case KEY.IPV4HINT:
        for (let i = value; i + 4 <= at && hints.length < MOST_HINTS; i += 4) hints.push(addressText(octets, i, 4));
        break;
      case KEY.IPV6HINT:
        for (let i = value; i + 16 <= at && hints.length < MOST_HINTS; i += 16) hints.push(addressText(octets, i, 16));
        break;
      case KEY.DOHPATH:
        dohpath = octets.toString('utf8', value, at);
        break;
      case KEY.MANDATORY:
        for (const each of keysIn(octets, value, at)) if (!UNDERSTOOD.has(each)) return undefined;
        break;
    }
  }
  return { alpn, port, hints, dohpath };
}

/** The ids in an `alpn` value, each after a length octet. An id that does not fit is left out. */
function alpnIds(octets: Buffer, start: number, end: number): readonly string[] {
  const ids: string[] = [];
  for (let at = start; at < end && ids.length < MOST_ALPN;) {
    const next = at + 1 + octets.readUInt8(at);
    if (next > end) break;
    ids.push(octets.toString('latin1', at + 1, next));
    at = next;
  }
  return ids;
}

/** Writes parameters, their keys in ascending order (RFC 9460 §2.2). Hints are written in their order. */
export function writeServiceParameters({ alpn, port, hints, dohpath }: ServiceParameters): Buffer {
  const addresses = hints.flatMap(each => addressOctets(each) ?? []);
  const ofFamily = (bytes: number): Buffer => Buffer.concat(addresses.filter(({ length }) => length === bytes));
  return Buffer.concat([
    parameter(KEY.ALPN, Buffer.concat(alpn.map(id => Buffer.concat([Buffer.from([id.length]), Buffer.from(id)])))),
    ...(port === undefined ? [] : [parameter(KEY.PORT, Buffer.from([port >> 8, port & 255]))]),
    parameter(KEY.IPV4HINT, ofFamily(4)),
    parameter(KEY.IPV6HINT, ofFamily(16)),
    ...(dohpath === undefined ? [] : [parameter(KEY.DOHPATH, Buffer.from(dohpath))]),
  ]);
}

/** One parameter; nothing if its value is empty. */
function parameter(key: number, value: Buffer): Buffer {
  if (value.length === 0) return value;
  const head = Buffer.alloc(4);
  putU16(head, 0, key);
  putU16(head, 2, value.length);
  return Buffer.concat([head, value]);
}
