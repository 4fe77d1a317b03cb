// The text of a source: lines of octets, and domain names in them. Nothing is decoded, because a list may have millions of lines.

import { MAX_LABEL_BYTES, MAX_NAME_BYTES } from '../../wire/name.js';

/** The longest line. A name has at most 255 octets, and some rules name several. */
const MOST_LINE_BYTES = 8192;
const NEWLINE = 0x0a;
const NOTHING = Buffer.alloc(0);

/** Takes a line: octets [start, end), without its newline, which are borrowed. `line` counts from 1. */
export type TakeLine = (octets: Buffer, start: number, end: number, line: number) => void;

/** Cuts chunks into lines. */
export class Lines {
  /** Lines so far. */
  count = 0;
  /** What a line begins with whose end has not come yet, */
  private rest: Buffer = NOTHING;
  /** or the line is too long, and is skipped to its end. */
  private skipping = false;

  /**
   * @param take called with each line
   * @param tooLong called with the number of a line that is too long
   */
  constructor(
    private readonly take: TakeLine,
    private readonly tooLong: (line: number) => void,
  ) {}

  /** Takes a chunk, which is not used after that. */
  push(chunk: Buffer): void {
    let start = 0;
    for (;;) {
      const end = chunk.indexOf(NEWLINE, start);
      if (end === -1) return this.keep(chunk, start);
      this.line(chunk, start, end);
      start = end + 1;
    }
  }

  /** Takes what stands after the last newline. */
  end(): void {
    if (this.rest.length > 0 || this.skipping) this.line(NOTHING, 0, 0);
  }

  private keep(chunk: Buffer, start: number): void {
    if (this.skipping || start === chunk.length) return;
    if (this.rest.length + chunk.length - start > MOST_LINE_BYTES) {
      this.skipping = true;
      this.rest = NOTHING;
    } else this.rest = Buffer.concat([this.rest, chunk.subarray(start)]);
  }

  private line(chunk: Buffer, start: number, end: number): void {
    const { rest, skipping } = this;
    this.count++;
    this.rest = NOTHING;
    this.skipping = false;
    if (skipping || rest.length + end - start > MOST_LINE_BYTES) return this.tooLong(this.count);
    if (rest.length === 0) return this.take(chunk, start, end, this.count);
    const whole = Buffer.concat([rest, chunk.subarray(start, end)]);
    this.take(whole, 0, whole.length, this.count);
  }
}

const DOT = 0x2e;
const HYPHEN = 0x2d;
const UNDERSCORE = 0x5f;

/**
 * Reads a name of letters, digits, hyphens and underscores at [start, end), which may end with a dot. A name whose last label is a
 * number is an address, or a part of one.
 * @param out gets the name in wire form in lower case
 * @returns octets of that; 0: this is no such name
 */
export function readTextName(octets: Uint8Array, start: number, end: number, out: Uint8Array): number {
  const last = end > start && octets[end - 1] === DOT ? end - 1 : end;
  // A length octet for each dot and for the first label, and the root's.
  if (last === start || last - start + 2 > MAX_NAME_BYTES) return 0;
  let labelAt = 0;
  let to = 1;
  let isNumber = true;
  for (let at = start; at < last; at++) {
    let octet = octets[at] ?? 0;
    if (octet === DOT) {
      if (to === labelAt + 1 || to - labelAt - 1 > MAX_LABEL_BYTES) return 0;
      out[labelAt] = to - labelAt - 1;
      labelAt = to++;
      isNumber = true;
      continue;
    }
    if (octet >= 0x41 && octet <= 0x5a) octet |= 0x20;
    if (octet >= 0x30 && octet <= 0x39) out[to++] = octet;
    else if ((octet >= 0x61 && octet <= 0x7a) || octet === HYPHEN || octet === UNDERSCORE) {
      out[to++] = octet;
      isNumber = false;
    } else return 0;
  }
  if (to === labelAt + 1 || to - labelAt - 1 > MAX_LABEL_BYTES || isNumber) return 0;
  out[labelAt] = to - labelAt - 1;
  out[to++] = 0;
  return to;
}
