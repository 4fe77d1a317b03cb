// Prepared keys against node:crypto: both must say the same of every signature, whatever its octets.

import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto';

import fc from 'fast-check';
import t from 'tap';

import { loadP256, type P256, type PreparedKey } from '../../src/os/p256.js';

const ORDER = BigInt('0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551');
const PRIME = BigInt('0xffffffff00000001000000000000000000000000ffffffffffffffffffffffff');
const B = BigInt('0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b');
const GENERATOR: Point = {
  x: BigInt('0x6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296'),
  y: BigInt('0x4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5'),
};

const loaded = loadP256();
const skip = 'unavailable' in loaded ? loaded.unavailable : false;
const curve = (): P256 => {
  if ('unavailable' in loaded) throw new Error(loaded.unavailable);
  return loaded;
};
const prepared = async (key: Buffer): Promise<PreparedKey | undefined> =>
  new Promise(resolve => curve().prepare(key, resolve));
const pointOf = (key: KeyObject): Buffer => {
  const { x = '', y = '' } = key.export({ format: 'jwk' });
  return Buffer.concat([Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]);
};
const judge = (data: Buffer, key: KeyObject, signature: Buffer): boolean =>
  verify('sha256', data, { key, dsaEncoding: 'ieee-p1363' }, signature);

// A little arithmetic, for signatures that nobody would find by chance.
interface Point {
  readonly x: bigint;
  readonly y: bigint;
}
const modulo = (a: bigint, m: bigint): bigint => ((a % m) + m) % m;
function power(base: bigint, exponent: bigint, m: bigint): bigint {
  let result = 1n;
  for (let square = modulo(base, m), left = exponent; left > 0n; left >>= 1n, square = (square * square) % m)
    if (left & 1n) result = (result * square) % m;
  return result;
}
const inverse = (a: bigint, m: bigint): bigint => power(a, m - 2n, m);
function plus(a: Point | undefined, b: Point | undefined): Point | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  if (a.x === b.x && a.y !== b.y) return undefined;
  const slope =
    a.x === b.x ? (3n * a.x * a.x - 3n) * inverse(2n * a.y, PRIME) : (b.y - a.y) * inverse(b.x - a.x, PRIME);
  const x = modulo(slope * slope - a.x - b.x, PRIME);
  return { x, y: modulo(slope * (a.x - x) - a.y, PRIME) };
}
function times(factor: bigint, point: Point): Point {
  let result: Point | undefined;
  for (let double: Point | undefined = point, left = factor; left > 0n; left >>= 1n, double = plus(double, double))
    if (left & 1n) result = plus(result, double);
  if (result === undefined) throw new Error('infinity');
  return result;
}
const octets = (...numbers: readonly bigint[]): Buffer =>
  Buffer.from(numbers.map(each => each.toString(16).padStart(64, '0')).join(''), 'hex');
const keyAt = ({ x, y }: Point): KeyObject =>
  createPublicKey({
    key: { kty: 'EC', crv: 'P-256', x: octets(x).toString('base64url'), y: octets(y).toString('base64url') },
    format: 'jwk',
  });
const hashOf = (data: Buffer): bigint => BigInt(`0x${createHash('sha256').update(data).digest('hex')}`);

await t.test('it says of signatures what node:crypto says', { skip }, async t => {
  for (let keys = 0; keys < 3; keys++) {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const key = await prepared(pointOf(publicKey));
    const property = fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(63), fc.nat(255), (bytes, at, mask) => {
      const data = Buffer.from(bytes);
      const signature = sign('sha256', data, { key: privateKey, dsaEncoding: 'ieee-p1363' });
      if (key?.verifies(data, signature) !== true) return false;
      if (key.verifies(Buffer.concat([data, Buffer.from([1])]), signature) !== false) return false;
      signature.writeUInt8(signature.readUInt8(at) ^ mask, at);
      return key.verifies(data, signature) === judge(data, publicKey, signature);
    });
    t.doesNotThrow(() => {
      fc.assert(property, { numRuns: Number(process.env['RUNS'] ?? 300) });
    });
    key?.free();
  }
});

await t.test('numbers at the borders are refused or taken as by node:crypto', { skip }, async t => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const key = await prepared(pointOf(publicKey));
  const data = Buffer.from('data');
  const good = sign('sha256', data, { key: privateKey, dsaEncoding: 'ieee-p1363' });
  const [r, s] = [BigInt(`0x${good.toString('hex', 0, 32)}`), BigInt(`0x${good.toString('hex', 32)}`)];
  t.equal(key?.verifies(data, octets(r, ORDER - s)), true, 'the other sign of s');
  const most = 2n ** 256n - 1n;
  const borders = [0n, 1n, 2n, ORDER - 1n, ORDER, ORDER + 1n, PRIME - 1n, PRIME, PRIME + 1n, most];
  for (const [one, other] of borders.flatMap(
    each => [[each, s], [r, each], ...borders.map(second => [each, second] as const)] as const,
  )) {
    const signature = octets(one, other);
    t.equal(key?.verifies(data, signature), false, `${one} ${other}`);
    t.equal(judge(data, publicKey, signature), false);
  }
  if (r + ORDER <= most) t.equal(key?.verifies(data, octets(r + ORDER, s)), false);
  if (s + ORDER <= most) t.equal(key?.verifies(data, octets(r, s + ORDER)), false);
  for (const bytes of [0, 1, 32, 63, 65, 128]) t.equal(key?.verifies(data, Buffer.alloc(bytes, 1)), false);
  key?.free();
});

await t.test('an x-coordinate between the order and the prime is taken modulo the order', { skip }, async t => {
  // The first point there; a key for which it is what a check arrives at.
  let x = ORDER + 1n;
  const squareAt = (at: bigint): bigint => modulo(at * at * at - 3n * at + B, PRIME);
  const rootAt = (at: bigint): bigint => power(squareAt(at), (PRIME + 1n) / 4n, PRIME);
  while (power(rootAt(x), 2n, PRIME) !== squareAt(x)) x++;
  const data = Buffer.from('data');
  const [r, s] = [x - ORDER, 12345n];
  const wanted = plus(times(s, { x, y: rootAt(x) }), times(ORDER - modulo(hashOf(data), ORDER), GENERATOR));
  const point = times(inverse(r, ORDER), wanted ?? GENERATOR);
  const key = await prepared(octets(point.x, point.y));
  t.equal(judge(data, keyAt(point), octets(r, s)), true);
  t.equal(key?.verifies(data, octets(r, s)), true);
  t.equal(key?.verifies(data, octets(r + 1n, s)), false);
  key?.free();
});

await t.test('the point at infinity is no result, and a double point is one', { skip }, async t => {
  const secret = 0x1234567890abcdefn;
  const point = times(secret, GENERATOR);
  const key = await prepared(octets(point.x, point.y));
  const data = Buffer.from('data');
  const equal = modulo(hashOf(data) * inverse(secret, ORDER), ORDER);
  for (const r of [equal, ORDER - equal])
    for (const s of [1n, 2n, hashOf(data) % ORDER, r]) {
      t.equal(key?.verifies(data, octets(r, s)), false);
      t.equal(judge(data, keyAt(point), octets(r, s)), false);
    }
  key?.free();
});

await t.test('what is no key is not prepared, and a freed key checks nothing', { skip }, async t => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const point = pointOf(publicKey);
  for (const wrong of [Buffer.alloc(64), Buffer.alloc(64, 0xff), point.subarray(1), Buffer.concat([point, point])])
    t.equal(await prepared(wrong), undefined);
  const key = await prepared(point);
  const data = Buffer.from('data');
  const signature = sign('sha256', data, { key: privateKey, dsaEncoding: 'ieee-p1363' });
  t.equal(key?.verifies(data, signature), true);
  key?.free();
  key?.free();
  t.equal(key?.verifies(data, signature), undefined);
});
