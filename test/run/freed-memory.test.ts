import t from 'tap';

import { FreedMemory } from '../../src/run/freed-memory.js';
import { fakeClock } from '../fixtures/clock.js';

await t.test(
  'freed memory goes back every five seconds of the first minute, then once a minute, until the end',
  async t => {
    const clock = fakeClock();
    const counted = { trims: 0 };
    const memory = new FreedMemory(clock, { trimMemory: () => void counted.trims++ });
    await clock.advance(4999);
    t.equal(counted.trims, 0);
    await clock.advance(1);
    t.equal(counted.trims, 1);
    await clock.advance(55_000);
    t.equal(counted.trims, 12);
    await clock.advance(180_000);
    t.equal(counted.trims, 15);
    memory.close();
    await clock.advance(180_000);
    t.equal(counted.trims, 15);
  },
);

await t.test('where system calls cannot be made, nothing is tried', async t => {
  const clock = fakeClock();
  const memory = new FreedMemory(clock, undefined);
  await clock.advance(180_000);
  memory.close();
  t.pass();
});
