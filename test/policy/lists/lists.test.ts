// What rules mean, and which of several counts.

import t from 'tap';

import { addressOctets } from '../../../src/base/address.js';
import { nameFromText } from '../../../src/wire/name.js';
import { EVERYTHING, listsOf, reportOf, verdict } from '../../fixtures/lists.js';

/** Which of some names a list of this text is about. */
const caught = (text: string, names: readonly string[]): readonly string[] => {
  const lists = listsOf([{ text }]);
  return names.filter(name => verdict(lists, name)?.startsWith('allow') === false);
};

await t.test('hosts: each name of a line, and no name below; the names of a machine itself are not meant', async t => {
  const text = '127.0.0.1 localhost\n0.0.0.0 Ads.example www.ads.example # why\n:: six.example\n0.0.0.0 0.0.0.0\n';
  const names = ['localhost', 'ads.example', 'www.ads.example', 'x.ads.example', 'six.example', 'example'];
  t.same(caught(text, names), ['ads.example', 'www.ads.example', 'six.example']);
  t.same(reportOf(text)?.skipped, {});
  t.same(reportOf('192.0.2.1 rewritten.example\n')?.skipped, { rewrite: 1 });
});

await t.test('domains: a name is that name; with a star or a dot before it, it is with all below', async t => {
  const names = ['one.example', 'a.one.example', 'two.example', 'a.b.two.example', 'three.example', 'a.three.example'];
  t.same(caught('one.example.\r\n*.two.example\n.three.example', names), [
    'one.example',
    'two.example',
    'a.b.two.example',
    'three.example',
    'a.three.example',
  ]);
});

await t.test(
  'adblock: ||name^ is with all below, |name^ is the name, @@ allows, and rules for browsers are left out',
  async t => {
    const text = [
      '[Adblock Plus 2.0]',
      '! a comment',
      '||ads.example^',
      '|one.example^',
      '@@||good.ads.example^',
      '||url.example/path^',
      '||script.example^$script,third-party',
      'site.example##.banner',
      '/ads[0-9]+/',
      '||part*.example^',
      '||odd.example^$dnsrewrite=1.2.3.4',
    ].join('\n');
    const names = [
      'ads.example',
      'a.ads.example',
      'good.ads.example',
      'x.good.ads.example',
      'one.example',
      'a.one.example',
    ];
    t.same(caught(text, [...names, 'url.example', 'script.example', 'odd.example']), [
      'ads.example',
      'a.ads.example',
      'one.example',
    ]);
    const report = reportOf(text);
    t.same(report?.skipped, { browser: 3, regex: 1, pattern: 1, modifier: 1 });
    t.same(
      report?.told.map(({ line, why }) => [line, why]),
      [
        [9, 'regex'],
        [10, 'pattern'],
        [11, 'modifier'],
      ],
      'what is no rule for browsers is told with its line',
    );
  },
);

await t.test('$important counts before an exception, and an important exception before all', async t => {
  const lists = listsOf([
    { text: '||a.example^$important\n@@||a.example^\n||b.a.example^\n@@||c.a.example^$important' },
  ]);
  t.equal(verdict(lists, 'a.example'), 'nxdomain list0:1');
  t.equal(verdict(lists, 'c.a.example'), 'allow list0:4');
});

await t.test('$denyallow exempts names from its own rule, and from no other', async t => {
  const lists = listsOf([{ text: '||example^$denyallow=good.example|fine.example\n||bad.good.example^' }]);
  t.equal(verdict(lists, 'other.example'), 'nxdomain list0:1');
  t.equal(verdict(lists, 'good.example'), undefined);
  t.equal(verdict(lists, 'www.fine.example'), undefined);
  t.equal(verdict(lists, 'bad.good.example'), 'nxdomain list0:2');
});

await t.test('$client limits a rule to groups of clients, and addresses of clients are not taken', async t => {
  const lists = listsOf([{ text: '||a.example^$client=kids\n||b.example^$client=~kids' }]);
  const kids = { ...EVERYTHING, group: 'kids' };
  t.same([verdict(lists, 'a.example', kids), verdict(lists, 'b.example', kids)], ['nxdomain list0:1', undefined]);
  t.same([verdict(lists, 'a.example'), verdict(lists, 'b.example')], [undefined, 'nxdomain list0:2']);
  t.same(reportOf('||a.example^$client=192.168.1.2')?.skipped, { modifier: 1 });
});

await t.test(
  'rules for one name that differ in $client or $denyallow are all in force, wherever they stand',
  async t => {
    const limited = ['||a.example^$client=kids', '@@||s.example^$client=kids', '||s.example^'];
    const others = ['@@||s.example^$client=teens', '||a.example^', '||a.example^'];
    const lists = listsOf([{ text: [...limited, ...others].join('\n') }]);
    const [kids, teens] = ['kids', 'teens'].map(group => ({ ...EVERYTHING, group }));
    t.equal(verdict(lists, 'a.example'), 'nxdomain list0:5', 'also for clients of no group');
    t.equal(verdict(lists, 'a.example', teens), 'nxdomain list0:5');
    t.equal(verdict(lists, 's.example'), 'nxdomain list0:3');
    t.same([verdict(lists, 's.example', kids), verdict(lists, 's.example', teens)], ['allow list0:2', 'allow list0:4']);
    t.equal(lists.compiled.sources[0]?.rules, 5, 'the rule that is there twice counts once');

    const exempt = listsOf([
      { text: ['ads.', ''].map(each => `||${each}example^$denyallow=ok.ads.example`).join('\n') },
    ]);
    t.equal(verdict(exempt, 'ok.ads.example'), undefined, 'no rule is for the name that both of them leave out');
    t.equal(verdict(exempt, 'x.example'), 'nxdomain list0:2');
  },
);

await t.test('a rule whose $client or $denyallow cannot be kept is not in force for all', async t => {
  const lines = Array.from({ length: 50_001 }, (_, i) => `||n${i}.example^$client=kids`);
  const { compiled } = listsOf([{ text: lines.join('\n') }]);
  t.match(compiled.sources[0], { rules: 50_000, skipped: { full: 1 } });
});

await t.test('rules for one name have a bound, are counted beyond it, and take no time of others', async t => {
  const lines = Array.from({ length: 40_000 }, (_, i) => `||a.example^$client=g${i}`);
  const startedAt = process.cpuUsage().user;
  const lists = listsOf([{ text: [...lines, 'b.example'].join('\n') }]);
  t.match(lists.compiled.sources[0], { rules: 33, skipped: { full: 39_968 } });
  t.equal(verdict(lists, 'b.example'), 'nxdomain list0:40001');
  t.ok(process.cpuUsage().user - startedAt < 8e6);
});

const RPZ = `$TTL 1h
$ORIGIN rpz.example.
@ SOA localhost. root.localhost. (
   1 ; serial
   3600 600 86400 60 )
  NS localhost.
bad.example         CNAME .
*.bad.example       CNAME *.
fine.bad.example.rpz.example. CNAME rpz-passthru.
*.good.example 60 IN CNAME rpz-passthru.
worst.good.example  IN 60 CNAME .
worse.example       CNAME rpz-drop.
walled.example      A 192.0.2.1
                    A 192.0.2.2
                    TXT "a b" c
garden.example      CNAME walled.garden.
24.0.2.0.192.rpz-ip CNAME .
48.zz.db8.2001.rpz-ip CNAME *.
*.ns.evil.rpz-nsdname CNAME .
32.1.2.0.192.rpz-nsip CNAME .
8.0.0.0.10.rpz-client-ip CNAME .
mx.example          MX 10 mail.example.
led.example         CNAME *.garden.
wrong.example       CNAME *.a b.
dots.example        CNAME *..garden.
25.0.2.0.192.rpz-ip CNAME rpz-tcp-only.
33.0.2.0.192.rpz-ip CNAME .
`;

await t.test('RPZ: actions and triggers; the closest rule counts, also an exception further up', async t => {
  const lists = listsOf([{ text: RPZ }]);
  const told = (name: string): unknown => verdict(lists, name);
  t.equal(told('bad.example'), 'nxdomain list0:7');
  t.equal(told('x.bad.example'), 'nodata list0:8');
  t.equal(told('fine.bad.example'), 'allow list0:9');
  t.equal(told('good.example'), undefined, 'a wildcard is not about its own name');
  t.equal(told('a.good.example'), 'allow list0:10');
  t.equal(told('worst.good.example'), 'nxdomain list0:11');
  t.equal(told('worse.example'), 'drop list0:12');
  t.equal(told('walled.example'), 'data list0:13');
  t.equal(told('garden.example'), 'data list0:16');
  t.equal(told('led.example'), 'data list0:23');
  const { skipped, isZone } = lists.compiled.sources[0] ?? {};
  t.same(skipped, { servers: 1, trigger: 1, action: 2, syntax: 2, name: 1 }, 'what cannot be used is counted');
  t.equal(isZone, true);
});

await t.test('RPZ: local data has all records of the owner', async t => {
  const lists = listsOf([{ text: RPZ }]);
  const records = lists.ofName(EVERYTHING, nameFromText('walled.example') ?? Buffer.of(0))?.records;
  t.same(
    records?.map(({ type, ttlSec, rdata }) => [type, ttlSec, rdata.toString('hex')]),
    [
      [1, 3600, 'c0000201'],
      [1, 3600, 'c0000202'],
      [16, 3600, Buffer.from('\x03a b\x01c').toString('hex')],
    ],
  );
});

await t.test('RPZ: name servers have rules of their own, which are not those of names', async t => {
  const lists = listsOf([{ text: `${RPZ}ns.bad.example.rpz-nsdname CNAME *.\n` }]);
  const of = (text: string): unknown => lists.ofServer(EVERYTHING, nameFromText(text) ?? Buffer.of(0))?.action;
  t.same([of('a.ns.evil'), of('ns.evil'), of('ns.bad.example')], ['nxdomain', undefined, 'nodata']);
  t.equal(of('bad.example'), undefined, 'a rule about a name is not about the name server of that name');
  t.equal(verdict(lists, 'a.ns.evil'), undefined, 'and the other way round');
  t.ok(lists.table.hasServers);
  t.notOk(listsOf([{ text: 'a.example' }]).table.hasServers);
});

await t.test('RPZ: addresses are found by their networks', async t => {
  const lists = listsOf([{ text: RPZ }]);
  const of = (text: string): unknown => lists.ofAddress(EVERYTHING, addressOctets(text) ?? Buffer.alloc(4))?.line;
  t.same([of('192.0.2.200'), of('192.0.3.1'), of('2001:db8::1'), of('2001:db9::1')], [17, undefined, 18, undefined]);
  t.ok(lists.table.hasAddresses);
  t.notOk(listsOf([{ text: 'a.example' }]).table.hasAddresses);
});

await t.test('of several lists: those of the client, then exceptions, then the first in the configuration', async t => {
  const lists = listsOf([
    { text: 'a.example', action: 'null' },
    { text: '*.example', action: 'refused' },
    { text: 'b.example', action: 'allow' },
  ]);
  t.equal(verdict(lists, 'a.example'), 'null list0:1');
  t.equal(verdict(lists, 'a.example', { lists: 2, group: undefined }), 'refused list1:1');
  t.equal(verdict(lists, 'b.example'), 'allow list2:1');
  t.equal(verdict(lists, 'b.example', { lists: 3, group: undefined }), 'refused list1:1');
  t.equal(verdict(lists, 'a.example', { lists: 0, group: undefined }), undefined);
});

await t.test('a line that is not a rule does not lose the file, and is told with its number', async t => {
  const text = `good.example\nnot a name\n${'x'.repeat(10_000)}\n1.2.3.4\n-\xff\nlast.example`;
  const lists = listsOf([{ text, format: 'domains' }], 7);
  t.same([verdict(lists, 'good.example'), verdict(lists, 'last.example')], ['nxdomain list0:1', 'nxdomain list0:6']);
  const report = lists.compiled.sources[0];
  t.same([report?.lines, report?.rules, report?.skipped], [6, 2, { syntax: 1, long: 1, name: 2 }]);
});
