import fc from 'fast-check';
import t from 'tap';

import {
  isAtOrBelow,
  isTextAtOrBelow,
  lowerCased,
  nameFromText,
  nameToText,
  readName,
  ROOT,
  sameIgnoringCase,
  skipName,
} from '../../src/wire/name.js';

const hex = (text: string): Buffer => Buffer.from(text.replace(/\s/g, ''), 'hex');

await t.test('RFC 1035 §3.1: labels with their lengths, ended by the root', t => {
  t.same(nameFromText('www.Example.'), hex('03 777777 07 4578616d706c65 00'));
  t.same(nameFromText('www.Example'), nameFromText('www.Example.'), 'the final dot may be missing');
  t.same(nameFromText('.'), ROOT);
  t.equal(nameToText(ROOT), '.');
  t.end();
});

await t.test('RFC 1035 §5.1: escapes are read and written', t => {
  const name = nameFromText('a\\.b.c\\\\d.\\000\\255.');
  t.same(name, hex('03 612e62 03 635c64 02 00ff 00'));
  t.equal(nameToText(name ?? ROOT), 'a\\.b.c\\\\d.\\000\\255.');
  t.end();
});

await t.test('names that are none', t => {
  const long = 'a'.repeat(64);
  const tooLong = Array.from({ length: 128 }, () => 'a').join('.');
  for (const text of ['', 'a..b', '.a', long, tooLong, 'a\\256', 'a\\', 'a b', 'bücher.example']) {
    t.equal(nameFromText(text), undefined, JSON.stringify(text.slice(0, 20)));
  }
  t.end();
});

await t.test('RFC 1035 §2.3.4: 255 octets are a name, 256 are not', t => {
  const label = (length: number): Buffer => Buffer.concat([Buffer.from([length]), Buffer.alloc(length, 0x61)]);
  const fits = Buffer.concat([label(63), label(63), label(63), label(61), ROOT]);
  t.equal(fits.length, 255);
  t.equal(skipName(fits, 0), 255);
  t.equal(skipName(Buffer.concat([label(63), label(63), label(63), label(62), ROOT]), 0), -1);
  t.end();
});

await t.test('RFC 1035 §4.1.4: pointers are followed backwards, never forwards or in a circle', t => {
  const behindHeader = (octets: string): Buffer => Buffer.concat([Buffer.alloc(12), hex(octets)]);
  const message = behindHeader('0161 00  0162 c00c  c00f c013');
  t.same(readName(message, 15), { name: hex('0162 0161 00'), end: 19 });
  t.same(readName(message, 19), { name: hex('0162 0161 00'), end: 21 });
  t.equal(skipName(behindHeader('c00c'), 12), -1, 'to itself');
  t.equal(skipName(behindHeader('0161 c00c'), 12), -1, 'to its own start');
  t.equal(skipName(behindHeader('c00e c00c'), 14), -1, 'in a circle');
  t.equal(skipName(behindHeader('c010 0000 0161 00'), 12), -1, 'forwards');
  for (let into = 0; into < 12; into++)
    t.equal(
      skipName(behindHeader(`c0${into.toString(16).padStart(2, '0')}`), 12),
      -1,
      `to octet ${into} of the header`,
    );
  t.equal(skipName(hex('c0'), 0), -1, 'half a pointer');
  t.equal(skipName(hex('40 00'), 0), -1, 'a label type that nobody may use');
  t.end();
});

await t.test('a chain of pointers to the longest name ends, and one octet more is refused', t => {
  // Each piece is one label of 62 octets and a pointer to the piece before.
  const pieces = [Buffer.concat([Buffer.alloc(12), Buffer.from([62]), Buffer.alloc(62, 0x61), ROOT])];
  const starts = [12];
  let at = pieces[0]?.length ?? 0;
  for (let i = 1; i < 5; i++) {
    const target = starts[i - 1] ?? 0;
    pieces.push(
      Buffer.concat([Buffer.from([62]), Buffer.alloc(62, 0x61), Buffer.from([0xc0 | (target >> 8), target & 255])]),
    );
    starts.push(at);
    at += pieces[i]?.length ?? 0;
  }
  const message = Buffer.concat(pieces);
  t.equal(readName(message, starts[3] ?? 0)?.name.length, 4 * 63 + 1);
  t.equal(skipName(message, starts[4] ?? 0), -1);
  t.end();
});

await t.test("pointers to pointers are followed a name's worth deep, and no further", t => {
  const message = Buffer.alloc(12 + 2 * 200 + 1);
  for (let i = 1; i <= 200; i++) message.writeUInt16BE(0xc000 | (12 + (i === 1 ? 0 : 2 * i - 3)), 12 + 2 * i - 1);
  t.equal(skipName(message, 12 + 2 * 127 - 1), 12 + 2 * 127 + 1);
  t.equal(skipName(message, 12 + 2 * 128 - 1), -1);
  t.end();
});

await t.test('ASCII case does not count, nothing else is folded', t => {
  const same = (a: Buffer, b: Buffer): boolean =>
    sameIgnoringCase(Buffer.concat([Buffer.from('>'), a]), 1, b, b.length);
  t.ok(same(Buffer.from('aBz'), Buffer.from('AbZ')));
  t.notOk(same(Buffer.from('@['), Buffer.from('`{')), 'neighbours of letters differ by the same bit');
  t.notOk(same(Buffer.from([0xc4]), Buffer.from([0xe4])));
  t.same(lowerCased(Buffer.from('A@Z[É')), Buffer.from('a@z[É'));
  t.end();
});

const label = fc.uint8Array({ minLength: 1, maxLength: 63 });
const name = fc
  .array(label, { maxLength: 6 })
  .map(labels => Buffer.concat([...labels.map(octets => Buffer.concat([Buffer.from([octets.length]), octets])), ROOT]))
  .filter(octets => octets.length <= 255);

await t.test('any name survives the way to text and back', t => {
  fc.assert(
    fc.property(name, octets => {
      const back = nameFromText(nameToText(octets));
      return back?.equals(octets) === true;
    }),
  );
  t.end();
});

await t.test('any octets: reading never throws, never reads past the end, and agrees with skipping', t => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(300), (octets, at) => {
      const message = Buffer.from(octets);
      const end = skipName(message, at);
      const read = readName(message, at);
      return end === -1 ? read === undefined : read?.end === end && end <= message.length && read.name.length <= 255;
    }),
    { numRuns: 5000 },
  );
  t.end();
});

await t.test('a name is at or below another where whole labels are the same, as octets and as text', t => {
  const rows: readonly (readonly [name: string, ancestor: string, isBelow: boolean])[] = [
    ['www.example.test.', 'example.test.', true],
    ['example.test.', 'example.test.', true],
    ['example.test.', '.', true],
    ['.', '.', true],
    ['test.', 'example.test.', false],
    ['badexample.test.', 'example.test.', false],
    ['example.test.', 'example.tests.', false],
    // The octets of the zone, but within a label: its length octet is a letter of it.
    ['a\\007example\\004test.', 'example.test.', false],
  ];
  for (const [name, ancestor, isBelow] of rows) {
    const octets = nameFromText(name) ?? ROOT;
    const above = nameFromText(ancestor) ?? ROOT;
    t.equal(isAtOrBelow(octets, above), isBelow, `${name} ${ancestor}`);
    t.equal(isTextAtOrBelow(octets.toString('latin1'), above), isBelow, `${name} ${ancestor} as text`);
  }
  t.end();
});
