// Findings in the log: when they come, and when they go.

import t from 'tap';

import type { Finding } from '../../src/base/overview.js';
import { HealthLog } from '../../src/run/health-log.js';
import { fakeClock } from '../fixtures/clock.js';
import { recordedLog } from '../fixtures/recorder.js';

const silent: Finding = { id: 'silent', level: 'down', words: 'no server answers', advice: 'is it online?' };

await t.test(
  'each finding is logged once, and once more when it is over; notes, and what parts log, are not',
  async t => {
    const clock = fakeClock();
    const log = recordedLog();
    let findings: readonly Finding[] = [silent];
    let looks = 0;
    const health = new HealthLog(clock, log, () => (looks++, findings));
    health.look();
    t.equal(looks, 0, 'not at the start, when nothing is known');
    await clock.advance(10_000);
    for (let i = 0; i < 5; i++) health.look();
    t.equal(looks, 1, 'and not at every question');
    t.same(log.lines, ['warn: no server answers: is it online?']);
    findings = [
      { ...silent, words: 'no server answers, still' },
      { id: 'restart', level: 'weak', words: 'logged by the reload', advice: undefined },
      { id: 'not_asked', level: 'note', words: 'a note', advice: undefined },
    ];
    await clock.advance(10_000);
    health.look();
    t.equal(log.lines.length, 1);
    findings = [];
    await clock.advance(10_000);
    health.look();
    t.equal(log.lines.at(-1), 'info: this is over: no server answers, still');
  },
);
