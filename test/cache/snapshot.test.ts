// Snapshots: what is written is read again, and nothing of what is damaged.

import fc from 'fast-check';
import t from 'tap';

import { ageSec, wallMs } from '../../src/base/time.js';
import {
  type SnapshotBlock,
  SnapshotError,
  snapshotPieces,
  SnapshotReader,
  type SnapshotRecord,
  type StoredBlock,
} from '../../src/cache/snapshot.js';
import { partsIn } from '../fixtures/snapshot-records.js';

const octets = (maxLength: number): fc.Arbitrary<Buffer> => fc.uint8Array({ maxLength }).map(each => Buffer.from(each));
const label = fc.string({ unit: 'grapheme', maxLength: 20 });
const record: fc.Arbitrary<SnapshotRecord> = fc.record({
  kind: fc.constantFrom('lookup', 'denial'),
  key: octets(260).map(each => each.toString('latin1')),
  label,
  storedAt: fc.integer({ min: 0, max: 1e6 }).map(ageSec),
  payload: octets(2000),
});
const block: fc.Arbitrary<SnapshotBlock> = fc.record({
  kind: fc.constant('block'),
  answers: fc.nat(),
  labels: fc.array(fc.tuple(fc.nat(0xffff), label), { maxLength: 5 }).map(each => new Map(each)),
  octets: fc.array(octets(1000), { maxLength: 4 }),
});
const part = fc.oneof({ weight: 9, arbitrary: record }, { weight: 1, arbitrary: block });
type Part = SnapshotRecord | SnapshotBlock;
type ReadPart = SnapshotRecord | StoredBlock;

const SAVED = { ageNow: ageSec(1e6), wallNow: wallMs(1.8e12) };
/** The next process: a minute later, with another beginning of time. */
const LOADED = { ageNow: ageSec(5), wallNow: wallMs(1.8e12 + 60_000) };
/** What makes ages of the one ages of the other. */
const SHIFT_SEC = LOADED.ageNow - 60 - SAVED.ageNow;

const file = (parts: readonly Part[]): Buffer => Buffer.concat([...snapshotPieces(parts, SAVED)]);
function read(whole: Buffer, chunk = 65_536): ReadPart[] {
  const reader = new SnapshotReader(LOADED);
  const parts: ReadPart[] = [];
  for (let at = 0; at < whole.length; at += chunk) parts.push(...partsIn(reader, whole.subarray(at, at + chunk)));
  reader.finish();
  return parts;
}
/** In one form, whether it was written or read. */
const told = (each: Part | ReadPart): unknown => ({
  ...each,
  ...(each.kind === 'block'
    ? { octets: Buffer.concat(each.octets), labels: [...each.labels], shiftSec: SHIFT_SEC }
    : { storedAt: Math.round(each.storedAt) }),
});
const asRead = (each: Part): Part =>
  each.kind === 'block' ? each : { ...each, storedAt: ageSec(each.storedAt + SHIFT_SEC) };

/** Whether a damaged file is refused, and nothing but what was written is read before that. */
function isRefused(damaged: Buffer, originals: ReadonlySet<string>): boolean {
  const reader = new SnapshotReader(LOADED);
  try {
    for (const each of partsIn(reader, damaged)) if (!originals.has(JSON.stringify(told(each)))) return false;
    reader.finish();
    return false;
  } catch (error) {
    if (!(error instanceof SnapshotError)) throw error;
    return true;
  }
}

/** The parts of a file that have a length, and what is before and after them. */
function cut(whole: Buffer): { readonly head: Buffer; readonly pieces: readonly Buffer[]; readonly end: Buffer } {
  const headBytes = [...snapshotPieces([], SAVED)][0]?.length ?? 0;
  const pieces: Buffer[] = [];
  let at = headBytes;
  for (; whole.readUInt32BE(at) !== 0xffffffff; at += 8 + whole.readUInt32BE(at))
    pieces.push(whole.subarray(at, at + 8 + whole.readUInt32BE(at)));
  return { head: whole.subarray(0, headBytes), pieces, end: whole.subarray(at) };
}

await t.test('all is read again, with its age, in chunks of any size', t => {
  fc.assert(
    fc.property(fc.array(part, { maxLength: 300 }), fc.integer({ min: 1, max: 70_000 }), (parts, chunk) => {
      t.same(read(file(parts), chunk).map(told), parts.map(asRead).map(told));
    }),
    { numRuns: 60 },
  );
  t.end();
});

await t.test('what is dated after now is left out: the clock was set back', t => {
  const [first] = fc.sample(record, { numRuns: 1, seed: 2 });
  if (first === undefined) throw new Error('no sample');
  const later = { ...first, storedAt: ageSec(SAVED.ageNow + 61) };
  t.equal(read(file([later, { ...first, storedAt: ageSec(SAVED.ageNow + 59) }, later])).length, 1);
  t.end();
});

await t.test('whichever octet is damaged, and wherever the file ends: an error, and nothing of a damaged piece', t => {
  const parts = fc.sample(part, { numRuns: 12, seed: 11 });
  const whole = file(parts);
  const originals = new Set(read(whole).map(each => JSON.stringify(told(each))));
  t.ok(parts.some(({ kind }) => kind === 'block') && cut(whole).pieces.length > 2);
  for (let at = 0; at < whole.length; at++) {
    const damaged = Buffer.from(whole);
    damaged[at] = (damaged[at] ?? 0) ^ (1 + (at % 255));
    if (!isRefused(damaged, originals)) t.fail(`octet ${at} is damaged`);
    if (at > 0 && !isRefused(whole.subarray(0, at), originals)) t.fail(`${at} octets`);
  }
  t.ok(isRefused(Buffer.concat([whole, Buffer.alloc(1)]), originals), 'longer');
  t.ok(isRefused(Buffer.from(whole.toString('latin1').replace('cache 3', 'cache 4'), 'latin1'), originals), 'newer');
  t.end();
});

await t.test('pieces that are missing, doubled, or in another order are found', t => {
  const whole = file(fc.sample(part, { numRuns: 100, seed: 7 }));
  const originals = new Set(read(whole).map(each => JSON.stringify(told(each))));
  const { head, pieces, end } = cut(whole);
  t.ok(pieces.length > 5);
  const joined = (order: readonly Buffer[]): Buffer => Buffer.concat([head, ...order, end]);
  t.ok(joined(pieces).equals(whole));
  for (let i = 0; i < pieces.length; i++) {
    t.ok(isRefused(joined(pieces.toSpliced(i, 1)), originals), `without ${i}`);
    t.ok(isRefused(joined(pieces.toSpliced(i, 0, ...pieces.slice(i, i + 1))), originals), `${i} twice`);
    const other = (i + 1) % pieces.length;
    const exchanged = pieces.map((each, at) => pieces[at === i ? other : at === other ? i : at] ?? each);
    t.ok(isRefused(joined(exchanged), originals), `${i} and ${other} exchanged`);
  }
  t.end();
});

await t.test('no piece is longer than a loop may be held', t => {
  const large = (bytes: number): SnapshotRecord => ({
    ...{ kind: 'lookup', key: 'a', label: 'one', storedAt: ageSec(0), payload: Buffer.alloc(bytes) },
  });
  const sizes = [...snapshotPieces([...Array<SnapshotRecord>(3000).fill(large(500)), large(65_535)], SAVED)];
  t.ok(Math.max(...sizes.map(each => each.length)) < 300_000);
  t.end();
});
