// Every option: a daemon is started, takes another value over, and goes back; each time everything that shows it from outside is
// looked at.

import t from 'tap';

import { OPTIONS } from '../../src/config/options.js';
import { ANSWERS } from './options/answers.js';
import { DNSSEC } from './options/dnssec.js';
import { LISTENING } from './options/listening.js';
import { play, type Row } from './options/row.js';
import { ROUTING } from './options/routing.js';
import { UPSTREAM } from './options/upstream.js';
import { WRITING } from './options/writing.js';

const ROWS: readonly Row[] = [...ANSWERS, ...DNSSEC, ...UPSTREAM, ...ROUTING, ...WRITING, ...LISTENING];

// Most of the time of a row is spent waiting.
t.jobs = 4;
await Promise.all(
  ROWS.filter(({ alone }) => alone !== true).map(async row =>
    t.test(row.title, { buffered: true }, async t => play(t, row)),
  ),
);
for (const row of ROWS) if (row.alone === true) await t.test(row.title, async t => play(t, row));

await t.test('every option that a reload brings into force has a row', async t => {
  const shown = new Set(ROWS.flatMap(({ options }) => options));
  const live = OPTIONS.filter(({ built, change }) => built && change === 'reload').map(({ path }) => path);
  t.same([...shown].toSorted(), live.toSorted());
});
