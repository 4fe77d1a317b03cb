// The age clock, the timer wheel and the bounded map (base).

import t from 'tap';

import { bounded } from '../../src/base/bounded.js';
import { Timed, wheel } from '../../src/base/wheel.js';
import { ageClock, fakeClock } from '../fixtures/clock.js';

await t.test('the age clock counts the time that the machine runs', async t => {
  const clock = fakeClock();
  const age = ageClock(clock);
  t.equal(age(), 0);
  await clock.advance(90_000);
  t.equal(age(), 90);
});

await t.test('the age clock counts sleep and forward steps of the wall clock', t => {
  const clock = fakeClock();
  const age = ageClock(clock);
  clock.sleep(3600_000);
  t.equal(age(), 3600);
  clock.setWall(clock.wallMs() + 60_000);
  t.equal(age(), 3660);
  t.end();
});

await t.test('the age clock ignores a wall clock that is set back, and jitter', async t => {
  const clock = fakeClock();
  const age = ageClock(clock);
  clock.setWall(0);
  t.equal(age(), 0);
  for (let i = 0; i < 100; i++) {
    clock.setWall(clock.wallMs() + (i % 2 === 0 ? 900 : -900));
    await clock.advance(10);
    age();
  }
  t.equal(age(), 1);
});

class Call extends Timed {
  constructor(override readonly fire: () => void) {
    super();
  }
}

await t.test('a wheel fires each deadline once, in time and never early', async t => {
  const clock = fakeClock();
  const turning = wheel(clock);
  const fired: [number, number][] = [];
  const startMs = clock.monotonicMs();
  const delays = [0, 1, 24, 25, 26, 400, 1500, 4500, 6399, 6400, 6401, 20_000];
  for (const ms of delays) turning.start(new Call(() => fired.push([ms, clock.monotonicMs() - startMs])), ms);
  await clock.advance(30_000);
  t.same(
    fired.map(([ms]) => ms).sort((a, b) => a - b),
    delays,
  );
  for (const [ms, atMs] of fired) t.ok(atMs >= ms && atMs <= ms + 50, `${ms} fired at ${atMs}`);
  t.equal(clock.pending, 0, 'no timer runs with nothing scheduled');
});

await t.test('a stopped deadline does not fire, and stopping twice does no harm', async t => {
  const clock = fakeClock();
  const turning = wheel(clock);
  let fired = 0;
  const stopped = new Call(() => fired++);
  turning.start(stopped, 100);
  turning.start(new Call(() => fired++), 100);
  turning.stop(stopped);
  turning.stop(stopped);
  await clock.advance(1000);
  t.equal(fired, 1);
  turning.start(stopped, 50);
  await clock.advance(1000);
  t.equal(fired, 2, 'the wheel turns again after it was empty');
});

await t.test('a wheel keeps any number of deadlines apart, whichever are stopped and started again', async t => {
  const clock = fakeClock();
  const turning = wheel(clock);
  let fired: number[] = [];
  class Numbered extends Timed {
    constructor(readonly number: number) {
      super();
    }
    fire(): void {
      fired.push(this.number);
    }
  }
  const all = Array.from({ length: 500 }, (_, number) => new Numbered(number));
  for (let round = 0; round < 3; round++) {
    fired = [];
    for (const each of all) turning.start(each, 100 + 40 * (each.number % 7));
    for (const each of all) if (each.number % 3 === 0) turning.stop(each);
    for (const each of all) if (each.number % 6 === 0) turning.start(each, 9000);
    await clock.advance(500);
    const due = all.filter(({ number }) => number % 3 !== 0).map(({ number }) => number);
    t.same(
      fired.sort((a, b) => a - b),
      due,
    );
    fired = [];
    await clock.advance(9000);
    t.equal(fired.length, all.filter(({ number }) => number % 6 === 0).length);
    t.equal(
      all.some(each => each.scheduled),
      false,
    );
  }
});

await t.test('a bounded map stays within its bytes, and evicts the least recently used entries', t => {
  let evicted = 0;
  const map = bounded<{ n: number }>(100, () => evicted++);
  for (let n = 0; n < 10; n++) map.set(`k${n}`, { n }, 10);
  t.equal(map.bytes, 100);
  map.get('k0');
  map.set('new', { n: 99 }, 20);
  t.equal(evicted, 2);
  t.same(map.get('k0'), { n: 0 }, 'recently used: stays');
  t.equal(map.get('k1'), undefined);
  t.ok(map.bytes <= 100);
  map.set('huge', { n: 0 }, 101);
  t.equal(map.get('huge'), undefined, 'larger than the bound: not stored');
  t.end();
});
