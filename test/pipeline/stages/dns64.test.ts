// DNS64, by the sections of RFC 6147; and ipv4only.arpa (RFC 8880).

import t from 'tap';

import { addressOctets, addressText } from '../../../src/base/address.js';
import { failure, type Failure } from '../../../src/base/outcome.js';
import { ageSec } from '../../../src/base/time.js';
import type { Outcome } from '../../../src/pipeline/answer.js';
import { excluding } from '../../../src/policy/dns64.js';
import { nat64PrefixFrom } from '../../../src/policy/nat64.js';
import { FLAG, flagsOf, HEADER_BYTES, writeHeader } from '../../../src/wire/header.js';
import { nameToText, readName } from '../../../src/wire/name.js';
import { u16At } from '../../../src/base/octets.js';
import { TYPE, typeToText } from '../../../src/wire/rrtype.js';
import { fakeClock } from '../../fixtures/clock.js';
import { describe } from '../../fixtures/described.js';
import { responseTo, type ResponseParts } from '../../fixtures/messages.js';
import { takeApart } from '../../fixtures/mutations.js';
import { wireName } from '../../fixtures/records.js';
import { fakeUpstream, type Resolving, resolving, type Says } from '../../fixtures/resolving.js';
import { signedTree } from '../../fixtures/signed-records.js';

/** `waits`: the answer comes later. */
type Said = string | ResponseParts | Failure;
const SOA = 'example. 3600 SOA ns.example. h.example. 1 1 1 1 300';
const NODATA: ResponseParts = { authority: SOA };

/** A server that says this about `name TYPE`; NODATA where it says nothing. */
const saying =
  (said: Readonly<Record<string, Said>>): Says =>
  (query, name) => {
    const read = readName(query, HEADER_BYTES);
    const about = said[`${name.toLowerCase()} ${typeToText(u16At(query, read?.end ?? 0))}`] ?? NODATA;
    if (about === 'waits') return about;
    if (typeof about === 'string') return responseTo(query, { answers: about });
    return 'at' in about ? about : responseTo(query, about);
  };

function translating(said: Readonly<Record<string, Said>> | Says, prefix = '64:ff9b::/96', options = {}): Resolving {
  const it = resolving(typeof said === 'function' ? said : saying(said), options);
  it.settings.nat64 = nat64PrefixFrom(prefix);
  return it;
}

/** `address ttl` of each AAAA record. */
function made(outcome: Outcome | undefined): string {
  if (outcome?.at !== 'answer') return outcome?.code ?? 'nothing';
  const { octets, answers, authority, additional } = outcome.entry;
  const copy = Buffer.from(octets);
  writeHeader(copy, 0, FLAG.QR, { questions: 1, answers, authority, additional });
  return takeApart(copy)
    .answer.filter(({ type }) => type === TYPE.AAAA)
    .map(({ rdata, ttlSec }) => `${addressText(rdata, 0, 16)} ${ttlSec}`)
    .join(', ');
}
const address = (text: string): string => addressText(addressOctets(text) ?? Buffer.alloc(16), 0, 16);
const aaaa = (it: Resolving, name: string, asking = {}): Outcome | undefined =>
  it.ask(name, { type: 'AAAA', ...asking })[0];

await t.test('without a prefix nothing is made', t => {
  const it = resolving(saying({ 'v4.example. A': 'v4.example. 60 A 192.0.2.1' }));
  t.equal(describe(aaaa(it, 'v4.example.')), 'NOERROR | example. 300 SOA');
  t.same(it.upstream.asked, ['v4.example.']);
  t.end();
});

await t.test('RFC 6147 §7.1: a name with A only gets an address below the prefix', t => {
  const it = translating({ 'h2.example. A': 'h2.example. 60 A 192.0.2.1\nh2.example. 60 A 192.0.2.2' });
  t.equal(made(aaaa(it, 'h2.example.')), `${address('64:ff9b::192.0.2.1')} 60, ${address('64:ff9b::192.0.2.2')} 60`);
  t.same(it.upstream.asked, ['h2.example.', 'h2.example.']);
  const again = aaaa(it, 'h2.example.');
  t.match(again, { origin: 'cache' });
  t.equal(it.upstream.asked.length, 2, 'both answers were kept as they came');
  t.equal(describe(it.ask('h2.example.')[0]), 'NOERROR h2.example. 60 A, h2.example. 60 A', 'A is not touched');
  t.end();
});

await t.test('RFC 6147 §5.1.1, §5.1.4: a name with AAAA gets those', t => {
  const it = translating({
    'v6.example. AAAA': 'v6.example. 60 AAAA 2001:db8::1',
    'v6.example. A': 'v6.example. 60 A 192.0.2.1',
  });
  t.equal(made(aaaa(it, 'v6.example.')), '2001:db8::1 60');
  t.same(it.upstream.asked, ['v6.example.']);
  t.end();
});

await t.test('RFC 6147 §5.1.2: NXDOMAIN holds for A, too; other errors count as an empty answer', t => {
  const it = translating({
    'none.example. AAAA': { rcode: 3, authority: SOA },
    'none.example. A': 'none.example. 60 A 192.0.2.1',
    'servfail.example. AAAA': { rcode: 2 },
    'servfail.example. A': 'servfail.example. 60 A 192.0.2.1',
    'notimp.example. AAAA': { rcode: 4 },
    'notimp.example. A': 'notimp.example. 60 A 192.0.2.1',
  });
  t.equal(describe(aaaa(it, 'none.example.')), 'NXDOMAIN | example. 300 SOA');
  t.same(it.upstream.asked, ['none.example.']);
  t.equal(made(aaaa(it, 'servfail.example.')), `${address('64:ff9b::192.0.2.1')} 60`);
  t.equal(made(aaaa(it, 'notimp.example.')), `${address('64:ff9b::192.0.2.1')} 60`);
  t.end();
});

await t.test(
  'RFC 6147 §5.1.3: no reply about AAAA counts as an empty answer; the failure is told if A fails, too',
  t => {
    const it = translating({
      'silent.example. AAAA': failure('timeout'),
      'silent.example. A': 'silent.example. 60 A 192.0.2.1',
      'dead.example. AAAA': failure('timeout'),
      'dead.example. A': failure('closed'),
      'half.example. A': failure('timeout'),
    });
    t.equal(made(aaaa(it, 'silent.example.')), `${address('64:ff9b::192.0.2.1')} 60`);
    t.equal(describe(aaaa(it, 'dead.example.')), 'timeout');
    t.equal(describe(aaaa(it, 'half.example.')), 'NOERROR | example. 300 SOA', 'the denial of AAAA is true');
    t.end();
  },
);

await t.test('RFC 6147 §5.1.4: excluded addresses count as none', t => {
  const it = translating({
    'mapped.example. AAAA': 'mapped.example. 60 AAAA ::ffff:c000:201',
    'mapped.example. A': 'mapped.example. 60 A 192.0.2.1',
    'mixed.example. AAAA': 'mixed.example. 60 AAAA ::ffff:c000:201\nmixed.example. 60 AAAA 2001:db8::1',
    'only.example. AAAA': 'only.example. 60 AAAA ::ffff:c000:201',
    'other.example. AAAA': 'other.example. 60 AAAA 2001:db8:5::1',
    'other.example. A': 'other.example. 60 A 192.0.2.1',
  });
  t.equal(made(aaaa(it, 'mapped.example.')), `${address('64:ff9b::192.0.2.1')} 60`);
  t.equal(made(aaaa(it, 'mixed.example.')), '2001:db8::1 60');
  t.equal(describe(aaaa(it, 'only.example.')), 'NOERROR only.example. 60 AAAA', 'without A there is nothing better');
  t.equal(made(aaaa(it, 'other.example.')), '2001:db8:5::1 60');
  it.settings.excludes = excluding([{ address: '2001:db8:4::', prefix: 47 }]);
  t.equal(made(aaaa(it, 'other.example.')), `${address('64:ff9b::192.0.2.1')} 60`);
  t.equal(made(aaaa(it, 'mapped.example.')), '::ffff:c000:201 60', 'the default is only a default');
  t.end();
});

await t.test('RFC 6147 §5.1.5: aliases are kept, and addresses are made at their end', t => {
  const it = translating({
    'alias.example. AAAA': {
      answers: 'alias.example. 90 CNAME end.other.',
      authority: 'other. 3600 SOA a. b. 1 1 1 1 300',
    },
    'alias.example. A': 'alias.example. 90 CNAME end.other.\nend.other. 60 A 192.0.2.1',
    'a.d.example. AAAA': {
      answers: 'd.example. 80 DNAME e.other.\na.d.example. 80 CNAME a.e.other.',
      authority: 'other. 3600 SOA a. b. 1 1 1 1 300',
    },
    'a.d.example. A': 'd.example. 80 DNAME e.other.\na.d.example. 80 CNAME a.e.other.\na.e.other. 60 A 192.0.2.1',
    'unfollowed.example. AAAA': 'unfollowed.example. 90 CNAME end.other.',
    'unfollowed.example. A': 'unfollowed.example. 90 CNAME end.other.',
    'end.other. AAAA': { authority: 'other. 3600 SOA a. b. 1 1 1 1 300' },
    'end.other. A': 'end.other. 60 A 192.0.2.1',
  });
  t.equal(describe(aaaa(it, 'alias.example.')), 'NOERROR alias.example. 90 CNAME, end.other. 60 AAAA');
  t.equal(describe(aaaa(it, 'a.d.example.')), 'NOERROR d.example. 80 DNAME, a.d.example. 80 CNAME, a.e.other. 60 AAAA');
  t.equal(describe(aaaa(it, 'unfollowed.example.')), 'NOERROR unfollowed.example. 90 CNAME, end.other. 60 AAAA');
  t.end();
});

await t.test('RFC 6147 §5.1.7: the TTL is the lesser of those of A and of the SOA, 600 s without a SOA', async t => {
  const it = translating({
    'long.example. A': 'long.example. 3600 A 192.0.2.1',
    'short.example. A': 'short.example. 60 A 192.0.2.1',
    'bare.example. AAAA': {},
    'bare.example. A': 'bare.example. 3600 A 192.0.2.1',
    'error.example. AAAA': { rcode: 2 },
    'error.example. A': 'error.example. 3600 A 192.0.2.1',
    'silent.example. AAAA': failure('timeout'),
    'silent.example. A': 'silent.example. 3600 A 192.0.2.1',
    'zero.example. AAAA': { authority: SOA.replace('3600', '0') },
    'zero.example. A': 'zero.example. 3600 A 192.0.2.1',
  });
  const ttls = (...names: string[]): readonly string[] => names.map(name => made(aaaa(it, name)).split(' ')[1] ?? '');
  const names = [
    'long.example.',
    'short.example.',
    'bare.example.',
    'error.example.',
    'silent.example.',
    'zero.example.',
  ];
  t.same(ttls(...names), ['300', '60', '600', '600', '600', '0']);
  await it.clock.advance(50_000);
  t.same(ttls('long.example.', 'short.example.'), ['250', '10'], 'both grow shorter in the cache');
  const [outcome] = it.ask('long.example.', { type: 'AAAA' });
  t.equal(
    outcome?.at === 'answer' && outcome.elapsedSec(ageSec(it.clock.monotonicMs() / 1000)),
    0,
    'and are not reduced once more',
  );
  t.match(outcome, { entry: { ttlSec: 250, negative: false } }, 'a ready reply ends with it');
  t.end();
});

await t.test('RFC 6147 §5.3.1: the name of a made address is an alias to that of the IPv4 address', t => {
  const reverse = (last: string): string =>
    `${last}.2.7.0.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.9.f.f.4.6.0.0.ip6.arpa.`;
  const it = translating({
    '1.114.0.203.in-addr.arpa. PTR': '1.114.0.203.in-addr.arpa. 60 PTR h2.example.',
    '2.114.0.203.in-addr.arpa. PTR': { rcode: 3, authority: 'in-addr.arpa. 3600 SOA a. b. 1 1 1 1 90' },
    '3.114.0.203.in-addr.arpa. PTR': failure('timeout'),
    '4.114.0.203.in-addr.arpa. PTR':
      '4.114.0.203.in-addr.arpa. 90 CNAME 4.0-25.114.0.203.in-addr.arpa.\n4.0-25.114.0.203.in-addr.arpa. 60 PTR h4.example.',
  });
  const ptr = (name: string): string => describe(it.ask(name, { type: 'PTR' })[0]);
  t.equal(ptr(reverse('1.0')), `NOERROR ${reverse('1.0')} 60 CNAME, 1.114.0.203.in-addr.arpa. 60 PTR`);
  t.equal(ptr(reverse('2.0')), `NXDOMAIN | ${reverse('2.0').slice(16)} 90 SOA`);
  t.equal(ptr(reverse('3.0')), 'timeout');
  t.match(ptr(reverse('4.0')), /60 CNAME, 4\.114\.0\.203\.in-addr\.arpa\. 90 CNAME, 4\.0-25\S+ 60 PTR$/);
  t.equal(ptr(reverse('1.0').replace('4.6.0.0', '4.6.0.1')), 'NOERROR', 'others are asked for');
  t.equal(ptr('1.114.0.203.in-addr.arpa.'), 'NOERROR 1.114.0.203.in-addr.arpa. 60 PTR');
  const before = it.upstream.asked.length;
  // 192.168.1.9
  const own = `9.0.1.0.8.a.0.c.${'0.'.repeat(16)}b.9.f.f.4.6.0.0.ip6.arpa.`;
  t.match(ptr(own), /^NXDOMAIN \S+ 60 CNAME \| 168\.192\.in-addr\.arpa\. \d+ SOA$/);
  t.equal(it.upstream.asked.length, before, 'names of this network do not leave');
  t.end();
});

await t.test('RFC 6147 §5.5: DO and CD together get what was signed; each alone gets addresses', t => {
  const it = translating({ 'v4.example. A': 'v4.example. 60 A 192.0.2.1' });
  // The fixture asks with DO.
  t.equal(made(aaaa(it, 'v4.example.')), `${address('64:ff9b::192.0.2.1')} 60`);
  t.equal(describe(aaaa(it, 'v4.example.', { flags: FLAG.RD | FLAG.CD })), 'NOERROR | example. 300 SOA');
  t.end();
});

await t.test('RFC 6147 §5.5: both answers are validated, what is made is never AD, and bogus stays bogus', async t => {
  const nowMs = Date.UTC(2026, 2, 1);
  const zone = 'v4.example. 60 A 192.0.2.1\nalias.example. 90 CNAME v4.example.\nv6.example. 60 AAAA 2001:db8::1\n';
  const tree = signedTree({ '.': { text: '' }, 'example.': { text: zone } }, nowMs / 1000);
  const spoilt = { type: 0 };
  const says: Says = query => {
    const answer = tree.answer(query);
    const isSpoilt = answer !== undefined && u16At(query, readName(query, HEADER_BYTES)?.end ?? 0) === spoilt.type;
    if (answer !== undefined && isSpoilt) {
      // The address of the record; of a denial, the last octet of a signature.
      const at = answer.indexOf(Buffer.from([192, 0, 2, 1]));
      const where = at === -1 ? answer.length - 60 : at;
      answer[where] = (answer[where] ?? 0) ^ 1;
    }
    return answer ?? responseTo(query, { rcode: 2 });
  };
  const asked = async (name: string, flags: number = FLAG.RD): Promise<string> => {
    const it = translating(says, '64:ff9b::/96', { anchors: tree.anchors, clock: fakeClock(nowMs) });
    const outcomes = it.ask(name, { type: 'AAAA', flags });
    for (let i = 0; i < 2000 && outcomes.length === 0; i++) await new Promise(resolve => setImmediate(resolve));
    const [outcome] = outcomes;
    return outcome?.at === 'answer' ? `${outcome.entry.verdict}: ${describe(outcome)}` : describe(outcome);
  };
  t.equal(await asked('v4.example.'), 'unchecked: NOERROR v4.example. 60 AAAA');
  t.match(await asked('alias.example.'), /^unchecked: NOERROR alias\.example\. 90 CNAME, .* v4\.example\. 60 AAAA$/);
  t.match(await asked('v6.example.'), /^secure: NOERROR v6\.example\. 60 AAAA/);
  t.match(await asked('v4.example.', FLAG.RD | FLAG.CD), /^\w+: NOERROR \|/, 'the denial as it was signed');
  spoilt.type = TYPE.A;
  t.match(
    await asked('v4.example.'),
    /^secure: NOERROR \|/,
    'nothing is made of a bogus A: the denial of AAAA is true',
  );
  spoilt.type = TYPE.AAAA;
  t.notMatch(await asked('v4.example.'), 'NOERROR', 'nor after a bogus denial of AAAA');
});

await t.test('RFC 6052 §3.1: the Well-Known Prefix stands for global addresses only; other prefixes for all', t => {
  const said = {
    'private.example. A': 'private.example. 60 A 10.0.0.1',
    'both.example. A': 'both.example. 60 A 10.0.0.1\nboth.example. 60 A 192.0.2.1',
  };
  const known = translating(said);
  t.equal(describe(aaaa(known, 'private.example.')), 'NOERROR | example. 300 SOA');
  t.equal(made(aaaa(known, 'both.example.')), `${address('64:ff9b::192.0.2.1')} 60`);
  const own = translating(said, '2001:db8:64::/96');
  t.equal(made(aaaa(own, 'private.example.')), `${address('2001:db8:64::10.0.0.1')} 60`);
  t.end();
});

await t.test('nothing is made of addresses that rebinding protection leaves out', t => {
  const it = translating(
    {
      'evil.example. A': 'evil.example. 60 A 192.168.1.1',
      'sly.example. AAAA': 'sly.example. 60 AAAA 2001:db8:64::c0a8:101',
      'nas.example. A': 'nas.example. 60 A 192.168.1.1',
    },
    '2001:db8:64::/96',
  );
  it.settings.rebinding = { protect: true, allow: [wireName('nas.example.')] };
  t.equal(made(aaaa(it, 'evil.example.')), '');
  t.equal(made(aaaa(it, 'sly.example.')), '', 'nor are addresses of the translator given that lead to such');
  t.equal(made(aaaa(it, 'nas.example.')), `${address('2001:db8:64::192.168.1.1')} 60`);
  t.end();
});

await t.test('a question without RD gets an address made of what is in the cache, and asks nobody', t => {
  const it = translating({
    'v4.example. A': 'v4.example. 60 A 192.0.2.1',
    'half.example. A': 'half.example. 60 A 192.0.2.1',
  });
  it.settings.mayLook = true;
  t.equal(describe(aaaa(it, 'v4.example.', { flags: 0 })), 'not_cached');
  aaaa(it, 'v4.example.');
  t.equal(made(aaaa(it, 'v4.example.', { flags: 0 })), `${address('64:ff9b::192.0.2.1')} 60`);
  t.equal(it.upstream.asked.length, 2);
  t.end();
});

await t.test('RFC 6147 §5.1.8: A and AAAA are asked for at the same time, once for all clients', t => {
  const later: Readonly<Record<string, Said>> = { 'v4.example. A': 'v4.example. 60 A 192.0.2.1' };
  const NOTHING = { 'v4.example. A': 'waits', 'v4.example. AAAA': 'waits' };
  const address64 = `${address('64:ff9b::192.0.2.1')} 60`;
  for (const lastOne of ['v4.example. A', 'v4.example. AAAA']) {
    const it = translating(NOTHING);
    const both = [it.ask('v4.example.', { type: 'AAAA' }), it.ask('v4.example.', { type: 'AAAA' })];
    t.same(it.upstream.asked, ['v4.example.', 'v4.example.'], 'one exchange for each type');
    it.upstream.settle(saying({ ...later, [lastOne]: 'waits' }));
    t.same(both, [[], []]);
    it.upstream.settle(saying(later));
    t.same(
      both.map(each => each.map(made)),
      [[address64], [address64]],
      `${lastOne} comes last`,
    );
    t.equal(it.upstream.asked.length, 2);
  }
  const it = translating(NOTHING);
  const outcomes = it.ask('v4.example.', { type: 'AAAA' });
  it.upstream.settle(saying({ ...NOTHING, 'v4.example. AAAA': 'v4.example. 60 AAAA 2001:db8::1' }));
  t.same(outcomes.map(made), ['2001:db8::1 60'], 'addresses of the name are given at once');
  it.upstream.settle(failure('timeout'));
  t.equal(outcomes.length, 1);
  t.end();
});

await t.test(
  'the wait for servers that do not answer is not made twice: neither up to a failure nor for old answers',
  async t => {
    const said = { 'v4.example. A': 'v4.example. 60 A 192.0.2.1' };
    const it = translating({ ...said, 'v4.example. AAAA': 'waits' });
    const outcomes = it.ask('v4.example.', { type: 'AAAA' });
    it.upstream.settle(failure('timeout'));
    t.same(outcomes.map(made), [`${address('64:ff9b::192.0.2.1')} 60`]);
    const dead = translating(() => 'waits');
    const none = dead.ask('v4.example.', { type: 'AAAA' });
    dead.upstream.settle(failure('timeout'));
    t.same(none.map(made), ['timeout']);

    const old = translating(said);
    aaaa(old, 'v4.example.');
    await old.clock.advance(400_000);
    old.upstream.says = () => 'waits';
    const stale = old.ask('v4.example.', { type: 'AAAA' });
    await old.clock.advance(1900);
    t.same(stale.map(made), [`${address('64:ff9b::192.0.2.1')} 30`]);
  },
);

await t.test('RFC 6147 §5.1.7: what waits for the other answer grows older meanwhile', async t => {
  const NOTHING = { 'v4.example. A': 'waits', 'v4.example. AAAA': 'waits' };
  const prefixed = address('64:ff9b::192.0.2.1');
  // The TTL of an address, and that of the SOA, which is 300 s.
  for (const [ttl, first, want] of [
    [60, 'A', 57],
    [60, 'AAAA', 60],
    [600, 'A', 300],
    [600, 'AAAA', 297],
  ] as const) {
    const it = translating(NOTHING);
    const outcomes = it.ask('v4.example.', { type: 'AAAA' });
    const addresses = { 'v4.example. A': `v4.example. ${ttl} A 192.0.2.1` };
    const last = first === 'A' ? 'v4.example. AAAA' : 'v4.example. A';
    it.upstream.settle(saying({ ...addresses, [last]: 'waits' }));
    await it.clock.advance(3000);
    it.upstream.settle(saying(addresses));
    t.same(outcomes.map(made), [`${prefixed} ${want}`], `${first} comes first`);
    const [outcome] = outcomes;
    t.match(outcome, { entry: { ttlSec: want } }, 'a ready reply is kept no longer');
  }
});

await t.test('an address that is made because an old denial says so is marked as old', async t => {
  const it = translating({ 'v4.example. A': 'v4.example. 3600 A 192.0.2.1' });
  aaaa(it, 'v4.example.');
  await it.clock.advance(400_000);
  const codes = (outcome: Outcome | undefined): unknown =>
    outcome?.at === 'answer' && outcome.entry.extendedErrors.map(({ infoCode }) => infoCode);
  it.upstream.says = () => failure('connect');
  const outcome = aaaa(it, 'v4.example.');
  t.equal(made(outcome), `${address('64:ff9b::192.0.2.1')} 30`);
  t.same(codes(outcome), [3]);
  await it.clock.advance(4_000_000);
  const both = aaaa(it, 'v4.example.');
  t.equal(made(both), `${address('64:ff9b::192.0.2.1')} 30`);
  t.same(codes(both), [3], 'once, if both are');
});

await t.test('names of a route get addresses, and its reverse zones are its own', t => {
  const it = translating({}, '2001:db8:64::/96');
  const corp = fakeUpstream(saying({ 'nas.corp. A': 'nas.corp. 60 A 10.0.0.1' }), 3);
  const zones = ['corp.', '8.b.d.0.1.0.0.2.ip6.arpa.', 'ipv4only.arpa.'].map(wireName);
  it.settings.routes = [{ zones, kubernetes: false, upstream: () => corp }];
  t.equal(made(aaaa(it, 'nas.corp.')), `${address('2001:db8:64::10.0.0.1')} 60`);
  const reverse = `1.0.0.0.0.0.a.0.${'0.'.repeat(12)}4.6.0.0.8.b.d.0.1.0.0.2.ip6.arpa.`;
  it.ask(reverse, { type: 'PTR' });
  aaaa(it, 'ipv4only.arpa.');
  t.same(corp.asked, ['nas.corp.', 'nas.corp.', reverse, 'ipv4only.arpa.', 'ipv4only.arpa.']);
  t.same(it.upstream.asked, []);
  t.end();
});

await t.test('RFC 8880 §7: ipv4only.arpa and its reverse names are answered here while there is a prefix', t => {
  const it = translating({}, '2001:db8:64::/96');
  const asked = (name: string, type: string): string => describe(it.ask(name, { type })[0]);
  t.equal(asked('ipv4only.arpa.', 'A'), 'NOERROR ipv4only.arpa. 600 A, ipv4only.arpa. 600 A');
  t.equal(
    made(aaaa(it, 'ipv4only.arpa.')),
    `${address('2001:db8:64::192.0.0.170')} 600, ${address('2001:db8:64::192.0.0.171')} 600`,
  );
  t.equal(asked('ipv4only.arpa.', 'TXT'), 'NOERROR | ipv4only.arpa. 600 SOA');
  t.equal(asked('ipv4only.arpa.', 'SOA'), 'NOERROR ipv4only.arpa. 600 SOA');
  t.equal(asked('x.ipv4only.arpa.', 'A'), 'NXDOMAIN | ipv4only.arpa. 600 SOA');
  t.equal(asked('170.0.0.192.in-addr.arpa.', 'PTR'), 'NOERROR 170.0.0.192.in-addr.arpa. 600 PTR');
  const reverse = `a.a.0.0.0.0.0.c.${'0.'.repeat(12)}4.6.0.0.8.b.d.0.1.0.0.2.ip6.arpa.`;
  t.equal(asked(reverse, 'PTR'), `NOERROR ${reverse} 600 CNAME, 170.0.0.192.in-addr.arpa. 600 PTR`);
  t.same(it.upstream.asked, []);
  it.settings.nat64 = undefined;
  asked('ipv4only.arpa.', 'A');
  t.same(it.upstream.asked, ['ipv4only.arpa.'], 'without one it is a name like others');
  t.end();
});

await t.test(
  'a made answer is a whole message, whatever the number of addresses; one that would be too long is not made',
  t => {
    const many = (count: number): string =>
      Array.from({ length: count }, (_, i) => `many.example. 60 A 192.0.${i >> 8}.${i & 255}`).join('\n');
    for (const [count, expected] of [
      [2000, 2000],
      [4000, 0],
    ] as const) {
      const it = translating({ 'many.example. A': many(count) });
      const outcome = aaaa(it, 'many.example.');
      if (outcome?.at !== 'answer') throw new Error('no answer');
      const { octets, answers, authority, additional, ttlOffsets } = outcome.entry;
      t.equal(answers, expected);
      t.equal(ttlOffsets.length, answers + authority + additional);
      t.equal(flagsOf(octets) & FLAG.TC, 0);
      t.equal(nameToText(readName(octets, HEADER_BYTES)?.name ?? Buffer.alloc(1)), 'many.example.');
    }
    t.end();
  },
);
