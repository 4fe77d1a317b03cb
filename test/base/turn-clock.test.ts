// The clock that is read once for each event (base/turn-clock).

import t from 'tap';

import { TurnClock } from '../../src/base/turn-clock.js';
import { fakeClock } from '../fixtures/clock.js';

await t.test('all that one event brings has one time, and the next event another', async t => {
  const clock = fakeClock();
  let readings = 0;
  const turn = new TurnClock({
    ...clock,
    monotonicMs: () => {
      readings++;
      return clock.monotonicMs();
    },
  });
  const monotonicMs = turn.monotonicMs();
  const wallMs = turn.wallMs();
  clock.sleep(60_000);
  t.equal(turn.wallMs(), wallMs);
  t.equal(turn.monotonicMs(), monotonicMs);
  t.equal(readings, 1);
  await clock.advance(5);
  t.equal(turn.monotonicMs(), clock.monotonicMs());
  t.equal(turn.wallMs(), wallMs + 60_005);
  t.equal(readings, 2);
});

await t.test('between two callbacks of one phase of the loop it is read anew', async t => {
  const clock = fakeClock();
  const turn = new TurnClock(clock);
  const seen: number[] = [];
  await new Promise<void>(resolve => {
    const look = (): void => {
      seen.push(turn.wallMs());
      clock.sleep(1000);
    };
    setImmediate(look);
    setImmediate(look);
    setImmediate(resolve);
  });
  const [first = 0, second = 0] = seen;
  t.equal(second - first, 1000);
});

await t.test('timers are those of the clock', async t => {
  const clock = fakeClock();
  let fired = 0;
  const turn = new TurnClock(clock);
  turn.after(10, () => fired++);
  turn.after(10, () => fired++)();
  await clock.advance(10);
  t.equal(fired, 1);
});
