// Names as validation handles them: strings of the wire form without compression, letters in lower case, one
// character per octet. Strings can be compared, and be keys of a Map.
//
//   ancestor            a name that another one ends with, label by label
//   closest encloser    the longest existing ancestor of a name (RFC 4592 §3.3.1)
//   next closer name    one label longer than the closest encloser (RFC 5155 §1.3)

import { HEADER_BYTES } from '../wire/header.js';
import { MAX_NAME_BYTES, MAX_POINTERS, nameToText } from '../wire/name.js';

/** E.g. `\x03www\x07example\x00`. */
export type Name = string;

/** The root. */
export const ROOT_NAME: Name = '\0';

const POINTER_BITS = 0xc0;
const scratch = Buffer.alloc(MAX_NAME_BYTES + 1);

/**
 * Reads the name at `at` in a message, in canonical form (RFC 4034 §6.2).
 * @returns the name and the offset behind it; undefined if it is malformed or goes on beyond `limit`
 */
export function readCanonical(
  message: Buffer,
  at: number,
  limit = message.length,
): { readonly name: Name; readonly end: number } | undefined {
  let position = at;
  let pieceStart = at;
  let length = 0;
  let end = -1;
  let pointers = 0;
  for (;;) {
    const octet = message[position];
    if (octet === undefined) return undefined;
    if (octet >= POINTER_BITS) {
      if (end === -1) end = position + 2;
      position = ((octet & 0x3f) << 8) | (message[position + 1] ?? 0);
      // As in wire/name: pointers lead strictly backwards, so this ends.
      if (position >= pieceStart || position < HEADER_BYTES || ++pointers > MAX_POINTERS) return undefined;
      pieceStart = position;
      continue;
    }
    const labelEnd = position + octet + 1;
    if (octet > 63 || length + octet + 1 > MAX_NAME_BYTES || labelEnd > message.length) return undefined;
    while (position < labelEnd) {
      const each = message[position++] ?? 0;
      scratch[length++] = each >= 0x41 && each <= 0x5a ? each | 0x20 : each;
    }
    if (octet === 0) break;
  }
  if (end === -1) end = position;
  return end > limit ? undefined : { name: scratch.toString('latin1', 0, length), end };
}

/** A name from its wire form. */
export const nameOf = (wire: Buffer): Name => readCanonical(wire, 0)?.name ?? ROOT_NAME;

/** The wire form. */
export const octetsOf = (name: Name): Buffer => Buffer.from(name, 'latin1');

/** Presentation form. */
export const nameText = (name: Name): string => nameToText(octetsOf(name));

/** Labels, the root's not counted. */
export function labelCount(name: Name): number {
  let count = 0;
  for (let at = 0; name.charCodeAt(at) > 0; at += name.charCodeAt(at) + 1) count++;
  return count;
}

/** The name without its first label; the root's is the root. */
export const parentOf = (name: Name): Name => (name.length > 1 ? name.slice(name.charCodeAt(0) + 1) : name);

/** The ancestor with this many labels; the name itself if it does not have more. */
export function ancestorOf(name: Name, labels: number): Name {
  let at = 0;
  for (let surplus = labelCount(name) - labels; surplus > 0; surplus--) at += name.charCodeAt(at) + 1;
  return at === 0 ? name : name.slice(at);
}

/** Whether a name is `zone` or below it. */
export function isWithin(name: Name, zone: Name): boolean {
  if (!name.endsWith(zone)) return false;
  const start = name.length - zone.length;
  let at = 0;
  while (at < start) at += name.charCodeAt(at) + 1;
  return at === start;
}

/** `*.` before a name. */
export const wildcardOf = (name: Name): Name => `\x01*${name}`;

/** Whether the first label is `*`. */
export const hasWildcardLabel = (name: Name): boolean => name.startsWith('\x01*');

function labelsOf(name: Name): string[] {
  const labels: string[] = [];
  for (let at = 0, length = name.charCodeAt(0); length > 0; at += length + 1, length = name.charCodeAt(at)) {
    labels.push(name.slice(at + 1, at + 1 + length));
  }
  return labels;
}

/** Canonical order (RFC 4034 §6.1): by labels from the root on, each as octets. Negative: `a` sorts before `b`. */
export function compareNames(a: Name, b: Name): number {
  if (a === b) return 0;
  const left = labelsOf(a);
  const right = labelsOf(b);
  for (let i = 1; i <= left.length && i <= right.length; i++) {
    const x = left[left.length - i] ?? '';
    const y = right[right.length - i] ?? '';
    if (x !== y) return x < y ? -1 : 1;
  }
  return left.length - right.length;
}

/** How many labels two names have in common, from the root on. */
export function commonLabels(a: Name, b: Name): number {
  const left = labelsOf(a);
  const right = labelsOf(b);
  let common = 0;
  while (
    common < left.length &&
    common < right.length &&
    left[left.length - 1 - common] === right[right.length - 1 - common]
  )
    common++;
  return common;
}
