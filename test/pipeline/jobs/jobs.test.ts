import t from 'tap';

import { type Job, type JobRun, Jobs } from '../../../src/pipeline/jobs/jobs.js';
import { fakeClock } from '../../fixtures/clock.js';

/** A job that is due every `everyMs`, and ends when it is told to. */
function setUp(everyMs: number) {
  const clock = fakeClock();
  const jobs = new Jobs(clock);
  jobs.begin();
  const runs: JobRun[] = [];
  let due = everyMs;
  const job: Job = { name: 'test', dueInMs: () => due, run: run => runs.push(run) };
  jobs.add(job);
  return { clock, jobs, runs, isDueIn: (ms: number) => (due = ms) };
}

await t.test('a job is run when it is due, and never twice at a time', async t => {
  const { clock, jobs, runs } = setUp(10_000);
  await clock.advance(9999);
  t.equal(runs.length, 0);
  t.match(jobs.states, [{ name: 'test', running: false, nextAt: 11_000 }]);
  await clock.advance(100_000);
  t.equal(runs.length, 1, 'it has not ended yet');
  t.match(jobs.states, [{ running: true, nextAt: undefined }]);
  jobs.lookAgain();
  await clock.advance(100_000);
  t.equal(runs.length, 1);
  runs[0]?.done();
  runs[0]?.done();
  await clock.advance(10_001);
  t.equal(runs.length, 2);
});

await t.test('before the start has succeeded no job is run: a start that fails asks nobody', async t => {
  const clock = fakeClock();
  const jobs = new Jobs(clock);
  const runs: JobRun[] = [];
  jobs.add({ name: 'test', dueInMs: () => 0, run: run => runs.push(run) });
  jobs.lookAgain();
  await clock.advance(10_000);
  t.equal(runs.length, 0);
  t.equal(clock.pending, 0, 'and none keeps the process from ending');
  jobs.begin();
  await clock.advance(0);
  t.equal(runs.length, 1, 'what was due meanwhile is run at once');
});

await t.test('a date that has moved holds after lookAgain', async t => {
  const { clock, jobs, runs, isDueIn } = setUp(50_000);
  isDueIn(2000);
  jobs.lookAgain();
  await clock.advance(2001);
  t.equal(runs.length, 1);
});

await t.test('looking again postpones no job that is due, and begins one at once that is due now', async t => {
  const { clock, jobs, runs, isDueIn } = setUp(0);
  for (let i = 0; i < 5; i++) {
    jobs.lookAgain();
    await clock.advance(300);
  }
  t.equal(runs.length, 1);
  isDueIn(50_000);
  runs[0]?.done();
  isDueIn(0);
  jobs.lookAgain();
  await clock.advance(999);
  t.equal(runs.length, 1, 'not before a second has passed since the last run');
  await clock.advance(1);
  t.equal(runs.length, 2);
  isDueIn(50_000);
  runs[1]?.done();
  await clock.advance(5000);
  isDueIn(0);
  jobs.lookAgain();
  await clock.advance(0);
  t.equal(runs.length, 3);
});

await t.test('a job far away is looked at each hour: the machine may have slept meanwhile', async t => {
  const { clock, runs, isDueIn } = setUp(10 * 3_600_000);
  await clock.advance(3_500_000);
  isDueIn(0);
  await clock.advance(101_000);
  t.equal(runs.length, 1);
});

await t.test('after close nothing is run, and a run that still goes on is told', async t => {
  const { clock, jobs, runs } = setUp(1000);
  await clock.advance(1001);
  t.equal(runs[0]?.closed, false);
  jobs.close();
  t.equal(runs[0]?.closed, true);
  runs[0]?.done();
  jobs.lookAgain();
  jobs.close();
  await clock.advance(100_000);
  t.equal(runs.length, 1);
  t.equal(clock.pending, 0);
});
