// Reloads one after the other, and at the end.

import { setTimeout as sleep } from 'node:timers/promises';

import t from 'tap';

import { monoMs, wallMs } from '../../src/base/time.js';
import { checkConfig } from '../../src/config/check.js';
import { Configuration } from '../../src/run/configuration.js';
import { type Plan, planOf } from '../../src/run/plan.js';
import type { PlanFiles } from '../../src/run/plan-files.js';
import { Reload } from '../../src/run/reload.js';
import { recordedLog } from '../fixtures/recorder.js';

const FILES: PlanFiles = {
  read: path => ({ path, octets: Buffer.alloc(0), digest: '' }),
  readSecret: path => ({ path, octets: Buffer.alloc(0), digest: '' }),
  systemRoots: () => undefined,
  checkRoots: () => undefined,
  checkPair: () => undefined,
  checkPq: () => undefined,
};

function planFrom(text: string): Plan {
  const checked = checkConfig(text);
  if (!checked.ok) throw new Error('not a configuration');
  return planOf(checked.config, FILES);
}

/** A configuration with one part that takes its time to prepare. */
function slowly() {
  let text = '';
  const events: string[] = [];
  const part = {
    options: ['cache.min_ttl'],
    async prepare(next: Plan) {
      events.push('begins');
      await sleep(20);
      const { minSec } = next.resolution.ttlLimits;
      return { commit: () => void events.push(`commits ${minSec}`), abandon: () => void events.push('abandons') };
    },
  };
  const configuration = new Configuration({
    source: { file: '/dev/null', load: () => checkConfig(text) },
    files: FILES,
    reload: new Reload(planFrom(''), [part]),
    clock: { monotonicMs: () => monoMs(0), wallMs: () => wallMs(0), after: () => () => undefined },
    log: recordedLog(),
    taken: () => undefined,
  });
  return {
    configuration,
    events,
    /** Writes a value to the file, and asks for a reload. */
    reload: async (minTtl: number) => {
      text = `cache: { min_ttl: ${minTtl} }`;
      return configuration.reload();
    },
  };
}

await t.test(
  'of many reloads at one time, all that come during one are one, and it reads what was written last',
  async t => {
    const { reload, events } = slowly();
    const first = reload(1);
    await sleep(5);
    const replies = await Promise.all([first, ...Array.from({ length: 100 }, async (_, i) => reload(i + 2))]);
    t.ok(replies.every(({ ok }) => ok));
    t.same(events, ['begins', 'commits 1', 'begins', 'commits 101']);
  },
);

await t.test(
  'a stop waits for the reload that is under way, so that what it opens is closed; no other begins',
  async t => {
    const { configuration, reload, events } = slowly();
    const first = reload(1);
    await sleep(5);
    const second = reload(2);
    await configuration.close();
    t.same(events, ['begins', 'commits 1']);
    t.ok((await first).ok);
    for (const reply of [await second, await reload(3)]) t.match(reply, { ok: false, problem: /stopping/ });
    t.same(events, ['begins', 'commits 1']);
  },
);
