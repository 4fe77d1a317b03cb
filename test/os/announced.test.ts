import { execFileSync } from 'node:child_process';
import fs, { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';

import fc from 'fast-check';
import t from 'tap';

import { announcementReader, readAnnouncements } from '../../src/os/announced.js';
import { temporaryDirectory } from '../fixtures/program.js';

const NOTHING = { resolvers: [], options4: [], options6: [], portals: [] };

/** Reads what these files say. */
function read(networkd: Readonly<Record<string, string>>, networkManager: Readonly<Record<string, string>> = {}) {
  const directory = temporaryDirectory();
  try {
    const made = { networkd: join(directory.path, 'links'), networkManager: join(directory.path, 'devices') };
    for (const [path, files] of [
      [made.networkd, networkd],
      [made.networkManager, networkManager],
    ] as const) {
      mkdirSync(path);
      for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text);
    }
    return readAnnouncements(made);
  } finally {
    directory.remove();
  }
}

/** A link as systemd-networkd 257 writes it. */
const link = (...lines: string[]): string =>
  `# This is private data. Do not parse.
ADMIN_STATE=configured
OPER_STATE=routable
ONLINE_STATE=online
NETWORK_FILE=/etc/systemd/network/lan.network
${lines.join('\n')}
NTP=
LLMNR=yes
DHCP4_ADDRESS=192.0.2.7
DHCP_LEASE=/run/systemd/netif/leases/2
`;

await t.test('what is no file of text says nothing, costs little and holds nobody up; the others are read', t => {
  const links = mkdtempSync(join(tmpdir(), 'links-'));
  t.teardown(() => rmSync(links, { recursive: true }));
  mkdirSync(join(links, '2'));
  execFileSync('mkfifo', [join(links, '3')]);
  symlinkSync('/dev/zero', join(links, '4'));
  symlinkSync('5', join(links, '5'));
  writeFileSync(join(links, '6'), Buffer.alloc(10_000_000, 'DNS=x '));
  writeFileSync(join(links, '7'), 'DNS=192.0.2.1#a.example');
  t.same(readAnnouncements({ networkd: links, networkManager: links }).resolvers, [
    { address: '192.0.2.1', port: undefined, name: 'a.example' },
  ]);
  t.end();
});

await t.test('systemd-networkd: resolvers with a name, and the captive portal', t => {
  const dns =
    'DNS=192.0.2.1#Dns.Example. 192.0.2.2:8853#b.example 192.0.2.3 2001:db8::1#a.example [2001:db8::2]:8853#b.example';
  t.same(read({ 2: link(dns, 'CAPTIVE_PORTAL=https://portal.example/api', 'DOMAINS=lan', 'ROUTE_DOMAINS=') }), {
    ...NOTHING,
    resolvers: [
      { address: '192.0.2.1', port: undefined, name: 'dns.example' },
      { address: '192.0.2.2', port: 8853, name: 'b.example' },
      { address: '2001:db8::1', port: undefined, name: 'a.example' },
      { address: '2001:db8::2', port: 8853, name: 'b.example' },
    ],
    portals: ['https://portal.example/api'],
  });
  t.end();
});

await t.test('a link whose resolvers are for some zones only announces none for all names', t => {
  const names = (...lines: string[]): readonly string[] =>
    read({ 3: link('DNS=192.0.2.1#dns.example', ...lines) }).resolvers.map(({ name }) => name);
  t.same(names('ROUTE_DOMAINS=corp.example'), []);
  t.same(names('ROUTE_DOMAINS=corp.example .'), []);
  t.same(names('ROUTE_DOMAINS=corp.example', 'DNS_DEFAULT_ROUTE=yes'), ['dns.example']);
  t.same(names('DNS_DEFAULT_ROUTE=no'), []);
  t.same(names('ROUTE_DOMAINS=.'), ['dns.example']);
  t.end();
});

await t.test('a link-local address gets the zone of its link', t => {
  const known = Object.entries(networkInterfaces())
    .flatMap(([name, all = []]) => all.map(each => ({ name, each })))
    .find(({ each }) => each.family === 'IPv6' && each.scopeid > 0);
  const index = known?.each.family === 'IPv6' ? known.each.scopeid : 4_000_000;
  const zone = known?.name ?? String(index);
  t.same(
    read({ [index]: link('DNS=fe80::1#a.example [fe80::2]:8853#a.example fe80::3%eth9#a.example') }).resolvers.map(
      ({ address }) => address,
    ),
    [`fe80::1%${zone}`, `fe80::2%${zone}`, 'fe80::3%eth9'],
  );
  t.end();
});

await t.test('NetworkManager: options that dhclient has no name for, and the URL of DHCP', t => {
  const device = `[device]
managed=true

[dhcp4]
default_url=https://portal.example/api
domain_name_servers=192.0.2.1
unknown_162=0:20:0:1:c:3:64:6e:73

[dhcp6]
dhcp6_unknown_144=000100050161
unknown_162=ff
`;
  t.same(read({}, { 2: device, 'not-an-index': device }), {
    ...NOTHING,
    options4: [Buffer.from('002000010c03646e73', 'hex')],
    options6: [Buffer.from('000100050161', 'hex')],
    portals: ['https://portal.example/api'],
  });
  t.end();
});

await t.test('no directories, no permission, or other formats: nothing was announced', t => {
  t.same(readAnnouncements({ networkd: '/nonexistent', networkManager: '/nonexistent' }), NOTHING);
  t.same(read({ 2: '{"DNS":["192.0.2.1#a.example"]}', 3: '', x: link('DNS=192.0.2.1#a.example') }), NOTHING);
  t.end();
});

await t.test('words that are no resolver and texts that are no URL are left out', t => {
  const words = [
    'a.example#a.example',
    '192.0.2.1:0#a.example',
    '192.0.2.1:65536#a.example',
    '192.0.2.1#',
    '192.0.2.1#192.0.2.1',
    '192.0.2.1#a_b.example',
    '192.0.2.1#\\124a.example',
    '[2001:db8::1#a.example',
    '2001:db8::1:853x#a.example',
    `192.0.2.1#${'a.'.repeat(200)}`,
  ];
  t.same(read({ 2: link(`DNS=${words.join(' ')}`, 'CAPTIVE_PORTAL=https://a.example/\u001b[2J') }), NOTHING);
  t.same(read({}, { 2: '[dhcp4]\nunknown_162=0:zz\ndefault_url=\n' }), NOTHING);
  t.end();
});

await t.test('all is bounded', t => {
  const many = Array.from({ length: 1000 }, (_, i) => `192.0.2.${i % 250}#n${i}.example`).join(' ');
  const files = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [String(i + 1), link(`DNS=${many}`)]));
  t.equal(read(files).resolvers.length, 16);
  t.same(read({ 2: `${'#'.repeat(1 << 17)}\nDNS=192.0.2.1#a.example` }), NOTHING, 'the end of a long file is not read');
  t.end();
});

await t.test('any contents: never an error, and only addresses, ports and names come out', t => {
  const line = fc.oneof(
    fc.string(),
    fc.constantFrom('DNS=192.0.2.1#a.example', '[dhcp4]', 'unknown_162=0:1', 'CAPTIVE_PORTAL=https://a.example'),
    fc.array(fc.constantFrom('DNS=', '192.0.2.1', '2001:db8::1', '[', ']', ':', '#', 'a.example', ' ', '%', '853')),
  );
  fc.assert(
    fc.property(fc.array(line, { maxLength: 8 }), lines => {
      const text = lines.map(each => (typeof each === 'string' ? each : each.join(''))).join('\n');
      const said = read({ 2: text }, { 2: text });
      return said.resolvers.every(
        ({ port = 853, name }) => port > 0 && port < 65536 && /^[a-z0-9-]+(\.[a-z0-9-]+)*$/.test(name),
      );
    }),
    { numRuns: 300 },
  );
  t.end();
});

await t.test('without descriptors, what was announced before still counts', async t => {
  const directory = temporaryDirectory();
  t.teardown(() => directory.remove());
  writeFileSync(join(directory.path, '2'), link('DNS=192.0.2.1#dns.example'));
  const look = announcementReader({ networkd: directory.path, networkManager: '/nonexistent' });
  t.equal(look().resolvers.length, 1);
  const all = t.capture(fs, 'readdirSync', () => {
    throw Object.assign(new Error('EMFILE: too many open files'), { code: 'EMFILE' });
  });
  syncBuiltinESMExports();
  t.equal(look().resolvers.length, 1);
  all.restore();
  syncBuiltinESMExports();
  writeFileSync(join(directory.path, '2'), link('DNS='));
  t.same(look(), NOTHING);
});
