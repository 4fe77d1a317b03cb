// The questions of the last minutes.

import t from 'tap';

import { Lately } from '../../src/base/lately.js';
import { fakeClock } from '../fixtures/clock.js';

await t.test('what is older than five minutes does not count, and the most frequent cause is told', async t => {
  const clock = fakeClock();
  const lately = new Lately(() => clock.wallMs());
  t.same(lately.sums, { questions: 0, failed: 0, cause: undefined });
  lately.reply(true);
  lately.because('timeout');
  await clock.advance(60_000);
  for (let i = 0; i < 2; i++) {
    lately.reply(true);
    lately.because('answered');
  }
  lately.reply(false);
  t.same(lately.sums, { questions: 4, failed: 3, cause: 'answered' });
  await clock.advance(4 * 60_000);
  t.same(lately.sums, { questions: 3, failed: 2, cause: 'answered' }, 'the first minute is over');
  await clock.advance(10 * 60_000);
  t.same(lately.sums, { questions: 0, failed: 0, cause: undefined });
});

await t.test('a clock that is set back does not keep the counts of the future', t => {
  const clock = fakeClock();
  const lately = new Lately(() => clock.wallMs());
  lately.reply(true);
  clock.setWall(clock.wallMs() - 86_400_000);
  t.equal(lately.sums.questions, 0);
  lately.reply(false);
  t.same(lately.sums, { questions: 1, failed: 0, cause: undefined });
  t.end();
});
