import fc from 'fast-check';
import t from 'tap';

import { edeOption } from '../../src/wire/edns.js';
import { ttlAt } from '../../src/wire/records.js';
import { scanResponse } from '../../src/wire/scan.js';
import { TYPE } from '../../src/wire/rrtype.js';
import { queryMessage } from '../fixtures/client.js';
import { responseTo, type ResponseParts } from '../fixtures/messages.js';

const query = queryMessage('www.example');
const scan = (parts: ResponseParts, type: number = TYPE.A) => scanResponse(responseTo(query, parts), type);
const SOA = 'example. 900 SOA ns.example. host.example. 1 2 3 4 300';

await t.test('an answer lives as long as its shortest record', t => {
  const found = scan({
    answers: 'www.example. 300 CNAME a.example.\na.example. 60 A 192.0.2.1',
    additional: 'x.example. 90 A 192.0.2.2',
  });
  t.match(found, { rcode: 0, negative: false, ttlSec: 60, answers: 2, authority: 0, additional: 1 });
  t.equal(found?.ttlOffsets.length, 3);
  t.end();
});

await t.test(
  'RFC 2308 §5: a denial is valid as long as SOA TTL and MINIMUM allow, and without SOA it is not stored',
  t => {
    t.match(scan({ rcode: 3, authority: SOA }), { negative: true, ttlSec: 300 });
    t.match(scan({ authority: SOA }), { negative: true, ttlSec: 300 }, 'NODATA');
    t.match(scan({ authority: SOA.replace(' 900 ', ' 20 ') }), { ttlSec: 20 });
    t.match(scan({ rcode: 3 }), { negative: true, ttlSec: 0 });
    t.match(
      scan({ answers: 'www.example. 10 CNAME a.example.', authority: SOA, rcode: 3 }),
      { negative: true, ttlSec: 10 },
      'an alias to nothing',
    );
    t.end();
  },
);

await t.test('failures are not for keeping', t => {
  t.match(scan({ rcode: 2 }), { rcode: 2, ttlSec: 0, negative: false });
  t.match(scan({ rcode: 5, answers: 'www.example. 60 A 192.0.2.1' }), { ttlSec: 0 });
  t.match(scan({ rcode: 16 }), { rcode: 16, ttlSec: 0 }, 'the upper bits come from the OPT');
  t.end();
});

await t.test('RFC 2181 §8: a TTL with the top bit set is 0', t => {
  const message = responseTo(query, { answers: 'www.example. 4294967295 A 192.0.2.1' });
  t.match(scanResponse(message, TYPE.A), { ttlSec: 0 });
  t.equal(ttlAt(message, scanResponse(message, TYPE.A)?.ttlOffsets[0] ?? 0), 0);
  t.end();
});

await t.test('the OPT ends the message, wherever it stands in the additional section', t => {
  const message = responseTo(query, {
    answers: 'www.example. 60 A 192.0.2.1',
    options: [edeOption({ infoCode: 6, text: 'bogus' })],
  });
  const found = scanResponse(message, TYPE.A);
  t.same(found?.extendedErrors, [{ infoCode: 6, text: 'bogus' }]);
  const after = Buffer.concat([
    message,
    responseTo(query, { additional: 'x.example. 1 A 192.0.2.2', edns: false }).subarray(query.length - 11),
  ]);
  after.writeUInt16BE(2, 10);
  const foundAfter = scanResponse(after, TYPE.A);
  t.equal(foundAfter?.end, found?.end, 'what follows it is left out');
  t.equal(foundAfter?.additional, 0);
  t.equal(foundAfter?.ttlSec, 60);
  t.end();
});

await t.test('what does not fit together is refused', t => {
  const message = responseTo(query, { answers: 'www.example. 60 A 192.0.2.1', authority: SOA });
  t.ok(scanResponse(message, TYPE.A));
  for (let length = 0; length < message.length; length++) {
    if (scanResponse(message.subarray(0, length), TYPE.A) !== undefined) t.fail(`cut to ${length}`);
  }
  t.equal(scanResponse(Buffer.concat([message, Buffer.alloc(1)]), TYPE.A), undefined, 'octets too many');
  for (const at of [4, 6, 8, 10]) {
    const wrong = Buffer.from(message);
    wrong.writeUInt16BE(wrong.readUInt16BE(at) + 1, at);
    t.equal(scanResponse(wrong, TYPE.A), undefined, `count at ${at}`);
  }
  const optInAnswer = responseTo(query, { answers: '. 0 TYPE41 \\# 0', edns: false });
  t.equal(scanResponse(optInAnswer, TYPE.A), undefined, 'OPT in the answer section');
  t.end();
});

await t.test('any change of any octet: never throws, and every offset stays inside', t => {
  const message = responseTo(query, {
    answers: 'www.example. 60 A 192.0.2.1',
    authority: SOA,
    additional: 'x.example. 1 A 192.0.2.2',
  });
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(message.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
      changes => {
        const copy = Buffer.from(message);
        for (const [at, octet] of changes) copy[at] = octet;
        const found = scanResponse(copy, TYPE.A);
        return (
          found === undefined || (found.end <= copy.length && found.ttlOffsets.every(offset => offset + 4 <= found.end))
        );
      },
    ),
    { numRuns: 5000 },
  );
  t.end();
});
