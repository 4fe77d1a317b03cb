// Which keys are prepared, and when, with a preparation that is only written down.

import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';

import t from 'tap';

import { Dnskey } from '../../src/dnssec/dnskey.js';
import { PreparedKeys, type PreparedKey } from '../../src/dnssec/prepared-keys.js';

const ENOUGH = 1000;
const MOST = 16;
const DATA = Buffer.from('data');

interface Signer {
  readonly rdata: Buffer;
  readonly signature: Buffer;
}

function signer(): Signer {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { rdata: rdataOf(publicKey), signature: sign('sha256', DATA, { key: privateKey, dsaEncoding: 'ieee-p1363' }) };
}

function rdataOf(key: KeyObject): Buffer {
  const { x = '', y = '' } = key.export({ format: 'jwk' });
  return Buffer.concat([Buffer.from([1, 0, 3, 13]), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]);
}

function read({ rdata }: Signer): Dnskey {
  const key = Dnskey.read(rdata);
  if (key === undefined) throw new Error('no key');
  return key;
}

/** A preparation that is done when it is told so. */
class Preparation {
  readonly asked: { readonly key: Buffer; readonly done: (prepared: PreparedKey | undefined) => void }[] = [];
  checks = 0;
  freed = 0;
  readonly keys = new PreparedKeys((key, done) => void this.asked.push({ key, done }));

  /** @param says what it says of good and of other data */
  finish(says: readonly [boolean | undefined, boolean | undefined] = [true, false]): void {
    this.asked.shift()?.done({
      verifies: data => {
        this.checks++;
        return data.equals(DATA) ? says[0] : says[1];
      },
      free: () => void this.freed++,
    });
  }

  use(key: Dnskey, signature: Buffer, times: number): boolean {
    let isGood = true;
    for (let i = 0; i < times; i++) isGood = this.keys.verifies(key, DATA, signature) && isGood;
    return isGood;
  }
}

await t.test('a key is prepared once it has checked a thousand signatures', t => {
  const one = signer();
  const key = read(one);
  const preparation = new Preparation();
  t.ok(preparation.use(key, one.signature, ENOUGH - 1));
  t.equal(preparation.asked.length, 0);
  t.ok(preparation.use(key, one.signature, 100));
  t.equal(preparation.asked.length, 1, 'it is asked for once');
  t.same(preparation.asked[0]?.key, one.rdata.subarray(4));
  preparation.finish();
  const sounded = preparation.checks;
  t.equal(sounded, 2, 'it was tried with a good signature, and with one that is not');
  t.ok(preparation.use(key, one.signature, 10));
  t.equal(preparation.checks, sounded + 10);
  t.ok(preparation.use(read(one), one.signature, 1), 'the same key, read again,');
  t.equal(preparation.checks, sounded + 11, 'is prepared, too');
  t.equal(preparation.keys.verifies(key, Buffer.from('other'), one.signature), false);
  t.end();
});

await t.test('a key that was read several times is prepared once', t => {
  const one = signer();
  const keys = Array.from({ length: 4 }, () => read(one));
  const preparation = new Preparation();
  for (const key of keys) preparation.use(key, one.signature, ENOUGH - 1);
  for (const key of keys) {
    preparation.use(key, one.signature, 1);
    while (preparation.asked.length > 0) preparation.finish();
  }
  const sounded = preparation.checks;
  t.equal(sounded, 2, 'one was prepared');
  for (const key of keys) preparation.use(key, one.signature, 1);
  t.equal(preparation.checks, sounded + keys.length, 'for all of them');
  t.equal(preparation.freed, 0);
  t.end();
});

await t.test('signatures that are wrong do not make a key worth it', t => {
  const one = signer();
  const key = read(one);
  const preparation = new Preparation();
  for (let i = 0; i < ENOUGH + 10; i++) preparation.keys.verifies(key, Buffer.from('other'), one.signature);
  t.equal(preparation.asked.length, 0);
  t.end();
});

await t.test('keys of other algorithms are not prepared', t => {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const { x = '' } = publicKey.export({ format: 'jwk' });
  const rdata = Buffer.concat([Buffer.from([1, 0, 3, 15]), Buffer.from(x, 'base64url')]);
  const signature = sign(null, DATA, privateKey);
  const preparation = new Preparation();
  t.ok(preparation.use(read({ rdata, signature }), signature, ENOUGH + 10));
  t.equal(preparation.asked.length, 0);
  t.end();
});

await t.test('what does not say the same as the key itself is not used', t => {
  for (const says of [
    [false, false],
    [true, true],
    [undefined, undefined],
    [true, undefined],
  ] as const) {
    const one = signer();
    const preparation = new Preparation();
    preparation.use(read(one), one.signature, ENOUGH);
    preparation.finish(says);
    t.equal(preparation.freed, 1);
    const { checks } = preparation;
    t.ok(preparation.use(read(one), one.signature, ENOUGH + 10));
    t.equal(preparation.checks, checks);
    t.equal(preparation.asked.length, 0, 'and it is not tried again');
  }
  t.end();
});

await t.test('what cannot be computed is checked by the key itself', t => {
  const one = signer();
  const key = read(one);
  const failing = new PreparedKeys((_, done) => {
    let checks = 0;
    done({ verifies: data => (++checks > 2 ? undefined : data.equals(DATA)), free: () => undefined });
  });
  for (let i = 0; i < ENOUGH; i++) failing.verifies(key, DATA, one.signature);
  t.equal(failing.verifies(key, DATA, one.signature), true);
  t.equal(failing.verifies(key, Buffer.from('other'), one.signature), false);
  t.end();
});

await t.test('where it cannot be done, it is asked for once', t => {
  const one = signer();
  const preparation = new Preparation();
  const key = read(one);
  preparation.use(key, one.signature, ENOUGH);
  preparation.asked.shift()?.done(undefined);
  t.ok(preparation.use(key, one.signature, 100));
  t.equal(preparation.asked.length, 0);
  t.end();
});

await t.test('the key that is used least makes room', t => {
  const preparation = new Preparation();
  const all = Array.from({ length: MOST + 1 }, signer).map(one => ({ one, key: read(one) }));
  for (const { one, key } of all.slice(0, MOST)) {
    preparation.use(key, one.signature, ENOUGH);
    preparation.finish();
  }
  t.equal(preparation.freed, 0);
  const rare = all[3];
  for (const each of all.slice(0, MOST)) if (each !== rare) preparation.use(each.key, each.one.signature, 5);
  const last = all[MOST];
  if (rare === undefined || last === undefined) throw new Error('too few');
  preparation.use(last.key, last.one.signature, ENOUGH);
  preparation.finish();
  t.equal(preparation.freed, 1);
  const { checks } = preparation;
  t.ok(preparation.use(rare.key, rare.one.signature, 1));
  t.equal(preparation.checks, checks, 'it checks for itself again,');
  t.ok(preparation.use(rare.key, rare.one.signature, ENOUGH - 1));
  t.equal(preparation.asked.length, 1, 'and may come back');
  t.end();
});
