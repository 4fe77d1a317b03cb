// Every option: a daemon is started, takes another value over, and goes back; each time everything that shows it from outside is
// looked at.

import t from 'tap';

import { OPTIONS } from '../../src/config/options.js';
import { type Json, merged, Rig } from '../fixtures/rig.js';
import { ANSWERS } from './options/answers.js';
import { DNSSEC } from './options/dnssec.js';
import { HTTPS } from './options/https.js';
import { LISTS } from './options/lists.js';
import { LISTENING } from './options/listening.js';
import { NAMED } from './options/names.js';
import { play, type Row } from './options/row.js';
import { ROUTING } from './options/routing.js';
import { SHARING } from './options/sharing.js';
import { STALE } from './options/stale.js';
import { TRANSLATING } from './options/translating.js';
import { UPSTREAM } from './options/upstream.js';
import { WRITING } from './options/writing.js';

const ROWS: readonly Row[] = [
  ...ANSWERS,
  ...DNSSEC,
  ...UPSTREAM,
  ...ROUTING,
  ...NAMED,
  ...LISTS,
  ...STALE,
  ...SHARING,
  ...TRANSLATING,
  ...WRITING,
  ...LISTENING,
  ...HTTPS,
];

// Most of the time of a row is spent waiting.
t.jobs = 4;
await Promise.all(
  ROWS.filter(({ alone }) => alone !== true).map(async row =>
    t.test(row.title, { buffered: true, skip: row.skip ?? false }, async t => play(t, row)),
  ),
);
for (const row of ROWS) if (row.alone === true) await t.test(row.title, async t => play(t, row));

await t.test('every option that a reload brings into force has a row', async t => {
  const shown = new Set(ROWS.flatMap(({ options }) => options));
  const live = OPTIONS.filter(({ change }) => change === 'reload').map(({ path }) => path);
  t.same([...shown].toSorted(), live.toSorted());
});

const WAITING: Readonly<Record<string, (rig: Rig) => Json>> = {
  'access.sessions': () => ({ access: { sessions: 500 } }),
  'access.sessions_per_client': () => ({ access: { sessions_per_client: 5 } }),
  'cache.size': () => ({ cache: { size: '1MiB' } }),
  state_directory: rig => ({ state_directory: rig.path('elsewhere') }),
  'control.socket': rig => ({ control: { socket: rig.path('elsewhere.sock') } }),
  'control.status': () => ({ control: { status: 'group' } }),
  'control.group': () => ({ control: { group: process.getgid?.() ?? 0 } }),
};

await t.test('every option that waits for a restart says so, until it is as it was', async t => {
  t.same(
    Object.keys(WAITING).toSorted(),
    OPTIONS.filter(({ change }) => change === 'restart')
      .map(({ path }) => path)
      .toSorted(),
    'all of them are here',
  );
  const rig = await Rig.make(t);
  const main = await rig.server('dns.test');
  const upstream = { servers: [main.entry] };
  await rig.start({ upstream });
  const { limitBytes } = rig.overview().cache;
  for (const [path, change] of Object.entries(WAITING)) {
    t.same(await rig.reload({ upstream, ...change(rig) }), { now: [], later: [path] }, path);
    t.same(rig.overview().waiting, [path]);
    t.match(rig.health, `only in force after a restart: ${path}`);
    t.ok(rig.lines.some(line => line.includes(`after a restart: ${path}`)));
    t.equal(rig.overview().cache.limitBytes, limitBytes);
    await t.resolves(rig.command('status'), 'the control socket is where it was');
    t.equal(await rig.answer('www.example'), 'NOERROR 192.0.2.80');
    const more = { upstream, ...merged(change(rig), { cache: { min_ttl: '5s' } }) };
    t.same(await rig.reload(more), { now: ['cache.min_ttl'], later: [path] }, 'it goes on waiting');
    t.same(await rig.reload({ upstream }), { now: ['cache.min_ttl'], later: [] });
    t.same(rig.overview().waiting, []);
    t.notMatch(rig.health, 'restart');
  }
  t.same(
    await rig.reload({ upstream, ...WAITING['cache.size']?.(rig), ...WAITING['state_directory']?.(rig) }),
    { now: [], later: ['cache.size', 'state_directory'] },
    'all that wait are named',
  );
  t.equal(main.dot.connections, 1, 'and nothing else has noticed');
});

await t.test('an option that only chooses defaults is never reported itself', async t => {
  const rig = await Rig.make(t);
  const main = await rig.server('dns.test');
  const upstream = { servers: [main.entry] };
  await rig.start({ upstream });
  const { now, later } = await rig.reload({ upstream, preset: 'laptop' });
  t.notOk([...now, ...later].includes('preset'), 'only what follows from it');
  t.notMatch(rig.health, 'preset');
});
