// The snapshot is read piece by piece, while others use the cache.

import { createHash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';

import { ageSec } from '../../src/base/time.js';
import { type SnapshotBlock, snapshotPieces, type SnapshotRecord } from '../../src/cache/snapshot.js';
import type { StateStore } from '../../src/os/state-store.js';
import { CacheSnapshot } from '../../src/run/cache-snapshot.js';
import { fakeClock } from '../fixtures/clock.js';
import { planFor } from '../fixtures/plans.js';
import { recordedLog } from '../fixtures/recorder.js';

const always = planFor('');
const record = (kind: 'lookup' | 'denial'): SnapshotRecord => ({
  ...{ kind, key: 'key', label: 'server' },
  ...{ storedAt: ageSec(0), payload: Buffer.alloc(4000) },
});
const block: SnapshotBlock = { kind: 'block', answers: 1, labels: new Map(), octets: [Buffer.alloc(32)] };

/** Reads a snapshot of two parts of this kind, each in a chunk of its own. @returns what was taken, and how much was said */
async function readTwo(
  part: SnapshotRecord | SnapshotBlock,
  before: (chunk: number, at: CacheSnapshot) => void,
  written?: Written,
) {
  const { snapshot, steps, log } = reading(part, before, written);
  snapshot.start();
  await snapshot.whole();
  return { steps, said: log.lines.length };
}

/** The settings that the file was written with, and which routes with schedules are in force. */
interface Written {
  readonly settings: string;
  readonly scheduled: readonly boolean[];
}

/** One that has not begun. */
function reading(
  part: SnapshotRecord | SnapshotBlock,
  before: (chunk: number, at: CacheSnapshot) => void,
  { scheduled, settings }: Written = { settings: always.snapshot.settings, scheduled: [] },
) {
  const clock = fakeClock();
  const log = recordedLog();
  const digest = createHash('sha256').update(settings).digest('hex');
  const now = { ageNow: ageSec(0), wallNow: clock.wallMs() };
  const [head = Buffer.alloc(0), first = head, ...rest] = snapshotPieces([part, part], now, digest);
  const store: StateStore = {
    ...{ read: () => '', begin: () => undefined, remove: () => undefined, leave: () => undefined, unwritten: [] },
    write: () => void written.push(taken.length),
    ...{ flush: async () => Promise.resolve(), close: async () => Promise.resolve() },
    async *pieces() {
      for (const [n, chunk] of [Buffer.concat([head, first]), Buffer.concat(rest)].entries()) {
        await nextTurn();
        before(n, snapshot);
        yield chunk;
      }
      await nextTurn();
      before(2, snapshot);
    },
  };
  const taken: string[] = [];
  const steps: string[] = [];
  /** How much was taken when it was written, each time. */
  const written: number[] = [];
  const snapshot: CacheSnapshot = new CacheSnapshot(
    {
      ...{ clock, log, store, ageNow: () => ageSec(0), cached: () => [], changed: () => undefined },
      restore: ({ kind }) => taken.push(kind) && steps.push(kind) && 1,
      restored: () => void steps.push('restored'),
      epoch: () => epochs.now,
      scheduled: () => scheduled,
    },
    always,
  );
  return { snapshot, taken, steps, written, log };
}
const epochs = { now: 0 };

for (const part of [record('lookup'), record('denial'), block])
  await t.test(`what is forgotten while a piece is waited for ends nothing: ${part.kind}`, async t => {
    const forgetting = (at: number) => (chunk: number) => {
      if (chunk === at) epochs.now++;
    };
    for (const before of [() => undefined, ...[0, 1, 2].map(forgetting)])
      t.same(await readTwo(part, before), { steps: [part.kind, part.kind, 'restored'], said: 1 });
  });

for (const part of [record('lookup'), record('denial'), block])
  await t.test(`a stop while it is read takes nothing from the file: ${part.kind}`, async t => {
    for (const at of [0, 1, 2]) {
      const { snapshot, taken, written } = reading(part, (chunk, each) => {
        if (chunk === at) closing.push(each.close());
      });
      const closing: Promise<void>[] = [];
      snapshot.start();
      await snapshot.whole();
      await Promise.all(closing);
      t.same([taken.length, written], [2, [2]], 'it is read to its end, and then written');
    }
    const { snapshot, written } = reading(part, () => undefined);
    await snapshot.close();
    t.same(written, [], 'nor does a stop before it is read');
  });

await t.test('what was cached while a route was in force is read only while it is', async t => {
  const read = async (isInForce: boolean, wasInForce: boolean): Promise<readonly string[]> => {
    const settings = `${always.snapshot.settings}\n${wasInForce}`;
    return (await readTwo(record('lookup'), () => undefined, { settings, scheduled: [isInForce] })).steps;
  };
  for (const isInForce of [true, false]) {
    t.same(await read(isInForce, isInForce), ['lookup', 'lookup', 'restored']);
    t.same(await read(isInForce, !isInForce), ['restored']);
  }
});
