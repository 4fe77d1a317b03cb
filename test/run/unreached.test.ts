import t from 'tap';

import { LongUnreached } from '../../src/run/unreached.js';
import { fakeClock } from '../fixtures/clock.js';

await t.test('that no server is reached is told after three seconds, and only if it stays so', async t => {
  const clock = fakeClock();
  const now = { unreached: true, told: 0, looks: 0 };
  const watch = new LongUnreached(
    clock,
    () => (now.looks++, now.unreached),
    () => void now.told++,
  );
  for (let i = 0; i < 29; i++) {
    watch.look();
    await clock.advance(100);
  }
  t.same(now, { unreached: true, told: 0, looks: 3 }, 'it looks once a second');
  await clock.advance(200);
  watch.look();
  t.equal(now.told, 1);
  now.unreached = false;
  await clock.advance(1000);
  watch.look();
  now.unreached = true;
  for (let i = 0; i < 3; i++) {
    await clock.advance(1000);
    watch.look();
  }
  t.equal(now.told, 1, 'it counts from the beginning');
  await clock.advance(1000);
  watch.look();
  t.equal(now.told, 2);
});
