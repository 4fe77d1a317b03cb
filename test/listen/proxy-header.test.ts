// PROXY headers as octets: what is read, what is waited for, and what is not believed.

import { isDeepStrictEqual } from 'node:util';

import fc from 'fast-check';
import t from 'tap';

import { addressText, unmappedText } from '../../src/base/address.js';
import { type ProxyHeader, readProxyHeader } from '../../src/listen/proxy-header.js';
import { binaryBlock, binaryHeader, lineHeader, LOCAL_HEADER } from '../fixtures/proxy-header.js';

/** As documents write them, such as those of nginx and HAProxy. */
const line = (text: string): ProxyHeader => readProxyHeader(Buffer.from(text, 'latin1'));
const header = (bytes: number, address?: string, port = 0): ProxyHeader => ({
  ...{ at: 'header', bytes },
  client: address === undefined ? undefined : { address, port },
});
const MALFORMED = { at: 'malformed' };

const addresses = fc
  .oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 }))
  .map(octets => Buffer.from(octets));
const textOf = (octets: Buffer): string => addressText(octets, 0, octets.length === 4 ? 4 : 16);
const written = fc
  .tuple(addresses, fc.integer({ min: 0, max: 0xffff }), fc.uint8Array({ maxLength: 200 }), fc.constantFrom(0, 1, 2))
  .map(([octets, port, more, form]) => {
    const ends = { from: textOf(octets), port };
    const octetsOfHeader = form === 0 ? lineHeader(ends) : binaryHeader(ends, more, form === 1 ? 1 : 2);
    return { header: octetsOfHeader, expected: header(octetsOfHeader.length, unmappedText(octets), port) };
  });

await t.test('what a proxy writes is read, whatever follows it', t => {
  fc.assert(
    fc.property(written, fc.uint8Array({ maxLength: 300 }), ({ header: octets, expected }, after) =>
      isDeepStrictEqual(readProxyHeader(Buffer.concat([octets, after])), expected),
    ),
    { numRuns: 2000 },
  );
  t.end();
});

await t.test('a header that ends too early is waited for, at each octet, and never for more than there is', t => {
  fc.assert(
    fc.property(written, ({ header: octets }) => {
      for (let bytes = 0; bytes < octets.length; bytes++) {
        const read = readProxyHeader(octets.subarray(0, bytes));
        if (read.at !== 'partial' || read.wanted <= bytes || read.wanted > octets.length) return false;
      }
      return true;
    }),
    { numRuns: 300 },
  );
  t.end();
});

await t.test('any octets are a header, no header, or waited for within the bounds', t => {
  const V1 = Buffer.from('PROXY TCP4 ');
  const hostile = fc
    .tuple(
      fc.constantFrom(Buffer.alloc(0), V1, Buffer.from('PROXY '), LOCAL_HEADER.subarray(0, 12), LOCAL_HEADER),
      fc.uint8Array({ maxLength: 1300 }),
    )
    .map(([begin, rest]) => Buffer.concat([begin, rest]));
  fc.assert(
    fc.property(hostile, octets => {
      const read = readProxyHeader(octets);
      if (read.at === 'partial') return read.wanted > octets.length && read.wanted <= 16 + 1024;
      return read.at === 'malformed' || read.bytes <= octets.length;
    }),
    { numRuns: 5000 },
  );
  t.end();
});

await t.test('a header with one octet changed is never read past its bounds', t => {
  fc.assert(
    fc.property(written, fc.nat(), fc.nat({ max: 255 }), ({ header: octets }, at, value) => {
      const changed = Buffer.from(octets);
      changed[at % octets.length] = value;
      const read = readProxyHeader(changed);
      return read.at !== 'header' || read.bytes <= changed.length;
    }),
    { numRuns: 3000 },
  );
  t.end();
});

await t.test('version 1: addresses are those of clients, exactly as the specification writes them', t => {
  const read: readonly (readonly [string, ProxyHeader | typeof MALFORMED])[] = [
    ['PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nGET', header(47, '192.168.0.1', 56324)],
    ['PROXY TCP6 2001:DB8::1 ::1 0 853\r\n', header(34, '2001:db8::1', 0)],
    ['PROXY TCP6 ::ffff:192.0.2.7 ::ffff:192.0.2.8 1 2\r\n', header(50, '192.0.2.7', 1)],
    ['PROXY UNKNOWN\r\n', header(15)],
    [`PROXY UNKNOWN ${'f'.repeat(91)}\r\n`, header(107)],
    [`PROXY UNKNOWN ${'f'.repeat(92)}\r\n`, MALFORMED],
    ['PROXY TCP4 192.168.0.01 192.168.0.11 1 2\r\n', MALFORMED],
    ['PROXY TCP4 192.168.0.256 192.168.0.11 1 2\r\n', MALFORMED],
    ['PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n', MALFORMED],
    ['PROXY TCP4 192.168.0.1 2001:db8::2 1 2\r\n', MALFORMED],
    ['PROXY TCP6 192.168.0.1 192.168.0.2 1 2\r\n', MALFORMED],
    ['PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n', MALFORMED],
    ['PROXY TCP4 192.168.0.1 192.168.0.2 65536 2\r\n', MALFORMED],
    ['PROXY TCP4 192.168.0.1 192.168.0.2 1 065\r\n', MALFORMED],
    ['PROXY TCP4 192.168.0.1 192.168.0.2 1\r\n', MALFORMED],
    ['PROXY TCP4 192.168.0.1 192.168.0.2 1 2 3\r\n', MALFORMED],
    ['PROXY TCP4  192.168.0.1 192.168.0.2 1 2\r\n', MALFORMED],
    ['PROXY TCP4 192.168.0.1 192.168.0.2 1 2\nPROXY\r\n', MALFORMED],
    ['PROXY UDP4 192.168.0.1 192.168.0.2 1 2\r\n', MALFORMED],
    ['PROXY\tTCP4 192.168.0.1 192.168.0.2 1 2\r\n', MALFORMED],
    ['proxy TCP4 192.168.0.1 192.168.0.2 1 2\r\n', MALFORMED],
    ['GET / HTTP/1.1\r\n', MALFORMED],
  ];
  for (const [text, expected] of read) t.strictSame(line(text), expected, JSON.stringify(text));
  t.end();
});

await t.test('version 2: commands, families and transports', t => {
  const four = Buffer.from([192, 0, 2, 1, 192, 0, 2, 2, 0, 7, 3, 85]);
  const read: readonly (readonly [string, Buffer, ProxyHeader | typeof MALFORMED])[] = [
    ['TCP over IPv4', binaryBlock(0x21, 0x11, four), header(28, '192.0.2.1', 7)],
    ['a query that came over UDP', binaryBlock(0x21, 0x12, four), header(28, '192.0.2.1', 7)],
    ['IPv4-mapped', binaryHeader({ from: '::ffff:192.0.2.9', port: 1 }), header(52, '192.0.2.9', 1)],
    ['LOCAL', LOCAL_HEADER, header(16)],
    ['LOCAL with addresses, which are not believed', binaryBlock(0x20, 0x11, four), header(28)],
    ['LOCAL of an unknown family, which is ignored', binaryBlock(0x20, 0xff, four), header(28)],
    ['unspecified', binaryBlock(0x21, 0x00, four), header(28)],
    ['an unspecified transport', binaryBlock(0x21, 0x10, four), header(28)],
    ['AF_UNIX', binaryBlock(0x21, 0x31, Buffer.alloc(216)), header(232)],
    ['an unknown family', binaryBlock(0x21, 0x41, four), MALFORMED],
    ['an unknown transport', binaryBlock(0x21, 0x13, four), MALFORMED],
    ['an unknown command', binaryBlock(0x22, 0x11, four), MALFORMED],
    ['another version', binaryBlock(0x31, 0x11, four), MALFORMED],
    ['too short for its family', binaryBlock(0x21, 0x11, four.subarray(1)), MALFORMED],
    ['too short for IPv6', binaryBlock(0x21, 0x21, Buffer.alloc(35)), MALFORMED],
    [
      'as long as may be',
      binaryBlock(0x21, 0x11, Buffer.concat([four, Buffer.alloc(1012)])),
      header(1040, '192.0.2.1', 7),
    ],
    ['longer, at once', binaryBlock(0x21, 0x11, Buffer.alloc(0), 1025), MALFORMED],
    ['the longest', binaryBlock(0x20, 0, Buffer.alloc(0), 0xffff), MALFORMED],
  ];
  for (const [what, octets, expected] of read) t.strictSame(readProxyHeader(octets), expected, what);
  t.end();
});

await t.test('what cannot become a header is not waited for', t => {
  t.strictSame(line('PROXZ'), MALFORMED);
  t.strictSame(line('\r\n\r\nX'), MALFORMED);
  t.strictSame(line('\0'), MALFORMED);
  t.strictSame(readProxyHeader(binaryBlock(0x2f, 0, Buffer.alloc(0)).subarray(0, 13)), MALFORMED);
  t.strictSame(line('x'.repeat(5)), MALFORMED);
  t.strictSame(line(`PROXY TCP4 ${'1'.repeat(95)}`), { at: 'partial', wanted: 107 });
  t.strictSame(line(`PROXY TCP4 ${'1'.repeat(96)}`), MALFORMED);
  t.end();
});
