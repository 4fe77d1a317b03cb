// The HTTP listener over reloads.

import { createServer } from 'node:net';

import t from 'tap';

import { systemClock } from '../../src/os/clock.js';
import { Web } from '../../src/run/web.js';
import { freePort } from '../fixtures/free-port.js';
import { planFor } from '../fixtures/plans.js';
import { recordedLog } from '../fixtures/recorder.js';

const planAt = (address: string, port: number) => planFor(`metrics: { listen: "${address}:${port}" }`);

await t.test(
  'metrics.listen moves between an address and the wildcard of its port, and back where that fails',
  async t => {
    const web = new Web({
      metrics: {
        expose: async () => Promise.resolve({ contentType: 'text/plain', body: 'here' }),
        httpDropped: () => undefined,
      },
      notReady: () => undefined,
      status: () => ({}),
      maxConnections: 64,
      clock: systemClock,
      log: recordedLog(),
      sums: () => [],
    });
    t.teardown(() => web.close());
    const port = await freePort();
    const scraped = async (address: string): Promise<string> =>
      fetch(`http://${address}:${port}/metrics`).then(
        async reply => reply.text(),
        () => 'nobody',
      );
    await web.start(planAt('127.0.0.1', port));
    (await web.prepare(planAt('0.0.0.0', port))).commit();
    t.equal(await scraped('127.0.0.2'), 'here');

    await (await web.prepare(planAt('127.0.0.1', port))).abandon();
    t.equal(await scraped('127.0.0.2'), 'here', 'another part could not prepare');

    (await web.prepare(planAt('127.0.0.1', port))).commit();
    t.equal(await scraped('127.0.0.2'), 'nobody');
    const other = createServer();
    await new Promise<void>(resolve => void other.listen(port, '127.0.0.2', resolve));
    t.teardown(() => other.close());
    await t.rejects(Promise.resolve(web.prepare(planAt('0.0.0.0', port))), { message: /in use by another program/ });
    t.equal(await scraped('127.0.0.1'), 'here', 'the wildcard cannot be bound');

    await new Promise(resolve => other.close(resolve));
    (await web.prepare(planAt('0.0.0.0', port))).commit();
    const refused = await web.prepare(planAt('127.0.0.1', port));
    const meanwhile = createServer();
    await new Promise<void>(resolve => void meanwhile.listen(port, '127.0.0.2', resolve));
    await refused.abandon();
    t.same([web.waits, web.at], [true, undefined], 'it cannot go back');
    t.match(web.unserved, [/^metrics\.listen: .* is not served over HTTP: another program uses it$/]);
    await new Promise(resolve => meanwhile.close(resolve));
    t.ok(web.isOutdated(planAt('0.0.0.0', port)));
    (await web.prepare(planAt('0.0.0.0', port))).commit();
    t.equal(await scraped('127.0.0.2'), 'here');
  },
);
