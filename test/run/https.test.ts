// Who may connect for DNS over HTTPS, and who may keep answers (run/https).

import { get } from 'node:http';

import t from 'tap';

import type { Front } from '../../src/front/front.js';
import { Memory } from '../../src/listen/memory.js';
import { nodeStreams } from '../../src/listen/node-streams.js';
import { SessionTable } from '../../src/listen/sessions.js';
import { streamListener } from '../../src/listen/stream.js';
import { Turns } from '../../src/listen/turns.js';
import { systemClock } from '../../src/os/clock.js';
import { HttpsRules } from '../../src/run/https.js';
import { queryMessage } from '../fixtures/client.js';
import { responseTo } from '../fixtures/messages.js';
import { recorder } from '../fixtures/recorder.js';

const allowed = new Set(['127.0.0.1', '192.168.1.5']);
const rules = new HttpsRules({ mayAsk: address => allowed.has(address), areGrouped: false });
const plan = { addresses: [], path: '/dns-query', certificate: undefined };
const { mayAsk, isProxy } = rules.forConnections;

await t.test('over TLS all who may ask may connect, in cleartext only those on this machine', t => {
  rules.take({ ...plan, proxies: [] });
  t.same(
    ['127.0.0.1', '127.0.0.9', '192.168.1.5', '192.168.1.6'].map(at => [mayAsk(at, true), mayAsk(at, false)]),
    [
      [true, true],
      [false, false],
      [true, false],
      [false, false],
    ],
  );
  t.end();
});

await t.test('reverse proxies may connect, whatever access.allow says', t => {
  rules.take({ ...plan, proxies: [{ address: '192.168.1.6', prefix: 32 }] });
  t.same([mayAsk('192.168.1.6', false), mayAsk('192.168.1.6', true)], [true, true]);
  t.same([mayAsk('192.168.1.7', false), mayAsk('192.168.1.5', false)], [false, false]);
  t.same([isProxy?.('192.168.1.6'), isProxy?.('127.0.0.1')], [true, false]);
  t.end();
});

await t.test('rules of a plan that is not in force yet replace none', t => {
  rules.takeFirst({ ...plan, proxies: [] });
  t.equal(mayAsk('192.168.1.6', false), true);
  t.end();
});

await t.test('where there are groups of clients, caches that they share must not keep answers', async t => {
  const { observer } = recorder();
  const turns = new Turns();
  const front: Front = {
    handle(message, _client, respond) {
      respond(responseTo(message, { answers: 'www.example. 300 A 192.0.2.1' }));
      return false;
    },
    inflight: 0,
    stop: () => undefined,
    giveUp: () => undefined,
  };
  const clients = { mayAsk: () => true, areGrouped: false };
  const tested = new HttpsRules(clients);
  tested.take({ ...plan, path: '/q', proxies: [] });
  const table = new SessionTable({ clock: systemClock, observer, max: 10 });
  const protocol = await tested.protocol(nodeStreams(undefined), {
    ...{ front, turns, observer },
    clock: systemClock,
    memory: new Memory(),
  });
  const listener = streamListener(
    protocol,
    { observer, turns, clock: systemClock, table, ...tested.forConnections },
    undefined,
  );
  t.teardown(() => listener.destroy());
  await listener.set([{ address: '127.0.0.1', port: 0 }]);
  const shown = async (): Promise<string | undefined> =>
    new Promise((resolve, reject) => {
      const path = `/q?dns=${queryMessage('www.example').toString('base64url')}`;
      get({ host: '127.0.0.1', port: listener.bound[0]?.port, path, agent: false }, response => {
        response.resume();
        resolve(response.headers['cache-control']);
      }).on('error', reject);
    });
  t.equal(await shown(), 'max-age=300');
  clients.areGrouped = true;
  t.equal(await shown(), 'private, max-age=300');
});
