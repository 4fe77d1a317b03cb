// Header blocks of HTTP/2 that are like the one before are recognised by their octets: with the same result as if all of
// their fields were read.

import fc from 'fast-check';
import t from 'tap';

import { FieldReader, putField } from '../../src/listen/hpack.js';
import { readRequest, type RequestHead } from '../../src/listen/http-request.js';
import { QueryTargets, RequestBlocks } from '../../src/listen/http2-blocks.js';
import { RequestFields } from '../../src/listen/http2-fields.js';
import { message } from './http-clients.js';
import { filled } from './raw-http2.js';
import { packed } from '../../src/listen/huffman.js';

const PATH = '/dns-query';
const RUNS = Number(process.env['RUNS'] ?? 3000);

/** What a request asks for, however its block was read. */
interface Asked {
  readonly parts: Omit<RequestHead, 'target'>;
  /** The message in its target, or all of its target. */
  readonly wanted: string;
}

const asked = ({ target, ...parts }: RequestHead): Asked => {
  const wanted = readRequest({ target, ...parts }, PATH);
  return { parts, wanted: wanted.at === 'message' ? wanted.message.toString('hex') : target };
};

/** Reads blocks one after the other, as a session does. `recognised`: how many were. */
class Session {
  recognised = 0;
  private readonly blocks = new RequestBlocks(new QueryTargets(), () => PATH);

  read(block: Buffer): Asked | 'malformed' | undefined {
    // Within other octets, as in a frame.
    const octets = Buffer.concat([Buffer.from([0x82, 7]), block, Buffer.from([0x84, 0xff, 1])]);
    const known = this.blocks.recognise(octets, 2, 2 + block.length);
    if (known?.at === 'message') {
      this.recognised++;
      return { parts: known.parts, wanted: this.blocks.message.toString('hex') };
    }
    if (known !== undefined) {
      this.recognised++;
      return asked(known.parts);
    }
    const fields = this.blocks.read(octets, 2, 2 + block.length);
    if (fields === undefined) return 'malformed';
    return fields.isTooLarge || fields.head === undefined ? undefined : asked(fields.head);
  }
}

/** Reads all fields of all blocks. */
class Reference {
  private readonly reader = new FieldReader();

  read(block: Buffer): Asked | 'malformed' | undefined {
    const fields = new RequestFields();
    if (!this.reader.read(block, 0, block.length, fields.add)) return 'malformed';
    return fields.isTooLarge || fields.head === undefined ? undefined : asked(fields.head);
  }
}

/** A field without indexing, with index 4 for the path. */
const literal = (name: string | number, value: string, kept = false): Buffer => {
  const octets = Buffer.alloc(600);
  const end = putField(octets, 0, name, value);
  if (kept) octets[0] = (octets[0] ?? 0) | 0x40;
  return octets.subarray(0, end);
};
/** A path that may be longer than 126 octets, in ASCII or in Huffman codes. */
const path = (value: string, isPacked = false): Buffer => {
  const octets = isPacked ? filled(packed(Buffer.from(value, 'latin1'))) : Buffer.from(value, 'latin1');
  const { length } = octets;
  const bit = isPacked ? 0x80 : 0;
  return Buffer.concat([Buffer.from(length < 127 ? [4, bit | length] : [4, bit | 127, length - 127]), octets]);
};
const get = (octets: Uint8Array): string => `${PATH}?dns=${Buffer.from(octets).toString('base64url')}`;
const target = fc.oneof(
  { weight: 4, arbitrary: fc.uint8Array({ minLength: 12, maxLength: 90 }).map(get) },
  fc.constantFrom(PATH, '/', `${PATH}?dns=`, `${PATH}?dns=AAAA`, `${PATH}?dns=A*AA`, '/other?dns=AAAABBBBCCCCDDDD', ''),
  fc.uint8Array({ minLength: 12, maxLength: 30 }).map(octets => `${get(octets)}&x=1`),
  fc.uint8Array({ minLength: 12, maxLength: 30 }).map(octets => `${get(octets)}=`),
);
const METHODS = { GET: 0x82, POST: 0x83 } as const;
const MESSAGE_TYPE = literal(31 - 0, 'application/dns-message');
/** What a client may write beside the path, and what changes the table: new entries, a smaller one, the default. */
const others = fc.constantFrom(
  Buffer.from([]),
  Buffer.from([0xbe]),
  Buffer.from([0xbf, 0xbe]),
  literal('x-a', 'b'),
  literal('x-a', 'c'),
  MESSAGE_TYPE,
  literal(28, '5'),
  literal('x-a', 'b', true),
  literal('x-forwarded-for', '192.0.2.1', true),
  literal('content-type', 'a/b', true),
  literal('te', 'x'),
);
const resize = fc.constantFrom(
  ...[[], [], [], [], [0x20], [0x3f, 0xe1, 0x1f], [0x3f, 0x21]].map(each => Buffer.from(each)),
);
const block = fc
  .record({
    ...{ resized: resize, method: fc.constantFrom(METHODS.GET, METHODS.GET, METHODS.POST), before: others, target },
    ...{ after: others, order: fc.boolean(), isPacked: fc.boolean() },
  })
  .map(({ resized, method, before, target, after, order, isPacked }) => {
    const begin = Buffer.from([method, 0x87]);
    const at = path(target, isPacked);
    const all = order ? [begin, at, before, after] : [at, begin, after, before];
    return Buffer.concat([resized, ...all]);
  });

await t.test('requests are the same as if all of their fields were read, whatever changes the table', t => {
  let recognised = 0;
  fc.assert(
    fc.property(fc.array(fc.tuple(block, fc.integer({ min: 1, max: 3 })), { minLength: 1, maxLength: 12 }), all => {
      const [session, reference] = [new Session(), new Reference()];
      for (const [octets, times] of all)
        for (let i = 0; i < times; i++) {
          const expected = reference.read(octets);
          t.same(session.read(octets), expected);
          if (i > 0 && session.recognised > 0) recognised++;
          if (expected === 'malformed') return;
        }
    }),
    { numRuns: RUNS },
  );
  t.ok(recognised > RUNS / 10, `${recognised} times a block came again in a session that recognises some`);
  t.end();
});

await t.test('the same octets are read again when the table has changed, and so is a longer block', t => {
  const [session, reference] = [new Session(), new Reference()];
  const newest = Buffer.from([0xbe]);
  const added = (type: string): Buffer => literal('content-type', type, true);
  for (const [method, path_] of [
    [METHODS.POST, PATH],
    [METHODS.GET, get(message(0))],
  ] as const) {
    const blockOf = (...more: readonly Buffer[]): Buffer =>
      Buffer.concat([Buffer.from([method, 0x87]), path(path_), ...more]);
    const before = session.recognised;
    for (const [octets, isRecognised] of [
      [blockOf(added('a/b')), false],
      [blockOf(newest), false],
      [blockOf(newest), true],
      [blockOf(newest, literal('x-a', 'b')), false],
      [blockOf(newest), false],
      [blockOf(newest), true],
      [blockOf(added('c/d')), false],
      [blockOf(newest), false],
      [blockOf(newest), true],
      // A table that is empty: the index is of nothing.
      [Buffer.concat([Buffer.from([0x20, 0x3f, 0xe1, 0x1f]), blockOf(added('e/f'))]), false],
      [blockOf(newest), false],
    ] as const) {
      const known = session.recognised;
      t.same(session.read(octets), reference.read(octets));
      t.equal(session.recognised > known, isRecognised);
    }
    t.equal(session.recognised - before, 3);
  }
  t.end();
});

await t.test('octets that are changed anywhere are not taken for those before', t => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 12, maxLength: 40 }),
      fc.uint8Array({ minLength: 12, maxLength: 40 }),
      fc.nat(200),
      fc.nat(255),
      fc.boolean(),
      (first, second, at, octet, isPacked) => {
        const [session, reference] = [new Session(), new Reference()];
        const blockFor = (octets: Uint8Array): Buffer =>
          Buffer.concat([
            ...[Buffer.from([0x82, 0x87]), path(get(octets), isPacked), literal('x-a', 'b')],
            Buffer.from([0x90]),
          ]);
        const changed = blockFor(second);
        changed[at % changed.length] = octet;
        for (const each of [blockFor(first), blockFor(second), changed, blockFor(first)]) {
          const expected = reference.read(each);
          t.same(session.read(each), expected);
          if (expected === 'malformed') return;
        }
      },
    ),
    { numRuns: RUNS },
  );
  t.end();
});

for (const isPacked of [false, true])
  await t.test(
    `a target of another length is recognised, and a new path of queries is heeded${isPacked ? ', in Huffman codes' : ''}`,
    t => {
      const state = { path: PATH };
      const blocks = new RequestBlocks(new QueryTargets(), () => state.path);
      const blockFor = (target: string): Buffer => Buffer.concat([Buffer.from([0x82, 0x87]), path(target, isPacked)]);
      const recognise = (target: string): string | undefined => {
        const octets = blockFor(target);
        const known = blocks.recognise(octets, 0, octets.length);
        if (known === undefined) blocks.read(octets, 0, octets.length);
        return known?.at;
      };
      const asks = message(0);
      const [short, long] = [get(asks), get(Buffer.alloc(150, 1))];
      t.equal(recognise(short), undefined);
      t.equal(recognise(long), 'message');
      t.equal(blocks.message.length, 150);
      t.equal(recognise(short), 'message');
      t.same(blocks.message, asks);
      state.path = '/q';
      t.equal(recognise(short), undefined, 'nothing is there any more');
      t.equal(recognise(short.replace(PATH, '/q')), undefined);
      t.equal(recognise(long.replace(PATH, '/q')), 'message');
      t.end();
    },
  );
