// Hashes of a name and of all names above it, in one pass from the root down: 64 bits each, in two words. They are keyed, so that
// nobody can choose names that collide.

import type { Trigger } from './rule.js';

/** The key: two words of chance. */
export interface HashKey {
  readonly first: number;
  readonly second: number;
}

const FIRST_FACTOR = 0x9e3779b1 | 0;
const SECOND_FACTOR = 0x85ebca77 | 0;
/** A name has at most 127 labels, and the root above them. */
const MOST_LABELS = 128;

/** Hashes by depth: the root has depth 0. Valid until the next `read`. */
export class NameHash {
  readonly first = new Int32Array(MOST_LABELS);
  readonly second = new Int32Array(MOST_LABELS);
  /** Labels of the name that was read last. */
  depth = 0;
  private readonly starts = new Uint8Array(MOST_LABELS);

  constructor(private readonly key: HashKey) {}

  /** Hashes a name in wire form in lower case, and all names above it. */
  read(trigger: Trigger, name: Uint8Array): void {
    const { starts, first, second } = this;
    let labels = 0;
    for (let at = 0, length = name[0] ?? 0; length !== 0 && labels < MOST_LABELS - 1; length = name[at] ?? 0) {
      starts[labels++] = at;
      at += length + 1;
    }
    this.depth = labels;
    let a = this.key.first ^ trigger;
    let b = this.key.second ^ trigger;
    first[0] = finished(a, b);
    second[0] = finished(b, a);
    for (let depth = 1; depth <= labels; depth++) {
      const start = starts[labels - depth] ?? 0;
      const end = start + (name[start] ?? 0) + 1;
      for (let at = start; at < end; at++) {
        const octet = name[at] ?? 0;
        a = Math.imul(a ^ octet, FIRST_FACTOR);
        a ^= a >>> 15;
        b = Math.imul(b + octet, SECOND_FACTOR);
        b ^= b >>> 13;
      }
      first[depth] = finished(a, b);
      second[depth] = finished(b, a);
    }
  }

  /** Hashes octets as a whole, as depth 0. */
  readOctets(trigger: Trigger, octets: Uint8Array, bytes: number): void {
    let a = this.key.first ^ trigger;
    let b = this.key.second ^ trigger;
    for (let at = 0; at < bytes; at++) {
      const octet = octets[at] ?? 0;
      a = Math.imul(a ^ octet, FIRST_FACTOR);
      a ^= a >>> 15;
      b = Math.imul(b + octet, SECOND_FACTOR);
      b ^= b >>> 13;
    }
    this.depth = 0;
    this.first[0] = finished(a, b);
    this.second[0] = finished(b, a);
  }
}

/** Mixes one state into the other, so that all bits of both depend on all octets. */
function finished(state: number, other: number): number {
  let mixed = state ^ Math.imul((other << 16) | (other >>> 16), FIRST_FACTOR);
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
