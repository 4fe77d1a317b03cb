// Conversations about special-use names and local names: what never leaves, what does, and who comes first.

import t from 'tap';

import { failure } from '../../../src/base/outcome.js';
import type { Outcome } from '../../../src/pipeline/answer.js';
import { addressOctets } from '../../../src/base/address.js';
import { wallSec } from '../../../src/base/time.js';
import { recordFrom } from '../../../src/policy/local/record-text.js';
import { LocalTable } from '../../../src/policy/local/table.js';
import { FLAG, writeHeader } from '../../../src/wire/header.js';
import { nameToText } from '../../../src/wire/name.js';
import { typeToText } from '../../../src/wire/rrtype.js';
import { responseTo } from '../../fixtures/messages.js';
import { takeApart } from '../../fixtures/mutations.js';
import { wireName } from '../../fixtures/records.js';
import { fakeUpstream, resolving, type Says } from '../../fixtures/resolving.js';

const outside: Says = (query, name) =>
  name.startsWith('none')
    ? responseTo(query, { rcode: 3, authority: 'example. 300 SOA a. b. 1 1 1 1 60' })
    : responseTo(query, { answers: `${name} 300 A 192.0.2.1` });

function tableOf(records: readonly string[], ownZones: readonly string[] = []): LocalTable {
  const table = new LocalTable(ownZones.map(each => wireName(each).toString('latin1')));
  for (const text of records) {
    const read = recordFrom(text);
    if (read.at === 'record') table.addRecord(read.record);
  }
  return table;
}

function shown(outcome: Outcome | undefined): string {
  if (outcome === undefined) return 'nothing';
  if (outcome.at === 'failure') return outcome.code;
  const { octets, answers, authority, additional, rcode, ttlSec, verdict } = outcome.entry;
  const copy = Buffer.from(octets);
  writeHeader(copy, 0, FLAG.QR, { questions: 1, answers, authority, additional });
  const parts = takeApart(copy);
  const texts = [...parts.answer, ...parts.authority].map(
    each => `${nameToText(each.owner)} ${each.ttlSec} ${typeToText(each.type)}`,
  );
  return [outcome.origin, rcode, verdict, `for ${ttlSec}`, ...texts].join(', ');
}

/** A route that answers everything with its own address. */
const route = (...zones: string[]) => {
  const upstream = fakeUpstream(outside, 9);
  return {
    zones: zones.map(each => wireName(each)),
    kubernetes: false,
    upstream: () => upstream,
    asked: upstream.asked,
  };
};

await t.test('special-use names never leave, with and without RD, and are never AD', t => {
  const { ask, upstream, network, recorder } = resolving(outside);
  for (const flags of [FLAG.RD, 0]) {
    t.equal(shown(ask('WWW.localhost', { flags })[0]), 'local, 0, unchecked, for 300, WWW.localhost. 300 A');
    t.equal(shown(ask('localhost', { type: 'MX', flags })[0]), 'local, 0, unchecked, for 300, localhost. 300 SOA');
    t.equal(shown(ask('x.test', { flags })[0]), 'local, 3, unchecked, for 300, test. 300 SOA');
    t.equal(shown(ask('printer.local', { flags })[0]), 'local, 3, unchecked, for 300, local. 300 SOA');
    t.equal(shown(ask('x.onion', { flags })[0]), 'local, 3, unchecked, for 300, onion. 300 SOA');
    t.equal(
      shown(ask('9.1.168.192.in-addr.arpa', { type: 'PTR', flags })[0]),
      'local, 3, unchecked, for 300, 168.192.in-addr.arpa. 300 SOA',
    );
    t.equal(
      shown(ask('_dns.resolver.arpa', { type: 'SVCB', flags })[0]),
      'local, 0, unchecked, for 300, resolver.arpa. 300 SOA',
    );
  }
  t.same([...upstream.asked, ...network.asked], []);
  t.ok(recorder);
  t.end();
});

await t.test('what is not special leaves: example, ipv4only.arpa, and DS at the cut of home.arpa', t => {
  const { ask, upstream, settings } = resolving(outside);
  ask('www.example');
  ask('ipv4only.arpa', { type: 'AAAA' });
  ask('home.arpa', { type: 'DS' });
  t.same(upstream.asked, ['www.example.', 'ipv4only.arpa.', 'home.arpa.']);
  ask('x.home.arpa', { type: 'DS' });
  settings.localNames = tableOf([], ['home.arpa']);
  ask('10.in-addr.arpa', { type: 'DS' });
  t.equal(upstream.asked.length, 4, 'the parent of an own zone is not here either');
  t.end();
});

await t.test('special_names.forward and routes go first, but nothing takes resolver.arpa away', t => {
  const { ask, upstream, settings } = resolving(outside);
  settings.forwarded = [wireName('test'), wireName('corp.home.arpa'), wireName('resolver.arpa')];
  ask('x.test');
  ask('a.corp.home.arpa');
  ask('b.home.arpa');
  ask('_dns.resolver.arpa', { type: 'SVCB' });
  t.same(upstream.asked, ['x.test.', 'a.corp.home.arpa.']);
  const given = route('168.192.in-addr.arpa', 'corp.local', 'arpa');
  settings.routes = [given];
  ask('1.1.168.192.in-addr.arpa', { type: 'PTR' });
  ask('x.corp.local');
  ask('x.local');
  ask('_dns.resolver.arpa', { type: 'SVCB' });
  t.same(given.asked, ['1.1.168.192.in-addr.arpa.', 'x.corp.local.']);
  t.end();
});

await t.test(
  'names of files and records below test, local or home.arpa are answered, and their neighbours are not there',
  t => {
    const { ask, upstream, settings } = resolving(outside);
    settings.localNames = tableOf(['nas.home.arpa. A 192.168.1.10', 'x.y.test. A 192.168.1.11']);
    t.equal(shown(ask('nas.home.arpa')[0]), 'local, 0, unchecked, for 300, nas.home.arpa. 300 A');
    t.equal(shown(ask('nas.home.arpa', { type: 'AAAA' })[0]), 'local, 0, unchecked, for 60, home.arpa. 60 SOA');
    t.equal(shown(ask('tv.home.arpa')[0]), 'local, 3, unchecked, for 300, home.arpa. 300 SOA');
    t.equal(shown(ask('y.test')[0]), 'local, 0, unchecked, for 60, test. 60 SOA', 'there is a name below it');
    const reverse = '10.1.168.192.in-addr.arpa';
    t.equal(shown(ask(reverse, { type: 'PTR' })[0]), `local, 0, unchecked, for 300, ${reverse}. 300 PTR`);
    t.equal(
      shown(ask('1.168.192.in-addr.arpa', { type: 'PTR' })[0]),
      'local, 0, unchecked, for 60, 168.192.in-addr.arpa. 60 SOA',
      'RFC 8020: above a name that exists',
    );
    t.same(upstream.asked, []);
    t.end();
  },
);

await t.test('nobody takes localhost away: not records, not hosts files, not leases', t => {
  const { ask, settings } = resolving(outside);
  const table = tableOf(['localhost. 300 A 192.0.2.66', 'www.localhost. 300 A 192.0.2.66']);
  table.addHost(addressOctets('192.0.2.66') ?? Buffer.alloc(0), [wireName('db.localhost').toString('latin1')], 'hosts');
  settings.localNames = table;
  for (const name of ['localhost', 'www.localhost', 'db.localhost']) {
    const [outcome] = ask(name);
    t.ok(outcome?.at === 'answer' && outcome.entry.octets.includes(Buffer.from([127, 0, 0, 1])), name);
  }
  t.end();
});

await t.test('local names go before cache, portal and routes, and an own zone ends here', t => {
  const { ask, upstream, network, settings, portal } = resolving(outside);
  ask('nas.lan');
  t.equal(upstream.asked.length, 1);
  settings.localNames = tableOf(['nas.lan. A 192.168.1.10', 'a.portal. A 192.168.1.1'], ['lan']);
  const corp = route('corp.lan', 'example');
  settings.routes = [corp];
  t.match(shown(ask('nas.lan')[0]), /^local/, 'the cache has another answer');
  t.match(shown(ask('tv.lan')[0]), /^local, 3/);
  t.match(shown(ask('x.corp.lan')[0]), /^route/, 'the longer zone');
  portal.start(60_000, [], { by: 'command' });
  t.match(shown(ask('a.portal')[0]), /^local/);
  t.same(network.asked, []);
  settings.localNames = new LocalTable();
  t.match(shown(ask('nas.lan')[0]), /^cache/);
  t.end();
});

await t.test('an alias to an outside name is followed, with the age of what the cache has, and not cached', async t => {
  const { ask, upstream, settings, clock } = resolving(outside);
  settings.localNames = tableOf([
    'cdn.lan. 1000 CNAME www.example.',
    'gone.lan. CNAME none.example.',
    'me.lan. CNAME x.localhost.',
  ]);
  t.equal(shown(ask('cdn.lan')[0]), 'upstream, 0, unchecked, for 300, cdn.lan. 1000 CNAME, www.example. 300 A');
  await clock.advance(100_000);
  t.equal(shown(ask('cdn.lan')[0]), 'cache, 0, unchecked, for 200, cdn.lan. 1000 CNAME, www.example. 200 A');
  t.same(upstream.asked, ['www.example.']);
  t.match(shown(ask('gone.lan')[0]), /^upstream, 3, unchecked, for 60, gone\.lan\. 300 CNAME, example\. 60 SOA/);
  t.equal(shown(ask('me.lan')[0]), 'local, 0, unchecked, for 300, me.lan. 300 CNAME, x.localhost. 300 A');
  settings.localNames = tableOf(['cdn.lan. 1000 CNAME other.example.']);
  t.match(shown(ask('cdn.lan')[0]), /other\.example/);
  t.end();
});

await t.test(
  'where servers fail, an alias leads to the expired answer, with a TTL of 30 s and EDE 3 or 19',
  async t => {
    const { ask, upstream, settings, clock } = resolving(outside);
    settings.localNames = tableOf(['cdn.lan. 1000 CNAME www.example.', 'gone.lan. CNAME none.example.']);
    ask('cdn.lan');
    ask('gone.lan');
    await clock.advance(400_000);
    upstream.says = () => failure('connect');
    const [first, second] = [ask('cdn.lan')[0], ask('gone.lan')[0]];
    t.match(shown(first), 'stale, 0, unchecked, for 0, cdn.lan. 1000 CNAME, www.example. 30 A');
    t.match(shown(second), /^stale, 3, unchecked, for 0, gone\.lan\. 300 CNAME, example\. 30 SOA/);
    t.match(
      [first, second],
      [{ entry: { extendedErrors: [{ infoCode: 3 }] } }, { entry: { extendedErrors: [{ infoCode: 19 }] } }],
    );
  },
);

await t.test('aliases in a circle fail, within the records and over an outside server', t => {
  const { ask, settings } = resolving((query, name) => responseTo(query, { answers: `${name} 300 CNAME a.lan.` }));
  settings.localNames = tableOf(['one.lan. CNAME two.lan.', 'two.lan. CNAME one.lan.', 'a.lan. CNAME www.example.']);
  t.equal(shown(ask('one.lan')[0]), 'alias_loop');
  t.equal(shown(ask('a.lan')[0]), 'alias_loop');
  t.end();
});

await t.test('a lease that ends is not answered any more', async t => {
  const { ask, settings, clock } = resolving(outside);
  const table = new LocalTable([wireName('lan').toString('latin1')]);
  const until = wallSec(clock.wallMs() / 1000 + 30);
  table.addHost(
    addressOctets('192.168.1.9') ?? Buffer.alloc(0),
    [wireName('tv.lan').toString('latin1')],
    'leases',
    until,
  );
  settings.localNames = table;
  t.equal(shown(ask('tv.lan')[0]), 'local, 0, unchecked, for 30, tv.lan. 30 A');
  await clock.advance(31_000);
  t.match(shown(ask('tv.lan')[0]), /^local, 3/);
});
