// Reads and writes big-endian numbers in octets, for DNS messages and for our own tables. On the path of queries these replace
// Buffer's methods: V8 looks up a method of a typed array at every call instead of inlining it, which costs three times as much
// as the read. A query needs about two hundred reads.

/** The 16-bit number at `at`. Octets outside the array count as 0, so callers check the bounds of network data first. */
export const u16At = (octets: Uint8Array, at: number): number => ((octets[at] ?? 0) << 8) | (octets[at + 1] ?? 0);

/** The 32-bit number at `at`, unsigned. */
export const u32At = (octets: Uint8Array, at: number): number => i32At(octets, at) >>> 0;

/** The 32-bit number at `at`, signed. */
export const i32At = (octets: Uint8Array, at: number): number =>
  ((octets[at] ?? 0) << 24) | ((octets[at + 1] ?? 0) << 16) | ((octets[at + 2] ?? 0) << 8) | (octets[at + 3] ?? 0);

/** Writes the lower 16 bits of a number at `at`. */
export function putU16(octets: Uint8Array, at: number, value: number): void {
  octets[at] = value >>> 8;
  octets[at + 1] = value;
}

/** Writes the lower 32 bits of a number at `at`. */
export function putU32(octets: Uint8Array, at: number, value: number): void {
  octets[at] = value >>> 24;
  octets[at + 1] = value >>> 16;
  octets[at + 2] = value >>> 8;
  octets[at + 3] = value;
}

/** Above this the runtime copies faster, though it needs a view of the octets first; */
const FEW_BYTES = 40;
/** and above this, if it needs none. */
const FEWEST_BYTES = 8;

/** Copies `bytes` octets. Both arrays must be long enough. */
export function copyOctets(from: Uint8Array, start: number, bytes: number, to: Uint8Array, at: number): void {
  if (start === 0 && bytes === from.length && bytes > FEWEST_BYTES) to.set(from, at);
  else if (bytes > FEW_BYTES) to.set(from.subarray(start, start + bytes), at);
  else for (let i = 0; i < bytes; i++) to[at + i] = from[start + i] ?? 0;
}

/** Views of so many lengths are kept. */
const MOST_VIEWS = 1024;

/**
 * The beginnings of a piece of memory that is used again and again, as views that are kept: V8 takes as long to make one
 * as to find a cached answer.
 */
export class Beginnings {
  /** By length. */
  private readonly views: (Buffer | undefined)[] = new Array<Buffer | undefined>(MOST_VIEWS).fill(undefined);

  constructor(private readonly octets: Buffer) {}

  /** Its first `bytes` octets. */
  of(bytes: number): Buffer {
    if (bytes >= MOST_VIEWS) return this.octets.subarray(0, bytes);
    return (this.views[bytes] ??= this.octets.subarray(0, bytes));
  }
}

/** A copy for a table. A small Buffer is a piece of a pool of 8 KiB, which it would keep alive as a whole. */
export function ownCopy(octets: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(octets.length);
  octets.copy(copy);
  return copy;
}
