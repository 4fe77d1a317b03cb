// What was cached before a restart: given at once, and validated again before it counts as validated.

import t from 'tap';

import { failure } from '../../src/base/outcome.js';
import { snapshotPieces, SnapshotReader, type SnapshotRecord } from '../../src/cache/snapshot.js';
import { ageSec } from '../../src/base/time.js';
import type { Outcome } from '../../src/pipeline/answer.js';
import { type FakeClock, fakeClock } from '../fixtures/clock.js';
import { resolving, type Resolving } from '../fixtures/resolving.js';
import { signedTree } from '../fixtures/signed-records.js';

const NOW_MS = Date.UTC(2026, 2, 1);
const tree = signedTree(
  {
    '.': { text: '' },
    'example.': {
      text: 'www.example. 300 A 192.0.2.1\nshort.example. 20 A 192.0.2.2\nmail.example. 300 MX 5 www.example.',
    },
    'plain.': { unsigned: true, text: 'www.plain. 300 A 192.0.2.3' },
  },
  NOW_MS / 1000,
);
const ageOf = (clock: FakeClock) => ageSec(clock.monotonicMs() / 1000);

const world = (clock: FakeClock): Resolving =>
  resolving(query => tree.answer(query) ?? failure('connect'), { anchors: tree.anchors, clock });

async function told(at: Resolving, name: string, type = 'A'): Promise<string> {
  const outcomes: readonly Outcome[] = at.ask(name, { type });
  await at.clock.advance(50);
  return outcomes.map(each => (each.at === 'failure' ? each.code : `${each.origin} ${each.entry.verdict}`)).join(', ');
}

/** A process that has asked for some names, and the one after it. */
async function restarted(
  afterMs: number,
  change: (record: SnapshotRecord) => SnapshotRecord | undefined = each => each,
): Promise<Resolving> {
  const clock = fakeClock(NOW_MS);
  const first = world(clock);
  for (const name of ['www.example', 'short.example', 'nobody.example', 'www.plain']) await told(first, name);
  const now = { ageNow: ageOf(clock), wallNow: clock.wallMs() };
  const pieces = [
    ...snapshotPieces([...first.remembered.records(), ...first.answers.records(now.ageNow, 86_400)], now),
  ];
  const next = fakeClock(clock.wallMs() + afterMs);
  const second = world(next);
  const reader = new SnapshotReader({ ageNow: ageOf(next), wallNow: next.wallMs() });
  for (const record of pieces.flatMap(each => [...reader.read(each)])) {
    const changed = change(record);
    if (changed?.kind === 'answer') second.answers.restore(changed);
    else if (changed !== undefined) second.remembered.restore(changed);
  }
  return second;
}

await t.test('cached answers are there again, validated again, and no server is asked', async t => {
  const second = await restarted(10_000);
  t.equal(await told(second, 'www.example'), 'cache secure');
  t.equal(await told(second, 'nobody.example'), 'cache secure');
  t.equal(await told(second, 'www.plain'), 'cache insecure');
  t.same(second.upstream.asked, []);
  t.equal(second.recorder.count('validation', 'secure'), 2, 'each once');
  t.equal(await told(second, 'www.example'), 'cache secure');
  t.equal(second.recorder.count('validation', 'secure'), 2);
});

await t.test('a new name of a known zone costs one question', async t => {
  const second = await restarted(10_000);
  t.equal(await told(second, 'mail.example', 'MX'), 'upstream secure');
  t.same(second.upstream.asked, ['mail.example.']);
});

await t.test('time has passed: what has expired is stale, and never AD before it was validated again', async t => {
  const second = await restarted(30_000);
  second.upstream.says = () => failure('connect');
  t.equal(await told(second, 'short.example'), 'stale unchecked');
  t.equal(await told(second, 'www.example'), 'cache secure');
});

await t.test('an answer that was changed on the disk is not believed: the servers are asked', async t => {
  const second = await restarted(10_000, record => {
    if (record.kind !== 'answer') return record;
    const payload = Buffer.from(record.payload);
    const at = payload.indexOf(Buffer.from([192, 0, 2, 1]));
    if (at !== -1) payload[at] = 7;
    return { ...record, payload };
  });
  t.equal(await told(second, 'www.example'), 'upstream secure');
  t.ok(second.upstream.asked.includes('www.example.'));
});

await t.test('nor is a chain of trust that was: it is asked for again', async t => {
  for (const octet of [-20, -40, -60]) {
    const second = await restarted(10_000, record => {
      if (record.kind !== 'lookup') return record;
      const payload = Buffer.from(record.payload);
      payload.writeUInt8(payload.readUInt8(payload.length + octet) ^ 0x55, payload.length + octet);
      return { ...record, payload };
    });
    t.match(await told(second, 'www.example'), 'secure');
    t.match(await told(second, 'nobody.example'), 'secure');
  }
});

await t.test('without the chain of trust on the disk it is asked for', async t => {
  const second = await restarted(10_000, record => (record.kind === 'lookup' ? undefined : record));
  t.equal(await told(second, 'www.example'), 'cache secure');
  t.ok(second.upstream.asked.length > 0 && !second.upstream.asked.includes('www.example.'));
});
