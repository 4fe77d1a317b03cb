// What is forgotten when, and that nothing of it comes back from a question that began before.

import t from 'tap';

import { ageSec } from '../../src/base/time.js';
import { nameOf } from '../../src/dnssec/name.js';
import { type ZoneState, zoneTable } from '../../src/dnssec/zones.js';
import { TYPE } from '../../src/wire/rrtype.js';
import { fakeClock } from '../fixtures/clock.js';
import { wireName } from '../fixtures/records.js';
import { honest, signedTree } from '../fixtures/signed-records.js';
import { validating, verdictOf } from '../fixtures/validating.js';

const NOW_MS = Date.UTC(2026, 5, 1);
const NOW = ageSec(0);
const name = (text: string): string => nameOf(wireName(text));
const SIGNED: ZoneState = { at: 'signed', keys: [] };
const BOGUS: ZoneState = { at: 'bogus', isZone: false, flaw: { code: 'bogus', detail: '' } };

await t.test('forgetFailures forgets bogus states and nothing else', async t => {
  const zones = zoneTable(1 << 16);
  zones.put(name('good.'), SIGNED, NOW, 60);
  zones.put(name('open.'), { at: 'unsigned', why: undefined }, NOW, 60);
  zones.put(name('bad.'), BOGUS, NOW, 60);
  const { epoch } = zones;
  zones.forgetFailures();
  t.same([zones.get(name('good.'), NOW)?.at, zones.get(name('open.'), NOW)?.at], ['signed', 'unsigned']);
  t.equal(zones.get(name('bad.'), NOW), undefined);
  t.not(zones.epoch, epoch, 'questions that began before put nothing in any more');
});

await t.test('forgetFailures leaves the order in which entries make room as it was', async t => {
  const zones = zoneTable(3 * 300);
  for (const each of ['a.', 'b.', 'c.']) zones.put(name(each), { at: 'no_cut' }, NOW, 60);
  zones.forgetFailures();
  zones.put(name('d.'), { at: 'no_cut' }, NOW, 60);
  t.equal(zones.get(name('a.'), NOW), undefined, 'the oldest goes');
  t.ok(zones.get(name('b.'), NOW));
});

const tree = signedTree({ '.': { text: 'www.example. 300 A 192.0.2.1' } }, NOW_MS / 1000);

await t.test('a validator that forgets its failures looks again at once', async t => {
  const clock = fakeClock(NOW_MS);
  const world = validating({
    anchors: tree.anchors,
    clock,
    upstream: honest(tree),
  });
  t.equal(verdictOf(await world.ask('www.example.')), 'secure');
  world.validator.zones.put(name('.'), BOGUS, ageSec(clock.monotonicMs() / 1000), 60);
  t.equal(verdictOf(await world.ask('www.example.')), 'bogus');
  world.validator.forgetFailures();
  t.equal(verdictOf(await world.ask('www.example.')), 'secure');
});

await t.test('settings are read at each question', async t => {
  const clock = fakeClock(NOW_MS - 400 * 86_400_000);
  const settings = { clockNames: [] as string[] };
  const world = validating({
    anchors: tree.anchors,
    clock,
    upstream: honest(tree),
    clockIsSet: () => false,
    settings: {
      get clockNames() {
        return settings.clockNames;
      },
    },
  });
  t.equal(verdictOf(await world.ask('www.example.')), 'signature_early');
  settings.clockNames = [name('example.')];
  world.validator.zones.clear();
  t.equal(verdictOf(await world.ask('www.example.')), 'indeterminate');
});

await t.test('what a question finds after something was forgotten is not kept', async t => {
  const clock = fakeClock(NOW_MS);
  const right = honest(tree);
  let release = (): void => undefined;
  const released = new Promise<void>(done => (release = done));
  const world = validating({
    anchors: tree.anchors,
    clock,
    upstream: async question => {
      // Keys come at once, the answer later.
      if (question.readUInt16BE(question.length - 4) === TYPE.A) await released;
      return right(question);
    },
  });
  const answer = world.ask('www.example.');
  await new Promise(setImmediate);
  world.validator.zones.clear();
  release();
  t.equal(verdictOf(await answer), 'secure');
  t.equal(world.validator.zones.entries, 0);
  t.equal(verdictOf(await world.ask('www.example.')), 'secure');
  t.equal(world.validator.zones.entries, 2, 'what a later one finds is');
});
