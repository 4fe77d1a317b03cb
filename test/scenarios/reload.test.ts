// A reload while queries go on, with each implementation of UDP.

import t from 'tap';

import { ask, tryAsk } from '../fixtures/client.js';
import { answering, HOSTS, setting } from '../fixtures/daemon.js';

const NOBODY = 'access: { allow: [192.0.2.0/24] }';

for (const [host, front] of Object.entries(HOSTS)) {
  await t.test(`${host}: who may ask, also for what is ready`, async t => {
    const { at, reload, upstream } = await setting(t, { front });
    t.equal((await ask(at, 'www.example')).text.rcode, 'NOERROR');
    t.equal((await ask(at, 'www.example')).text.rcode, 'NOERROR', 'ready');
    t.same(await reload(NOBODY), { now: ['access.allow'], later: [] });
    t.equal((await ask(at, 'www.example')).text.rcode, 'REFUSED');
    t.equal(await tryAsk(at, 'www.example', { tcp: true }), undefined, 'no connection');
    const before = upstream.queries;
    t.same(await reload(''), { now: ['access.allow'], later: [] });
    t.equal((await ask(at, 'www.example')).text.rcode, 'NOERROR');
    t.equal(upstream.queries, before, 'the cache stays');
    t.equal(upstream.connections, 1, 'so does the connection');
    t.same(await reload('', 'mode: strict\n  policy: ordered'), { now: ['upstream.policy'], later: [] });
    await ask(at, 'big.example');
    t.equal(upstream.connections, 1, 'it still stays');
    t.same(await reload('', 'mode: strict\n  policy: ordered'), { now: [], later: [] }, 'nothing has changed');
  });
}

await t.test('access.snoop and TTL limits are reloaded', async t => {
  const { at, reload } = await setting(t, {
    handler: answering('www.example. 3600 A 192.0.2.1\nother.example. 3600 A 192.0.2.2\n'),
  });
  await ask(at, 'www.example');
  t.equal((await ask(at, 'www.example', { flags: 0 })).text.rcode, 'REFUSED');
  t.same(await reload('access: { snoop: [127.0.0.0/8] }\ncache: { max_ttl: 100 }'), {
    now: ['cache.max_ttl', 'access.snoop'],
    later: [],
  });
  t.equal((await ask(at, 'www.example', { flags: 0 })).text.rcode, 'NOERROR');
  t.equal((await ask(at, 'other.example')).text.answers[0]?.ttl, 100);
});

await t.test('options that wait for a restart are named, and are compared with those in force', async t => {
  const { reload } = await setting(t);
  t.same(await reload('cache: { size: 1MiB }'), { now: [], later: ['cache.size'] });
  t.same(await reload('cache: { size: 1MiB, min_ttl: 5 }'), { now: ['cache.min_ttl'], later: ['cache.size'] }, 'still');
  t.same(await reload(''), { now: ['cache.min_ttl'], later: [] }, 'as it was');
});

await t.test("listed servers replace the system's resolvers in strict mode, without a restart", async t => {
  const { at, statusLine, reload, metric, upstream } = await setting(t, { way: undefined });
  t.equal((await ask(at, 'www.example')).text.rcode, 'SERVFAIL', 'the system has no resolvers');
  t.equal(await metric('dotstub_upstream_mode{mode="opportunistic"}'), 1);
  t.same((await reload('')).now.toSorted(), ['upstream.mode', 'upstream.servers']);
  t.equal((await ask(at, 'www.example')).text.rcode, 'NOERROR');
  t.match(statusLine(), /^strict: queries go over TLS, to servers that have proved who they are/);
  t.equal(await metric('dotstub_upstream_mode{mode="strict"}'), 1);
  t.equal(await metric('dotstub_upstream_mode{mode="opportunistic"}'), 0);
  t.equal(await metric('dotstub_upstream_queries_total{upstream="dns.test",proto="dot"}'), 1);
  t.equal(await metric('dotstub_cleartext_queries_total{reason="opportunistic"}'), 0);
  t.equal(upstream.queries, 1);
});

await t.test('queries in flight are answered when mode and policy change', async t => {
  const { at, reload, statusLine } = await setting(t, {
    handler: (query, session) => void setTimeout(() => answering()(query, session), 300),
  });
  const slow = ask(at, 'www.example');
  await new Promise(resolve => setTimeout(resolve, 100));
  t.same((await reload('', 'mode: encrypted\n  policy: ordered')).now.toSorted(), ['upstream.mode', 'upstream.policy']);
  t.equal((await slow).text.rcode, 'NOERROR', 'sent before the reload, answered after it');
  t.equal((await ask(at, 'alias.example')).text.rcode, 'NOERROR');
  t.match(statusLine(), /^encrypted: /);
});
