// IPv4 addresses inside IPv6 addresses (RFC 6052), their reverse names, and prefixes in addresses of ipv4only.arpa (RFC 7050).

import t from 'tap';

import { addressOctets, addressText } from '../../src/base/address.js';
import { u32At } from '../../src/base/octets.js';
import {
  addressOfReverse,
  embedded,
  embeddedAddress,
  isInPrefix,
  NAT64_BITS,
  nat64PrefixFrom,
  nat64Text,
  prefixAmong,
  reverseOf,
  reverseZone,
  WELL_KNOWN_PREFIX,
} from '../../src/policy/nat64.js';
import { nameToText } from '../../src/wire/name.js';
import { wireName } from '../fixtures/records.js';

const octetsOf = (text: string): Buffer => addressOctets(text) ?? Buffer.alloc(0);
const prefixOf = (text: string) => {
  const prefix = nat64PrefixFrom(text);
  if (prefix === undefined) throw new Error(text);
  return prefix;
};
const V4 = u32At(octetsOf('192.0.2.33'), 0);

await t.test('RFC 6052 §2.4: text representation of addresses', t => {
  for (const [prefix, address] of [
    ['2001:db8::/32', '2001:db8:c000:221::'],
    ['2001:db8:100::/40', '2001:db8:1c0:2:21::'],
    ['2001:db8:122::/48', '2001:db8:122:c000:2:2100::'],
    ['2001:db8:122:300::/56', '2001:db8:122:3c0:0:221::'],
    ['2001:db8:122:344::/64', '2001:db8:122:344:c0:2:2100:0'],
    ['2001:db8:122:344::/96', '2001:db8:122:344::192.0.2.33'],
    ['64:ff9b::/96', '64:ff9b::192.0.2.33'],
  ] as const) {
    const address6 = embedded(prefixOf(prefix), V4);
    t.same(address6, octetsOf(address), `${prefix}: ${addressText(address6, 0, 16)}`);
    t.equal(embeddedAddress(address6, 0, prefixOf(prefix).bits), V4, 'and back');
    t.ok(isInPrefix(prefixOf(prefix), address6, 0));
    t.equal(nat64Text(prefixOf(prefix)), prefix);
  }
  t.same(prefixOf('64:ff9b::/96'), WELL_KNOWN_PREFIX);
  t.end();
});

await t.test('prefixes of other lengths, and those with octet 8 set, are none', t => {
  for (const text of ['64:ff9b::/97', '64:ff9b::/33', '64:ff9b::', '2001:db8:1:2:300::/96', '10.0.0.0/32', 'x/96', ''])
    t.equal(nat64PrefixFrom(text), undefined, text);
  t.equal(nat64Text(prefixOf('2001:db8:1:2:300::1/64')), '2001:db8:1:2::/64', 'host bits do not count');
  t.end();
});

const made = (prefix: string, last: number): Buffer =>
  embedded(prefixOf(prefix), u32At(octetsOf(`192.0.0.${last}`), 0));

await t.test(
  'RFC 7050 §3: the prefix follows from addresses with the two numbers, or one of them, at every length',
  t => {
    for (const bits of NAT64_BITS) {
      const prefix = `2001:db8:1234:5678::/${bits}`;
      for (const lasts of [[170, 171], [171, 170], [170], [171]])
        t.same(prefixAmong(lasts.map(last => made(prefix, last))), prefixOf(prefix), `${prefix} from ${lasts.join()}`);
    }
    t.equal(prefixAmong([octetsOf('2001:db8::1'), octetsOf('64:ff9b::192.0.0.172')]), undefined, 'no number at all');
    t.equal(prefixAmong([]), undefined);
    t.end();
  },
);

await t.test('RFC 7050 §3: a prefix that has a number in itself is told by both addresses together', t => {
  // Where one of 32 bits would have its address.
  for (const prefix of ['2001:db8:c000:aa::/96', '2001:db8:c000:ab::/64']) {
    t.same(prefixAmong([made(prefix, 170), made(prefix, 171)]), prefixOf(prefix), prefix);
    t.equal(prefixAmong([made(prefix, 170)]), undefined, 'one alone may mean either');
  }
  t.end();
});

await t.test('of several translators the first counts', t => {
  const both = (prefix: string): readonly Buffer[] => [made(prefix, 170), made(prefix, 171)];
  t.same(prefixAmong([...both('2001:db8:64::/96'), ...both('64:ff9b::/96')]), prefixOf('2001:db8:64::/96'));
  t.end();
});

await t.test('reverse names: 32 nibbles below ip6.arpa and nothing else', t => {
  const name = '1.2.2.0.0.0.0.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.9.f.f.4.6.0.0.ip6.arpa.';
  t.same(addressOfReverse(wireName(name)), octetsOf('64:ff9b::192.0.2.33'.replace('192.0.2.33', 'c000:221')));
  for (const other of [
    name.slice(2),
    `1.${name}`,
    name.replace('b.9', 'g.9'),
    name.replace('ip6', 'ip7'),
    name.replace('0.0.0.0', '00.0.0'),
    '33.2.0.192.in-addr.arpa.',
    '.',
  ])
    t.equal(addressOfReverse(wireName(other)), undefined, other);
  t.equal(nameToText(reverseOf(V4)), '33.2.0.192.in-addr.arpa.');
  t.equal(nameToText(reverseZone(WELL_KNOWN_PREFIX)), '0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.9.f.f.4.6.0.0.ip6.arpa.');
  t.equal(nameToText(reverseZone(prefixOf('2001:db8::/40'))), '0.0.8.b.d.0.1.0.0.2.ip6.arpa.');
  t.end();
});
