// The walk over a message's records, and messages made of records.

import fc from 'fast-check';
import t from 'tap';

import { compose, plainQuery, questionName, questionOf } from '../../src/wire/compose.js';
import { HEADER_BYTES } from '../../src/wire/header.js';
import { messageToText } from '../../src/wire/message.js';
import { Records, recordsStart, ScannedRecords } from '../../src/wire/records.js';
import { TYPE } from '../../src/wire/rrtype.js';
import { scanResponse } from '../../src/wire/scan.js';
import { records, wireName } from '../fixtures/records.js';

const QUESTION = questionOf(wireName('www.example.'), TYPE.A);
const MESSAGE = compose(
  QUESTION,
  {
    answer: records('www.example. 300 CNAME a.example.\na.example. 60 A 192.0.2.1'),
    authority: records('example. 900 NS ns.example.'),
    additional: records('ns.example. 4294967295 AAAA 2001:db8::1'),
  },
  { compress: true },
);

/** All that a walk tells of each record. */
function told(walk: Records | ScannedRecords): readonly (readonly unknown[])[] {
  const all: (readonly unknown[])[] = [];
  while (walk.next())
    all.push([
      walk.index,
      walk.section,
      walk.owner,
      walk.type,
      walk.class,
      walk.ttlOffset,
      walk.ttlSec,
      walk.rdata,
      walk.rdataBytes,
      walk.end,
    ]);
  return all;
}

await t.test('each record once, in order, with its section, offsets and values', async t => {
  const walk = new Records(MESSAGE.octets, recordsStart(MESSAGE.octets));
  const all = told(walk);
  t.same(
    all.map(([index, section, , type, , , ttl, , bytes]) => [index, section, type, ttl, bytes]),
    [
      [0, 'answer', TYPE.CNAME, 300, 11],
      [1, 'answer', TYPE.A, 60, 4],
      [2, 'authority', TYPE.NS, 900, 12],
      [3, 'additional', TYPE.AAAA, 0, 16],
    ],
    'a TTL with the top bit set counts as 0',
  );
  t.same(
    all.map(each => each[5]),
    MESSAGE.ttlOffsets,
  );
  t.ok(walk.endsMessage);
  t.notOk(walk.isMalformed);
});

await t.test('a message that was scanned is walked in the same way', async t => {
  const scan = scanResponse(MESSAGE.octets, TYPE.A);
  if (scan === undefined) throw new Error('a message');
  t.same(
    told(new ScannedRecords({ octets: MESSAGE.octets, ...scan }, scan.questionEnd)),
    told(new Records(MESSAGE.octets, scan.questionEnd)),
  );
});

await t.test('a truncated message, and one with more octets, is not at its end', async t => {
  for (let length = HEADER_BYTES; length < MESSAGE.octets.length; length++) {
    const cut = MESSAGE.octets.subarray(0, length);
    const start = recordsStart(cut);
    if (start === -1) continue;
    const walk = new Records(cut, start);
    told(walk);
    if (walk.endsMessage || !walk.isMalformed) t.fail(`cut to ${length}`);
  }
  const longer = new Records(Buffer.concat([MESSAGE.octets, Buffer.alloc(1)]), recordsStart(MESSAGE.octets));
  t.equal(told(longer).length, 4);
  t.notOk(longer.endsMessage);
  t.notOk(longer.isMalformed);
});

await t.test('any octets: the walk ends, and stays inside', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: HEADER_BYTES, maxLength: 120 }), octets => {
      const message = Buffer.from(octets);
      const start = recordsStart(message);
      if (start === -1) return true;
      const walk = new Records(message, start);
      while (walk.next()) if (walk.end > message.length || walk.rdataBytes < 0) return false;
      return true;
    }),
    { numRuns: 5000 },
  );
});

await t.test('a composed message reads as what it was made of, compressed or not', async t => {
  const sections = { answer: records('www.example. 300 A 192.0.2.1'), authority: records('example. 9 NS ns.example.') };
  const long = compose(QUESTION, sections, { id: 7, rcode: 3 }).octets;
  const short = compose(QUESTION, sections, { id: 7, rcode: 3, compress: true }).octets;
  t.equal(long.length - short.length, wireName('www.example.').length - 2);
  t.same({ ...messageToText(short), option: 0 }, { ...messageToText(long), option: 0 });
  t.match(messageToText(short), {
    rcode: 'NXDOMAIN',
    question: { name: 'www.example.', type: 'A' },
    answers: [{ name: 'www.example.', data: '192.0.2.1', ttl: 300 }],
    authority: [{ name: 'example.', data: 'ns.example.' }],
  });
  t.same(questionName(QUESTION), wireName('www.example.'));
  t.match(messageToText(plainQuery(1, 0, QUESTION)), { question: { name: 'www.example.', type: 'A' }, answers: [] });
});
