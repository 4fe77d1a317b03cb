// RSA keys with large public exponents (RFC 3110 §2), which some signers chose.

import { createPrivateKey, generatePrimeSync, sign } from 'node:crypto';

import t from 'tap';

import { Dnskey } from '../../src/dnssec/dnskey.js';

const octetsOf = (value: bigint): Buffer => {
  const hex = value.toString(16);
  return Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex');
};
const text = (value: bigint): string => octetsOf(value).toString('base64url');

function inverse(value: bigint, modulus: bigint): bigint {
  let [low, high, x, y] = [value % modulus, modulus, 1n, 0n];
  while (low > 1n) {
    const times = low / high;
    [low, high, x, y] = [high, low % high, y, x - times * y];
  }
  return ((x % modulus) + modulus) % modulus;
}

/** A key of `bits` with this public exponent, a prime. */
function pair(bits: number, e: bigint) {
  const prime = (): bigint => generatePrimeSync(bits / 2, { bigint: true });
  const [p, q] = [prime(), prime()];
  const [n, phi] = [p * q, (p - 1n) * (q - 1n)];
  const d = inverse(e, phi);
  const key = {
    ...{ kty: 'RSA', n: text(n), e: text(e), d: text(d), p: text(p), q: text(q) },
    ...{ dp: text(d % (p - 1n)), dq: text(d % (q - 1n)), qi: text(inverse(q, p)) },
  };
  const exponent = octetsOf(e);
  const rdata = Buffer.concat([Buffer.from([1, 0, 3, 8, exponent.length]), exponent, octetsOf(n)]);
  return { secret: createPrivateKey({ key, format: 'jwk' }), rdata };
}

await t.test('RFC 3110 §2: exponents of 17 to 128 bits are used, longer ones are not', async t => {
  const data = Buffer.from('signed');
  for (const [bits, works] of [
    [17, true],
    [64, true],
    [72, true],
    [128, true],
    [136, false],
  ] as const) {
    const e = bits === 17 ? 65_537n : generatePrimeSync(bits, { bigint: true });
    const { secret, rdata } = pair(2048, e);
    const key = Dnskey.read(rdata);
    t.equal(key?.verifies(data, sign('sha256', data, secret)), works, `${bits} bits`);
    t.equal(key?.verifies(Buffer.from('other'), sign('sha256', data, secret)), false);
    t.ok((key?.weight ?? 0) >= (bits > 17 ? 2 : 1), 'what a check costs grows with the exponent');
  }
});
