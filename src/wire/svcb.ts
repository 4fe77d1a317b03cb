// SVCB and HTTPS RDATA (RFC 9460), which dns-packet does not support. Used for display, and for designated resolvers
// (RFC 9461, RFC 9462).

import { putU16 } from '../base/octets.js';
import { characterStrings, quoted, unquoted } from './character-string.js';
import { nameToText, readName } from './name.js';

/** Service parameter keys (RFC 9460 §14.3, RFC 9461 §5 for dohpath). */
const KEYS: readonly string[] = [
  'mandatory',
  'alpn',
  'no-default-alpn',
  'port',
  'ipv4hint',
  'ech',
  'ipv6hint',
  'dohpath',
  'ohttp',
];
const keyToText = (key: number): string => KEYS[key] ?? `key${key}`;

/** SVCB RDATA (RFC 9460 §2.2). @param target wire form @param parameters as they are written (wire/service-parameters) */
export function svcbRdata(priority: number, target: Buffer, parameters: Buffer): Buffer {
  const head = Buffer.alloc(2);
  putU16(head, 0, priority);
  return Buffer.concat([head, target, parameters]);
}

/** SVCB RDATA in presentation form (RFC 9460 §2.1), or undefined if it is malformed. */
export function svcbToText(message: Buffer, start: number, end: number): string | undefined {
  if (start + 3 > end) return undefined;
  const target = readName(message, start + 2);
  if (target === undefined || target.end > end) return undefined;
  const words = [String(message.readUInt16BE(start)), nameToText(target.name)];
  for (let at = target.end; at < end;) {
    if (at + 4 > end) return undefined;
    const key = message.readUInt16BE(at);
    const valueEnd = at + 4 + message.readUInt16BE(at + 2);
    if (valueEnd > end) return undefined;
    const value = valueToText(key, message.subarray(at + 4, valueEnd));
    words.push(value === '' ? keyToText(key) : `${keyToText(key)}=${value}`);
    at = valueEnd;
  }
  return words.join(' ');
}

function valueToText(key: number, value: Buffer): string {
  switch (keyToText(key)) {
    case 'mandatory':
      return groups(value, 2)
        .map(octets => keyToText(octets.readUInt16BE(0)))
        .join(',');
    case 'alpn':
      // RFC 9460 §A.1: in a list, commas and backslashes are escaped.
      return (characterStrings(value, 0, value.length) ?? []).map(id => unquoted(id, ',\\"')).join(',');
    case 'port':
      return value.length === 2 ? String(value.readUInt16BE(0)) : quoted(value);
    case 'ipv4hint':
      return groups(value, 4)
        .map(octets => [...octets].join('.'))
        .join(',');
    case 'ipv6hint':
      return groups(value, 16)
        .map(octets =>
          groups(octets, 2)
            .map(pair => pair.readUInt16BE(0).toString(16))
            .join(':'),
        )
        .join(',');
    case 'ech':
      return value.toString('base64');
    default:
      return value.length === 0 ? '' : quoted(value);
  }
}

function groups(value: Buffer, size: number): Buffer[] {
  return Array.from({ length: Math.floor(value.length / size) }, (_, i) => value.subarray(i * size, (i + 1) * size));
}
