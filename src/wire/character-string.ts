// Octets of RDATA in presentation form (RFC 1035 §5.1): what is not printable ASCII becomes `\DDD`.

import { decimalEscapes } from '../base/visible.js';

/** A <character-string> in quotes. */
export const quoted = (octets: Buffer): string => `"${escapedOctets(octets, '"\\', 0x20)}"`;

/** Octets without quotes. @param special characters that get a backslash */
export const unquoted = (octets: Buffer, special: string): string => escapedOctets(octets, special, 0x21);

function escapedOctets(octets: Buffer, special: string, first: number): string {
  let text = '';
  for (const octet of octets) {
    const character = String.fromCharCode(octet);
    if (octet < first || octet > 0x7e) text += decimalEscapes([octet]);
    else text += special.includes(character) ? `\\${character}` : character;
  }
  return text;
}

/** The <character-string>s that fill the octets from `start` to `end`; undefined: they do not. */
export function characterStrings(octets: Buffer, start: number, end: number): Buffer[] | undefined {
  const strings: Buffer[] = [];
  for (let at = start; at < end;) {
    const next = at + 1 + octets.readUInt8(at);
    if (next > end) return undefined;
    strings.push(octets.subarray(at + 1, next));
    at = next;
  }
  return strings;
}
