// Which validation computes next, and when one has to pause.

import t from 'tap';

import { Turn } from '../../../src/dnssec/budget.js';
import { Scheduler } from '../../../src/pipeline/validation/scheduler.js';
import { fakeClock } from '../../fixtures/clock.js';

/** More than a turn allows. */
const MUCH = 1000;

function setUp() {
  const clock = fakeClock();
  const turn = new Turn();
  return { clock, turn, scheduler: new Scheduler(turn, clock) };
}

await t.test('what comes in quick succession has to pause; what comes now and then does not', async t => {
  const { clock, turn, scheduler } = setUp();
  for (let i = 0; i < 10; i++) {
    scheduler.begin();
    t.notOk(turn.isOver, 'there is a whole turn for it');
    turn.spend(MUCH);
    scheduler.begin();
    t.ok(turn.isOver, 'but not for the next one at the same time');
    await clock.advance(10);
  }
});

await t.test('while others wait, a new turn is theirs, and all get one', async t => {
  const { clock, turn, scheduler } = setUp();
  scheduler.begin();
  turn.spend(MUCH);
  turn.crowded = true;
  await clock.advance(10);
  scheduler.begin();
  t.ok(turn.isOver);
  turn.crowded = false;
  const done: number[] = [];
  const compute = (slices: number): void => {
    done.push(slices);
    turn.spend(MUCH);
  };
  for (const slices of [2, 0, 1]) scheduler.wait(slices, () => compute(slices));
  t.ok(turn.crowded);
  await clock.advance(0);
  t.same(done, [2, 1, 0], 'in each turn one of those that have computed most');
  t.notOk(turn.crowded);
});
