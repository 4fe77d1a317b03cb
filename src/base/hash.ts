// FNV-1a, one octet at a time, so that a loop that reads octets for another reason can hash them, too. It does not resist
// collisions that an attacker chooses. It suits our tables: they are bounded, and colliding entries replace each other instead
// of making a lookup slow.

/** The hash of no octets. */
export const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/** The hash with one more octet. */
export const hashed = (hash: number, octet: number): number => Math.imul(hash ^ octet, FNV_PRIME);

/** Mixes the high bits into the low ones (as MurmurHash3 ends), because early octets hardly affect the low bits. */
export function finishedHash(hash: number): number {
  let mixed = hash ^ (hash >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  return mixed ^ (mixed >>> 13);
}

/** The finished hash of a string whose characters are 0 … 255. */
export function hashOf(text: string): number {
  // Several tables look for one key, one after the other.
  if (text === last.text) return last.hash;
  let hash = FNV_OFFSET;
  for (let i = 0; i < text.length; i++) hash = hashed(hash, text.charCodeAt(i));
  last.text = text;
  return (last.hash = finishedHash(hash));
}
const last = { text: '', hash: finishedHash(FNV_OFFSET) };
