// Reads records in presentation form (RFC 1035 §5.1) from the configuration: `nas.home.arpa. 300 A 192.168.1.10`.

import { addressOctets } from '../../base/address.js';
import { putU16 } from '../../base/octets.js';
import type { RecordData } from '../../wire/compose.js';
import { lowerCased, nameFromText } from '../../wire/name.js';
import { TYPE, typeFromText, typeToText } from '../../wire/rrtype.js';

/** The TTL of a record that does not have one, seconds. */
export const RECORD_TTL_SEC = 300;
const MOST_TTL_SEC = 0x7fffffff;
const MOST_STRING = 255;
const MOST_RDATA = 4096;

/** A record, or what is wrong with it and what was expected. */
export type RecordRead =
  { readonly at: 'record'; readonly record: RecordData } | { readonly at: 'problem'; readonly words: string };

const bad = (words: string): RecordRead => ({ at: 'problem', words });

const FORM = 'expected: name, TTL, type and data, such as "nas.home.arpa. 300 A 192.168.1.10"';

/** Reads one. TTL and class IN may be missing. */
export function recordFrom(text: string): RecordRead {
  const words = text.match(/"(?:[^"\\]|\\.)*"|[^\s"]+/g) ?? [];
  const owner = nameFromText(words[0] ?? '');
  if (owner === undefined) return bad(`${JSON.stringify(words[0] ?? '')} is not a domain name; ${FORM}`);
  let at = 1;
  let ttlSec = RECORD_TTL_SEC;
  const ttl = words[at] ?? '';
  if (/^\d{1,10}$/.test(ttl)) {
    ttlSec = Number(ttl);
    at++;
  }
  if (ttlSec > MOST_TTL_SEC) return bad(`the TTL ${ttl} is too large; allowed: at most ${MOST_TTL_SEC}`);
  if (words[at]?.toUpperCase() === 'IN') at++;
  const typeText = words[at++] ?? '';
  const type = typeFromText(typeText);
  if (type === undefined) return bad(`${JSON.stringify(typeText)} is not a record type; ${FORM}`);
  const data = words.slice(at);
  const rdata = data[0] === '\\#' ? opaque(data.slice(1)) : FORMS.get(type)?.read(data);
  if (rdata === undefined || rdata.length > MOST_RDATA) return bad(dataProblem(type, data));
  return { at: 'record', record: { owner: lowerCased(owner), type, ttlSec, rdata } };
}

function dataProblem(type: number, data: readonly string[]): string {
  const form = FORMS.get(type);
  const given = data.join(' ');
  return form === undefined
    ? `data of type ${typeToText(type)} can only be given as octets (RFC 3597 §5): "\\# LENGTH HEX"`
    : `${JSON.stringify(given)} is not data of type ${typeToText(type)}; expected: ${form.expected}`;
}

type ReadData = (data: readonly string[]) => Buffer | undefined;

const only = (data: readonly string[], count: number): boolean => data.length === count;

const address =
  (bytes: number): ReadData =>
  data => {
    const octets = only(data, 1) && data[0]?.includes('%') === false ? addressOctets(data[0]) : undefined;
    return octets?.length === bytes ? octets : undefined;
  };

const name: ReadData = data => (only(data, 1) ? nameFromText(data[0] ?? '') : undefined);

/** Numbers of 16 bits, then a name. */
const numbersAndName =
  (count: number): ReadData =>
  data => {
    const target = only(data, count + 1) ? nameFromText(data[count] ?? '') : undefined;
    const values = data.slice(0, count);
    if (target === undefined || !values.every(each => /^\d{1,5}$/.test(each) && Number(each) <= 0xffff))
      return undefined;
    const head = Buffer.alloc(2 * count);
    values.forEach((each, i) => putU16(head, 2 * i, Number(each)));
    return Buffer.concat([head, target]);
  };

/** The octets of a <character-string> in text, with or without quotes; undefined: an escape is broken. */
function stringOctets(text: string): Buffer | undefined {
  const inner = text.startsWith('"') ? text.slice(1, -1) : text;
  const octets: number[] = [];
  for (const [, decimal, escaped, plain] of inner.matchAll(/\\(\d{3})|\\(.)|([^\\])/gsu)) {
    if (decimal !== undefined && Number(decimal) > 255) return undefined;
    if (decimal !== undefined) octets.push(Number(decimal));
    else octets.push(...Buffer.from(escaped ?? plain ?? ''));
  }
  return Buffer.from(octets);
}

const strings: ReadData = data => {
  const parts = data.map(stringOctets);
  if (parts.length === 0 || !parts.every(each => each !== undefined && each.length <= MOST_STRING)) return undefined;
  return Buffer.concat(parts.flatMap(each => (each === undefined ? [] : [Buffer.from([each.length]), each])));
};

const authorization: ReadData = data => {
  const [flags = '', tag = '', value = ''] = data;
  const octets = stringOctets(value);
  if (!only(data, 3) || !/^\d{1,3}$/.test(flags) || Number(flags) > 255 || !/^[a-z0-9]{1,15}$/i.test(tag))
    return undefined;
  return octets && Buffer.concat([Buffer.from([Number(flags), tag.length]), Buffer.from(tag, 'latin1'), octets]);
};

/** RFC 3597 §5. */
function opaque([length = '', ...hex]: readonly string[]): Buffer | undefined {
  const digits = hex.join('');
  if (!/^\d{1,5}$/.test(length) || !/^([0-9a-f]{2})*$/i.test(digits)) return undefined;
  const octets = Buffer.from(digits, 'hex');
  return octets.length === Number(length) ? octets : undefined;
}

const NAME = { expected: 'a domain name', read: name };

const FORMS: ReadonlyMap<number, { readonly expected: string; readonly read: ReadData }> = new Map([
  [TYPE.A, { expected: 'an IPv4 address', read: address(4) }],
  [TYPE.AAAA, { expected: 'an IPv6 address', read: address(16) }],
  [TYPE.CNAME, NAME],
  [TYPE.NS, NAME],
  [TYPE.PTR, NAME],
  [TYPE.MX, { expected: 'a preference and a domain name', read: numbersAndName(1) }],
  [TYPE.SRV, { expected: 'priority, weight, port and a domain name', read: numbersAndName(3) }],
  [TYPE.TXT, { expected: 'strings of at most 255 octets', read: strings }],
  [TYPE.CAA, { expected: 'flags, a tag and a value', read: authorization }],
]);
