// The table of local names: what exists, what does not, who is asked instead.

import t from 'tap';

import { addressOctets, addressText } from '../../../src/base/address.js';
import { wallSec } from '../../../src/base/time.js';
import { recordFrom } from '../../../src/policy/local/record-text.js';
import { LocalTable, MOST_NAMES, reverseName } from '../../../src/policy/local/table.js';
import { nameToText } from '../../../src/wire/name.js';
import { TYPE, typeFromText, typeToText } from '../../../src/wire/rrtype.js';
import { wireName } from '../../fixtures/records.js';

const key = (text: string): string => wireName(text).toString('latin1');
const octets = (text: string): Buffer => addressOctets(text) ?? Buffer.alloc(0);

function tableOf(records: readonly string[], ownZones: readonly string[] = []): LocalTable {
  const table = new LocalTable(ownZones.map(key));
  for (const text of records) {
    const read = recordFrom(text);
    if (read.at === 'problem') throw new Error(read.words);
    const wrong = table.addRecord(read.record);
    if (wrong !== undefined) throw new Error(wrong);
  }
  return table;
}

interface Asking {
  readonly now?: number;
  readonly zone?: string;
  readonly route?: string;
}

function find(table: LocalTable, name: string, type: string, { now = 0, zone, route }: Asking = {}): string {
  const found = table.find({
    name: key(name),
    type: typeFromText(type) ?? 0,
    wallNow: wallSec(now),
    zone: zone === undefined ? undefined : key(zone),
    routeBytes: each => (route !== undefined && each.endsWith(key(route)) ? key(route).length : 0),
  });
  if (found === undefined) return 'pass';
  if (found.at === 'circle') return 'circle';
  const answer = found.answer.map(({ owner, type: each, ttlSec, rdata }) => {
    const isAddress = each === TYPE.A || each === TYPE.AAAA;
    const isName = each === TYPE.CNAME || each === TYPE.PTR || each === TYPE.NS;
    const data = isAddress ? addressText(rdata, 0, each === TYPE.A ? 4 : 16) : isName ? nameToText(rdata) : '…';
    return `${nameToText(owner)} ${ttlSec} ${typeToText(each)} ${data}`;
  });
  const text = (each: string): string => nameToText(Buffer.from(each, 'latin1'));
  const end =
    found.at === 'denial'
      ? [`${found.rcode === 3 ? 'NXDOMAIN' : 'NODATA'} ${text(found.zone)}`]
      : found.target === undefined
        ? []
        : [`-> ${text(found.target)}`];
  return [...answer, ...end].join(', ');
}

await t.test('records: types, wildcards of the closest encloser only, aliases within and out of the table', t => {
  const table = tableOf([
    'nas.lan. 300 A 192.168.1.10',
    'nas.lan. AAAA fd00::10',
    'nas.lan. 60 IN TXT "a b" c',
    '*.dev.lan. 30 A 192.168.1.20',
    'a.b.dev.lan. 30 A 192.168.1.21',
    'music.lan. 100 CNAME nas.lan.',
    'cdn.lan. 100 CNAME www.example.',
    'one.lan. CNAME two.lan.',
    'two.lan. CNAME one.lan.',
  ]);
  t.equal(find(table, 'nas.lan', 'A'), 'nas.lan. 300 A 192.168.1.10');
  t.equal(find(table, 'nas.lan', 'AAAA'), 'nas.lan. 300 AAAA fd00::10');
  t.equal(find(table, 'nas.lan', 'TXT'), 'nas.lan. 60 TXT …');
  t.equal(find(table, 'nas.lan', 'MX'), 'NODATA nas.lan.', 'what the configuration names is whole');
  t.equal(find(table, 'x.dev.lan', 'A'), 'x.dev.lan. 30 A 192.168.1.20');
  t.equal(find(table, 'x.y.dev.lan', 'A'), 'x.y.dev.lan. 30 A 192.168.1.20');
  t.equal(find(table, 'x.b.dev.lan', 'A'), 'pass', 'b.dev.lan exists, and has no wildcard');
  t.equal(find(table, 'b.dev.lan', 'A'), 'pass', 'it exists without records, in no own zone');
  t.equal(find(table, 'dev.lan', 'A'), 'pass');
  t.equal(find(table, 'music.lan', 'A'), 'music.lan. 100 CNAME nas.lan., nas.lan. 300 A 192.168.1.10');
  t.equal(find(table, 'music.lan', 'CNAME'), 'music.lan. 100 CNAME nas.lan.');
  t.equal(find(table, 'music.lan', 'MX'), 'music.lan. 100 CNAME nas.lan., NODATA nas.lan.');
  t.equal(find(table, 'cdn.lan', 'A'), 'cdn.lan. 100 CNAME www.example., -> www.example.');
  t.equal(find(table, 'one.lan', 'A'), 'circle');
  t.equal(find(table, 'other.lan', 'A'), 'pass');
  t.equal(table.names, 7);
  t.end();
});

await t.test('addresses get PTR records: the first name, unless the configuration has one', t => {
  const table = tableOf([
    'nas.lan. 300 A 192.168.1.10',
    '11.1.168.192.in-addr.arpa. 5 PTR given.lan.',
    'b.lan. A 192.168.1.11',
  ]);
  table.addHost(octets('192.168.1.12'), [key('first.lan'), key('second.lan')], 'hosts');
  table.addHost(octets('192.168.1.12'), [key('third.lan')], 'hosts');
  table.addHost(octets('192.168.1.10'), [key('late.lan')], 'leases');
  table.addHost(octets('0.0.0.0'), [key('ads.example')], 'hosts');
  const ptr = (of: string): string =>
    find(table, nameToText(Buffer.from(reverseName(octets(of)), 'latin1')), 'PTR').replace(/^.* PTR /, '');
  t.equal(ptr('192.168.1.10'), 'nas.lan.');
  t.match(ptr('192.168.1.11'), 'given.lan.');
  t.equal(ptr('192.168.1.12'), 'first.lan.');
  t.equal(ptr('0.0.0.0'), 'pass', 'a blocked name names no address');
  t.equal(find(table, 'ads.example', 'A'), 'ads.example. 60 A 0.0.0.0');
  table.addHost(octets('fd00::10'), [key('six.lan')], 'hosts');
  t.equal(ptr('fd00::10'), 'six.lan.');
  t.end();
});

await t.test('a name of a file has no addresses from outside, and everything else from there', t => {
  const table = new LocalTable();
  table.addHost(octets('192.168.1.10'), [key('www.example')], 'hosts');
  table.addHost(octets('192.168.1.10'), [key('nas')], 'hosts');
  t.equal(find(table, 'www.example', 'A'), 'www.example. 60 A 192.168.1.10');
  for (const type of ['AAAA', 'HTTPS', 'SVCB']) t.equal(find(table, 'www.example', type), 'NODATA www.example.', type);
  for (const type of ['MX', 'TXT', 'DS']) t.equal(find(table, 'www.example', type), 'pass', type);
  t.equal(find(table, 'nas', 'MX'), 'NODATA nas.', 'a name without a dot is of this network');
  t.equal(find(table, 'example', 'A'), 'pass');
  t.end();
});

await t.test('addresses of a name are of records, else of hosts files, else of leases', t => {
  const table = tableOf(['a.lan. 300 A 192.168.1.1', 'text.lan. TXT x']);
  for (const source of ['hosts', 'leases'] as const) {
    const last = source === 'hosts' ? 2 : 3;
    for (const name of ['a.lan', 'b.lan', 'text.lan']) table.addHost(octets(`192.168.1.${last}`), [key(name)], source);
  }
  table.addHost(octets('192.168.1.4'), [key('c.lan')], 'leases');
  table.addHost(octets('fd00::4'), [key('c.lan')], 'leases');
  t.equal(find(table, 'a.lan', 'A'), 'a.lan. 300 A 192.168.1.1');
  t.equal(find(table, 'b.lan', 'A'), 'b.lan. 60 A 192.168.1.2');
  t.equal(find(table, 'text.lan', 'A'), 'text.lan. 60 A 192.168.1.2');
  t.equal(find(table, 'c.lan', 'AAAA'), 'c.lan. 60 AAAA fd00::4');
  t.end();
});

await t.test(
  'own zones: what is not there does not exist, what is above a name does, and longer routes go first',
  t => {
    const table = tableOf(['a.b.lan. 300 A 192.168.1.1', 'x.lan. CNAME none.lan.'], ['lan', 'sub.lan']);
    t.equal(find(table, 'other.lan', 'A'), 'NXDOMAIN lan.');
    t.equal(find(table, 'b.lan', 'A'), 'NODATA lan.');
    t.equal(find(table, 'a.b.lan', 'MX'), 'NODATA lan.');
    t.equal(find(table, 'lan', 'A'), 'NODATA lan.');
    t.equal(find(table, 'lan', 'DS'), 'NODATA lan.');
    t.equal(find(table, 'lan', 'SOA'), 'lan. 60 SOA …');
    t.equal(find(table, 'lan', 'NS'), 'lan. 60 NS lan.');
    t.equal(find(table, 'x.sub.lan', 'A'), 'NXDOMAIN sub.lan.');
    t.equal(find(table, 'x.lan', 'A'), 'x.lan. 300 CNAME none.lan., NXDOMAIN lan.');
    t.equal(find(table, 'mylan', 'A'), 'pass');
    t.equal(find(table, 'w.corp.lan', 'A', { route: 'corp.lan' }), 'pass');
    t.equal(find(table, 'w.corp.lan', 'A', { route: 'lan' }), 'NXDOMAIN lan.', 'of two zones alike, the own one');
    t.equal(find(new LocalTable([key('lan')]), 'lan', 'A'), 'NODATA lan.', 'an own zone without names');
    t.end();
  },
);

await t.test('a lease ends with its time: its TTL is never longer, and then its name and its PTR are gone', t => {
  const table = new LocalTable([key('lan')]);
  table.addHost(octets('192.168.1.10'), [key('nas.lan')], 'leases', wallSec(1000));
  const reverse = '10.1.168.192.in-addr.arpa';
  t.equal(find(table, 'nas.lan', 'A', { now: 100 }), 'nas.lan. 60 A 192.168.1.10');
  t.equal(find(table, 'nas.lan', 'A', { now: 990 }), 'nas.lan. 10 A 192.168.1.10');
  t.equal(find(table, reverse, 'PTR', { now: 990 }), '10.1.168.192.in-addr.arpa. 10 PTR nas.lan.');
  t.equal(find(table, 'nas.lan', 'A', { now: 1000 }), 'NXDOMAIN lan.');
  t.equal(find(table, reverse, 'PTR', { now: 1000 }), 'pass');
  t.ok(table.has(key(reverse), wallSec(999)));
  t.notOk(table.has(key(reverse), wallSec(1000)));
  t.end();
});

await t.test('records that cannot be used are told', t => {
  for (const [text, words] of [
    ['', /"" is not a domain name/],
    ['nas..lan. A 1.2.3.4', /is not a domain name/],
    ['nas.lan. 300 NOPE x', /"NOPE" is not a record type; expected: name, TTL, type and data/],
    ['nas.lan. 300 A fd00::1', /"fd00::1" is not data of type A; expected: an IPv4 address/],
    ['nas.lan. 300 A 1.2.3.4 5', /not data of type A/],
    ['nas.lan. 300 MX mail', /expected: a preference and a domain name/],
    ['nas.lan. 300 SRV 1 2 70000 x.', /expected: priority, weight, port and a domain name/],
    ['nas.lan. 3000000000 A 1.2.3.4', /the TTL 3000000000 is too large/],
    ['nas.lan. HTTPS 1 .', /type HTTPS can only be given as octets/],
    ['nas.lan. TYPE65280 \\# 3 0102', /can only be given as octets/],
    ['nas.lan. TXT', /expected: strings/],
  ] as const) {
    const read = recordFrom(text);
    t.match(read.at === 'problem' ? read.words : 'no problem', words);
  }
  for (const text of [
    'a.lan. TYPE65280 \\# 2 01 02',
    'a.lan. CAA 0 issue "ca.example"',
    'a.lan. SRV 1 2 80 x.',
    '*.lan. MX 10 m.',
  ])
    t.match(recordFrom(text), { at: 'record' }, text);
  t.throws(() => tableOf(['a.lan. A 1.2.3.4', 'a.lan. CNAME b.']), /only record/);
  t.throws(() => tableOf(['a.lan. CNAME b.', 'a.lan. A 1.2.3.4']), /only record/);
  t.throws(() => tableOf(['. A 1.2.3.4']), /the root/);
  t.throws(() => tableOf(['*. A 1.2.3.4']), /the root/);
  t.end();
});

await t.test('the table has a bound, names above others included', t => {
  const table = new LocalTable();
  let added = 0;
  for (let i = 0; i < MOST_NAMES; i++) {
    const name = key(`${Array.from({ length: 20 }, (_, j) => `l${(i * 31 + j) % 997}`).join('.')}.x${i}`);
    if (!table.addHost(Buffer.from([10, i >> 16, (i >> 8) & 255, i & 255]), [name], 'hosts')) break;
    added++;
  }
  t.ok(added > 1000 && added < MOST_NAMES / 20);
  t.end();
});
