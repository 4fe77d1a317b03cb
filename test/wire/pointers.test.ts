// Where the names of a message may lead: not into the header, which is written anew for each client, and not into a TTL,
// which changes while the message is stored.

import fc from 'fast-check';
import t from 'tap';

import { putU16, putU32 } from '../../src/base/octets.js';
import { compose, questionOf, type RecordData, recordOctets } from '../../src/wire/compose.js';
import { FLAG, HEADER_BYTES, writeHeader } from '../../src/wire/header.js';
import { parseQuery } from '../../src/wire/query.js';
import { ScannedRecords } from '../../src/wire/records.js';
import { readName } from '../../src/wire/name.js';
import { TYPE } from '../../src/wire/rrtype.js';
import { scanResponse } from '../../src/wire/scan.js';
import { records, wireName } from '../fixtures/records.js';

const pointer = (to: number): Buffer => Buffer.from([0xc0 | (to >> 8), to & 0xff]);
const NAME = wireName('www.example.');
/** Where the first record stands. */
const FIRST = HEADER_BYTES + NAME.length + 4;
const FIXED = 10;

function response(answer: readonly RecordData[], type: number = TYPE.A, classes: readonly number[] = []): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  writeHeader(header, 0x0301, FLAG.QR | FLAG.RA, { questions: 1, answers: answer.length, authority: 0, additional: 0 });
  const written = answer.map((each, i) => {
    const octets = Buffer.from(recordOctets(each));
    putU16(octets, each.owner.length + 2, classes[i] ?? 1);
    return octets;
  });
  return Buffer.concat([header, questionOf(NAME, type), ...written]);
}
const a = (owner: Buffer, ttlSec = 300): RecordData => ({
  owner,
  type: TYPE.A,
  ttlSec,
  rdata: Buffer.from([192, 0, 2, 1]),
});
const ns = (rdata: Buffer): RecordData => ({ owner: pointer(HEADER_BYTES), type: TYPE.NS, ttlSec: 300, rdata });

await t.test('a question whose name leads into the header, or anywhere, is FORMERR', t => {
  for (const name of ['c000', 'c002', 'c00b', 'c00c', '0161c000', '0161c004', '0161c00c', 'ffff']) {
    const query = Buffer.concat([
      Buffer.from('000101000001000000000000', 'hex'),
      Buffer.from(`${name}00010001`, 'hex'),
    ]);
    // The id and the counts may be a name that could be read.
    t.match(parseQuery(query), { at: 'reject', code: 'form_error' }, name);
  }
  t.end();
});

await t.test('a response with a name that leads into the header is malformed', t => {
  t.ok(scanResponse(response([a(pointer(HEADER_BYTES))]), TYPE.A));
  for (let to = 0; to < HEADER_BYTES; to++) {
    for (const name of [pointer(to), Buffer.concat([Buffer.from('\x01x'), pointer(to)])])
      t.equal(scanResponse(response([a(name)]), TYPE.A), undefined, `an owner to ${to}`);
    const octets = response([a(pointer(HEADER_BYTES))]);
    // The question itself.
    pointer(to).copy(octets, HEADER_BYTES);
    t.equal(scanResponse(octets, TYPE.A), undefined, `a question to ${to}`);
  }
  t.end();
});

await t.test('a name that leads into a TTL is malformed, however it gets there', t => {
  // Each of these TTLs, or a part of it, can be read as a name.
  const ttls: readonly (readonly [number, number])[] = [
    [0x01610000, 0],
    [0x00000000, 0],
    [0x00016100, 1],
    [0x000000c0, 2],
    [0x01c00c00, 2],
    [0x00000000, 3],
  ];
  for (const [ttlSec, at] of ttls) {
    const target = FIRST + 2 + 4 + at;
    const own = pointer(HEADER_BYTES);
    const named = response([a(own, ttlSec), a(pointer(target))]);
    t.equal(scanResponse(named, TYPE.A), undefined, `an owner, ${ttlSec} from ${at}`);
    t.equal(
      scanResponse(response([{ ...ns(pointer(HEADER_BYTES)), ttlSec }, ns(pointer(target))], TYPE.NS), TYPE.NS),
      undefined,
    );
    // Through another name, behind a label, and through a pointer that stands in RDATA.
    const through = Buffer.concat([Buffer.from('\x01y'), pointer(target)]);
    t.equal(scanResponse(response([a(own, ttlSec), a(through)]), TYPE.A), undefined);
    const step = FIRST + 2 + FIXED + 4 + 2 + FIXED;
    const two = [a(own, ttlSec), ns(through), ns(pointer(step))];
    t.equal(scanResponse(response(two, TYPE.NS), TYPE.NS), undefined, 'a chain of pointers');
  }
  // A label that begins in TYPE or CLASS and ends behind the TTL has a TTL in it.
  const type = { ...a(pointer(HEADER_BYTES)), type: 0x0107 };
  t.equal(scanResponse(response([type, a(pointer(FIRST + 3))]), TYPE.A), undefined);
  // A pointer of which the second octet is the first of the TTL.
  const odd = response([a(pointer(HEADER_BYTES), 0x0c000000), a(pointer(FIRST + 5))], TYPE.A, [0x00c0]);
  t.equal(scanResponse(odd, TYPE.A), undefined);
  t.end();
});

await t.test('other pointers are as good as ever', t => {
  // The octet before a TTL, the octets behind it, and the name of another record.
  const owner = wireName('a.example.');
  for (const [what, answer] of [
    ['the end of CLASS is no name', [a(owner), a(pointer(FIRST))]],
    ['RDATA', [ns(wireName('ns.example.')), ns(pointer(FIRST + 2 + FIXED)), ns(pointer(FIRST + 2 + FIXED + 3))]],
    ['a chain', [ns(pointer(HEADER_BYTES)), ns(pointer(FIRST + 2 + FIXED)), ns(pointer(FIRST + 2 + FIXED + 14))]],
  ] as const)
    t.ok(scanResponse(response(answer, TYPE.NS), TYPE.NS), what);
  t.end();
});

await t.test('whatever the octets: what is not malformed says the same with other TTLs', t => {
  const name = fc.oneof(
    fc.nat({ max: 120 }).map(pointer),
    fc.nat({ max: 120 }).map(to => Buffer.concat([Buffer.from('\x01x'), pointer(to)])),
    fc.constant(NAME),
  );
  const record = fc.record({
    owner: name,
    type: fc.constantFrom<number>(TYPE.A, TYPE.NS, TYPE.MX),
    ttlSec: fc.constantFrom(0, 0x01610000, 0x000000c0, 0x0161c00c, 0xc00cc00c),
    rdata: name,
  });
  const names = (message: Buffer, offsets: readonly number[]): string[] => {
    const walk = new ScannedRecords({ octets: message, answers: 0, authority: 0, ttlOffsets: offsets }, FIRST);
    const found: string[] = [];
    while (walk.next()) {
      found.push(readName(message, walk.owner)?.name.toString('hex') ?? '');
      if (walk.type === TYPE.NS) found.push(readName(message, walk.rdata)?.name.toString('hex') ?? '');
    }
    return found;
  };
  let accepted = 0;
  fc.assert(
    fc.property(fc.array(record, { minLength: 1, maxLength: 5 }), list => {
      const message = response(list);
      const scan = scanResponse(message, TYPE.A);
      if (scan === undefined) return true;
      accepted++;
      const before = names(message, scan.ttlOffsets);
      for (const offset of scan.ttlOffsets) putU32(message, offset, 0x00015180);
      message.fill(0, 0, 4);
      return JSON.stringify(names(message, scan.ttlOffsets)) === JSON.stringify(before);
    }),
    { numRuns: 5000 },
  );
  t.ok(accepted > 100, `${accepted} are not malformed`);
  t.end();
});

await t.test('RFC 2308 §4: MINIMUM is no TTL, so one above 2^31 is large', t => {
  for (const [minimum, ttlSec, want] of [
    [60, 300, 60],
    [0, 300, 0],
    [0x7fffffff, 300, 300],
    [0x80000000, 300, 300],
    [0xffffffff, 300, 300],
    [0x80000000, 0x80000000, 0],
  ] as const) {
    const [soa] = records(`example. 0 SOA a. b. 1 1 1 1 ${minimum}`);
    if (soa === undefined) throw new Error('a record');
    const { octets } = compose(questionOf(NAME, TYPE.A), { authority: [{ ...soa, ttlSec }] }, { rcode: 3 });
    t.equal(scanResponse(octets, TYPE.A)?.ttlSec, want, `${minimum} ${ttlSec}`);
  }
  t.end();
});

await t.test('each name is looked at once, however many pointers lead there', t => {
  // Octets that are read are counted: thousands of names that lead to the same long run must not read it thousands of times.
  const run = Buffer.concat([Buffer.alloc(16_000, '\x01a', 'latin1'), Buffer.from([0])]);
  const text: RecordData = { owner: pointer(HEADER_BYTES), type: TYPE.TXT, ttlSec: 300, rdata: run };
  const start = FIRST + 2 + FIXED;
  let reads = 0;
  for (const count of [500, 1000]) {
    const octets = response([text, ...Array.from({ length: count }, () => ns(pointer(start)))], TYPE.NS);
    const counting = new Proxy(octets, {
      get(target, property) {
        if (typeof property === 'string' && /^\d+$/.test(property)) reads++;
        const value: unknown = Reflect.get(target, property, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
    reads = 0;
    t.ok(scanResponse(counting, TYPE.NS), 'names in RDATA are checked by those who read them');
    t.ok(reads < 60_000 + 800 * count, `${reads} octets for ${count} names`);
  }
  t.end();
});
