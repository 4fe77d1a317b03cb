import fc from 'fast-check';
import t from 'tap';

import { readTlsa, readTlsaText, tlsaText } from '../../src/wire/tlsa.js';

await t.test('a record is three numbers and the data behind them', t => {
  t.same(readTlsa(Buffer.from('030101aabb', 'hex')), {
    usage: 3,
    selector: 1,
    matching: 1,
    data: Buffer.from('aabb', 'hex'),
  });
  t.same(readTlsa(Buffer.from('ff0203aa', 'hex')), { usage: 255, selector: 2, matching: 3, data: Buffer.from([0xaa]) });
  t.end();
});

await t.test('RDATA without data is malformed', t => {
  for (const hex of ['', '03', '0301', '030101']) t.equal(readTlsa(Buffer.from(hex, 'hex')), undefined, hex);
  t.end();
});

await t.test('what was read stays, whatever becomes of the message', t => {
  const rdata = Buffer.from('030101aabb', 'hex');
  const read = readTlsa(rdata);
  rdata.fill(0);
  t.equal(read && tlsaText(read), '3 1 1 aabb');
  t.end();
});

await t.test('text that tlsaText cannot have written is not read', t => {
  for (const text of ['', '3 1 1', '3 1 1 ', '3 1 1 a', '3 1 1 AA', '256 1 1 aa', '3 1 aa', '3  1 1 aa', '3 1 1 aa\n'])
    t.equal(readTlsaText(text), undefined, JSON.stringify(text));
  t.end();
});

await t.test('any octets are read or refused, and text leads back to the same record', t => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), octets => {
      const read = readTlsa(Buffer.from(octets));
      if (read === undefined) return octets.length <= 3;
      return readTlsaText(tlsaText(read))?.data.equals(read.data) === true && octets[0] === read.usage;
    }),
  );
  t.end();
});
