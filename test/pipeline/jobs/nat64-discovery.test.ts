// Discovery of the NAT64 prefix (RFC 7050): what is asked, when, and what counts for how long.

import t from 'tap';

import { failure, type Failure } from '../../../src/base/outcome.js';
import { Jobs } from '../../../src/pipeline/jobs/jobs.js';
import { Nat64Discovery } from '../../../src/pipeline/jobs/nat64-discovery.js';
import { embedded, type Nat64Prefix, nat64PrefixFrom, nat64Text } from '../../../src/policy/nat64.js';
import { addressText } from '../../../src/base/address.js';
import { FLAG, flagsOf } from '../../../src/wire/header.js';
import { optOf } from '../../../src/wire/scan.js';
import { type FakeClock, fakeClock } from '../../fixtures/clock.js';
import { responseTo } from '../../fixtures/messages.js';
import { type FakeUpstream, fakeUpstream } from '../../fixtures/resolving.js';

const HOUR_MS = 3_600_000;

interface Discovering {
  readonly clock: FakeClock;
  readonly upstream: FakeUpstream;
  readonly discovery: Nat64Discovery;
  readonly jobs: Jobs;
  /** The prefixes that were told. */
  readonly told: string[];
  readonly prefix: () => string;
}

const textOf = (prefix: Nat64Prefix | undefined): string => (prefix === undefined ? 'none' : nat64Text(prefix));

/** The addresses of ipv4only.arpa that DNS64 with a prefix makes. */
function addresses(prefix: string, ttlSec = 3600): string {
  const of = nat64PrefixFrom(prefix);
  if (of === undefined) throw new Error(prefix);
  return [0xc00000aa, 0xc00000ab]
    .map(each => `ipv4only.arpa. ${ttlSec} AAAA ${addressText(embedded(of, each), 0, 16)}`)
    .join('\n');
}

function discovering(says: (query: Buffer) => Buffer | Failure | 'waits'): Discovering {
  const clock = fakeClock();
  const upstream = fakeUpstream(says);
  const told: string[] = [];
  const jobs = new Jobs(clock);
  jobs.begin();
  const discovery = new Nat64Discovery({
    clock,
    upstream,
    changed: prefix => void told.push(textOf(prefix)),
    due: () => jobs.lookAgain(),
  });
  jobs.add(discovery.job);
  return { clock, upstream, discovery, jobs, told, prefix: () => textOf(discovery.prefix) };
}

await t.test('it asks for AAAA of ipv4only.arpa, with neither CD nor DO: with them nothing would be made', async t => {
  const queries: Buffer[] = [];
  const it = discovering(query => {
    queries.push(query);
    return responseTo(query, { answers: addresses('2001:db8:64::/96') });
  });
  await it.clock.advance(HOUR_MS);
  t.same(it.upstream.asked, [], 'nothing, before it is switched on');
  it.discovery.configure(true);
  await it.clock.advance(1000);
  t.same(it.upstream.asked, ['ipv4only.arpa.']);
  t.equal(flagsOf(queries[0] ?? Buffer.alloc(12)) & FLAG.CD, 0);
  t.not(optOf(queries[0] ?? Buffer.alloc(12))?.dnssecOk, true);
  t.equal(it.prefix(), '2001:db8:64::/96');
  t.same(it.told, ['2001:db8:64::/96']);
});

await t.test('RFC 7050 §3: prefixes of every length are found', async t => {
  for (const prefix of [
    '2001:db8::/32',
    '2001:db8:100::/40',
    '2001:db8:1::/48',
    '2001:db8:1:200::/56',
    '2001:db8:1:2::/64',
    '64:ff9b::/96',
  ]) {
    const it = discovering(query => responseTo(query, { answers: addresses(prefix) }));
    it.discovery.configure(true);
    await it.clock.advance(1000);
    t.equal(it.prefix(), prefix);
  }
});

await t.test('RFC 7050 §3: it is asked for anew shortly before the TTL is over, and not in between', async t => {
  const it = discovering(query => responseTo(query, { answers: addresses('64:ff9b::/96', 1800) }));
  it.discovery.configure(true);
  await it.clock.advance(1000);
  await it.clock.advance(1_789_000);
  t.equal(it.upstream.asked.length, 1);
  await it.clock.advance(1000);
  t.equal(it.upstream.asked.length, 2);
  t.same(it.told, ['64:ff9b::/96'], 'the same is not told twice');
});

await t.test('a TTL of 0 does not make it ask all the time', async t => {
  const it = discovering(query => responseTo(query, { answers: addresses('64:ff9b::/96', 0) }));
  it.discovery.configure(true);
  await it.clock.advance(600_000);
  t.ok(it.upstream.asked.length <= 10, `${it.upstream.asked.length}`);
});

await t.test(
  'NODATA, NXDOMAIN and addresses without the numbers say that there is no translator, for an hour',
  async t => {
    const soa = 'arpa. 60 SOA a. b. 1 1 1 1 60';
    for (const parts of [
      { authority: soa },
      { rcode: 3, authority: soa },
      { answers: 'ipv4only.arpa. 60 AAAA 2001:db8::1' },
    ]) {
      const it = discovering(query => responseTo(query, parts));
      it.discovery.configure(true);
      await it.clock.advance(HOUR_MS);
      t.equal(it.upstream.asked.length, 1);
      t.equal(it.prefix(), 'none');
      await it.clock.advance(1000);
      t.equal(it.upstream.asked.length, 2);
      t.same(it.told, []);
    }
  },
);

await t.test(
  'failures are repeated ever more rarely, up to once an hour; the prefix that is known counts meanwhile',
  async t => {
    let says: (query: Buffer) => Buffer | Failure = query =>
      responseTo(query, { answers: addresses('64:ff9b::/96', 60) });
    const it = discovering(query => says(query));
    it.discovery.configure(true);
    await it.clock.advance(1000);
    says = query => (it.upstream.asked.length % 2 === 0 ? failure('timeout') : responseTo(query, { rcode: 2 }));
    await it.clock.advance(61_000);
    const first = it.upstream.asked.length;
    t.ok(first >= 2);
    await it.clock.advance(10 * 1000);
    t.ok(it.upstream.asked.length > first, 'soon at first');
    await it.clock.advance(24 * HOUR_MS);
    t.ok(it.upstream.asked.length < 50, `${it.upstream.asked.length} in a day`);
    t.equal(it.prefix(), '64:ff9b::/96');
    t.same(it.told, ['64:ff9b::/96']);
    says = query => responseTo(query, { answers: addresses('2001:db8:64::/96') });
    await it.clock.advance(HOUR_MS);
    t.same(it.told, ['64:ff9b::/96', '2001:db8:64::/96']);
  },
);

await t.test('on another network nothing of before counts, not even an answer that is on its way', async t => {
  const it = discovering(() => 'waits');
  const answer = (prefix: string): Buffer =>
    responseTo(
      Buffer.concat([
        Buffer.from('000001000001000000000000', 'hex'),
        Buffer.from('\x08ipv4only\x04arpa\0\0\x1c\0\x01', 'latin1'),
      ]),
      { answers: addresses(prefix) },
    );
  it.discovery.configure(true);
  await it.clock.advance(1000);
  it.upstream.settle(answer('64:ff9b::/96'));
  t.equal(it.prefix(), '64:ff9b::/96');
  await it.clock.advance(HOUR_MS);
  t.equal(it.upstream.asked.length, 2);
  it.discovery.networkChanged();
  t.equal(it.prefix(), 'none');
  it.upstream.settle(answer('64:ff9b::/96'));
  t.equal(it.prefix(), 'none', 'the answer about the network of before');
  await it.clock.advance(1000);
  t.equal(it.upstream.asked.length, 3);
  it.upstream.settle(answer('2001:db8:64::/96'));
  t.same(it.told, ['64:ff9b::/96', 'none', '2001:db8:64::/96']);
});

await t.test('switched off, it has no prefix and asks nothing', async t => {
  const it = discovering(query => responseTo(query, { answers: addresses('64:ff9b::/96') }));
  it.discovery.configure(true);
  await it.clock.advance(1000);
  it.discovery.configure(false);
  it.discovery.networkChanged();
  await it.clock.advance(48 * HOUR_MS);
  t.equal(it.prefix(), 'none');
  t.equal(it.upstream.asked.length, 1);
  it.discovery.configure(true);
  await it.clock.advance(1000);
  t.equal(it.prefix(), '64:ff9b::/96');
});
