// Addresses as text and octets (base/address).

import { isIP as netIsIP } from 'node:net';

import fc from 'fast-check';
import t from 'tap';

import {
  aboutAddress,
  addressOctets,
  addressText,
  AddressTexts,
  isIP,
  isLinkLocal,
  isLoopback,
  onLinkOf,
  withoutZone,
  zoneOf,
} from '../../src/base/address.js';

await t.test('addresses are converted between text and octets', t => {
  const pairs: readonly [string, string][] = [
    ['127.0.0.1', '7f000001'],
    ['::', '0'.repeat(32)],
    ['::1', `${'0'.repeat(31)}1`],
    ['2001:db8::80', '20010db8000000000000000000000080'],
    ['1::', `0001${'0'.repeat(28)}`],
    ['2001:db8:0:1:1:1:1:1', '20010db8000000010001000100010001'],
    ['fe80::1:0:0:1', 'fe800000000000000001000000000001'],
  ];
  for (const [text, hex] of pairs) {
    const octets = Buffer.from(hex, 'hex');
    t.same(addressOctets(text), octets, text);
    t.equal(addressText(octets, 0, octets.length === 4 ? 4 : 16), text);
  }
  t.same(addressOctets('fe80::1%eth0'), addressOctets('fe80::1'));
  t.same(addressOctets('::ffff:192.0.2.1'), Buffer.from(`${'0'.repeat(20)}ffffc0000201`, 'hex'));
  t.end();
});

await t.test('only the end of an IPv6 address may be in the form of IPv4, and no number has a zero in front', t => {
  const odd = [
    '1.2.3.4::',
    '::1.2.3.4:5',
    '1:2:3:4:5:1.2.3.4:6',
    '1.2.3.4:1:2:3:4:5:6',
    '1.2.3.4::1.2.3.4',
    '127.0.0.01',
  ];
  for (const text of [...odd, '::1.2.3.4', '1:2:3:4:5:6:1.2.3.4'])
    t.equal(addressOctets(text) !== undefined, netIsIP(text) !== 0, text);
  t.end();
});

await t.test('octets survive the way to text and back, and text is accepted exactly if it is an address', t => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), fc.boolean(), (values, short) => {
      const octets = Buffer.from(values.map(value => (value & 1 ? 0 : value)));
      const bytes = short ? 4 : 16;
      return addressOctets(addressText(octets, 0, bytes))?.equals(octets.subarray(0, bytes)) === true;
    }),
  );
  fc.assert(
    fc.property(
      fc.oneof(fc.ipV4(), fc.ipV6(), fc.stringMatching(/^[0-9a-f:.]{0,20}$/)),
      text => (addressOctets(text) !== undefined) === (netIsIP(text) !== 0),
    ),
    { numRuns: 3000 },
  );
  t.end();
});

await t.test('a text that is kept is that of its address, whatever came between', t => {
  const texts = new AddressTexts();
  const octetsOf = (values: Uint8Array, bytes: number): Buffer => {
    const octets = Buffer.alloc(24);
    octets.set(values.subarray(0, bytes), 3);
    return octets;
  };
  // Few values, so that the same address comes again, and one is the beginning of another.
  const few = fc.uint8Array({ minLength: 16, maxLength: 16, max: 2 });
  fc.assert(
    fc.property(fc.oneof(few, fc.uint8Array({ minLength: 16, maxLength: 16 })), fc.boolean(), (values, short) => {
      const bytes = short ? 4 : 16;
      const octets = octetsOf(values, bytes);
      return texts.of(octets, 3, bytes) === addressText(octets, 3, bytes);
    }),
    { numRuns: 3000 },
  );
  t.end();
});

await t.test('words about an address name server and address once each', t => {
  const refused = 'the connection could not be made: 192.0.2.1 port 853: connection refused';
  const silent = 'it does not answer';
  const rows: readonly (readonly [label: string, words: string, line: string])[] = [
    ['dns.test', refused, `dns.test: ${refused}`],
    ['dns.test', silent, `dns.test (192.0.2.1): ${silent}`],
    ['dns.test (192.0.2.1)', silent, `dns.test (192.0.2.1): ${silent}`],
    ['dns.test (192.0.2.1, 2)', refused, `dns.test (192.0.2.1, 2): ${refused}`],
    ['192.0.2.1', refused, refused],
    ['192.0.2.1', silent, `192.0.2.1: ${silent}`],
    ['192.0.2.1:8853', silent, `192.0.2.1:8853: ${silent}`],
    // Another one.
    ['192.0.2.11', silent, `192.0.2.11 (192.0.2.1): ${silent}`],
  ];
  for (const [label, words, line] of rows) t.equal(aboutAddress(label, '192.0.2.1', words), line);
  t.equal(aboutAddress('[2001:db8::1]:8853', '2001:db8::1', silent), `[2001:db8::1]:8853: ${silent}`);
  t.equal(aboutAddress('dns.test', undefined, 'no address'), 'dns.test: no address');
  t.end();
});

await t.test('zones: what means the same without one, and who inherits which', t => {
  t.same(['fe80::1%eth0', 'fe80::1', '192.0.2.1'].map(withoutZone), ['fe80::1', 'fe80::1', '192.0.2.1']);
  t.same(['fe80::1%br-lan.2', 'fe80::1%2', 'fe80::1', 'fe80::1%'].map(zoneOf), ['br-lan.2', '2', undefined, undefined]);
  t.same(['fe80::1', 'FEBF::1%eth0', 'fec0::1', 'fe8::1', '2001:db8::1'].map(isLinkLocal), [
    true,
    true,
    false,
    false,
    false,
  ]);
  t.equal(onLinkOf('fe80::53%eth0', 'fe80::54'), 'fe80::54%eth0');
  t.equal(onLinkOf('fe80::53%eth0', 'fe80::54%eth1'), 'fe80::54%eth1');
  t.equal(onLinkOf('fe80::53%eth0', '2001:db8::1'), '2001:db8::1');
  t.equal(onLinkOf('2001:db8::53', 'fe80::54'), 'fe80::54', 'which leads nowhere');
  t.same(['127.1.2.3', '::1', '::1%lo', '192.0.2.127'].map(isLoopback), [true, true, true, false]);
  t.end();
});

await t.test('the family of a text is what node:net says', t => {
  const parts = [
    '::',
    ':',
    '%',
    '.',
    '0',
    '1',
    '00',
    'ffff',
    'FE80',
    '12345',
    '1.2.3.4',
    '255',
    '256',
    'g',
    'eth0',
    '-',
    ' ',
    '_',
  ];
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...parts), { maxLength: 16 }), all => {
      t.equal(isIP(all.join('')), netIsIP(all.join('')), all.join(''));
    }),
    { numRuns: 2000 },
  );
  const group = fc.constantFrom('0', '1', 'db8', 'FFFF');
  const zone = fc.constantFrom('', '%eth0', '%', '%a.b-c:d', '%a_b', '%a%b', '%\n');
  const address = fc.oneof(
    fc.ipV4(),
    fc.ipV6(),
    fc.array(group, { minLength: 6, maxLength: 9 }).map(all => all.join(':')),
  );
  fc.assert(
    fc.property(address, fc.constantFrom('', ':', '::', ':1.2.3.4', '.'), zone, (text, end, after) => {
      t.equal(isIP(text + end + after), netIsIP(text + end + after), text + end + after);
    }),
    { numRuns: 2000 },
  );
  t.end();
});
