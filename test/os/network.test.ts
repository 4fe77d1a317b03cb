import t from 'tap';

import { type NetworkChange, systemNetwork, watchNetwork } from '../../src/os/network.js';
import { fakeClock } from '../fixtures/clock.js';

function setUp() {
  const clock = fakeClock();
  const now = { network: 'home', resolvers: '192.0.2.1' };
  const seen: NetworkChange[] = [];
  const watch = watchNetwork(
    clock,
    { network: () => now.network, resolvers: () => now.resolvers },
    what => seen.push(what),
    undefined,
  );
  return { clock, now, seen, watch };
}

await t.test('changes are seen by who looks next, once, and no more than once a second is looked', async t => {
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
