import t from 'tap';

import { portal } from '../../src/policy/portal.js';
import { PortalDetection, type PortalFinding } from '../../src/policy/portal-detection.js';
import { ageClock, fakeClock } from '../fixtures/clock.js';
import { wireName } from '../fixtures/records.js';

const PAGE = 'http://login.hotel.test/';
const CAPTIVE: PortalFinding = { at: 'captive', url: PAGE, names: [wireName('login.hotel.test')] };
const FREE: PortalFinding = { at: 'free' };
const UNKNOWN: PortalFinding = { at: 'unknown' };

function setUp(isOn = true) {
  const clock = fakeClock();
  const told: string[] = [];
  const window = portal(ageClock(clock), [wireName('captive.example')]);
  const detection = new PortalDetection(window, () => clock.monotonicMs(), {
    opened: url => void told.push(`opened ${url ?? ''}`),
    closed: why => void told.push(`closed ${why}`),
    due: () => undefined,
  });
  detection.configure(isOn);
  const look = (finding: PortalFinding): boolean => {
    const begun = detection.begin();
    if (begun !== undefined) detection.ended(begun, finding);
    return begun !== undefined;
  };
  return {
    ...{ clock, told, window, detection, look },
    /** Milliseconds until the next look. */
    inMs: () => detection.dueAtMs - clock.monotonicMs(),
    /** Waits for the look that is due, and gives its result; false: none was needed. */
    async next(finding: PortalFinding): Promise<boolean> {
      await clock.advance(Math.max(0, detection.dueAtMs - clock.monotonicMs()));
      return look(finding);
    },
  };
}

await t.test('switched off: nothing is ever due', t => {
  const { detection } = setUp(false);
  for (const why of ['network', 'resume', 'failing', 'start'] as const) detection.trigger(why);
  t.equal(detection.dueAtMs, Infinity);
  t.equal(detection.begin(), undefined);
  t.end();
});

await t.test('it looks at the start, after changes, and not in between', async t => {
  const { detection, inMs, next, told } = setUp();
  t.equal(inMs(), 0);
  await next(FREE);
  t.equal(inMs(), Infinity);
  for (const why of ['network', 'resume'] as const) {
    detection.trigger(why);
    t.equal(inMs(), 1000, 'addresses come up one by one');
    await next(FREE);
    t.equal(inMs(), Infinity);
  }
  t.same(told, []);
});

await t.test('a portal opens the window for its page, and the window closes when the portal is gone', async t => {
  const { clock, window, next, told, inMs } = setUp();
  const startedAt = clock.monotonicMs();
  await next(CAPTIVE);
  t.same(told, [`opened ${PAGE}`]);
  t.ok(window.covers(wireName('captive.example')) && window.covers(wireName('login.hotel.test')));
  t.match(window.open, { cause: { by: 'detected', url: PAGE }, openMs: 0 });
  const pauses: number[] = [];
  for (const finding of [CAPTIVE, UNKNOWN, CAPTIVE, CAPTIVE]) {
    pauses.push(Math.round(inMs()));
    await next(finding);
  }
  t.same(pauses, [5000, 7500, 11250, 16875]);
  t.equal(told.length, 1, 'it is told once, and silence changes nothing');
  t.equal(window.open?.openMs, clock.monotonicMs() - startedAt);
  await next(FREE);
  t.same(told.slice(1), ['closed free']);
  t.equal(window.open, undefined);
  t.equal(inMs(), Infinity);
});

await t.test('other names that the network gives while the window is open do not count', async t => {
  const { window, next } = setUp();
  await next(CAPTIVE);
  await next({ at: 'captive', url: 'http://bank.example/', names: [wireName('bank.example')] });
  t.notOk(window.covers(wireName('bank.example')));
  t.ok(window.covers(wireName('login.hotel.test')));
});

await t.test('a window is open for a quarter of an hour at most', async t => {
  const { clock, window, next, told, inMs } = setUp();
  await next(CAPTIVE);
  const startedAt = clock.monotonicMs();
  let looks = 0;
  while (inMs() !== Infinity) if (await next(CAPTIVE)) looks++;
  t.equal(clock.monotonicMs() - startedAt, 900_000);
  t.ok(looks > 10 && looks < 30, `${looks} looks`);
  t.same(told, [`opened ${PAGE}`, 'closed too_long']);
  t.equal(window.open, undefined);
});

await t.test('nobody answers: some more looks, then none, and nothing has changed', async t => {
  const { clock, next, told, inMs, window } = setUp();
  const startedAt = clock.monotonicMs();
  const times: number[] = [];
  while (inMs() !== Infinity) {
    await next(UNKNOWN);
    times.push(clock.monotonicMs() - startedAt);
  }
  t.same(times, [0, 2000, 6000, 14_000]);
  t.same(told, []);
  t.equal(window.open, undefined);
});

await t.test('a result of before the change of the network does not count', async t => {
  const { detection, told, next, window } = setUp();
  const late = detection.begin();
  detection.trigger('network');
  if (late !== undefined) detection.ended(late, CAPTIVE);
  t.same(told, []);
  await next(CAPTIVE);
  t.same(told, [`opened ${PAGE}`]);
  // At home, the window of the hotel is closed.
  detection.trigger('network');
  t.not(window.open, undefined, 'until that is known');
  await next(FREE);
  t.same(told.slice(1), ['closed free']);
});

await t.test('the next network says nothing: its window stays open, is checked, and ends in time', async t => {
  const { detection, next, told, inMs } = setUp();
  await next(CAPTIVE);
  detection.trigger('network');
  for (let i = 0; i < 4; i++) await next(UNKNOWN);
  t.equal(inMs(), 5000);
  while (inMs() !== Infinity) await next(UNKNOWN);
  t.same(told, [`opened ${PAGE}`, 'closed too_long']);
});

await t.test('no server is reached: a look at most once a minute, and none while one is going on', async t => {
  const { clock, detection, next, inMs } = setUp();
  await next(FREE);
  detection.trigger('failing');
  t.equal(inMs(), 0);
  await next(FREE);
  await clock.advance(59_999);
  detection.trigger('failing');
  t.equal(inMs(), Infinity);
  await clock.advance(1);
  detection.trigger('failing');
  t.equal(inMs(), 0);
  await next(CAPTIVE);
  await clock.advance(1000);
  detection.trigger('failing');
  t.equal(inMs(), 4000, 'it is known why');
});

await t.test('a window that a command has opened or closed is left alone', async t => {
  const byCommand = setUp();
  byCommand.window.start(60_000, [], { by: 'command' });
  await byCommand.next(CAPTIVE);
  await byCommand.clock.advance(1000);
  byCommand.detection.trigger('network');
  await byCommand.next(FREE);
  t.match(byCommand.window.open, { cause: { by: 'command' } });
  t.same(byCommand.told, []);

  const extended = setUp();
  await extended.next(CAPTIVE);
  extended.window.start(3_600_000, [], { by: 'command' });
  t.equal(await extended.next(FREE), false, 'it is not looked for any more');
  t.match(extended.window.open, { cause: { by: 'command' } });

  const stopped = setUp();
  await stopped.next(CAPTIVE);
  stopped.window.stop();
  t.equal(await stopped.next(CAPTIVE), false);
  t.equal(stopped.inMs(), Infinity, 'and not opened again before the network changes');
  t.same(stopped.told, [`opened ${PAGE}`]);
});

await t.test(
  'switched off while it is open: the window closes, and a look that is under way does not count',
  async t => {
    const { detection, next, told, window } = setUp();
    await next(CAPTIVE);
    const late = detection.begin();
    detection.configure(false);
    t.equal(window.open, undefined);
    if (late !== undefined) detection.ended(late, CAPTIVE);
    t.same(told, [`opened ${PAGE}`, 'closed off']);
    t.equal(detection.dueAtMs, Infinity);
  },
);
