// Limits on the queries that wait (access.per_client): whom they refuse, and whom they do not.

import t from 'tap';

import { failure, RCODE } from '../../../src/base/outcome.js';
import type { Place } from '../../../src/pipeline/query.js';
import { recordFrom } from '../../../src/policy/local/record-text.js';
import { LocalTable } from '../../../src/policy/local/table.js';
import { describe } from '../../fixtures/described.js';
import { listsOf } from '../../fixtures/lists.js';
import { responseTo } from '../../fixtures/messages.js';
import { wireName } from '../../fixtures/records.js';
import { type Asking, resolving, type Resolving } from '../../fixtures/resolving.js';

const NO_ROOM: Place = { take: () => failure('client_overload') };

interface World extends Resolving {
  /** What a client gets for whose queries there is no place. */
  said(name: string, asking?: Asking): string;
}

function world(): World {
  const it = resolving(
    (query, name) =>
      name.startsWith('bad')
        ? responseTo(query, { rcode: RCODE.SERVFAIL })
        : responseTo(query, { answers: `${name} 60 A 192.0.2.1` }),
    { nft: () => undefined },
  );
  return { ...it, said: (name, asking) => describe(it.ask(name, { ...asking, place: NO_ROOM })[0]) };
}

await t.test('whoever needs a server is refused at once, and no server is asked', t => {
  const it = world();
  t.equal(it.said('www.example'), 'client_overload');
  it.settings.firewallSets = [{ zones: [wireName('www.example')], set4: 'inet t s4', set6: 'inet t s6' }];
  t.same(it.upstream.asked, []);
  it.ask('www.example');
  t.equal(it.said('www.example'), 'client_overload', 'nor may it wait for a set of the firewall');
  it.portal.start(60_000, [], { by: 'command' });
  t.equal(it.said('page.portal'), 'client_overload');
  t.same(it.network.asked, [], 'nor for the resolver of the network');
  t.end();
});

await t.test('what is answered without a server is never refused', t => {
  const it = world();
  const local = new LocalTable([]);
  const record = recordFrom('nas.lan. 60 A 192.0.2.9');
  if (record.at === 'record') local.addRecord(record.record);
  it.settings.localNames = local;
  it.lists.take(listsOf([{ text: 'tracker.example' }]), [{ group: undefined, lists: 1, schedule: undefined }]);
  it.ask('www.example');
  it.ask('bad.example');
  const asked = it.upstream.asked.length;
  t.equal(it.said('nas.lan'), 'NOERROR nas.lan. 60 A');
  t.match(it.said('localhost'), /^NOERROR/);
  t.match(it.said('tracker.example'), /^NXDOMAIN/);
  t.equal(it.said('www.example'), 'NOERROR www.example. 60 A');
  t.match(it.said('bad.example'), /^SERVFAIL/, 'what has just failed is told so');
  t.equal(it.upstream.asked.length, asked);
  t.end();
});

await t.test('an expired answer is given in place of the refusal, which says nothing about the servers', async t => {
  const it = world();
  it.ask('www.example');
  await it.clock.advance(61_000);
  t.equal(it.said('www.example'), 'NOERROR www.example. 30 A [3]');
  t.equal(it.resolver.staleSec, undefined, 'servers are not in trouble');
  t.equal(describe(it.ask('www.example')[0]), 'NOERROR www.example. 60 A', 'and for others they are asked at once');
});

await t.test('a refresh takes no place: nobody waits for it', async t => {
  const it = world();
  it.ask('www.example');
  await it.clock.advance(55_000);
  t.equal(it.said('www.example'), 'NOERROR www.example. 60 A');
  t.equal(it.upstream.asked.length, 2);
});
