// Announced resolvers (RFC 9463): which of them are used, how they are authenticated, and that nothing is mixed.

import t from 'tap';

import { announcedFrom } from '../../src/run/announced.js';
import { type AnnouncedResolver, systemServers } from '../../src/run/servers.js';
import { Upstreams } from '../../src/run/upstreams.js';
import { networkMemory } from '../../src/upstream/memory.js';
import type { UpstreamReply } from '../../src/upstream/pool.js';
import type { Failure } from '../../src/base/outcome.js';
import { TYPE } from '../../src/wire/rrtype.js';
import { fakeClock, fakeRandom } from '../fixtures/clock.js';
import { dnr4Option, dnr6Option } from '../fixtures/dnr.js';
import { fakeNetwork } from '../fixtures/network.js';
import { fakeFiles, planFor } from '../fixtures/plans.js';
import { recordedLog, recorder } from '../fixtures/recorder.js';
import { wireName } from '../fixtures/records.js';

const ROUTER = '192.0.2.53';
const DNR: AnnouncedResolver = { name: 'dns.example', address: '192.0.2.1', port: 853 };
const ANSWER = { answers: 'x.example. 60 A 192.0.2.99' };

function setUp(config = '') {
  const clock = fakeClock();
  const network = fakeNetwork();
  const { observer } = recorder();
  const now = { system: [ROUTER], announced: [DNR] as readonly AnnouncedResolver[] };
  const upstreams = new Upstreams(
    {
      ...{ clock, random: fakeRandom(), log: recordedLog(), observer },
      memory: networkMemory(() => clock.wallMs()),
      dialer: () => network.dial,
      dialDatagram: network.dialDatagram,
      systemResolvers: () => now.system,
      searchDomains: () => [],
      announcedResolvers: () => now.announced,
      look: () => undefined,
      exchanged: () => undefined,
    },
    planFor(config, fakeFiles({})),
  );
  network.datagram = () => ANSWER;
  return {
    ...{ clock, network, now, upstreams },
    async ask(name: string): Promise<string> {
      const asked = { outcome: undefined as UpstreamReply | Failure | undefined };
      const question = Buffer.concat([wireName(name), Buffer.from([0, 1, 0, 1])]);
      upstreams.asked.exchange({ question, dnssecOk: false, checkingDisabled: false }, TYPE.A, outcome => {
        asked.outcome = outcome;
      });
      await clock.advance(1000);
      const { outcome } = asked;
      return outcome?.at === 'reply' ? `${outcome.protocol} ${outcome.server.label}` : (outcome?.code ?? 'nothing');
    },
    /** The names of clients that went in cleartext. */
    leaked: (): readonly string[] =>
      network.datagrams.map(({ name }) => name).filter(name => name !== '_dns.resolver.arpa.'),
  };
}

await t.test('an announced server that proves its name is asked, and nothing goes in cleartext', async t => {
  const { clock, network, upstreams, ask, leaked } = setUp();
  network.serve = (_name, { address }) => (address === DNR.address ? ANSWER : 'refuse');
  upstreams.connect();
  await clock.advance(100);
  t.match(network.streams.find(({ target }) => target.address === DNR.address)?.target, {
    port: 853,
    security: { at: 'authenticated', name: 'dns.example', pins: [], pinPolicy: 'pin_and_pkix' },
  });
  for (let i = 0; i < 40; i++) t.equal(await ask(`n${i}.example`), 'dot dns.example');
  t.same(leaked(), []);
  t.match(
    upstreams.overview(() => 'unknown').map(({ label, origin }) => [label, origin]),
    [
      ['dns.example', 'announced'],
      [ROUTER, 'system'],
    ],
  );
});

await t.test('one that does not prove its name gets no question: the resolvers of the system are asked', async t => {
  const { clock, network, upstreams, ask } = setUp();
  network.serve = () => 'refuse';
  upstreams.connect();
  await clock.advance(100);
  t.equal(await ask('x.example'), `udp ${ROUTER}`);
  t.same(
    network.streams.filter(({ target }) => target.address === DNR.address).flatMap(({ asked }) => asked),
    [],
  );
  t.notOk(
    network.datagrams.some(({ address }) => address === DNR.address),
    'and it is never asked in cleartext, where nobody has said that it answers',
  );
});

await t.test('announcements come and go with the network', async t => {
  const { clock, network, now, upstreams, ask } = setUp();
  network.serve = (_name, { address }) => (address.startsWith('192.0.2.5') ? 'refuse' : ANSWER);
  upstreams.connect();
  await clock.advance(100);
  t.equal(await ask('a.example'), 'dot dns.example');
  now.announced = [{ name: 'other.example', address: '192.0.2.2', port: 8853 }];
  upstreams.networkChanged('resolvers');
  await clock.advance(100);
  t.equal(await ask('b.example'), 'dot other.example');
  t.equal(network.last.target.port, 8853);
  now.announced = [];
  upstreams.networkChanged('resolvers');
  t.equal(await ask('c.example'), `udp ${ROUTER}`);
});

await t.test('listed servers, and mode off: what the network announces does not count', async t => {
  const listed = setUp('upstream: { servers: [{ name: mine.test, addresses: [192.0.2.8] }] }');
  listed.network.serve = () => ANSWER;
  t.equal(await listed.ask('x.example'), 'dot mine.test');
  t.equal(listed.upstreams.overview(() => 'unknown').length, 1);
  const off = setUp('upstream: { mode: off }');
  t.equal(await off.ask('x.example'), `udp ${ROUTER}`);
  t.same(off.network.streams, []);
});

await t.test('a portal window goes to the resolvers of the system alone', async t => {
  const { network, upstreams } = setUp();
  network.serve = () => ANSWER;
  t.same(
    upstreams.portalResolvers.servers.map(({ label }) => label),
    [ROUTER],
  );
  t.end();
});

await t.test('servers: one for each name, and none twice', t => {
  const one = { name: 'dns.example', address: '192.0.2.1', port: 853 };
  const specs = systemServers(
    ['192.0.2.1', ROUTER],
    [one, { ...one, address: '2001:db8::1' }, one, { ...one, address: '2001:db8::2' }],
  );
  t.match(specs, [
    // As a resolver of the system it may be asked in cleartext, and under its name only once.
    { label: 'dns.example', name: 'dns.example', addresses: [{ address: '192.0.2.1', port: 853 }], mode: undefined },
    {
      name: 'dns.example',
      addresses: [
        { address: '2001:db8::1', port: 853 },
        { address: '2001:db8::2', port: 853 },
      ],
      mode: 'strict',
    },
    { label: ROUTER, name: undefined },
  ]);
  t.equal(specs.length, 3);
  t.end();
});

await t.test('announcements: from files and from octets, without addresses that lead nowhere or back to us', t => {
  const nothing = { resolvers: [], options4: [], options6: [], portals: [] };
  const from = (more: Partial<typeof nothing> | object) =>
    announcedFrom({ ...nothing, ...more }, () => false).resolvers;
  const named = (address: string, port?: number) => ({ address, port, name: 'a.example' });
  t.same(from({ resolvers: [named('192.0.2.1'), named('192.0.2.2', 8853), named('fe80::1%eth0')] }), [
    { name: 'a.example', address: '192.0.2.1', port: 853 },
    { name: 'a.example', address: '192.0.2.2', port: 8853 },
    { name: 'a.example', address: 'fe80::1%eth0', port: 853 },
  ]);
  t.same(
    from({
      resolvers: [
        ...['127.0.0.1', '0.0.0.0', '224.0.0.1', '255.255.255.255', '::1', '::', 'ff02::1', '::ffff:127.0.0.1'].map(
          each => named(each),
        ),
        named('192.0.2.1', 53),
        named('fe80::1'),
      ],
    }),
    [],
  );
  const instance = { priority: 1, name: 'b.example', addresses: ['192.0.2.3'], alpn: ['dot'] };
  t.same(
    from({
      options4: [dnr4Option([instance, { ...instance, name: 'doh.example', alpn: ['h2'], dohpath: '/q{?dns}' }])],
      options6: [dnr6Option({ ...instance, addresses: ['fe80::1', '2001:db8::3'], port: 8853 })],
    }),
    [
      { name: 'b.example', address: '192.0.2.3', port: 853 },
      { name: 'b.example', address: '2001:db8::3', port: 8853 },
    ],
  );
  const ours = announcedFrom({ ...nothing, resolvers: [named('192.0.2.1'), named('192.0.2.2')] }, (address, port) => {
    return address === '192.0.2.1' && port === 853;
  });
  t.same(
    ours.resolvers.map(({ address }) => address),
    ['192.0.2.2'],
  );
  t.equal(from({ resolvers: Array.from({ length: 50 }, (_, i) => named(`192.0.2.${i + 1}`)) }).length, 8);
  t.end();
});
