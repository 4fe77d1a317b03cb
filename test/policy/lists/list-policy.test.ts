// Which lists are looked at, for whom and when.

import t from 'tap';

import { Lists } from '../../../src/policy/lists/choice.js';
import { ListPolicy } from '../../../src/policy/lists/list-policy.js';
import { ageClock, fakeClock } from '../../fixtures/clock.js';

await t.test('a pause ends at its time, also where the machine sleeps meanwhile', t => {
  const clock = fakeClock();
  const policy = new ListPolicy(clock, ageClock(clock));
  policy.take(Lists.none(), [{ group: undefined, lists: 1, schedule: undefined }]);
  policy.pause(undefined, 300_000);
  t.equal(policy.viewOf(0).lists, 0);
  clock.sleep(299_000);
  t.notOk(policy.look());
  t.match(policy.paused, [{ group: undefined, leftMs: 1000 }]);
  clock.sleep(2000);
  t.ok(policy.look(), 'and that is noticed');
  t.equal(policy.viewOf(0).lists, 1);
  t.same(policy.paused, []);
  t.end();
});
