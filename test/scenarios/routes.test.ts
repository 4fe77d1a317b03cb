// Routes: names that only the local network knows, with a strict upstream.

import { createSocket } from 'node:dgram';

import t from 'tap';

import { ask } from '../fixtures/client.js';
import { setting } from '../fixtures/daemon.js';
import { freePort } from '../fixtures/free-port.js';
import { records } from '../fixtures/records.js';
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
