// The state file of trust anchors: a file may hold anything, and neither reading it nor showing it ever fails.

import fc from 'fast-check';
import t from 'tap';

import { wallSec } from '../../src/base/time.js';
import { trustAnchorCommand } from '../../src/control/trust-anchor.js';
import { BUILT_IN_ANCHORS, readAnchors } from '../../src/dnssec/anchors.js';
import { KEY_STATES } from '../../src/dnssec/key-states.js';
import { trustPoints } from '../../src/dnssec/rollover.js';
import { readTrustFile } from '../../src/dnssec/trust-file.js';

const ROOT_KEY_2017 =
  'AwEAAaz/tAm8yTn4Mfeh5eyI96WSVexTBAvkMgJzkKTOiW1vkIbzxeF3+/4RgWOq7HrxRixHlFlExOLAJr5emLvN7SWXgnLh4+B5xQlNVz8Og8kvArMtNROxVQuCaSnIDdD5LKyWbRd2n9WGe2R8PzgCmr3EgVLrjyBxWezF0jLHwVN8efS3rCj/EWgvIWgb9tarpVUDK/b58Da+sqqls3eNbuv7pr+eoZG+SrDK6nWeL3c6H5Apxz7LjVc1uTIdsIXxuOLYA4/ilBmSVIzuDWfdRUfhHdY6+cn8HFRm+2hM8AnXGXws9555KrUB5qihylGa8subX2Nn6UwNR1AkUTV74bU=';
const RDATA = Buffer.concat([Buffer.from([1, 1, 3, 8]), Buffer.from(ROOT_KEY_2017, 'base64')]).toString('base64');
const anchors = readAnchors(BUILT_IN_ANCHORS);
const numbers = fc.oneof(
  fc.double(),
  fc.maxSafeInteger(),
  fc.constantFrom(0, -1, 1e300, 8.64e12, 8.64e12 + 1, 253_402_300_799, 253_402_300_800, -0),
);
const anything = fc.oneof(fc.jsonValue(), numbers, fc.constantFrom(null, undefined, '', {}, []));
const loosely = <T>(usual: fc.Arbitrary<T>): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 4, arbitrary: usual }, { weight: 1, arbitrary: anything });
const key = fc.record(
  {
    dnskey: loosely(fc.constant(RDATA)),
    state: loosely(fc.constantFrom(...KEY_STATES)),
    sinceSec: loosely(numbers),
    untilSec: loosely(numbers),
  },
  { requiredKeys: [] },
);
const point = fc.record(
  {
    zone: loosely(fc.constantFrom('.', 'example.', 'x'.repeat(3000))),
    checkedSec: loosely(numbers),
    dueSec: loosely(numbers),
    keys: loosely(fc.array(loosely(key))),
  },
  { requiredKeys: [] },
);
const file = fc
  .record({ version: loosely(fc.constant(1)), points: loosely(fc.array(loosely(point), { maxLength: 80 })) })
  // JSON has no number for these, and reads a huge exponent as infinity.
  .map(value => JSON.stringify(value).replaceAll('null', '1e999'));

/** Reads a file, and does everything with it that a daemon does. */
function use(text: string): boolean {
  const points = trustPoints(anchors, text);
  const reply = trustAnchorCommand(() => points).run([]) as { readonly ok: boolean };
  points.dueAt(wallSec(1.8e9));
  const again = trustPoints(anchors, points.save());
  return reply.ok && again.save() === points.save();
}

await t.test('any file: never throws, and what is read can be shown, saved and read again', async t => {
  fc.assert(fc.property(file, use), { numRuns: 2000 });
  fc.assert(fc.property(fc.string(), use), { numRuns: 500 });
  fc.assert(fc.property(fc.json(), use), { numRuns: 500 });
  t.pass('all of them');
});

await t.test('numbers that no date can hold, or no clock says, are not read', async t => {
  const good = { dnskey: RDATA, state: 'valid', sinceSec: 1.7e9, untilSec: 0 };
  const text = (change: object, at: object = {}): string =>
    JSON.stringify({
      version: 1,
      points: [{ zone: '.', checkedSec: 1.7e9, dueSec: 1.7e9, keys: [{ ...good, ...change }], ...at }],
    });
  t.equal(readTrustFile(text({}))[0]?.keys.length, 1);
  for (const wrong of [-1, 1e16, 253_402_300_800, '1', null, [], {}]) {
    t.equal(readTrustFile(text({ sinceSec: wrong }))[0]?.keys.length, 0, `since ${JSON.stringify(wrong)}`);
    t.equal(readTrustFile(text({ untilSec: wrong }))[0]?.keys.length, 0, `until ${JSON.stringify(wrong)}`);
    t.equal(readTrustFile(text({}, { dueSec: wrong })).length, 0, `due ${JSON.stringify(wrong)}`);
    t.equal(readTrustFile(text({}, { checkedSec: wrong })).length, 0, `checked ${JSON.stringify(wrong)}`);
    t.ok(use(text({ sinceSec: wrong })));
  }
});

await t.test('one entry that is wrong takes no others with it', async t => {
  const point = (zone: unknown): object => ({ zone, checkedSec: 0, dueSec: 0, keys: [null, 1, { dnskey: RDATA }] });
  const text = JSON.stringify({ version: 1, points: [null, 7, point(null), point('.')] });
  t.equal(readTrustFile(text).length, 1);
});

await t.test('a huge file, a huge list and a huge key are cut off', async t => {
  const entry = { dnskey: RDATA, state: 'valid', sinceSec: 1, untilSec: 0 };
  const text = (keys: readonly object[], count = 1): string =>
    JSON.stringify({
      version: 1,
      points: Array.from({ length: count }, () => ({ zone: '.', checkedSec: 0, dueSec: 0, keys })),
    });
  t.equal(readTrustFile(text(Array.from({ length: 500 }, () => entry)))[0]?.keys.length, 32);
  t.equal(readTrustFile(text([], 5000)).length, 64);
  t.equal(readTrustFile(text([{ ...entry, dnskey: 'A'.repeat(8000) }]))[0]?.keys.length, 0);
  t.equal(readTrustFile(text([], 40_000)).length, 0, 'a file of over a megabyte');
  t.ok(use('['.repeat(100_000)), 'nested too deep to be read');
});
