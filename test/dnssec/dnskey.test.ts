// Keys of zones, and the form of ECDSA signatures.

import { generateKeyPairSync, sign } from 'node:crypto';

import t from 'tap';

import { Dnskey } from '../../src/dnssec/dnskey.js';

const DATA = Buffer.from('signed data');

for (const [algorithm, namedCurve, digest, half] of [
  [13, 'P-256', 'sha256', 32],
  [14, 'P-384', 'sha384', 48],
] as const) {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve });
  const { x = '', y = '' } = publicKey.export({ format: 'jwk' });
  const point = Buffer.concat([x, y].map(each => Buffer.from(each, 'base64url')));
  const key = Dnskey.read(Buffer.concat([Buffer.from([1, 0, 3, algorithm]), point]));
  const signed = (): Buffer => sign(digest, DATA, { key: privateKey, dsaEncoding: 'ieee-p1363' });

  await t.test(`${namedCurve}: a signature counts whatever the first octets of r and s are`, t => {
    const seen = { high: 0, low: 0, zero: 0 };
    for (let i = 0; i < 20_000 && Math.min(...Object.values(seen)) < 2; i++) {
      const signature = signed();
      for (const first of [signature.readUInt8(0), signature.readUInt8(half)])
        seen[first >= 0x80 ? 'high' : first > 0 ? 'low' : 'zero']++;
      if (key?.verifies(DATA, signature) !== true) t.fail(signature.toString('hex'));
    }
    t.ok(Math.min(...Object.values(seen)) >= 2, 'each kind was seen');
    t.end();
  });

  await t.test(`${namedCurve}: others do not count, and do no harm`, t => {
    const good = signed();
    const half0 = Buffer.alloc(half);
    const half1 = Buffer.alloc(half, 0xff);
    for (const [name, signature] of [
      ['r and s are 0', Buffer.concat([half0, half0])],
      ['r is 0', Buffer.concat([half0, good.subarray(half)])],
      ['s is 0', Buffer.concat([good.subarray(0, half), half0])],
      ['too large', Buffer.concat([half1, half1])],
      ['short', good.subarray(1)],
      ['long', Buffer.concat([good, half0])],
      ['empty', Buffer.alloc(0)],
    ] as const)
      t.equal(key?.verifies(DATA, signature), false, name);
    t.equal(key?.verifies(Buffer.from('other data'), good), false);
    t.end();
  });
}

await t.test('keys of another length, or that are no points of their curve, verify nothing', t => {
  const keys = {
    13: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
    14: generateKeyPairSync('ec', { namedCurve: 'P-384' }),
    15: generateKeyPairSync('ed25519'),
    16: generateKeyPairSync('ed448'),
  } as const;
  for (const [algorithm, { publicKey, privateKey }] of Object.entries(keys)) {
    const { x = '', y = '' } = publicKey.export({ format: 'jwk' });
    const octets = Buffer.concat([x, y].map(each => Buffer.from(each, 'base64url')));
    const digest = { 13: 'sha256', 14: 'sha384' }[algorithm] ?? null;
    const signature = sign(digest, DATA, { key: privateKey, dsaEncoding: 'ieee-p1363' });
    const verifies = (key: Buffer): boolean =>
      Dnskey.read(Buffer.concat([Buffer.from([1, 0, 3, Number(algorithm)]), key]))?.verifies(DATA, signature) ?? false;
    t.ok(verifies(octets), algorithm);
    for (const [name, other] of [
      ['short', octets.subarray(1)],
      ['long', Buffer.concat([octets, Buffer.alloc(1)])],
      ['twice', Buffer.concat([octets, octets])],
      ['one octet', Buffer.alloc(1)],
      ['zero', Buffer.alloc(octets.length)],
      ['another', Buffer.concat([octets.subarray(0, -1), Buffer.from([(octets.at(-1) ?? 0) ^ 1])])],
      ['huge', Buffer.alloc(60_000, 1)],
    ] as const)
      t.notOk(verifies(other), `${algorithm}: ${name}`);
  }
  t.end();
});
