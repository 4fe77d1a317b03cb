// When schedules come into force: at the minute, and after a sleep or a step of the clock before the next query.

import t from 'tap';

import { minuteOf } from '../../src/base/schedule.js';
import { Jobs } from '../../src/pipeline/jobs/jobs.js';
import { type Timed, Times } from '../../src/run/times.js';
import { fakeClock } from '../fixtures/clock.js';

/** Two parts, each of which knows of which minute it has the state. */
function setUp() {
  const clock = fakeClock(Date.parse('2026-03-02T07:30:00Z'));
  const jobs = new Jobs(clock);
  jobs.begin();
  const minutes = [0, 0];
  const also = { endsInMs: Infinity };
  const held = { fromSec: 0, untilSec: 0 };
  const parts = minutes.map((_, i): Timed => ({
    changesInMs: scheduleMs => Math.min(scheduleMs, also.endsInMs),
    lookAtTime() {
      const now = minuteOf(clock.wallMs());
      if (minutes[i] === now) return;
      minutes[i] = now;
      // As a route that comes or goes does.
      jobs.lookAgain();
    },
  }));
  const times = new Times(clock, parts, (fromSec, untilSec) => void Object.assign(held, { fromSec, untilSec }));
  jobs.add(times.job);
  times.lookNow();
  return {
    ...{ clock, jobs, times, also, held },
    isCurrent: () => minutes.every(each => each === minuteOf(clock.wallMs())),
  };
}

await t.test('all parts have the state of a minute from its beginning on', async t => {
  const { clock, isCurrent } = setUp();
  for (let i = 0; i < 5; i++) {
    await clock.advance(60_000);
    t.ok(isCurrent());
  }
});

await t.test('a timer that fires a little early runs again when the minute has begun', async t => {
  const { clock, isCurrent } = setUp();
  await clock.advance(30_000);
  // The wall clock is corrected meanwhile.
  clock.setWall(clock.wallMs() - 5);
  await clock.advance(30_000);
  t.equal(new Date(clock.wallMs()).toISOString(), '2026-03-02T07:30:59.995Z');
  await clock.advance(1000);
  t.ok(isCurrent());
});

for (const [what, ms] of [
  ['a sleep', 5_400_000],
  ['a step of the clock to an earlier time', -5_400_000],
] as const)
  await t.test(
    `after ${what} the first query finds the state of now, and without one the next look at jobs`,
    async t => {
      const { clock, times, jobs, isCurrent } = setUp();
      await clock.advance(5000);
      clock.setWall(clock.wallMs() + ms);
      t.notOk(isCurrent());
      times.look();
      t.ok(isCurrent());
      await clock.advance(5000);
      clock.setWall(clock.wallMs() + ms);
      jobs.lookAgain();
      await clock.advance(0);
      t.ok(isCurrent());
    },
  );

await t.test('what ends within a minute ends then', async t => {
  const { clock, jobs, times, also } = setUp();
  also.endsInMs = 7000;
  jobs.lookAgain();
  t.equal(times.job.dueInMs(), 7000);
  also.endsInMs = Infinity;
  await clock.advance(50_000);
  t.equal(times.job.dueInMs(), 10_000);
});

await t.test(
  'ready replies may be given until something may change, and not after a sleep or a step of the clock',
  async t => {
    const { clock, times, jobs, also, held } = setUp();
    const mayBeGiven = (): boolean => {
      const nowSec = clock.wallMs() / 1000;
      return nowSec >= held.fromSec && nowSec < held.untilSec;
    };
    for (let i = 0; i < 3; i++) {
      await clock.advance(59_000);
      t.ok(mayBeGiven());
      await clock.advance(1000);
      t.ok(mayBeGiven(), 'the job has looked');
    }
    for (const ms of [5_400_000, -5_400_000]) {
      clock.setWall(clock.wallMs() + ms);
      t.notOk(mayBeGiven());
      jobs.lookAgain();
      t.notOk(mayBeGiven(), 'as long as nobody has looked');
      times.look();
      t.ok(mayBeGiven());
    }
    also.endsInMs = 7000;
    jobs.lookAgain();
    clock.setWall(clock.wallMs() + 8000);
    t.notOk(mayBeGiven(), 'a pause is over');
  },
);

await t.test('where nothing has a schedule, ready replies may always be given', t => {
  const clock = fakeClock();
  const held: number[] = [];
  const times = new Times(clock, [{ changesInMs: () => Infinity, lookAtTime: () => undefined }], (_, untilSec) =>
    held.push(untilSec),
  );
  times.lookNow();
  clock.sleep(5_400_000);
  times.job.dueInMs();
  t.same(held, [Infinity, Infinity]);
  t.end();
});

await t.test('the time zone is looked at before each look at schedules', async t => {
  const clock = fakeClock();
  const jobs = new Jobs(clock);
  const looks: string[] = [];
  const part: Timed = { changesInMs: scheduleMs => scheduleMs, lookAtTime: () => void looks.push('schedules') };
  const zone = { look: (): void => void looks.push('zone') };
  const times = new Times(clock, [part], () => undefined, zone);
  jobs.add(times.job);
  jobs.begin();
  await clock.advance(120_000);
  t.same(looks.slice(0, 4), ['zone', 'schedules', 'zone', 'schedules']);
});
