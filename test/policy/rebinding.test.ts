// Which addresses are those of a local network, and which records of a message give one.

import t from 'tap';

import { addressOctets } from '../../src/base/address.js';
import { u32At } from '../../src/base/octets.js';
import { nat64PrefixFrom } from '../../src/policy/nat64.js';
import { isPrivateV4, isPrivateV6, privateRecords } from '../../src/policy/rebinding.js';
import { compose, questionOf } from '../../src/wire/compose.js';
import { HEADER_BYTES } from '../../src/wire/header.js';
import { TYPE } from '../../src/wire/rrtype.js';
import { records, wireName } from '../fixtures/records.js';

const octetsOf = (text: string): Buffer => addressOctets(text) ?? Buffer.alloc(0);
const v4 = (text: string): boolean => isPrivateV4(u32At(octetsOf(text), 0));
const v6 = (text: string, nat64?: string): boolean =>
  isPrivateV6(octetsOf(text), 0, nat64 === undefined ? undefined : nat64PrefixFrom(nat64));

const PRIVATE_V4 =
  '0.0.0.0 0.1.2.3 10.0.0.0 10.255.255.255 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.255 169.254.0.1 169.254.255.255 172.16.0.0 172.31.255.255 192.168.0.0 192.168.255.255 255.255.255.255'.split(
    ' ',
  );
const PUBLIC_V4 =
  '1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.2.1 192.167.255.255 192.169.0.0 255.255.255.254'.split(
    ' ',
  );

await t.test('IPv4: private, shared, loopback, link-local, unspecified and broadcast, to the last address', t => {
  t.same(
    PRIVATE_V4.filter(each => !v4(each)),
    [],
  );
  t.same(PUBLIC_V4.filter(v4), []);
  t.end();
});

await t.test('IPv6: loopback, unspecified, link-local, site-local and unique local', t => {
  const inside = ':: ::1 fe80::1 febf:ffff::1 fec0::1 feff::1 fc00::1 fdff:ffff::1'.split(' ');
  const outside = '2001:db8::1 fbff::1 fe00::1 ff02::1 2606:4700::1111 64:ff9b:2::1 100::1'.split(' ');
  t.same(
    inside.filter(each => !v6(each)),
    [],
  );
  t.same(
    outside.filter(each => v6(each)),
    [],
  );
  t.end();
});

await t.test('an IPv4 address inside an IPv6 address counts like the IPv4 address, in every form', t => {
  for (const form of ['::', '::ffff:', '::ffff:0:', '64:ff9b::', '64:ff9b:1::', '64:ff9b:1:2:3:4:']) {
    for (const each of PRIVATE_V4) t.ok(v6(`${form}${each}`), `${form}${each}`);
    for (const each of PUBLIC_V4) t.notOk(v6(`${form}${each}`), `${form}${each}`);
  }
  t.ok(v6('2002:c0a8:101::1'), '6to4');
  t.notOk(v6('2002:c000:201::1'), '6to4');
  t.end();
});

await t.test('the prefix of the network is known with every length of RFC 6052', t => {
  for (const [prefix, inside, outside] of [
    ['2001:db8::/32', '2001:db8:c0a8:101::', '2001:db8:c000:221::'],
    ['2001:db8:100::/40', '2001:db8:1c0:a801:1::', '2001:db8:1c0:2:21::'],
    ['2001:db8:122::/48', '2001:db8:122:c0a8:1:100::', '2001:db8:122:c000:2:2100::'],
    ['2001:db8:122:300::/56', '2001:db8:122:3c0:a8:101::', '2001:db8:122:3c0:0:221::'],
    ['2001:db8:122:344::/64', '2001:db8:122:344:c0:a801:100:0', '2001:db8:122:344:c0:2:2100:0'],
    ['2001:db8:122:344::/96', '2001:db8:122:344::192.168.1.1', '2001:db8:122:344::192.0.2.33'],
  ] as const) {
    t.ok(v6(inside, prefix), `${inside} of ${prefix}`);
    t.notOk(v6(outside, prefix), `${outside} of ${prefix}`);
    t.notOk(v6(inside), 'and not without it');
  }
  t.end();
});

await t.test('A, AAAA, and hints of SVCB and HTTPS give addresses; all else does not', t => {
  const hints = (key: number, ...addresses: string[]): string =>
    `key${key}=${addresses.map(each => octetsOf(each).toString('hex')).join('')}`;
  const svcb = (...parameters: string[]): string => `a.example. 60 SVCB 1 . ${parameters.join(' ')}`;
  const lines = [
    ['a.example. 60 A 192.168.1.1', true],
    ['a.example. 60 A 192.0.2.1', false],
    ['a.example. 60 AAAA fd00::1', true],
    ['a.example. 60 AAAA 2001:db8::1', false],
    [svcb('alpn=h2', hints(4, '192.0.2.1', '10.0.0.1')), true],
    [svcb('alpn=h2', 'port=443', hints(6, '2001:db8::1', 'fe80::1')), true],
    [svcb(hints(4, '192.0.2.1'), hints(6, '2001:db8::1')), false],
    [svcb('key5=0a000001', 'key65280=0a000001'), false],
    ['a.example. 60 SVCB 0 b.example.', false],
    ['a.example. 60 TXT "10.0.0.1"', false],
    ['a.example. 60 CNAME b.example.', false],
  ] as const;
  const question = questionOf(wireName('a.example.'), TYPE.ANY);
  const message = compose(question, { answer: records(lines.map(([line]) => line).join('\n')) });
  const found = privateRecords(message, HEADER_BYTES + question.length, undefined);
  t.same(
    [...(found ?? [])].map(index => lines[index]?.[0]),
    lines.filter(([, is]) => is).map(([line]) => line),
  );
  const harmless = compose(question, { answer: records(lines.flatMap(([line, is]) => (is ? [] : [line])).join('\n')) });
  t.equal(privateRecords(harmless, HEADER_BYTES + question.length, undefined), undefined);
  t.end();
});

await t.test('HTTPS records are looked at like SVCB, and malformed ones hint at nothing', t => {
  const question = questionOf(wireName('a.example.'), TYPE.HTTPS);
  const found = (hex: string): boolean => {
    const rdata = Buffer.from(hex, 'hex');
    const message = compose(question, {
      answer: [{ owner: wireName('a.example.'), type: TYPE.HTTPS, ttlSec: 60, rdata }],
    });
    return privateRecords(message, HEADER_BYTES + question.length, undefined) !== undefined;
  };
  t.ok(found('000100' + '000400040a000001'));
  t.ok(found('0001016100' + '000400040a000001'), 'behind a target name');
  t.ok(found('000100' + '00040014c0000201c0000202c0000203c00002047f000001'), 'the last of many hints');
  for (const hex of ['', '00', '0001', '000100', '00010000', '000100000400', '0001000004000aff', '00013f', '0001ff'])
    t.notOk(found(hex), hex);
  t.ok(found('000100' + '0004ffff0a000001'), 'a length that is too large hides nothing');
  t.end();
});
