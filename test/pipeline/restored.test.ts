// What was cached before a restart: given at once, and validated again before it counts as validated.

import t from 'tap';

import { Denials } from '../../src/dnssec/denials.js';
import { denialRecords, restoreDenial } from '../../src/pipeline/validation/denial-records.js';
import { failure } from '../../src/base/outcome.js';
import { snapshotPieces, SnapshotReader, type SnapshotRecord, type StoredBlock } from '../../src/cache/snapshot.js';
import { ageSec } from '../../src/base/time.js';
import type { Outcome } from '../../src/pipeline/answer.js';
import { type FakeClock, fakeClock } from '../fixtures/clock.js';
import { withNsec3 } from '../fixtures/nsec3-answers.js';
import { wireName } from '../fixtures/records.js';
import { resolving, type Resolving } from '../fixtures/resolving.js';
import { type SignedTree, signedTree } from '../fixtures/signed-records.js';
import { partsIn } from '../fixtures/snapshot-records.js';

const NOW_MS = Date.UTC(2026, 2, 1);
const TREE = {
  '.': { text: '' },
  'example.': {
    text: `www.example. 300 A 192.0.2.1
short.example. 20 A 192.0.2.2
mail.example. 300 MX 5 www.example.
*.wild.example. 300 A 192.0.2.9`,
  },
  'other.': { text: 'www.other. 300 A 192.0.2.4' },
  'plain.': { unsigned: true, text: 'www.plain. 300 A 192.0.2.3' },
} as const;
const tree = signedTree(TREE, NOW_MS / 1000);
const ageOf = (clock: FakeClock) => ageSec(clock.monotonicMs() / 1000);

const world = (clock: FakeClock, of: SignedTree = tree): Resolving =>
  resolving(query => of.answer(query) ?? failure('connect'), { anchors: of.anchors, clock });

async function told(at: Resolving, name: string, type = 'A'): Promise<string> {
  const outcomes: readonly Outcome[] = at.ask(name, { type });
  await at.clock.advance(50);
  return outcomes.map(each => (each.at === 'failure' ? each.code : `${each.origin} ${each.entry.verdict}`)).join(', ');
}

type Part = SnapshotRecord | StoredBlock;

/** A process that has asked for some names, and the one after it. */
async function restarted(
  afterMs: number,
  change: (part: Part) => Part | undefined = each => each,
  names: readonly string[] = ['www.example', 'short.example', 'nobody.example', 'www.plain'],
  of: SignedTree = tree,
): Promise<Resolving> {
  const clock = fakeClock(NOW_MS);
  const first = world(clock, of);
  for (const name of names) await told(first, name);
  const now = { ageNow: ageOf(clock), wallNow: clock.wallMs() };
  const pieces = [
    ...snapshotPieces(
      [
        ...first.remembered.records(),
        ...denialRecords(first.denials, now.ageNow),
        ...first.answers.blocks(now.ageNow, 86_400),
      ],
      now,
    ),
  ];
  const next = fakeClock(clock.wallMs() + afterMs);
  const second = world(next, of);
  const reader = new SnapshotReader({ ageNow: ageOf(next), wallNow: next.wallMs() });
  for (const part of pieces.flatMap(each => [...partsIn(reader, each)])) {
    const changed = change(part);
    if (changed?.kind === 'block') second.answers.restore(changed, ageOf(next));
    else if (changed?.kind === 'denial') restoreDenial(second.denials, changed, ageOf(next));
    else if (changed !== undefined) second.remembered.restore(changed);
  }
  return second;
}

await t.test('cached answers are there again, validated again, and no server is asked', async t => {
  const second = await restarted(10_000);
  t.equal(await told(second, 'www.example'), 'cache secure');
  t.equal(await told(second, 'nobody.example'), 'denials secure', 'it need not be stored itself');
  t.equal(await told(second, 'www.plain'), 'cache insecure');
  t.same(second.upstream.asked, []);
  t.equal(second.recorder.count('validation', 'secure'), 1, 'once');
  t.equal(await told(second, 'www.example'), 'cache secure');
  t.equal(second.recorder.count('validation', 'secure'), 1);
});

await t.test('where it would be found is said as it is: validated again first, or made of denials', async t => {
  const second = await restarted(10_000);
  t.match(second.look('www.example'), { at: 'restored', leftSec: 290 });
  t.match(second.look('nobody.example'), { at: 'denial' });
  t.match(second.look('www.plain'), { at: 'cache' }, 'what was never secure need not be validated again');
  await told(second, 'www.example');
  t.match(second.look('www.example'), { at: 'cache' });
  t.same(second.upstream.asked, []);
});

await t.test('a new name of a known zone costs one question', async t => {
  const second = await restarted(10_000);
  t.equal(await told(second, 'mail.example', 'MX'), 'upstream secure');
  t.same(second.upstream.asked, ['mail.example.']);
});

await t.test('what the answers about unsigned names have shown is known, too', async t => {
  const unsigned = await restarted(10_000, each => each, ['www.plain']);
  unsigned.answers.clear();
  t.equal(await told(unsigned, 'www.plain'), 'upstream insecure');
  t.same(unsigned.upstream.asked, ['www.plain.']);
  const above = await restarted(10_000, each => each, ['www.plain', 'www.example']);
  t.equal(await told(above, 'mail.example', 'MX'), 'upstream secure');
  t.same(above.upstream.asked, ['mail.example.'], 'the root was looked up for an unsigned name');
});

await t.test('time has passed: what has expired is stale, and never AD before it was validated again', async t => {
  const second = await restarted(30_000);
  second.upstream.says = () => failure('connect');
  t.equal(await told(second, 'short.example'), 'stale unchecked');
  t.equal(await told(second, 'www.example'), 'cache secure');
});

await t.test(
  'in an outage, what cannot be validated again is given all the same, without AD, fresh or expired',
  async t => {
    const second = await restarted(10_000, record => (record.kind === 'block' ? record : undefined));
    second.upstream.says = () => failure('connect');
    const outcomes = second.ask('www.example');
    await second.clock.advance(50);
    t.match(outcomes, [{ entry: { verdict: 'unchecked' } }]);
    const [first] = outcomes;
    const errors = first?.at === 'answer' ? first.entry.extendedErrors : [];
    t.same(errors, [{ infoCode: 0, text: 'known from before a restart, and not validated again yet' }]);
    await second.clock.advance(400_000);
    const later = second.ask('www.example');
    await second.clock.advance(50);
    t.match(later, [{ entry: { verdict: 'unchecked', extendedErrors: [{ infoCode: 3 }] } }]);
  },
);

await t.test(
  'what has not expired is no stale answer: cache.serve_stale and stale_exclude are about others',
  async t => {
    for (const settings of [{ mostSec: 0 }, { excluded: [wireName('example')] }]) {
      const second = await restarted(10_000, record => (record.kind === 'block' ? record : undefined));
      second.settings.stale = { ...second.settings.stale, ...settings };
      second.upstream.says = () => failure('connect');
      t.equal(await told(second, 'www.example'), 'stale unchecked');
      await second.clock.advance(290_000 - 50);
      t.equal(await told(second, 'www.example'), 'connect', 'from its end on they count');
    }
  },
);

await t.test('a server that is silent: it is given when the client has waited long enough', async t => {
  for (const clientTimeoutMs of [0, 1800]) {
    const second = await restarted(10_000, record => (record.kind === 'block' ? record : undefined));
    second.settings.stale = { ...second.settings.stale, clientTimeoutMs };
    second.upstream.says = () => 'waits';
    const outcomes = second.ask('www.example');
    t.equal(outcomes.length, clientTimeoutMs === 0 ? 1 : 0);
    await second.clock.advance(clientTimeoutMs + 100);
    t.match(outcomes, [{ origin: 'stale', entry: { verdict: 'unchecked' } }]);
  }
});

await t.test('what can be validated again is, whatever the time that clients wait', async t => {
  const second = await restarted(10_000);
  second.settings.stale = { ...second.settings.stale, clientTimeoutMs: 0 };
  second.upstream.says = () => 'waits';
  t.equal(await told(second, 'www.example'), 'cache secure');
});

await t.test('an answer that was changed on the disk is not believed: the servers are asked', async t => {
  const second = await restarted(10_000, record => {
    if (record.kind !== 'block') return record;
    for (const octets of record.octets) {
      const at = octets.indexOf(Buffer.from([192, 0, 2, 1]));
      if (at !== -1) octets[at] = 7;
    }
    return record;
  });
  const { says } = second.upstream;
  second.upstream.says = () => failure('connect');
  t.equal(await told(second, 'www.example'), 'connect', 'not even while servers do not answer');
  second.upstream.says = says;
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

await t.test('a lookup that servers do not answer says nothing about the chain of trust on the disk', async t => {
  const second = await restarted(10_000);
  // The zone of this one is not known: its keys would have to be asked for.
  const { says } = second.upstream;
  second.upstream.says = (query, name) => (name === 'www.other.' ? says(query, name) : failure('connect'));
  t.not(await told(second, 'www.other'), 'upstream secure');
  second.upstream.says = () => failure('connect');
  t.equal(await told(second, 'www.example'), 'cache secure');
  t.equal(await told(second, 'www.plain'), 'cache insecure');
});

await t.test('a chain of trust on the disk that is wrong takes no other one with it', async t => {
  const second = await restarted(
    10_000,
    record => {
      if (record.kind !== 'lookup' || record.key.includes('example')) return record;
      const payload = Buffer.from(record.payload);
      // The signature of the last record: that there is no DS of other.
      if (record.key.includes('other'))
        payload.writeUInt8(payload.readUInt8(payload.length - 20) ^ 0x55, payload.length - 20);
      return { ...record, payload };
    },
    ['www.example', 'www.other'],
  );
  t.match(await told(second, 'www.other'), 'secure');
  second.upstream.says = () => failure('connect');
  t.equal(await told(second, 'www.example'), 'cache secure');
});

await t.test('what is forgotten about a name leaves the chain of trust of others', async t => {
  const second = await restarted(10_000);
  second.resolver.forget(name => name === '\x03www\x07example\0' || name.endsWith('\x05plain\0'));
  t.equal(await told(second, 'mail.example', 'MX'), 'upstream secure');
  t.same(second.upstream.asked, ['mail.example.']);
  t.match(await told(second, 'www.plain'), 'insecure');
  t.ok(second.upstream.asked.includes('plain.'), 'and its own is asked for');
});

await t.test('without the chain of trust on the disk it is asked for', async t => {
  const second = await restarted(10_000, record => (record.kind === 'lookup' ? undefined : record));
  t.equal(await told(second, 'www.example'), 'cache secure');
  t.ok(second.upstream.asked.length > 0 && !second.upstream.asked.includes('www.example.'));
});

const KINDS = {
  NSEC: signedTree(TREE, NOW_MS / 1000),
  NSEC3: withNsec3(
    signedTree(
      { ...TREE, 'example.': { ...TREE['example.'], nsec3: { iterations: 1, salt: Buffer.from('ab') } } },
      NOW_MS / 1000,
    ),
  ),
};
const WARM = ['a.wild.example', 'b.wild.example', ...Array.from({ length: 20 }, (_, i) => `nobody${i}.example`)];
for (const [kind, of] of Object.entries(KINDS))
  await t.test(`${kind}: what a zone has denied is still denied, for names that nobody has asked for yet`, async t => {
    const second = await restarted(10_000, each => each, WARM, of);
    t.equal(await told(second, 'nobodyelse.example'), 'denials secure');
    t.equal(await told(second, 'c.wild.example'), 'denials secure', 'and a wildcard answers');
    t.same(second.upstream.asked, []);
    second.upstream.says = () => failure('connect');
    const later = await restarted(400_000, each => each, WARM, of);
    t.equal(await told(later, 'nobodyelse.example'), 'upstream secure', 'after its TTL it is asked for');
  });

await t.test('a denial that was changed on the disk denies nothing', async t => {
  const second = await restarted(
    10_000,
    record => {
      if (record.kind !== 'denial') return record;
      const payload = Buffer.from(record.payload);
      payload.writeUInt8(payload.readUInt8(payload.length - 20) ^ 0x55, payload.length - 20);
      return { ...record, payload };
    },
    WARM,
  );
  t.ok(second.denials.entries > 0, 'it is there');
  t.equal(await told(second, 'nobodyelse.example'), 'upstream secure');
  t.equal(await told(second, 'www.example'), 'upstream secure');
});

await t.test('octets that are no denial are left out', async t => {
  const second = await restarted(10_000, each => each, WARM);
  const records = [...denialRecords(second.denials, ageOf(second.clock))];
  t.ok(records.length > 2);
  for (const record of records) {
    const nothing = new Denials(1 << 20);
    for (let octets = 0; octets < record.payload.length; octets++)
      restoreDenial(nothing, { ...record, payload: record.payload.subarray(0, octets) }, ageOf(second.clock));
    restoreDenial(nothing, { ...record, key: '\x05other\0' }, ageOf(second.clock));
    restoreDenial(nothing, { ...record, storedAt: ageSec(ageOf(second.clock) - 301) }, ageOf(second.clock));
    t.same([nothing.entries, nothing.bytes], [0, 0]);
    restoreDenial(nothing, record, ageOf(second.clock));
    t.equal(nothing.entries, 1);
  }
});

await t.test('a response that was kept over a restart gets no older date by being used', async t => {
  const second = await restarted(100_000, record => (record.kind === 'block' ? undefined : record));
  const dates = (): unknown[] => [...second.remembered.records()].map(({ key, storedAt }) => [key, storedAt]);
  const before = dates();
  t.ok(before.length > 0);
  t.equal(await told(second, 'www.other'), 'upstream secure', 'the root is known, and its zone is not');
  const after = new Map(dates() as [string, number][]);
  for (const [key, storedAt] of before as [string, number][]) t.equal(after.get(key), storedAt, JSON.stringify(key));
  t.same(dates(), dates(), 'and to read them changes no order');
});
