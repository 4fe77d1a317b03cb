// The addresses that a record gives to clients.

import fc from 'fast-check';
import t from 'tap';

import { addressText } from '../../src/base/address.js';
import { compose, questionOf } from '../../src/wire/compose.js';
import { HEADER_BYTES } from '../../src/wire/header.js';
import { mayGiveAddresses, RecordAddresses } from '../../src/wire/record-addresses.js';
import { ScannedRecords } from '../../src/wire/records.js';
import { CLASS_IN, TYPE } from '../../src/wire/rrtype.js';
import { records, wireName } from '../fixtures/records.js';

const QUESTION = questionOf(wireName('a.example.'), TYPE.ANY);

/** All addresses of an answer with these records, record by record. */
function given(...lines: readonly string[]): readonly (readonly string[])[] {
  const message = compose(QUESTION, { answer: records(lines.join('\n')) });
  const record = new ScannedRecords(message, HEADER_BYTES + QUESTION.length);
  const addresses = new RecordAddresses(message.octets);
  const found: string[][] = [];
  while (record.next()) {
    const own: string[] = [];
    addresses.of(record);
    while (addresses.next()) own.push(addressText(message.octets, addresses.at, addresses.bytes));
    found.push(own);
  }
  return found;
}

await t.test('A and AAAA give one, HTTPS and SVCB all of their hints, and others none', t => {
  const [v4, v6] = ['key4=c0000201c0000202', 'key6=20010db8000000000000000000000001'];
  t.same(
    given(
      'a.example. 60 A 192.0.2.1',
      'a.example. 60 AAAA 2001:db8::1',
      `a.example. 60 SVCB 1 b.example. alpn=h2 ${v4} port=443 ${v6}`,
      'a.example. 60 SVCB 0 b.example.',
      'a.example. 60 CNAME b.example.',
      'a.example. 60 TXT "192.0.2.1"',
      'a.example. 60 A 192.0.2.3',
    ),
    [['192.0.2.1'], ['2001:db8::1'], ['192.0.2.1', '192.0.2.2', '2001:db8::1'], [], [], [], ['192.0.2.3']],
    'and a record knows nothing of the one before it',
  );
  t.same([TYPE.A, TYPE.AAAA, TYPE.SVCB, TYPE.HTTPS, TYPE.TXT].map(mayGiveAddresses), [true, true, true, true, false]);
  t.end();
});

await t.test('whatever is in a record, its addresses are inside of it, and their number has a bound', t => {
  const rdata = fc.oneof(
    fc.uint8Array({ maxLength: 80 }),
    fc.uint8Array({ maxLength: 80 }).map(rest => Uint8Array.of(0, 1, 0, 0, 4, 0, 8, ...rest)),
    fc.uint8Array({ maxLength: 80 }).map(rest => Uint8Array.of(0, 1, 0, 0, 6, 0, 99, ...rest)),
  );
  const type = fc.constantFrom(TYPE.A, TYPE.AAAA, TYPE.SVCB, TYPE.HTTPS);
  fc.assert(
    fc.property(rdata, type, fc.integer({ min: 0, max: 20 }), (octets, of, behind) => {
      const message = Buffer.concat([octets, Buffer.alloc(behind, 4)]);
      const addresses = new RecordAddresses(message);
      addresses.of({ type: of, class: CLASS_IN, rdata: 0, end: octets.length });
      let last = -1;
      while (addresses.next()) {
        if (addresses.at <= last || addresses.at + addresses.bytes > octets.length) return false;
        last = addresses.at;
      }
      return true;
    }),
    { numRuns: 3000 },
  );
  const chaos = new RecordAddresses(Buffer.from([192, 0, 2, 1]));
  t.notOk(chaos.of({ type: TYPE.A, class: 3, rdata: 0, end: 4 }).next(), 'another class has no addresses');
  t.end();
});
