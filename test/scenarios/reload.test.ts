// What a reload exchanges while queries go on, whatever takes them.

import t from 'tap';

import { ask } from '../fixtures/client.js';
import { answering, HOSTS, setting } from '../fixtures/daemon.js';

const NOBODY = 'access: { allow: [192.0.2.0/24] }';

for (const [host, front] of Object.entries(HOSTS)) {
  await t.test(`${host}: who may ask, also for what is ready`, async t => {
    const { at, reload, upstream } = await setting(t, { front });
    t.equal((await ask(at, 'www.example')).text.rcode, 'NOERROR');
    t.equal((await ask(at, 'www.example')).text.rcode, 'NOERROR', 'ready');
    t.same(reload(NOBODY), { now: ['access.allow'], later: [] });
    t.equal((await ask(at, 'www.example')).text.rcode, 'REFUSED');
    t.equal((await ask(at, 'www.example', { tcp: true })).text.rcode, 'REFUSED');
    const before = upstream.queries;
    t.same(reload(''), { now: ['access.allow'], later: [] });
    t.equal((await ask(at, 'www.example')).text.rcode, 'NOERROR');
    t.equal(upstream.queries, before, 'the cache was kept');
    t.equal(upstream.connections, 1, 'and the connection');
    t.same(reload(''), { now: [], later: [] }, 'nothing has changed');
  });
}

await t.test('who may look into the cache; how long answers are kept', async t => {
  const { at, reload } = await setting(t, { handler: answering('www.example. 3600 A 192.0.2.1\nother.example. 3600 A 192.0.2.2\n') });
  await ask(at, 'www.example');
  t.equal((await ask(at, 'www.example', { flags: 0 })).text.rcode, 'REFUSED');
  t.same(reload('access: { snoop: [127.0.0.0/8] }\ncache: { max_ttl: 100 }'), { now: ['cache.max_ttl', 'access.snoop'], later: [] });
  t.equal((await ask(at, 'www.example', { flags: 0 })).text.rcode, 'NOERROR');
  t.equal((await ask(at, 'other.example')).text.answers[0]?.ttl, 100);
});

await t.test('what waits is named, and only what is in force counts as old', async t => {
  const { reload } = await setting(t);
  t.same(reload('cache: { size: 1MiB }'), { now: [], later: ['cache.size'] });
  t.same(reload('cache: { size: 1MiB, min_ttl: 5 }'), { now: ['cache.min_ttl'], later: ['cache.size'] }, 'still');
  t.same(reload(''), { now: ['cache.min_ttl'], later: [] }, 'as it was');
});
