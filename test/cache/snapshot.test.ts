// Snapshots: what is written is read again, and nothing of what is damaged.

import fc from 'fast-check';
import t from 'tap';

import { ageSec, wallMs } from '../../src/base/time.js';
import { SnapshotError, snapshotPieces, SnapshotReader, type SnapshotRecord } from '../../src/cache/snapshot.js';
import { recordsIn } from '../fixtures/snapshot-records.js';

const record: fc.Arbitrary<SnapshotRecord> = fc.record({
  kind: fc.constantFrom('answer', 'lookup', 'denial'),
  key: fc.uint8Array({ maxLength: 260 }).map(each => Buffer.from(each).toString('latin1')),
  label: fc.string({ unit: 'grapheme', maxLength: 20 }),
  storedAt: fc.integer({ min: 0, max: 1e6 }).map(ageSec),
  payload: fc.uint8Array({ maxLength: 2000 }).map(each => Buffer.from(each)),
});
const SAVED = { ageNow: ageSec(1e6), wallNow: wallMs(1.8e12) };
/** The next process: a minute later, with another beginning of time. */
const LOADED = { ageNow: ageSec(5), wallNow: wallMs(1.8e12 + 60_000) };

const file = (records: readonly SnapshotRecord[]): Buffer => Buffer.concat([...snapshotPieces(records, SAVED)]);
function read(octets: Buffer, chunk = 65_536): SnapshotRecord[] {
  const reader = new SnapshotReader(LOADED);
  const records: SnapshotRecord[] = [];
  for (let at = 0; at < octets.length; at += chunk) records.push(...recordsIn(reader, octets.subarray(at, at + chunk)));
  reader.finish();
  return records;
}
const aged = ({ storedAt, ...rest }: SnapshotRecord): unknown => ({
  ...rest,
  age: Math.round(LOADED.ageNow - storedAt),
});

await t.test('every record is read again, with its age, in chunks of any size', t => {
  fc.assert(
    fc.property(fc.array(record, { maxLength: 300 }), fc.integer({ min: 1, max: 70_000 }), (records, chunk) => {
      const expected = records.map(({ storedAt, ...rest }) => ({ ...rest, age: SAVED.ageNow - storedAt + 60 }));
      t.same(read(file(records), chunk).map(aged), expected);
    }),
    { numRuns: 60 },
  );
  t.end();
});

await t.test(
  'a file that is damaged, cut, longer, or of another version: an error, and no record of a damaged piece',
  t => {
    const records = fc.sample(record, { numRuns: 400, seed: 7 });
    const whole = file(records);
    const originals = new Set(records.map(each => each.payload.toString('hex') + each.key));
    const roll = fc.sample(fc.tuple(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 })), {
      numRuns: 3000,
      seed: 3,
    });
    for (const [at, bits] of roll) {
      const damaged = Buffer.from(whole);
      damaged[at] = (damaged[at] ?? 0) ^ bits;
      const reader = new SnapshotReader(LOADED);
      try {
        for (const each of recordsIn(reader, damaged))
          if (!originals.has(each.payload.toString('hex') + each.key)) t.fail(`octet ${at}: something else is read`);
        reader.finish();
        t.fail(`octet ${at}: nobody has noticed`);
      } catch (error) {
        if (!(error instanceof SnapshotError)) throw error;
      }
    }
    for (const cut of [1, 8, 16, 17, 30, 1000, whole.length - 1])
      t.throws(() => read(whole.subarray(0, cut)), `${cut} octets`);
    t.throws(() => read(Buffer.concat([whole, Buffer.alloc(1)])));
    t.throws(() => read(Buffer.from(whole.toString('latin1').replace('cache 2', 'cache 3'), 'latin1')));
    t.end();
  },
);

await t.test('no piece is longer than a loop may be held', t => {
  const large = (octets: number): SnapshotRecord => ({
    ...{ kind: 'answer', key: 'a', label: 'one', storedAt: ageSec(0), payload: Buffer.alloc(octets) },
  });
  const sizes = [...snapshotPieces([...Array<SnapshotRecord>(3000).fill(large(500)), large(65_535)], SAVED)];
  t.ok(Math.max(...sizes.map(each => each.length)) < 300_000);
  t.end();
});
