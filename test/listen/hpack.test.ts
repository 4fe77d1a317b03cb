// Header fields of HTTP/2 as octets (RFC 7541): what others have written is read, and what is malformed is refused.

import { connect } from 'node:http2';
import { Duplex } from 'node:stream';

import fc from 'fast-check';
import t from 'tap';

import { FieldReader, putField, TABLE_BYTES } from '../../src/listen/hpack.js';
import { fromBase64url } from '../../src/listen/http-request.js';
import { mostUnpacked, packed, unpack, unpackBase64url } from '../../src/listen/huffman.js';
import { filled } from './raw-http2.js';

type Fields = (readonly [string, string])[];

const read = (reader: FieldReader, hex: string | Buffer): Fields | undefined => {
  const fields: Fields = [];
  const octets = typeof hex === 'string' ? Buffer.from(hex.replaceAll(' ', ''), 'hex') : hex;
  return reader.read(octets, 0, octets.length, (name, value) => fields.push([name, value])) ? fields : undefined;
};

await t.test('the examples of RFC 7541 are read, with their table', t => {
  const expected: readonly Fields[] = [
    [
      [':method', 'GET'],
      [':scheme', 'http'],
      [':path', '/'],
      [':authority', 'www.example.com'],
    ],
    [
      [':method', 'GET'],
      [':scheme', 'http'],
      [':path', '/'],
      [':authority', 'www.example.com'],
      ['cache-control', 'no-cache'],
    ],
    [
      [':method', 'GET'],
      [':scheme', 'https'],
      [':path', '/index.html'],
      [':authority', 'www.example.com'],
      ['custom-key', 'custom-value'],
    ],
  ];
  // Appendix C.3, and C.4 with Huffman codes.
  for (const blocks of [
    [
      '8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
      '8286 84be 5808 6e6f 2d63 6163 6865',
      '8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65',
    ],
    [
      '8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff',
      '8286 84be 5886 a8eb 1064 9cbf',
      '8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf',
    ],
  ]) {
    const reader = new FieldReader();
    t.same(
      blocks.map(each => read(reader, each)),
      expected,
    );
  }
  t.end();
});

await t.test('what is malformed is refused', t => {
  for (const [title, hex] of [
    ['index 0', '80'],
    ['an index behind the table', 'be'],
    ['a name behind the table', '7e 01 61'],
    ['no value', '40 01 61'],
    ['no name', '40'],
    ['a value that ends early', '00 01 61 05 62'],
    ['a number without end', 'ff ffff ffff'],
    ['a number that is too large', '00 7f ffff ffff ff07'],
    ['a table that is larger than it may be', '3f e2 1f'],
    ['a size of the table behind a field', '82 20'],
    ['the code of the end', '00 84 ffff ffff 00'],
    ['more than 7 bits at the end', '00 82 1fff 00'],
    ['bits at the end that are not 1', '00 81 18 00'],
  ] as const)
    t.equal(read(new FieldReader(), hex), undefined, title);
  t.same(read(new FieldReader(), '3f e1 1f 82'), [[':method', 'GET']], 'the largest table');
  t.end();
});

await t.test('the table is bounded, and an entry that has no room empties it', t => {
  const reader = new FieldReader();
  const keep = (name: string, value: string): Buffer => {
    const octets = Buffer.alloc(300);
    const end = putField(octets, 0, name, value);
    octets[0] = 0x40;
    return octets.subarray(0, end);
  };
  const size = 32 + 1 + 100;
  for (let i = 0; i < 1000; i++) read(reader, keep('a', String(i).padStart(100, '0')));
  const kept = Math.floor(TABLE_BYTES / size);
  const entry = (index: number): Fields | undefined => read(reader, Buffer.from([0x80 | (61 + index)]));
  t.same(entry(1), [['a', '999'.padStart(100, '0')]], 'the newest first');
  t.same(entry(kept), [['a', String(1000 - kept).padStart(100, '0')]]);
  const copy = new FieldReader();
  for (let i = 0; i < 40; i++) read(copy, keep('a', String(i).padStart(100, '0')));
  t.equal(read(copy, Buffer.from([0x80 | (62 + kept)])), undefined, 'the oldest is gone');
  const large = Buffer.concat([Buffer.from('4001617fa11f', 'hex'), Buffer.alloc(4128, 98)]);
  t.same(read(reader, large)?.[0]?.[1].length, 4128, 'it is read, and not kept');
  t.equal(entry(1), undefined);
  t.end();
});

await t.test('octets at random are read or refused, and never longer than they can be', t => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), octets => {
      const fields = read(new FieldReader(), Buffer.from(octets)) ?? [];
      for (const [name, value] of fields) t.ok(name.length + value.length <= TABLE_BYTES);
      const room = Buffer.alloc(mostUnpacked(octets.length));
      return unpack(octets, 0, octets.length, room) <= room.length;
    }),
    { numRuns: 5000 },
  );
  t.end();
});

await t.test('base64url behind any beginning is read as if all were unpacked first', t => {
  /** The octets from a character on; undefined: it is malformed. */
  const reference = (octets: Uint8Array, skipped: number): string | undefined => {
    const room = Buffer.alloc(mostUnpacked(octets.length));
    const into = Buffer.alloc(room.length);
    const found = fromBase64url(room, skipped, unpack(octets, 0, octets.length, room), into);
    return found < 0 ? undefined : into.toString('hex', 0, found);
  };
  const read = (octets: Uint8Array, bit: number): string | undefined => {
    const into = Buffer.alloc(mostUnpacked(octets.length));
    const found = unpackBase64url(octets, 0, octets.length, bit, into);
    return found < 0 ? undefined : into.toString('hex', 0, found);
  };
  const begin = fc.constantFrom('', '/', '/q?dns=', '/dns-query?dns=', 'X', '`', '\x01');
  const text = fc.oneof(
    fc.uint8Array({ maxLength: 60 }).map(octets => Buffer.from(octets).toString('base64url')),
    fc.string({ maxLength: 9 }),
  );
  fc.assert(
    fc.property(begin, text, fc.nat(600), fc.nat(255), (before, after, at, octet) => {
      const whole = Buffer.from(before + after, 'latin1');
      const { bits } = packed(whole.subarray(0, before.length));
      const octets = filled(packed(whole));
      const room = Buffer.alloc(mostUnpacked(octets.length));
      t.equal(room.toString('latin1', 0, unpack(octets, 0, octets.length, room)), whole.toString('latin1'));
      t.equal(read(octets, bits), reference(octets, before.length));
      if (before === '' && octets.length > 0) {
        octets[at % octets.length] = octet;
        t.equal(read(octets, 0), reference(octets, 0), octets.toString('hex'));
      }
    }),
    { numRuns: 5000 },
  );
  t.end();
});

/** Octets of a client of node:http2, as they would leave. */
class Captured extends Duplex {
  readonly chunks: Buffer[] = [];
  override _read(): void {}
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.chunks.push(chunk);
    done();
  }
}

/** The header blocks in what a client has sent. */
function* blocks(octets: Buffer): Iterable<Buffer> {
  let block: Buffer[] = [];
  for (let at = 24; at + 9 <= octets.length;) {
    const [type, flags, end] = [octets[at + 3], octets[at + 4] ?? 0, at + 9 + octets.readUIntBE(at, 3)];
    // node:http2 sends a priority with HEADERS.
    const from = at + 9 + (type === 1 && (flags & 0x20) !== 0 ? 5 : 0);
    if (type === 1 || type === 9) block.push(octets.subarray(from, end));
    if ((type === 1 || type === 9) && (flags & 4) !== 0) {
      yield Buffer.concat(block);
      block = [];
    }
    at = end;
  }
}

await t.test('what node:http2 writes is read as it was meant, one request after the other', async t => {
  const value = fc.string({
    unit: fc.integer({ min: 33, max: 126 }).map(code => String.fromCharCode(code)),
    minLength: 1,
    maxLength: 80,
  });
  const name = fc.stringMatching(/^x-[a-z0-9]{1,12}$/);
  const request = fc.dictionary(name, value, { maxKeys: 6 });
  await fc.assert(
    fc.asyncProperty(fc.array(request, { minLength: 1, maxLength: 12 }), async all => {
      const captured = new Captured();
      const session = connect('http://dns.test', { createConnection: () => captured });
      session.on('error', () => undefined);
      for (const each of all)
        session.request({ ':path': `/${JSON.stringify(each).length}`, ...each }).on('error', () => undefined);
      await new Promise(resolve => setImmediate(resolve));
      await new Promise(resolve => setImmediate(resolve));
      const reader = new FieldReader();
      const found = [...blocks(Buffer.concat(captured.chunks))].map(block =>
        Object.fromEntries(read(reader, block) ?? []),
      );
      session.destroy();
      t.same(
        found,
        all.map(each => ({
          ...{ ':authority': 'dns.test:80', ':scheme': 'http', ':method': 'GET' },
          ':path': `/${JSON.stringify(each).length}`,
          ...each,
        })),
      );
    }),
    { numRuns: 60 },
  );
});
