// The HTTP side, as reloads move it, end it, and fail to begin it.

import { createServer } from 'node:net';

import t from 'tap';

import { Web } from '../../src/run/web.js';
import { fakeClock } from '../fixtures/clock.js';
import { freePort } from '../fixtures/free-port.js';
import { planFor } from '../fixtures/plans.js';
import { recordedLog } from '../fixtures/recorder.js';
import { until } from '../fixtures/until.js';

const at = (port: number) => planFor(`metrics: { listen: "127.0.0.1:${port}" }`);
const OFF = planFor('metrics: { listen: off }');

function setUp() {
  const clock = fakeClock();
  const web = new Web({
    clock,
    log: recordedLog(),
    sums: () => [],
    metrics: { expose: async () => ({ contentType: 'text/plain', body: '' }), httpDropped: () => undefined },
    notReady: () => undefined,
    status: () => ({}),
    maxConnections: 8,
  });
  return { clock, web };
}

const served = async (port: number): Promise<boolean> =>
  fetch(`http://127.0.0.1:${port}/livez`, { headers: { connection: 'close' } }).then(
    ({ ok }) => ok,
    () => false,
  );

await t.test('sums are only remembered while there is a page to show them', async t => {
  const { clock, web } = setUp();
  const port = await freePort();
  t.teardown(() => web.close());
  await web.start(OFF);
  t.equal(clock.pending, 0);
  (await web.prepare(at(port))).commit();
  t.equal(clock.pending, 1);
  t.ok(await served(port));
  await until(() => clock.pending === 1, 'the end of the connection');
  (await web.prepare(OFF)).commit();
  t.equal(clock.pending, 0);
  t.notOk(await served(port));
});

await t.test('an address that cannot be opened, or is given up, leaves nothing behind', async t => {
  const { clock, web } = setUp();
  t.teardown(() => web.close());
  const port = await freePort();
  const taken = createServer();
  await new Promise<void>(resolve => taken.listen(port, '127.0.0.1', resolve));
  await web.start(OFF);
  await t.rejects(web.prepare(at(port)), { message: /is in use/ });
  t.equal(clock.pending, 0);
  await new Promise(resolve => taken.close(resolve));
  await (await web.prepare(at(port))).abandon();
  t.equal(clock.pending, 0);
  t.notOk(await served(port));
  t.equal(web.at, undefined);
});

await t.test('where one is open, it stays as it was', async t => {
  const { clock, web } = setUp();
  t.teardown(() => web.close());
  const [one, two] = [await freePort(), await freePort()];
  await web.start(at(one));
  const prepared = await web.prepare(at(two));
  t.same([await served(one), await served(two)], [true, true], 'the new one is opened before the old one is closed');
  await prepared.abandon();
  t.same([await served(one), await served(two)], [true, false]);
  await until(() => clock.pending === 1, 'the end of the connections');
  t.match(web.at, { port: one });
});
