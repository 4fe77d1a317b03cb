// FNV-1a for tables of our own, a step at a time, so that it can be taken along while octets are read for another reason.
// Not for tables that a hostile client could fill with collisions at some gain: ours are bounded, and lose entries instead
// of getting slow.

/** What a hash begins with. */
export const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/** Takes one octet in. */
export const hashed = (hash: number, octet: number): number => Math.imul(hash ^ octet, FNV_PRIME);

/** Mixes the high bits into the low ones, which alone would know little of octets that came early (MurmurHash3's end). */
export function finishedHash(hash: number): number {
  let mixed = hash ^ (hash >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  return mixed ^ (mixed >>> 13);
}

/** The hash of a string of characters 0 … 255. */
export function hashOf(text: string): number {
  let hash = FNV_OFFSET;
  for (let i = 0; i < text.length; i++) hash = hashed(hash, text.charCodeAt(i));
  return finishedHash(hash);
}
