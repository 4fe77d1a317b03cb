// Numbers in octets, big-endian as in all of DNS; tables of our own that are made of octets use the same. Not Buffer's
// methods where queries pass: V8 looks the name of a method of a typed array up at every call instead of inlining it, and
// that look costs three times what the reading does. A query needs some two hundred of them.

/** The 16-bit number at `at`. Octets outside count as 0: who reads what a network sent has looked at its bounds. */
export const u16At = (octets: Uint8Array, at: number): number => ((octets[at] ?? 0) << 8) | (octets[at + 1] ?? 0);

/** The 32-bit number at `at`, unsigned. */
export const u32At = (octets: Uint8Array, at: number): number => i32At(octets, at) >>> 0;

/** The 32-bit number at `at`, signed. */
export const i32At = (octets: Uint8Array, at: number): number =>
  ((octets[at] ?? 0) << 24) | ((octets[at + 1] ?? 0) << 16) | ((octets[at + 2] ?? 0) << 8) | (octets[at + 3] ?? 0);

/** Writes the lower 16 bits of a number. */
export function putU16(octets: Uint8Array, at: number, value: number): void {
  octets[at] = value >>> 8;
  octets[at + 1] = value;
}

/** Writes the lower 32 bits of a number. */
export function putU32(octets: Uint8Array, at: number, value: number): void {
  octets[at] = value >>> 24;
  octets[at + 1] = value >>> 16;
  octets[at + 2] = value >>> 8;
  octets[at + 3] = value;
}

/** Longer pieces are the runtime's to copy, which costs a view of them first. */
const FEW_BYTES = 64;

/** Copies `bytes` octets, which must be there and have room. */
export function copyOctets(from: Uint8Array, start: number, bytes: number, to: Uint8Array, at: number): void {
  if (bytes > FEW_BYTES) to.set(from.subarray(start, start + bytes), at);
  else for (let i = 0; i < bytes; i++) to[at + i] = from[start + i] ?? 0;
}
