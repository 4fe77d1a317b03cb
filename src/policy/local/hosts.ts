// Reads hosts files (hosts(5)): lines of an address, its name, and more names; `#` starts a comment.

import { addressOctets } from '../../base/address.js';
import type { NameText } from '../special-names.js';
import { hostNameFrom } from './host-name.js';
import { type LineProblem, linesOf, problem, tooLong } from './lines.js';

/** An address with its names. */
export interface HostEntry {
  readonly at: 'host';
  /** 4 or 16 octets. */
  readonly address: Buffer;
  /** The first one is the name of the address; the others are aliases. */
  readonly names: readonly NameText[];
}

/** Reads the file. Each line yields at least once; undefined: it says nothing. */
export function* readHosts(octets: Buffer): Generator<HostEntry | LineProblem | undefined, void> {
  for (const { number, text } of linesOf(octets)) yield* text === undefined ? [tooLong(number)] : lineOf(number, text);
}

function lineOf(line: number, text: string): readonly (HostEntry | LineProblem | undefined)[] {
  const [first = '', ...words] = text.replace(/#.*/s, '').trim().split(/\s+/);
  if (first === '') return [undefined];
  const address = addressOctets(first);
  if (address === undefined)
    return [problem(line, `${JSON.stringify(first)} is not an address; expected: an IP address and its names`)];
  // An address on one link only, such as fe80::1%lo0 on macOS: no record can say on which.
  if (first.includes('%')) return [undefined];
  if (words.length === 0) return [problem(line, `${first} has no name; expected: an IP address and its names`)];
  const names = words.map(each => hostNameFrom(each)).filter(each => each !== undefined);
  const wrong = words.find(each => hostNameFrom(each) === undefined);
  return [
    ...(names.length === 0 ? [] : [{ at: 'host', address, names } as const]),
    ...(wrong === undefined
      ? []
      : [problem(line, `${JSON.stringify(wrong)} is not a host name; expected: letters, digits, hyphens and dots`)]),
  ];
}
