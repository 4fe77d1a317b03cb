// Where an answer would be found: what is said before, and what a query then gets.

import t, { type Test } from 'tap';

import { failure, RCODE } from '../../src/base/outcome.js';
import { responseTo } from '../fixtures/messages.js';
import { wireName } from '../fixtures/records.js';
import { fakeUpstream, resolving, type Resolving, type Says } from '../fixtures/resolving.js';

const OK: Says = (query, name) => responseTo(query, { answers: `${name} 60 A 192.0.2.1` });

/** What is said about a query. Nobody may be asked, and nothing counted. */
function said(made: Resolving, name: string, t: Test): object {
  const asked = made.upstream.asked.length;
  const counted = made.recorder.count('cache');
  const finding = made.look(name);
  t.equal(made.upstream.asked.length, asked);
  t.equal(made.recorder.count('cache'), counted);
  return finding;
}

await t.test('what is cached, for how long, and who sent it', async t => {
  const made = resolving(OK);
  t.match(said(made, 'www.example', t), { at: 'servers', hasStale: false });
  made.ask('www.example');
  await made.clock.advance(20_000);
  t.match(said(made, 'www.example', t), { at: 'cache', leftSec: 40, upstream: 'server 1' });
});

await t.test('a failure of a moment ago is given, not asked for again, with its reason', async t => {
  const made = resolving(() => failure('timeout', 'dns.test'));
  made.ask('www.example');
  t.match(said(made, 'www.example', t), { at: 'failure', leftSec: 1, words: /: dns\.test$/ });
  t.match(made.ask('www.example'), [{ at: 'failure', cached: true }]);
  await made.clock.advance(2000);
  t.match(said(made, 'www.example', t), { at: 'servers' });

  const refusing = resolving(query => responseTo(query, { rcode: RCODE.REFUSED }));
  refusing.ask('www.example');
  t.match(said(refusing, 'www.example', t), { at: 'failure', words: /answered REFUSED$/ });
});

await t.test('an expired answer: at once where servers have just failed, else only if they do not answer', async t => {
  const made = resolving(OK);
  made.ask('www.example');
  await made.clock.advance(61_000);
  t.match(said(made, 'www.example', t), { at: 'servers', hasStale: true });
  made.upstream.says = () => failure('connect');
  made.ask('www.example');
  t.match(said(made, 'www.example', t), { at: 'stale' });
  t.match(made.ask('www.example'), [{ origin: 'stale' }]);

  const atOnce = resolving(OK);
  atOnce.settings.stale = { ...atOnce.settings.stale, clientTimeoutMs: 0 };
  atOnce.ask('www.example');
  await atOnce.clock.advance(61_000);
  t.match(said(atOnce, 'www.example', t), { at: 'stale' });
});

await t.test('a name that a Kubernetes cluster cannot have is not asked for', t => {
  const made = resolving(OK);
  const cluster = fakeUpstream(OK);
  made.settings.routes = [{ zones: [wireName('cluster.local')], kubernetes: true, upstream: () => cluster }];
  const name = 'www.example.com.cluster.local';
  t.match(said(made, name, t), { at: 'no_cluster_name', zone: wireName('cluster.local') });
  t.match(made.ask(name), [{ origin: 'local', entry: { rcode: RCODE.NXDOMAIN } }]);
  t.match(said(made, 'a.default.svc.cluster.local', t), { at: 'servers' });
  t.same(cluster.asked, []);
  t.end();
});
