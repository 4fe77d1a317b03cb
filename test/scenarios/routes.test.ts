// Routes: names that only the local network knows, with a strict upstream.

import { createSocket } from 'node:dgram';
import { setTimeout as sleep } from 'node:timers/promises';

import t, { type Test } from 'tap';

import { ask, type Told } from '../fixtures/client.js';
import { setting } from '../fixtures/daemon.js';
import { freePort } from '../fixtures/free-port.js';
import { records } from '../fixtures/records.js';
import { Rig } from '../fixtures/rig.js';
import { world } from '../fixtures/world.js';

await t.test(
  'names of a route go to its resolvers, other names do not, and names that no cluster has go nowhere',
  async t => {
    const port = await freePort();
    const asked: string[] = [];
    const answer = world(records('kubernetes.default.svc.cluster.local. 30 A 10.96.0.1\n'));
    const cluster = createSocket('udp4', (query, from) => {
      asked.push(
        query
          .subarray(12, query.indexOf(0, 12))
          .toString('latin1')
          .toLowerCase()
          .replace(/[^a-z0-9-]/g, '.')
          .slice(1),
      );
      const reply = answer(query);
      if (reply !== undefined) cluster.send(reply, from.port, from.address);
    });
    await new Promise<void>(resolve => cluster.bind(port, '127.0.0.1', resolve));
    let closed = false;
    t.teardown(() => closed || cluster.close());
    const { at, upstream, metric } = await setting(t, {
      config: `routes: [{ zones: [cluster.local], resolvers: ["127.0.0.1:${port}"], kubernetes: true }]`,
    });

    const found = await ask(at, 'Kubernetes.default.svc.cluster.local');
    t.match(found.text, { rcode: 'NOERROR', answers: [{ data: '10.96.0.1' }] });
    t.notOk(found.text.flags.includes('ad'));
    t.equal((await ask(at, 'kubernetes.default.svc.cluster.local')).text.rcode, 'NOERROR');
    t.same(asked, ['kubernetes.default.svc.cluster.local'], 'the second answer comes from cache');
    t.equal(upstream.queries, 0, 'no other server is asked');

    t.equal((await ask(at, 'www.example.com.default.svc.cluster.local')).text.rcode, 'NXDOMAIN');
    const denied = await ask(at, 'www.example.com.cluster.local');
    t.match(denied.text, {
      rcode: 'NXDOMAIN',
      authority: [{ name: 'cluster.local.', type: 'SOA', data: '. . 1 3600 1200 604800 300' }],
    });
    t.equal(asked.length, 1, 'NXDOMAIN without a query');

    await ask(at, 'www.example');
    t.equal(asked.length, 1);
    t.ok(upstream.queries > 0);
    t.equal(await metric('dotstub_cleartext_queries_total{reason="conditional"}'), 1);

    cluster.close();
    closed = true;
    t.match(
      (await ask(at, 'other.default.svc.cluster.local')).text.rcode,
      'SERVFAIL',
      'no other server is asked if they do not answer',
    );
  },
);

/** A resolver over UDP that answers from records, or says nothing. */
async function localResolver(t: Test, zone: string) {
  const port = await freePort();
  const answer = world(records(zone));
  const state = { port, silent: false, queries: 0 };
  const socket = createSocket('udp4', (query, from) => {
    state.queries++;
    const reply = state.silent ? undefined : answer(query);
    if (reply !== undefined) socket.send(reply, from.port, from.address);
  });
  await new Promise<void>(resolve => socket.bind(port, '127.0.0.1', resolve));
  t.teardown(() => socket.close());
  return state;
}

await t.test('a route that comes or goes takes the answers of its zone with it: others answer now', async t => {
  const local = await localResolver(t, 'www.example. 3600 A 192.0.2.7\n');
  const route = `routes: [{ zones: [example], resolvers: ["127.0.0.1:${local.port}"] }]`;
  const { at, reload } = await setting(t);
  const address = async (): Promise<unknown> => {
    // Ready replies come with the second answer.
    await ask(at, 'www.example');
    await ask(at, 'www.example');
    return (await ask(at, 'www.example')).text.answers[0]?.data;
  };
  t.equal(await address(), '192.0.2.80');
  await reload(route);
  t.equal(await address(), '192.0.2.7', 'it came');
  await reload(route.replace('[example]', '[example, test]'));
  t.equal(local.queries, 1, 'one that stays keeps them');
  await reload('');
  t.equal(await address(), '192.0.2.80', 'it went');
});

await t.test('a question on its way to resolvers that a reload takes away is asked of those of now', async t => {
  const silent = await localResolver(t, '');
  const local = await localResolver(t, 'www.example. 3600 A 192.0.2.7\n');
  silent.silent = true;
  const route = (port: number): string => `routes: [{ zones: [example], resolvers: ["127.0.0.1:${port}"] }]`;
  const { at, reload } = await setting(t, { config: route(silent.port) });
  const waiting = async (name: string): Promise<{ readonly told: Promise<Told> }> => {
    const before = silent.queries;
    const told = ask(at, name);
    while (silent.queries === before) await sleep(5);
    return { told };
  };
  const first = await waiting('www.example');
  await reload(route(local.port));
  t.match((await first.told).text.answers, [{ data: '192.0.2.7' }], 'other resolvers of the route');
  await reload(route(silent.port));
  const second = await waiting('alias.example');
  await reload('');
  t.match((await second.told).text.answers, [{ data: 'www.example.' }, { data: '192.0.2.80' }], 'no route');
});

await t.test('where the alias of a route leads: a name that is answered here leaves for nobody', async t => {
  const rig = await Rig.make(t);
  const main = await rig.server('dns.test');
  const targets = ['nas.home.arpa', 'abc.onion', 'localhost', 'www.own.example', 'printer.lan', 'www.example'];
  const zone = targets.map((target, i) => `a${i}.corp.example. 300 CNAME ${target}.\n`).join('');
  const answer = world(records(zone));
  // It gives the alias alone, as a server does that has only its own zones.
  const corp = await rig.plain(query => {
    const reply = answer(query);
    reply?.writeUInt8((reply[3] ?? 0) & 0xf0, 3);
    return reply;
  });
  const configured = (more: readonly string[]) => ({
    upstream: { servers: [main.entry] },
    routes: [{ zones: ['corp.example'], resolvers: [corp.at] }],
    local: { records: ['printer.lan. A 192.168.1.9', ...more], own_zones: ['own.example'] },
  });
  await rig.start(configured(['nas.home.arpa. A 192.168.1.5', 'www.own.example. A 192.168.1.7']));
  const given = [];
  for (const i of targets.keys()) given.push(await rig.answer(`a${i}.corp.example`));
  t.same(given, [
    'NOERROR nas.home.arpa. 192.168.1.5',
    'NXDOMAIN abc.onion.',
    'NOERROR localhost. 127.0.0.1',
    'NOERROR www.own.example. 192.168.1.7',
    'NOERROR printer.lan. 192.168.1.9',
    'NOERROR www.example. 192.0.2.80',
  ]);
  t.same([...new Set(main.asked)], ['www.example']);

  await rig.reload(configured(['nas.home.arpa. A 192.168.1.6']));
  t.equal(await rig.answer('a0.corp.example'), 'NOERROR nas.home.arpa. 192.168.1.6', 'and a change counts at once');
  t.equal(await rig.answer('a3.corp.example'), 'NXDOMAIN www.own.example.', 'also where a name has gone');
  await rig.reload(configured(['www.own.example. A 192.168.1.8']));
  t.equal(await rig.answer('a3.corp.example'), 'NOERROR www.own.example. 192.168.1.8', 'or has come');
});
