// The clock that TTLs count by.

import t from 'tap';

import { ageClock, fakeClock } from '../fixtures/clock.js';

await t.test('time passes awake and asleep, and a clock that is set back takes none of it away', async t => {
  const clock = fakeClock();
  const ageNow = ageClock(clock);
  await clock.advance(5000);
  t.equal(ageNow(), 5);
  clock.sleep(60_000);
  t.equal(ageNow(), 65, 'a sleep counts');
  clock.setWall(clock.wallMs() - 3600_000);
  t.equal(ageNow(), 65, 'a step back does not');
  await clock.advance(1000);
  t.equal(ageNow(), 66);
  clock.sleep(900);
  t.equal(ageNow(), 66, 'less than a second is discipline of the clock');
});

await t.test('a sleep is seen once the wall clock is read again, and none of it is lost', async t => {
  const clock = fakeClock();
  const ageNow = ageClock(clock, 10);
  await clock.advance(9);
  t.equal(ageNow(), 0.009);
  clock.sleep(60_000);
  t.equal(ageNow(), 0.009, 'not read again yet');
  await clock.advance(1);
  t.equal(ageNow(), 60.01);
  clock.sleep(30_000);
  await clock.advance(10);
  t.equal(ageNow(), 90.02);
});
