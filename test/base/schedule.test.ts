// Times of the week.

import t from 'tap';

import { isWithinSchedule, parseSchedule, scheduleText } from '../../src/base/schedule.js';

/** 1 March 2026 is a Sunday. */
const at = (day: number, hour: number, minute = 0): Date => new Date(2026, 2, 1 + day, hour, minute);

const within = (text: string, date: Date): boolean => {
  const schedule = parseSchedule(text);
  if (schedule === undefined) throw new Error(text);
  return isWithinSchedule(schedule, date);
};

await t.test('a night belongs to the day that it begins on', async t => {
  const night = 'mon-fri 20:00-07:00';
  t.same(
    [1, 2, 5].map(day => within(night, at(day, 20))),
    [true, true, true],
  );
  t.same([within(night, at(0, 20)), within(night, at(6, 20)), within(night, at(1, 19, 59))], [false, false, false]);
  t.same([within(night, at(1, 6)), within(night, at(6, 6, 59)), within(night, at(6, 7))], [false, true, false]);
});

await t.test('days may be listed, go over Saturday, or be left out; the same time twice is a whole day', async t => {
  t.same(
    [0, 1, 3, 5, 6].map(day => within('fri-sun,wed 08:00-09:00', at(day, 8))),
    [true, false, true, true, true],
  );
  t.ok([0, 3, 6].every(day => within('06:30-22:00', at(day, 6, 30)) && !within('06:30-22:00', at(day, 22))));
  t.ok([0, 12, 23].every(hour => within('sun 00:00-24:00', at(0, hour))));
  t.notOk(within('sun 00:00-24:00', at(1, 0)));
});

await t.test('what is written reads as the same, and other texts are none', async t => {
  for (const text of ['mon-fri 20:00-07:00', '06:30-22:00', 'sat,sun 00:00-24:00']) {
    const schedule = parseSchedule(text);
    t.same(schedule && parseSchedule(scheduleText(schedule)), schedule, text);
  }
  for (const text of [
    '',
    'mon',
    '25:00-07:00',
    '08:60-09:00',
    '08:00-24:01',
    'mon-fri-sun 08:00-09:00',
    'mo 08:00-09:00',
    '8:00-9:00',
  ])
    t.equal(parseSchedule(text), undefined, text);
});
