// A key that checks many signatures, prepared by OpenSSL.

import { EventEmitter, once } from 'node:events';
import { generateKeyPairSync, sign } from 'node:crypto';

import t from 'tap';

import { Dnskey } from '../../src/dnssec/dnskey.js';
import { PreparedKeys, type PreparedKey } from '../../src/dnssec/prepared-keys.js';
import { loadP256 } from '../../src/os/p256.js';
import { KeyPreparation } from '../../src/run/key-preparation.js';

const loaded = loadP256();
const skip = 'unavailable' in loaded ? loaded.unavailable : false;

await t.test('the daemon checks with what was prepared, and says the same', { skip }, async t => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { x = '', y = '' } = publicKey.export({ format: 'jwk' });
  const point = Buffer.concat([x, y].map(each => Buffer.from(each, 'base64url')));
  const key = Dnskey.read(Buffer.concat([Buffer.from([1, 0, 3, 13]), point]));
  if (key === undefined) throw new Error('no key');
  const events = new EventEmitter();
  let checks = 0;
  const counted = (prepared: PreparedKey): PreparedKey => ({
    verifies(data, signature) {
      checks++;
      return prepared.verifies(data, signature);
    },
    free: () => prepared.free(),
  });
  const preparation = new KeyPreparation();
  const keys = new PreparedKeys((octets, done) =>
    preparation.prepare(octets, prepared => {
      done(prepared === undefined ? undefined : counted(prepared));
      events.emit('done');
    }),
  );
  const done = once(events, 'done');
  const signed = (i: number): { readonly data: Buffer; readonly signature: Buffer } => {
    const data = Buffer.from(`record ${i}`);
    return { data, signature: sign('sha256', data, { key: privateKey, dsaEncoding: 'ieee-p1363' }) };
  };
  const first = signed(0);
  for (let i = 0; i < 1000; i++) if (!keys.verifies(key, first.data, first.signature)) t.fail('a good one');
  t.equal(checks, 0);
  await done;
  const before = checks;
  for (let i = 1; i <= 200; i++) {
    const { data, signature } = signed(i);
    if (!keys.verifies(key, data, signature)) t.fail(`a good one, ${i}`);
    if (keys.verifies(key, data, first.signature)) t.fail(`one of other data, ${i}`);
    signature.writeUInt8(signature.readUInt8(i % 64) ^ (1 << (i % 8)), i % 64);
    if (keys.verifies(key, data, signature)) t.fail(`one that was altered, ${i}`);
  }
  t.equal(checks - before, 600, 'all of them were checked with what was prepared');
});
