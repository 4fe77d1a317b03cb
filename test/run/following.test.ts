// Listeners that follow the addresses of the machine.

import t from 'tap';

import { loadLibc } from '../../src/os/libc.js';
import { Following, type Follower } from '../../src/run/following.js';
import { Reload } from '../../src/run/reload.js';
import { StartError } from '../../src/run/start-error.js';
import { fakeClock } from '../fixtures/clock.js';
import { planFor } from '../fixtures/plans.js';
import { recordedLog } from '../fixtures/recorder.js';

const found = loadLibc();
const libc = 'unavailable' in found ? undefined : found;

/** A listener whose state the test sets. */
class Scripted implements Follower {
  readonly options = ['listen'];
  follows = false;
  waits = true;
  unserved: readonly string[] = [];
  outdated = false;
  commits = 0;
  fails: Error | undefined;

  isOutdated(): boolean {
    return this.outdated;
  }

  prepare() {
    if (this.fails !== undefined) throw this.fails;
    return { commit: () => void this.commits++, abandon: () => undefined };
  }
}

function setUp() {
  const clock = fakeClock();
  const log = recordedLog();
  const follower = new Scripted();
  const listening = ['a'];
  const reload = new Reload(planFor(''), [follower]);
  const following = new Following({ clock, log, libc, reload, followers: [follower], listening: () => [...listening] });
  /** Lets time pass until waiting addresses are tried again. */
  const pass = async (): Promise<void> => clock.advance(libc === undefined ? 1000 : 5000);
  return { log, follower, following, listening, pass };
}

await t.test('an address that waits is tried again, and opened when something has changed', async t => {
  const { follower, following, pass } = setUp();
  await pass();
  t.equal(follower.commits, 0, 'nothing has changed');
  follower.outdated = true;
  await pass();
  t.equal(follower.commits, 1);
  follower.waits = false;
  await pass();
  t.equal(follower.commits, 2);
  await pass();
  t.equal(follower.commits, 2, 'nothing waits any more');
  await following.close();
});

await t.test('what changes is logged once: addresses that are not served, come, and go', async t => {
  const { log, follower, following, listening, pass } = setUp();
  follower.unserved = ['it waits'];
  await pass();
  await pass();
  t.equal(log.lines.filter(line => line.includes('it waits')).length, 1);
  listening.splice(0, 1, 'b');
  await pass();
  await pass();
  t.equal(log.lines.filter(line => line.includes('changed: listening on b')).length, 1);
  t.equal(log.lines.filter(line => line.includes('no longer listening on a')).length, 1);
  await following.close();
});

await t.test('a failure changes nothing, is logged once, and is tried again', async t => {
  const { log, follower, following, pass } = setUp();
  await pass();
  follower.outdated = true;
  follower.fails = new StartError('no descriptors', 1);
  await pass();
  await pass();
  t.equal(log.lines.filter(line => line.includes('no descriptors')).length, 1);
  // Nothing waits: a change of addresses was noticed, and could not be followed.
  follower.waits = false;
  await pass();
  follower.fails = undefined;
  await pass();
  t.equal(follower.commits, 1);
  await following.close();
});

await t.test('when it is closed, nothing is opened any more', async t => {
  const { follower, following, pass } = setUp();
  follower.outdated = true;
  await following.close();
  await pass();
  t.equal(follower.commits, 0);
});
