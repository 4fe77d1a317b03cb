// Domain names as they stand on the wire (RFC 1035 §3.1, §4.1.4).
//
//   wire name   length octet and label, repeated, ended by the root's zero octet; at most 255 octets
//   pointer     two octets starting with bits 11: "go on reading at that earlier offset" (compression)
//
// A name from the network may have wrong lengths, and may point at itself. Each function here checks bounds before it
// reads, and follows only pointers that go strictly backwards, so it ends after at most 255 octets.

import { decimalEscapes } from '../base/visible.js';
import { HEADER_BYTES } from './header.js';

/** An uncompressed name with its original letter case. */
export type WireName = Buffer;

/** Octets of the longest name (RFC 1035 §2.3.4). */
export const MAX_NAME_BYTES = 255;
/** Octets of the longest label (RFC 1035 §2.3.4). */
export const MAX_LABEL_BYTES = 63;
const POINTER_BITS = 0xc0;
// The most pointers in one name: as many as it can have labels. With thousands of pointers to pointers, each name of a
// message would cost as much as the whole message.
export const MAX_POINTERS = 127;

/** The name of the root: one zero octet. */
export const ROOT: WireName = Buffer.from([0]);

/**
 * Checks the name at `at` in `message`, pointers included.
 * @returns the offset just behind the name in the message, or -1 if it is malformed
 */
export function skipName(message: Buffer, at: number): number {
  let end = -1;
  let length = 0;
  let pointers = 0;
  let position = at;
  // A pointer must lead to an offset before the piece that it is in, so that every jump gets nearer to offset 0.
  let pieceStart = at;
  for (;;) {
    const octet = message[position];
    if (octet === undefined) return -1;
    if (octet === 0) return end === -1 ? position + 1 : end;
    if (octet >= POINTER_BITS) {
      const low = message[position + 1];
      if (low === undefined) return -1;
      if (end === -1) end = position + 2;
      position = ((octet & 0x3f) << 8) | low;
      // No name begins in the header, whose octets are written anew for each reply.
      if (position >= pieceStart || position < HEADER_BYTES || ++pointers > MAX_POINTERS) return -1;
      pieceStart = position;
      continue;
    }
    // 0x40 and 0x80 once marked experimental label types (RFC 6891 §5), which must not be used.
    if (octet > MAX_LABEL_BYTES) return -1;
    length += octet + 1;
    // A name that is too long is not read to its end.
    if (length >= MAX_NAME_BYTES) return -1;
    position += octet + 1;
  }
}

/**
 * Reads and decompresses the name at `at`.
 * @returns the name in octets of its own and the offset behind it, or undefined if it is malformed
 */
export function readName(message: Buffer, at: number): { name: WireName; end: number } | undefined {
  const end = skipName(message, at);
  if (end === -1) return undefined;
  const name = Buffer.allocUnsafe(MAX_NAME_BYTES);
  let length = 0;
  let position = at;
  for (;;) {
    const octet = message.readUInt8(position);
    if (octet >= POINTER_BITS) {
      position = ((octet & 0x3f) << 8) | message.readUInt8(position + 1);
      continue;
    }
    length += message.copy(name, length, position, position + octet + 1);
    if (octet === 0) return { name: Buffer.from(name.subarray(0, length)), end };
    position += octet + 1;
  }
}

/** A copy with ASCII letters in lower case (RFC 4343 §3). Length octets are at most 63 and so never letters. */
export const lowerCased = (name: Buffer): Buffer => lowerCasedStart(name, name.length);

/** The same of the first `bytes` octets. */
export function lowerCasedStart(name: Buffer, bytes: number): Buffer {
  const copy = Buffer.allocUnsafe(bytes);
  for (let i = 0; i < bytes; i++) {
    const octet = name[i] ?? 0;
    copy[i] = octet >= 0x41 && octet <= 0x5a ? octet | 0x20 : octet;
  }
  return copy;
}

/**
 * Whether `bytes` octets of a name at `at` in a message equal those at the start of `name`, letter case ignored (RFC
 * 4343).
 */
export function sameIgnoringCase(message: Buffer, at: number, name: Buffer, bytes: number): boolean {
  for (let i = 0; i < bytes; i++) {
    const x = message[at + i] ?? 0;
    const y = name[i] ?? 0;
    if (x === y) continue;
    const lower = x | 0x20;
    if (lower !== (y | 0x20) || lower < 0x61 || lower > 0x7a) return false;
  }
  return true;
}

/** Whether a name is another one or below it; both in lower case. The shared octets must start where a label starts. */
export function isAtOrBelow(name: Buffer, ancestor: Buffer): boolean {
  const offset = name.length - ancestor.length;
  if (offset < 0) return false;
  // From behind, where names differ first; in place of Buffer.compare, whose call costs more than a name has octets.
  for (let i = ancestor.length - 1; i >= 0; i--) if (name[offset + i] !== ancestor[i]) return false;
  let at = 0;
  while (at < offset) at += (name[at] ?? 0) + 1;
  return at === offset;
}

/** The same of a name that is text: one character per octet, as in keys (wire/query). */
export function isTextAtOrBelow(name: string, ancestor: Buffer): boolean {
  const offset = name.length - ancestor.length;
  if (offset < 0) return false;
  for (let i = ancestor.length - 1; i >= 0; i--) if (name.charCodeAt(offset + i) !== ancestor[i]) return false;
  let at = 0;
  while (at < offset) at += name.charCodeAt(at) + 1;
  return at === offset;
}

/**
 * Of the items whose zone is a name or above it, the one with the longest zone; undefined: none.
 * @param isWithin whether a name is a zone or below it, for names of this form
 */
export function closest<N extends { readonly length: number }, T>(
  name: N,
  items: readonly T[],
  zoneOf: (item: T) => N,
  isWithin: (name: N, zone: N) => boolean,
): T | undefined {
  let found: T | undefined;
  let length = 0;
  for (const item of items) {
    const zone = zoneOf(item);
    if (zone.length <= length || !isWithin(name, zone)) continue;
    found = item;
    length = zone.length;
  }
  return found;
}

/** Presentation form (RFC 1035 §5.1): `www.example.`, with `\.` `\\` and `\DDD` where needed. */
export function nameToText(name: WireName): string {
  let text = '';
  let position = 0;
  for (let length = name[position] ?? 0; length > 0; length = name[position] ?? 0) {
    for (const octet of name.subarray(position + 1, position + 1 + length)) {
      if ('.\\"();@$'.includes(String.fromCharCode(octet))) text += `\\${String.fromCharCode(octet)}`;
      else if (octet > 0x20 && octet < 0x7f) text += String.fromCharCode(octet);
      else text += decimalEscapes([octet]);
    }
    text += '.';
    position += length + 1;
  }
  return text === '' ? '.' : text;
}

/**
 * Parses presentation form; a final dot may be missing. ASCII only: an internationalised name must already be
 * in its A-label form (RFC 5890).
 * @returns undefined for an empty or too long label or name, or a broken escape
 */
export function nameFromText(text: string): WireName | undefined {
  if (text === '.') return ROOT;
  const octets: number[] = [];
  let label: number[] = [];
  const endLabel = (): boolean => {
    if (label.length === 0 || label.length > MAX_LABEL_BYTES) return false;
    octets.push(label.length, ...label);
    label = [];
    return true;
  };
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0x7e || code < 0x21) return undefined;
    if (text[i] === '.') {
      if (!endLabel()) return undefined;
    } else if (text[i] === '\\') {
      const digits = /^\d{3}/.exec(text.slice(i + 1))?.[0];
      const octet = digits === undefined ? text.charCodeAt(i + 1) : Number(digits);
      if (Number.isNaN(octet) || octet > 255) return undefined;
      label.push(octet);
      i += digits === undefined ? 1 : 3;
    } else {
      label.push(code);
    }
  }
  if (label.length > 0 && !endLabel()) return undefined;
  if (octets.length === 0 || octets.length + 1 > MAX_NAME_BYTES) return undefined;
  return Buffer.from([...octets, 0]);
}
