// Schedules in a running daemon whose machine has slept, or whose clock was set.

import { setTimeout as sleep } from 'node:timers/promises';

import t from 'tap';

import { eventually, KNOWN, Rig } from '../fixtures/rig.js';
import { records } from '../fixtures/records.js';
import { world } from '../fixtures/world.js';

const HOUR_MS = 3_600_000;
const NAMES = `${KNOWN}
  corp.example.  86400 A 192.0.2.99
  ads.example.   300 A 192.0.2.66
`;

/** The time of the day in some milliseconds, in local time. */
const timeIn = (ms: number): string => new Date(Date.now() + ms).toTimeString().slice(0, 5);

for (const [what, hours] of [
  ['a sleep', 2],
  ['a clock that was set to an earlier time', -2],
] as const)
  await t.test(`after ${what}, the first query finds the routes and lists of now`, async t => {
    const rig = await Rig.make(t);
    const main = await rig.server('dns.test', { answer: world(records(NAMES)) });
    const corp = await rig.plain(world(records('x.corp.example. 300 A 10.0.0.7\ncorp.example. 300 A 10.0.0.7')));
    const schedule = `${timeIn((hours - 1) * HOUR_MS)}-${timeIn((hours + 1) * HOUR_MS)}`;
    await rig.start({
      upstream: { servers: [main.entry] },
      routes: [{ zones: ['corp.example'], resolvers: [corp.at], schedule }],
      lists: [{ name: 'ads', sources: [rig.file('ads.txt', 'ads.example\n')] }],
      clients: [{ name: 'kids', networks: ['127.0.0.0/8'], lists: ['ads'], schedule }],
    });
    t.equal(await rig.answer('corp.example'), 'NOERROR 192.0.2.99', 'the route is not in force yet');
    t.equal(await rig.answer('ads.example'), 'NOERROR 192.0.2.66', 'nor is the list');
    const before = main.asked.length;
    rig.aheadMs = hours * HOUR_MS;
    t.equal(await rig.answer('x.corp.example'), 'NOERROR 10.0.0.7');
    t.equal(main.asked.length, before, 'nobody else has heard of it');
    t.equal(await rig.answer('corp.example'), 'NOERROR 10.0.0.7', 'nor is the ready reply of before given');
    t.equal(await rig.answer('ads.example'), 'NXDOMAIN');
    rig.aheadMs = 0;
    t.equal(await rig.answer('y.corp.example'), 'NXDOMAIN');
    t.equal(await rig.answer('ads.example'), 'NOERROR 192.0.2.66');
  });

for (const transport of ['udp', 'tcp'] as const)
  for (const hours of [2, -2])
    await t.test(`over ${transport}, a ready reply of before is not given after ${hours} hours`, async t => {
      const rig = await Rig.make(t);
      const main = await rig.server('dns.test', {
        answer: world(records(`${NAMES}\nlong.example. 86400 A 192.0.2.66`)),
      });
      const schedule = `${timeIn((hours - 1) * HOUR_MS)}-${timeIn((hours + 1) * HOUR_MS)}`;
      await rig.start({
        upstream: { servers: [main.entry] },
        lists: [{ name: 'ads', sources: [rig.file('ads.txt', 'long.example\n')] }],
        clients: [{ name: 'kids', networks: ['127.0.0.0/8'], lists: ['ads'], schedule }],
      });
      const tcp = transport === 'tcp';
      // The second comes from the cache, and is kept ready.
      for (let i = 0; i < 3; i++) t.equal(await rig.answer('long.example', { tcp }), 'NOERROR 192.0.2.66');
      rig.aheadMs = hours * HOUR_MS;
      // The wall clock is read once a millisecond at most.
      await sleep(5);
      t.equal(await rig.answer('long.example', { tcp }), 'NXDOMAIN', 'no other question came before');
      rig.aheadMs = 0;
      t.equal(await rig.answer('long.example', { tcp }), 'NOERROR 192.0.2.66');
    });

await t.test('commands tell what is in force now, although nobody has asked since the machine slept', async t => {
  const rig = await Rig.make(t);
  const main = await rig.server('dns.test', { answer: world(records(NAMES)) });
  const schedule = `${timeIn(HOUR_MS)}-${timeIn(3 * HOUR_MS)}`;
  await rig.start({
    upstream: { servers: [main.entry] },
    routes: [{ zones: ['corp.example'], resolvers: ['127.0.0.9'], schedule }],
    lists: [{ name: 'ads', sources: [rig.file('ads.txt', 'ads.example\n')] }],
    clients: [{ name: 'kids', networks: ['127.0.0.0/8'], lists: ['ads'], schedule }],
  });
  const lines = async (name: string): Promise<readonly string[]> => (await rig.command('explain', [name])).split('\n');
  t.ok((await lines('corp.example')).includes('answer    of dns.test, which would be asked'));
  t.ok((await lines('ads.example')).includes(`lists     none (at ${schedule})`));
  rig.aheadMs = 2 * HOUR_MS;
  t.ok(
    (await lines('corp.example')).includes(
      `answer    of the route for corp.example. (at ${schedule}): 127.0.0.9:53 would be asked`,
    ),
  );
  t.ok((await lines('ads.example')).includes(`lists     ads (at ${schedule})`));
  rig.aheadMs = 0;
  t.notMatch(await rig.command('upstreams'), '127.0.0.9');
});

for (const hours of [2, -2])
  await t.test(`so do page and metrics, ${hours} hours later`, async t => {
    const rig = await Rig.make(t);
    const main = await rig.server('dns.test', { answer: world(records(NAMES)) });
    const schedule = `${timeIn((hours - 1) * HOUR_MS)}-${timeIn((hours + 1) * HOUR_MS)}`;
    await rig.start({
      upstream: { servers: [main.entry] },
      routes: [{ zones: ['corp.example'], resolvers: ['127.0.0.9'], schedule }],
    });
    await rig.answer('www.example');
    rig.aheadMs = hours * HOUR_MS;
    t.match(JSON.stringify(rig.overview().servers), /127\.0\.0\.9/);
  });

await t.test('a stale answer is refreshed by the query that comes first when a schedule has begun', async t => {
  const rig = await Rig.make(t);
  const main = await rig.server('dns.test', { answer: world(records(KNOWN)) });
  const hours = -2;
  const schedule = `${timeIn((hours - 1) * HOUR_MS)}-${timeIn((hours + 1) * HOUR_MS)}`;
  await rig.start({
    upstream: { servers: [main.entry] },
    cache: { serve_stale: '1d', stale_client_timeout: '0s' },
    routes: [{ zones: ['corp.example'], resolvers: ['127.0.0.9'], schedule }],
  });
  const times = (): number => main.asked.filter(each => each.includes('a.short.example')).length;
  await rig.answer('a.short.example');
  t.equal(times(), 1);
  await sleep(5500);
  rig.aheadMs = hours * HOUR_MS;
  await rig.answer('a.short.example');
  t.equal(await eventually(() => times() > 1, true), true);
});

await t.test('a restart does not take what was cached under other schedules for answers of a route', async t => {
  const rig = await Rig.make(t);
  const main = await rig.server('dns.test', { answer: world(records(NAMES)) });
  const corp = await rig.plain(world(records('corp.example. 86400 A 10.0.0.7')));
  const schedule = `${timeIn(HOUR_MS)}-${timeIn(3 * HOUR_MS)}`;
  const config = {
    upstream: { servers: [main.entry] },
    routes: [{ zones: ['corp.example'], resolvers: [corp.at], schedule }],
  };
  await rig.start(config);
  t.equal(await rig.answer('corp.example'), 'NOERROR 192.0.2.99');
  // Nobody asks any more, so the route has not come into force when the cache is written.
  rig.aheadMs = 2 * HOUR_MS;
  await rig.daemon.stop();
  await rig.start(config);
  await eventually(() => rig.lines.some(each => each.includes('written under other settings')), true);
  t.equal(await rig.answer('corp.example'), 'NOERROR 10.0.0.7');
  await rig.daemon.stop();
  await rig.start(config);
  t.equal(await eventually(() => rig.overview().cache.entries > 0, true), true, 'its own are read');
});
