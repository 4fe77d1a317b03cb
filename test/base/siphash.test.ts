import t from 'tap';

import { SipHash } from '../../src/base/siphash.js';

/** Key and message of the vectors in appendix A of the paper and in the reference implementation: 00 01 02 … */
const key = Buffer.from(Array.from({ length: 16 }, (_, i) => i));
const message = Buffer.from(Array.from({ length: 64 }, (_, i) => i));

const hexOf = (bytes: number, at = 0): string => {
  const hash = new SipHash(key).read(message, at, bytes);
  const octets = Buffer.alloc(8);
  octets.writeInt32LE(hash.low, 0);
  octets.writeInt32LE(hash.high, 4);
  return octets.toString('hex');
};

t.equal(hexOf(0), '310e0edd47db6f72', 'no octets');
t.equal(hexOf(1), 'fd67dc93c539f874');
t.equal(hexOf(7), '37d1018bf50002ab');
t.equal(hexOf(8), '6224939a79f5f593');
t.equal(hexOf(15), 'e545be4961ca29a1', 'the example of the paper');
t.equal(hexOf(63), '724506eb4c328a95');

const hash = new SipHash(key);
hash.read(message, 3, 20);
const { low, high } = hash;
const moved = new SipHash(key).read(message.subarray(3, 23), 0, 20);
t.same([moved.low, moved.high], [low, high], 'wherever the octets stand');
t.same([hash.read(message, 3, 20).low, hash.high], [low, high], 'it begins anew each time');
