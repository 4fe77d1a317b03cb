// Hosts files and leases as programs write them, and as nobody should.

import t from 'tap';

import { addressText } from '../../../src/base/address.js';
import { deviceNameFrom } from '../../../src/policy/local/host-name.js';
import { readHosts } from '../../../src/policy/local/hosts.js';
import { LEASE_FORMATS, type LeaseFormat, readLeases } from '../../../src/policy/local/leases.js';
import { MOST_LINE_OCTETS } from '../../../src/policy/local/lines.js';
import { nameToText } from '../../../src/wire/name.js';

const text = (name: string): string => nameToText(Buffer.from(name, 'latin1'));
const address = (octets: Buffer): string => addressText(octets, 0, octets.length === 4 ? 4 : 16);
const hosts = (file: string): readonly string[] =>
  [...readHosts(Buffer.from(file))].flatMap(each =>
    each === undefined
      ? []
      : each.at === 'problem'
        ? [`${each.line}: ${each.words}`]
        : [`${address(each.address)} ${each.names.map(text).join(' ')}`],
  );
const leases = (format: LeaseFormat, file: string): readonly string[] =>
  [...readLeases(Buffer.from(file), format)].flatMap(each =>
    each === undefined
      ? []
      : each.at === 'problem'
        ? [`${each.line}: ${each.words}`]
        : [`${address(each.address)} ${each.host ?? '-'} ${each.until ?? 'for ever'}`],
  );

await t.test('a hosts file as Debian and macOS write it', t => {
  t.same(
    hosts(`\ufeff# comment
127.0.0.1\tlocalhost
127.0.1.1\tMyHost.example\tmyhost # this machine

::1     localhost ip6-localhost ip6-loopback
fe80::1%lo0 localhost
192.168.1.10 nas nas.lan.\r
0.0.0.0 ads.example`),
    [
      '127.0.0.1 localhost.',
      '127.0.1.1 myhost.example. myhost.',
      '::1 localhost. ip6-localhost. ip6-loopback.',
      '192.168.1.10 nas. nas.lan.',
      '0.0.0.0 ads.example.',
    ],
  );
  t.end();
});

await t.test('a line that cannot be used is told with its number, and the others count', t => {
  t.same(
    hosts(`192.168.1.1 router
router 192.168.1.1
192.168.1.2
192.168.1.3 good b*d also.good
192.168.1.4 ${'x'.repeat(MOST_LINE_OCTETS)}
192.168.1.5 last`),
    [
      '192.168.1.1 router.',
      '2: "router" is not an address; expected: an IP address and its names',
      '3: 192.168.1.2 has no name; expected: an IP address and its names',
      '192.168.1.3 good. also.good.',
      '4: "b*d" is not a host name; expected: letters, digits, hyphens and dots',
      '5: longer than 4096 octets, which no line of such a file is; the line is not used',
      '192.168.1.5 last.',
    ],
  );
  t.end();
});

await t.test(
  'leases of dnsmasq: IPv4 and IPv6, without a name, without an end, and of a machine without a clock',
  t => {
    t.same(
      leases(
        'dnsmasq',
        `1893456000 aa:bb:cc:dd:ee:ff 192.168.1.10 nas 01:aa:bb:cc:dd:ee:ff
1893456000 aa:bb:cc:dd:ee:00 192.168.1.11 * *
0 aa:bb:cc:dd:ee:01 192.168.1.12 printer *
43200 aa:bb:cc:dd:ee:02 192.168.1.13 short *
duid 00:01:00:01:2a:bb:cc:dd:ee:ff
1893456000 12345 fd00::10 nas 00:01:00:01:2a
1893456000 T98765 fd00::11 temporary 00:01
soon aa:bb 192.168.1.14 x *
1893456000 aa:bb:cc`,
      ),
      [
        '192.168.1.10 nas 1893456000',
        '192.168.1.11 - 1893456000',
        '192.168.1.12 printer for ever',
        '192.168.1.13 short for ever',
        'fd00::10 nas 1893456000',
        'fd00::11 temporary 1893456000',
        ...[8, 9].map(
          line =>
            `${line}: not a lease of dnsmasq; expected: its end, hardware address, IP address, name and client id`,
        ),
      ],
    );
    t.end();
  },
);

await t.test('leases of odhcpd: all addresses of its comments, not the lines for programs that read hosts files', t => {
  t.same(
    leases(
      'odhcpd',
      `fd00::1a2\tnas.lan\tnas
# br-lan 00010001aabb 1234 nas 1893456000 1a2 128 fd00::1a2/128 2001:db8::1a2/128
# br-lan 00010001aabb 1235 - -1 1a3 128 fd00::1a3/128
# br-lan 00010001aabb 1236 broken\\x20nas 1893456000 1a4 128 fd00::1a4/128
# br-lan 00010001aabb 1237 nas 1893456000 8 60 2001:db8:0:10::/60
# br-lan aabbccddeeff ipv4 tv 1893456000 0 32 192.168.1.9/32
# br-lan aabbccddeeff ipv4 gone 0 0 32
# br-lan aabb 1238 x -1 8 128 fd00::1a8/128 what/128
# what`,
    ),
    [
      'fd00::1a2 nas 1893456000',
      '2001:db8::1a2 nas 1893456000',
      'fd00::1a3 - for ever',
      'fd00::1a4 - 1893456000',
      '192.168.1.9 tv 1893456000',
      'fd00::1a8 x for ever',
      '8: "what/128" is not an address',
      '9: not a lease of odhcpd; expected: #, interface, DUID, IAID, name, end, number, length, addresses',
    ],
  );
  t.end();
});

await t.test('leases of Kea, by the names of the columns: taken back, declined, for ever, prefixes', t => {
  t.same(
    leases(
      'kea',
      `address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context
192.168.1.10,aa:bb:cc:dd:ee:ff,,3600,1893456000,1,0,0,nas.lan.,0,
192.168.1.11,aa:bb:cc:dd:ee:01,,4294967295,6188423294,1,0,0,printer,0,
192.168.1.12,aa:bb:cc:dd:ee:02,,3600,1893456000,1,0,0,declined,1,
192.168.1.10,aa:bb:cc:dd:ee:ff,,0,1893456000,1,0,0,nas.lan.,0,
192.168.1.13,short`,
    ),
    [
      '192.168.1.10 nas.lan. 1893456000',
      '192.168.1.11 printer for ever',
      '192.168.1.12 - 1893456000',
      '192.168.1.10 - 1893456000',
      '6: not a lease of Kea; expected: as many columns as in the header, with an IP address first',
    ],
  );
  t.same(
    leases(
      'kea',
      `address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type,iaid,prefix_len,fqdn_fwd,fqdn_rev,hostname,hwaddr,state,user_context
fd00::10,00:01,3600,1893456000,1,1800,0,1,128,0,0,nas,,0,
2001:db8::,00:01,3600,1893456000,1,1800,2,1,56,0,0,nas,,0,`,
    ),
    ['fd00::10 nas 1893456000'],
  );
  t.match(leases('kea', 'x,y\n'), [/^1: not a lease of Kea; expected: first a line/]);
  t.match(leases('kea', 'address,hostname\n'), [/^1: the header of Kea has no column valid_lifetime/]);
  t.end();
});

await t.test('leases of ISC dhcpd: states, both kinds of dates, and declarations that are none', t => {
  t.same(
    leases(
      'isc',
      `# The format of this file is documented in the dhcpd.leases(5) manual page.
authoring-byte-order little-endian;
server-duid "\\000\\001{";

lease 192.168.1.10 {
  starts 4 2029/12/31 00:00:00;
  ends 2 2030/01/01 00:00:00;
  binding state active;
  next binding state free;
  hardware ethernet aa:bb:cc:dd:ee:ff;
  client-hostname "nas";
  on expiry {
    set x = "y";
  }
}
lease 192.168.1.11 {
  ends never;
  binding state active;
  client-hostname "printer";
}
lease 192.168.1.12 {
  ends epoch 1893456000; # Tue Jan  1 00:00:00 2030
  binding state free;
  client-hostname "left";
}
failover peer "x" state {
  my state normal at 4 2029/12/31 00:00:00;
}
lease nowhere {
}
}
lease 192.168.1.13 {
  binding state active;`,
    ),
    [
      '192.168.1.10 nas 1893456000',
      '192.168.1.11 printer for ever',
      '192.168.1.12 - 1893456000',
      '29: "nowhere" is not an address',
      '31: a } without a {',
      '32: the declaration that begins here has no end; it is not used',
    ],
  );
  t.end();
});

await t.test('a device has one label of its own choice, and no name that programs look for', t => {
  const named = (name: string, domain?: string): string | undefined => {
    const made = deviceNameFrom(name, domain);
    return made && text(made);
  };
  t.equal(named('NAS', 'lan'), 'nas.lan.');
  t.equal(named('nas.lan.', 'lan'), 'nas.lan.');
  t.equal(named('nas'), 'nas.');
  for (const name of [
    'www.bank.example',
    'nas.lan',
    'a.b.lan',
    '.',
    '',
    'wpad',
    'ISATAP',
    'localhost',
    '-x',
    "Bob's",
    '*',
  ])
    t.equal(named(name, 'home.arpa'), undefined, name);
  t.equal(named('wpad.lan', 'lan'), undefined);
  t.end();
});

await t.test('every format reads every other one without an exception', t => {
  const file = Buffer.from('lease 1.1.1.1 {\n# a b c d 1 2 32 1.1.1.1\naddress,\n1 2 ::1 x\n\0\xff{\n');
  for (const format of LEASE_FORMATS) t.ok([...readLeases(file, format)].length > 4);
  t.end();
});
