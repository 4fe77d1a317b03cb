// SipHash-2-4 (Aumasson and Bernstein, 2012), 64 bits in two words: a keyed hash of few octets that nobody without the key can
// foresee. It protects tables from chosen collisions, and makes DNS cookies (RFC 9018 §4.4).

/** The octets of a key. */
export const SIPHASH_KEY_BYTES = 16;

/** Hashes octets under one key. The results are valid until the next `read`. */
export class SipHash {
  /** The low and the high half of the hash: its octets are those of `low`, then those of `high`, each from the lowest on. */
  low = 0;
  high = 0;
  private readonly key: Int32Array;

  /** @param key 16 octets */
  constructor(key: Uint8Array) {
    this.key = Int32Array.from({ length: 4 }, (_, i) => wordAt(key, 4 * i, 4));
  }

  /**
   * Hashes `bytes` octets from `at` on. Numbers are 32 bits here: each 64-bit word of the state is two of them, and sums carry by
   * hand. It is one function because it runs for every datagram, and calls would take as long as the work.
   */
  read(octets: Uint8Array, at: number, bytes: number): this {
    const { key } = this;
    const [key0 = 0, key1 = 0, key2 = 0, key3 = 0] = [key[0], key[1], key[2], key[3]];
    // "somepseudorandomlygeneratedbytes"
    let [aLow, aHigh, bLow, bHigh] = [key0 ^ 0x70736575, key1 ^ 0x736f6d65, key2 ^ 0x6e646f6d, key3 ^ 0x646f7261];
    let [cLow, cHigh, dLow, dHigh] = [key0 ^ 0x6e657261, key1 ^ 0x6c796765, key2 ^ 0x79746573, key3 ^ 0x74656462];
    const last = bytes >> 3;
    for (let block = 0; block <= last + 1; block++) {
      let low = 0;
      let high = 0;
      if (block <= last) {
        const from = at + 8 * block;
        const left = Math.min(8, bytes - 8 * block);
        low = wordAt(octets, from, Math.min(4, left));
        high = wordAt(octets, from + 4, Math.max(0, left - 4)) | (block === last ? bytes << 24 : 0);
      } else cLow ^= 0xff;
      dLow ^= low;
      dHigh ^= high;
      for (let rounds = block <= last ? 2 : 4; rounds > 0; rounds--) {
        let sum = (aLow + bLow) | 0;
        aHigh = (aHigh + bHigh + (sum >>> 0 < bLow >>> 0 ? 1 : 0)) | 0;
        let turned = (bLow << 13) | (bHigh >>> 19);
        bHigh = ((bHigh << 13) | (bLow >>> 19)) ^ aHigh;
        bLow = turned ^ sum;
        aLow = aHigh;
        aHigh = sum;

        sum = (cLow + dLow) | 0;
        cHigh = (cHigh + dHigh + (sum >>> 0 < dLow >>> 0 ? 1 : 0)) | 0;
        turned = (dLow << 16) | (dHigh >>> 16);
        dHigh = ((dHigh << 16) | (dLow >>> 16)) ^ cHigh;
        dLow = turned ^ sum;
        cLow = sum;

        sum = (aLow + dLow) | 0;
        aHigh = (aHigh + dHigh + (sum >>> 0 < dLow >>> 0 ? 1 : 0)) | 0;
        turned = (dLow << 21) | (dHigh >>> 11);
        dHigh = ((dHigh << 21) | (dLow >>> 11)) ^ aHigh;
        dLow = turned ^ sum;
        aLow = sum;

        sum = (cLow + bLow) | 0;
        cHigh = (cHigh + bHigh + (sum >>> 0 < bLow >>> 0 ? 1 : 0)) | 0;
        turned = (bLow << 17) | (bHigh >>> 15);
        bHigh = ((bHigh << 17) | (bLow >>> 15)) ^ cHigh;
        bLow = turned ^ sum;
        cLow = cHigh;
        cHigh = sum;
      }
      aLow ^= low;
      aHigh ^= high;
    }
    this.low = aLow ^ bLow ^ cLow ^ dLow;
    this.high = aHigh ^ bHigh ^ cHigh ^ dHigh;
    return this;
  }
}

/** Up to four octets, the lowest first. */
function wordAt(octets: Uint8Array, at: number, bytes: number): number {
  let word = 0;
  for (let i = 0; i < bytes; i++) word |= (octets[at + i] ?? 0) << (8 * i);
  return word;
}
