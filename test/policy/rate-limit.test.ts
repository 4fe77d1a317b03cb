import t from 'tap';

import { addressOctets } from '../../src/base/address.js';
import { type Kind, KIND, type Rate, RateLimit, type Ruling } from '../../src/policy/rate-limit.js';

const made = (rate?: Rate): RateLimit => {
  const limit = new RateLimit(RateLimit.memory(Buffer.alloc(16, 7)));
  limit.set(rate);
  return limit;
};
const octetsOf = (address: string): Buffer => addressOctets(address) ?? Buffer.alloc(0);
const rule = (limit: RateLimit, address: string, now: number, kind: Kind = KIND.claimed): Ruling => {
  const octets = octetsOf(address);
  return limit.rule(octets, 0, octets.length === 4 ? 4 : 16, kind, now);
};
const served = (limit: RateLimit, address: string, now: number, queries: number, kind?: Kind): number =>
  Array.from({ length: queries }, () => rule(limit, address, now, kind)).filter(each => each === 'serve').length;

await t.test('a burst is served, and then as many a second as the rate says', t => {
  const limit = made({ perSecond: 10, burst: 25 });
  t.equal(served(limit, '192.0.2.1', 100, 60), 25);
  t.equal(served(limit, '192.0.2.1', 100.05, 60), 0);
  t.equal(served(limit, '192.0.2.1', 100.5, 60), 5);
  t.equal(served(limit, '192.0.2.1', 101.5, 60), 10);
  t.equal(served(limit, '192.0.2.1', 200, 60), 25, 'no more than a burst is saved up');
  for (let second = 300, all = 0; second < 400; second++) {
    all += served(limit, '192.0.2.1', second, 1000);
    if (second === 399) t.equal(all, 25 + 99 * 10, 'whatever is asked in vain');
  }
  t.end();
});

await t.test('without a rate everybody is served', t => {
  const limit = made();
  t.notOk(limit.isOn);
  t.equal(served(limit, '192.0.2.1', 0, 5000), 5000);
  t.end();
});

await t.test('every second query over the limit is answered with TC', t => {
  const limit = made({ perSecond: 1, burst: 1 });
  rule(limit, '192.0.2.1', 0);
  t.same(
    Array.from({ length: 6 }, () => rule(limit, '192.0.2.1', 0)),
    ['drop', 'truncate', 'drop', 'truncate', 'drop', 'truncate'],
  );
  t.end();
});

await t.test('a client is an IPv4 address, a /64, or a link-local address', t => {
  const limit = made({ perSecond: 1, burst: 1 });
  const isServed = (address: string): boolean => rule(limit, address, 0) === 'serve';
  t.ok(isServed('192.0.2.1'));
  t.ok(isServed('192.0.2.2'), 'its neighbour is another one');
  t.notOk(isServed('::ffff:192.0.2.1'), 'the same over a socket of IPv6');
  t.ok(isServed('2001:db8:0:1::1'));
  t.notOk(isServed('2001:db8:0:1:ffff::2'));
  t.ok(isServed('2001:db8:0:2::1'));
  t.ok(isServed('fe80::1'));
  t.ok(isServed('fe80::2'), 'all link-local addresses share a /64');
  t.notOk(isServed('fe80::1'));
  t.ok(isServed('c000:201::'), 'a /64 that begins like an IPv4 address');
  t.ok(isServed('fe80::2001:db8:7:8'));
  t.ok(isServed('2001:db8:7:8::1'), 'a /64 that a link-local address ends with');
  t.end();
});

await t.test('who forges an address uses up nothing of its proven share', t => {
  const limit = made({ perSecond: 1, burst: 5 });
  t.equal(served(limit, '192.0.2.1', 0, 100, KIND.claimed), 5);
  t.equal(served(limit, '192.0.2.1', 0, 100, KIND.proven), 5);
  t.end();
});

await t.test('clients outside access.allow learn so a few times, each and all together', t => {
  for (const limit of [made(), made({ perSecond: 1, burst: 1 })]) {
    t.equal(served(limit, '198.51.100.1', 0, 1000, KIND.foreign), 20);
    t.equal(rule(limit, '198.51.100.1', 0, KIND.foreign), 'drop', 'and never with TC');
    t.equal(served(limit, '198.51.100.1', 1, 1000, KIND.foreign), 10);
    let all = 0;
    for (let i = 0; i < 5000; i++) all += served(limit, `203.${i >> 8}.${i & 255}.1`, 60, 1, KIND.foreign);
    t.equal(all, 200);
  }
  t.end();
});

await t.test('a lower rate is in force at once, and nobody pays for what was allowed before', t => {
  const limit = made({ perSecond: 100, burst: 1000 });
  t.equal(served(limit, '192.0.2.1', 0, 1000), 1000);
  limit.set({ perSecond: 1000, burst: 10 });
  t.equal(served(limit, '192.0.2.1', 0, 10), 0);
  t.equal(served(limit, '192.0.2.1', 0.1, 100), 10, 'a bucket is full again after a burst, not after the old one');
  t.end();
});

await t.test('a flood from forged addresses leaves a client its share, and an abuser its limit', t => {
  const limit = made({ perSecond: 10, burst: 20 });
  let abuser = 0;
  let quiet = 0;
  for (let i = 0; i < 200_000; i++) {
    const now = i / 20_000;
    rule(limit, `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`, now);
    if (i % 20 === 0 && rule(limit, '192.0.2.66', now) === 'serve') abuser++;
    if (i % 4000 === 0 && rule(limit, '192.0.2.1', now) === 'serve') quiet++;
  }
  t.equal(quiet, 50, 'five queries a second, for ten seconds');
  t.ok(abuser <= 1.2 * (20 + 10 * 10), `1,000 queries a second: ${abuser} served`);
  t.end();
});
