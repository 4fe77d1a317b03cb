// Compiled lists as octets: what comes back, and what is refused.

import { crc32 } from 'node:zlib';

import fc from 'fast-check';
import t from 'tap';

import { Lists } from '../../../src/policy/lists/choice.js';
import type { CompiledLists } from '../../../src/policy/lists/compile.js';
import { KeptListsError, KeptListsReader, keptPieces, OtherSources } from '../../../src/policy/lists/kept.js';
import { listsOf, verdict } from '../../fixtures/lists.js';

const ABOUT = 'a'.repeat(64);

/** Lists with rules of all kinds. */
const lists = listsOf([
  { text: 'one.example\n*.two.example\nnot a name\n', format: 'domains' },
  { text: '||three.example^$client=kids\n||four.example^$denyallow=good.four.example\n@@||five.example^\n' },
  { text: '$TTL 60\n@ SOA a. b. 1 1 1 1 1\nsix.example A 192.0.2.6\n24.0.2.0.192.rpz-ip CNAME .\n', format: 'rpz' },
]);

const octetsOf = (about = ABOUT): Buffer => Buffer.concat([...keptPieces(lists.compiled, about)]);

/** Reads a file in pieces of so many octets. */
function read(octets: Buffer, bytes = octets.length, about = ABOUT): CompiledLists | undefined {
  const reader = new KeptListsReader(about);
  for (let at = 0; at < octets.length; at += bytes) reader.take(octets.subarray(at, at + bytes));
  return reader.finish();
}

/** The class of the error for a file; undefined: it is used. */
function refusal(octets: Buffer): unknown {
  try {
    read(octets);
    return undefined;
  } catch (error) {
    if (error instanceof KeptListsError) return error.constructor;
    throw error;
  }
}

await t.test('lists are the same after a restart, however the file is read', async t => {
  const whole = octetsOf();
  for (const bytes of [1, 7, 100, 4096, whole.length]) {
    const again = read(whole, bytes);
    t.same(again, lists.compiled, `${bytes} octets at a time`);
  }
  const kept = new Lists(lists.settings, lists.listOf, read(whole) ?? lists.compiled);
  const names = ['one', 'x.two', 'two', 'three', 'four', 'good.four', 'six', 'seven'].map(each => `${each}.example`);
  for (const name of names) t.equal(verdict(kept, name), verdict(lists, name), name);
  t.equal(verdict(kept, 'one.example'), 'nxdomain list0:1');
  t.same(read(Buffer.alloc(0)), undefined, 'a file that is not there');
});

await t.test('of other sources, or of another version, nothing is used', async t => {
  t.equal(refusal(octetsOf('b'.repeat(64))), OtherSources);
  const other = Buffer.from(octetsOf());
  other[14] = '9'.charCodeAt(0);
  t.throws(() => read(other), /this version can read/);
  t.equal(refusal(Buffer.alloc(100_000, 7)), KeptListsError);
});

await t.test('an octet that is another one, or missing, is found', async t => {
  const whole = octetsOf();
  fc.assert(
    fc.property(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), fc.boolean(), (at, change, isCut) => {
      const octets = Buffer.from(whole);
      octets[at] = (octets[at] ?? 0) ^ change;
      return refusal(isCut ? whole.subarray(0, Math.max(1, at)) : octets) !== undefined;
    }),
    { numRuns: 500 },
  );
  t.equal(refusal(Buffer.concat([whole, Buffer.from([0])])), KeptListsError, 'nor is one too many');
});

/** Writes both checksums anew. */
function signed(octets: Buffer): Buffer {
  const headAt = octets.indexOf(ABOUT) + ABOUT.length + 8;
  const headEnd = headAt + octets.readUInt32BE(headAt - 8);
  octets.writeUInt32BE(crc32(octets.subarray(0, headEnd)), headEnd);
  octets.writeUInt32BE(crc32(octets.subarray(0, -4)), octets.length - 4);
  return octets;
}

await t.test('with the right checksums, sizes and contents that cannot be are refused all the same', async t => {
  const whole = octetsOf();
  t.same(read(signed(Buffer.from(whole))), lists.compiled);
  const tableAt = whole.length - 4 - lists.compiled.table.byteLength;
  // The words of the head of a table: places, rules, the words of its filter.
  for (const [word, values] of [
    [0, [0, -1, 1 << 20]],
    [1, [-1, 1 << 24]],
    [19, [0, -8, 3, 1 << 24]],
  ] as const)
    for (const value of values) {
      const octets = Buffer.from(whole);
      new DataView(octets.buffer, octets.byteOffset).setInt32(tableAt + word * 4, value, true);
      t.throws(() => read(signed(octets)), /malformed/, `word ${word}: ${value}`);
    }
  const headAt = whole.indexOf(ABOUT) + ABOUT.length + 8;
  const head = whole.subarray(headAt, headAt + whole.readUInt32BE(headAt - 8)).toString();
  for (const [from, to] of [
    ['{"sources":[', '{"sources":{"'],
    ['"records":[', '"recordz":['],
    ['"syntax"', '"constr"'],
    ['"name"', '"neme"'],
    ['"kids"', '111111'],
    ['[3,2,', '[-,2,'],
  ] as const) {
    if (!head.includes(from)) continue;
    const octets = Buffer.from(whole);
    octets.write(head.replace(from, to.padEnd(from.length)), headAt);
    t.equal(refusal(signed(octets)), KeptListsError, to);
  }
  t.match(head, '"kids"');
});

await t.test('a table is searched within its memory, whatever is in its slots', async t => {
  fc.assert(
    fc.property(fc.infiniteStream(fc.integer({ min: -0x80000000, max: 0x7fffffff })), words => {
      const memory = lists.compiled.table.slice(0);
      const all = new Int32Array(memory);
      for (let at = 20; at < all.length; at++) all[at] = words.next().value as number;
      const hostile = new Lists(lists.settings, lists.listOf, { ...lists.compiled, table: memory });
      for (const name of ['one.example', 'a.b.c.two.example', 'example']) verdict(hostile, name);
    }),
    { numRuns: 100 },
  );
  t.pass();
});
