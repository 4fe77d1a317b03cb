import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import t from 'tap';

import { type NetworkChange, NetworkWatch, systemNetwork } from '../../src/os/network.js';
import { fakeClock } from '../fixtures/clock.js';
import { temporaryDirectory } from '../fixtures/program.js';

function setUp() {
  const clock = fakeClock();
  const now = { network: 'home', resolvers: '192.0.2.1', fails: false };
  const seen: NetworkChange[] = [];
  const answer = (what: 'network' | 'resolvers'): string => {
    if (now.fails) throw Object.assign(new Error('EMFILE'), { code: 'EMFILE', errno: -24, syscall: 'open' });
    return now[what];
  };
  const watch = new NetworkWatch(
    clock,
    { network: () => answer('network'), resolvers: () => answer('resolvers'), directories: [] },
    what => seen.push(what),
  );
  return { clock, now, seen, watch };
}

await t.test('the next check reports a change once, and checks are at most once a second', async t => {
  const { clock, now, seen, watch } = setUp();
  now.network = 'café';
  watch.look();
  t.same(seen, [], 'just looked');
  await clock.advance(1000);
  watch.look();
  watch.look();
  t.same(seen, ['network']);
  t.equal(watch.network, 'café');
  now.resolvers = '192.0.2.2';
  await clock.advance(1000);
  watch.look();
  t.same(seen, ['network', 'resolvers']);
  watch.close();
});

await t.test('sleep is seen at once: the wall clock ran on, the monotonic one did not', async t => {
  const { clock, now, seen, watch } = setUp();
  await clock.advance(100);
  clock.sleep(4000);
  watch.look();
  t.same(seen, [], 'too short to matter');
  clock.sleep(3600_000);
  watch.look();
  t.same(seen, ['resume']);
  clock.sleep(3600_000);
  now.network = 'café';
  watch.look();
  t.same(seen, ['resume', 'network'], 'woken somewhere else: the other network says more');
  await clock.advance(600_000);
  watch.look();
  t.equal(seen.length, 2, 'time that passes is no sleep');
  watch.close();
});

await t.test("this machine's network is the same as long as it is the same", t => {
  t.type(systemNetwork(), 'string');
  t.equal(systemNetwork(), systemNetwork());
  t.notMatch(systemNetwork(), /fe80/);
  t.end();
});

await t.test(
  'what the system does not tell for lack of descriptors has not changed, and is asked for again',
  async t => {
    const { clock, now, seen, watch } = setUp();
    now.fails = true;
    await clock.advance(1000);
    watch.look();
    t.same(seen, []);
    t.equal(watch.network, 'home');
    now.fails = false;
    now.network = 'café';
    await clock.advance(1000);
    watch.look();
    t.same(seen, ['network']);
    watch.close();
  },
);

await t.test('other sources: their resolvers count as known, and later changes are reported', async t => {
  const { clock, seen, watch } = setUp();
  const system = { resolvers: '192.0.2.7' };
  const directory = temporaryDirectory();
  t.teardown(() => directory.remove());
  watch.follow({
    network: () => 'home',
    resolvers: () => system.resolvers,
    directories: [{ path: directory.path, prefix: 'resolv.conf' }],
  });
  await clock.advance(1000);
  watch.look();
  t.same(seen, []);
  system.resolvers = '192.0.2.8';
  writeFileSync(join(directory.path, 'resolv.conf'), '');
  for (let i = 0; i < 100 && clock.pending === 0; i++) await sleep(10);
  await clock.advance(1000);
  t.same(seen, ['resolvers'], 'though nobody has looked');
  watch.follow({ network: () => 'home', resolvers: () => '', directories: [] });
  writeFileSync(join(directory.path, 'resolv.conf'), 'x');
  await sleep(50);
  t.equal(clock.pending, 0, 'not watched any more');
  watch.close();
});

await t.test('every directory is watched, and one that comes later is noticed at a check', async t => {
  const { clock, seen, watch } = setUp();
  const system = { resolvers: 'one' };
  const directory = temporaryDirectory();
  t.teardown(() => directory.remove());
  const later = join(directory.path, 'later');
  const directories = [
    { path: directory.path, prefix: 'resolv.conf' },
    { path: later, prefix: '' },
  ];
  watch.follow({ network: () => 'home', resolvers: () => system.resolvers, directories });
  writeFileSync(join(directory.path, 'hosts'), '');
  await sleep(50);
  t.equal(clock.pending, 0, 'another file');
  mkdirSync(later);
  await sleep(50);
  await clock.advance(60_000);
  watch.look();
  system.resolvers = 'two';
  writeFileSync(join(later, '2'), '');
  for (let i = 0; i < 100 && clock.pending === 0; i++) await sleep(10);
  await clock.advance(1000);
  t.same(seen, ['resolvers']);
  watch.close();
  writeFileSync(join(later, '3'), '');
  await sleep(50);
  t.equal(clock.pending, 0, 'nothing is watched after the end');
});
