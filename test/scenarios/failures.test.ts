// What clients and operators see of names that fail, with a server that a test plays.

import t from 'tap';

import { ask } from '../fixtures/client.js';
import { setting } from '../fixtures/daemon.js';
import { responseTo } from '../fixtures/messages.js';

await t.test('RFC 9520: a name that fails is asked of upstream once, and each client is told', async t => {
  const { at, upstream, metric } = await setting(t, {
    handler: (query, session) => session.reply(responseTo(query, { rcode: 2 })),
  });
  await ask(at, 'www.example');
  const asked = upstream.queries;
  for (let i = 0; i < 20; i++) t.match((await ask(at, 'www.example')).text, { rcode: 'SERVFAIL' });
  t.equal(upstream.queries, asked);
  t.equal(await metric('dotstub_inflight_queries'), 0);
});
