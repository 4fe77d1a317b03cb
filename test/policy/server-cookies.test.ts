import t from 'tap';

import { addressOctets } from '../../src/base/address.js';
import { ServerCookies } from '../../src/policy/server-cookies.js';

const octetsOf = (address: string): Buffer => addressOctets(address) ?? Buffer.alloc(0);
const of = (secret: string): ServerCookies => new ServerCookies(ServerCookies.memory(Buffer.from(secret, 'hex')));
const isValid = (cookies: ServerCookies, option: Buffer, address: string, nowSec: number): boolean =>
  cookies.isValid(option, 0, option.length, octetsOf(address), nowSec);

// RFC 9018, appendix A.
const SECRET = 'e5e973e5a6b2a43f48e7dc849e37bfcf';
const CLIENT = Buffer.from('2464c4abcf10c957', 'hex');
const ADDRESS = '198.51.100.100';
const NOW = 1_559_731_985;

await t.test('the examples of RFC 9018', t => {
  const cookies = of(SECRET);
  const learned = cookies.optionFor(CLIENT, octetsOf(ADDRESS), NOW);
  t.equal(learned.toString('hex'), '2464c4abcf10c957010000005cf79f111f8130c3eee29480', 'A.1: a new cookie');
  const later = NOW + 2 * 3600 + 11;
  const renewed = cookies.optionFor(learned, octetsOf(ADDRESS), later);
  t.equal(renewed.readUInt32BE(12), later, 'A.2: one that is too old is replaced');
  const reserved = Buffer.from('fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5', 'hex');
  t.ok(isValid(cookies, reserved, '203.0.113.203', 1_559_728_000), 'A.3: whatever the reserved octets say');
  const six = octetsOf('2001:db8:220:1:59de:d0f4:8769:82b8');
  const option = Buffer.from('22681ab97d52c298010000005cf7c57926556bd0934c72f8', 'hex');
  const rolled = of('dd3bdf9344b678b185a6f5cb60fca715');
  rolled.renew(Buffer.from('445536bcd2513298075a5d379663c962', 'hex'));
  t.ok(rolled.isValid(option, 0, option.length, six, 1_559_741_961), 'A.4: IPv6, and the secret of before');
  t.equal(
    of('445536bcd2513298075a5d379663c962').optionFor(option, six, 1_559_741_961).toString('hex'),
    '22681ab97d52c298010000005cf7c609a6bb79d16625507a',
  );
  t.end();
});

await t.test('a cookie counts for one hour, at its address, with its client part', t => {
  const cookies = of(SECRET);
  const option = cookies.optionFor(CLIENT, octetsOf(ADDRESS), NOW);
  for (const [seconds, expected] of [
    [0, true],
    [3600, true],
    [3601, false],
    [-300, true],
    [-301, false],
  ] as const)
    t.equal(isValid(cookies, option, ADDRESS, NOW + seconds), expected, `${seconds} s later`);
  t.notOk(isValid(cookies, option, '198.51.100.101', NOW));
  t.ok(isValid(cookies, option, `::ffff:${ADDRESS}`, NOW), 'the same address over a socket of IPv6');
  for (let at = 0; at < option.length; at++) {
    const other = Buffer.from(option);
    other[at] = (other[at] ?? 0) ^ 1;
    // The lowest bit of the timestamp makes it a second older, and the hash another one.
    t.notOk(isValid(cookies, other, ADDRESS, NOW), `octet ${at}`);
  }
  for (const bytes of [0, 8, 16, 23]) t.notOk(isValid(cookies, option.subarray(0, bytes), ADDRESS, NOW));
  t.notOk(isValid(cookies, Buffer.concat([option, Buffer.alloc(1)]), ADDRESS, NOW));
  t.end();
});

await t.test('a fresh one is sent back, and one of more than half an hour replaced', t => {
  const cookies = of(SECRET);
  const option = cookies.optionFor(CLIENT, octetsOf(ADDRESS), NOW);
  t.same(cookies.optionFor(option, octetsOf(ADDRESS), NOW + 1799), option);
  t.equal(cookies.optionFor(option, octetsOf(ADDRESS), NOW + 1800).readUInt32BE(12), NOW + 1800);
  t.end();
});

await t.test('time passes the end of 32 bits', t => {
  const cookies = of(SECRET);
  const end = 2 ** 32 - 10;
  const option = cookies.optionFor(CLIENT, octetsOf(ADDRESS), end);
  t.ok(isValid(cookies, option, ADDRESS, end + 100));
  t.notOk(isValid(cookies, option, ADDRESS, end + 4000));
  t.end();
});

await t.test('after a change of the secret, cookies of the one before count, and those before it do not', t => {
  const writer = of(SECRET);
  const reader = new ServerCookies(writer.memory);
  const first = reader.optionFor(CLIENT, octetsOf(ADDRESS), NOW);
  writer.renew(Buffer.alloc(16, 1));
  t.ok(isValid(reader, first, ADDRESS, NOW));
  const second = reader.optionFor(CLIENT, octetsOf(ADDRESS), NOW);
  t.notSame(second, first);
  writer.renew(Buffer.alloc(16, 2));
  t.ok(isValid(reader, second, ADDRESS, NOW));
  t.notOk(isValid(reader, first, ADDRESS, NOW));
  t.end();
});
