// Who may connect for DNS over HTTPS (run/https).

import t from 'tap';

import { HttpsRules } from '../../src/run/https.js';

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
