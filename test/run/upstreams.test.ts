// All servers that are asked, while a reload exchanges them: which question is asked of whom, and what is kept.

import t from 'tap';

import type { Failure } from '../../src/base/outcome.js';
import type { ResponseParts } from '../fixtures/messages.js';
import type { AnnouncedResolver } from '../../src/run/servers.js';
import { Upstreams } from '../../src/run/upstreams.js';
import { networkMemory } from '../../src/upstream/memory.js';
import type { Upstream, UpstreamReply } from '../../src/upstream/pool.js';
import { nameToText } from '../../src/wire/name.js';
import { TYPE } from '../../src/wire/rrtype.js';
import { fakeClock, fakeRandom } from '../fixtures/clock.js';
import { fakeNetwork } from '../fixtures/network.js';
import { type FakeFiles, fakeFiles, planFor } from '../fixtures/plans.js';
import { recordedLog, recorder } from '../fixtures/recorder.js';
import { wireName } from '../fixtures/records.js';

const ONE = '{ name: one.test, addresses: [192.0.2.1] }';
const TWO = '{ name: two.test, addresses: [192.0.2.2] }';
const servers = (...which: string[]): string => `upstream: { servers: [${which.join(', ')}] }`;
const routes = (...which: readonly (readonly [zone: string, resolver: string])[]): string =>
  `routes: [${which.map(([zone, resolver]) => `{ zones: [${zone}], resolvers: [${resolver}] }`).join(', ')}]`;
const both = (...parts: string[]): string => parts.join('\n');

const ANSWER: ResponseParts = { answers: 'x.example. 60 A 192.0.2.99' };

function setUp(config: string, files: FakeFiles = {}) {
  const clock = fakeClock();
  const network = fakeNetwork();
  const { observer } = recorder();
  const rerouted: string[] = [];
  const told = { exchanged: 0, dialers: 0 };
  const plan = (text: string, contents = files) => planFor(text, fakeFiles(contents));
  let system = ['192.0.2.53'];
  let search: readonly string[] = [];
  let announced: readonly AnnouncedResolver[] = [];
  const upstreams = new Upstreams(
    {
      clock,
      random: fakeRandom(),
      log: recordedLog(),
      observer,
      memory: networkMemory(() => clock.wallMs()),
      dialer: () => {
        told.dialers++;
        return network.dial;
      },
      dialDatagram: network.dialDatagram,
      systemResolvers: () => system,
      searchDomains: () => search,
      announcedResolvers: () => announced,
      look: () => undefined,
      exchanged(zones) {
        told.exchanged++;
        rerouted.push(...new Set(zones.map(zone => nameToText(zone)).toSorted()));
      },
    },
    plan(config),
  );
  return {
    ...{ clock, network, upstreams, rerouted, told },
    /** The system has these resolvers from now on. */
    setResolvers: (...addresses: string[]) => void (system = addresses),
    /** Their search domains are these. */
    setSearch: (...domains: string[]) => void (search = domains),
    /** The network announces these from now on. */
    announce: (...resolvers: AnnouncedResolver[]) => void (announced = resolvers),
    async reload(text: string, contents?: FakeFiles) {
      upstreams.prepare(plan(text, contents)).commit();
      await clock.advance(0);
    },
    labels: () => upstreams.overview(() => 'unknown').map(({ label, purpose }) => `${purpose} ${label}`),
    ids: () => upstreams.overview(() => 'unknown').map(({ id }) => id),
  };
}

/** Asks; the outcome is filled in when it is there. */
function ask(
  of: Upstream | undefined,
  name: string,
  routesEpoch?: number,
): { outcome: UpstreamReply | Failure | undefined; times: number } {
  const asked = { outcome: undefined as UpstreamReply | Failure | undefined, times: 0 };
  const question = Buffer.concat([wireName(name), Buffer.from([0, 1, 0, 1])]);
  const began = routesEpoch === undefined ? {} : { routesEpoch };
  of?.exchange({ question, dnssecOk: false, checkingDisabled: false, ...began }, TYPE.A, outcome => {
    asked.outcome = outcome;
    asked.times++;
  });
  return asked;
}

const wordOf = ({ outcome }: ReturnType<typeof ask>): string | undefined =>
  outcome?.at === 'reply' ? outcome.server.label : outcome?.code;

await t.test('an imported route goes with the network: its zones, its servers, and what was cached of it', async t => {
  const { upstreams, labels, rerouted, setSearch, setResolvers, reload } = setUp('routes: [{ import: true }]');
  const zones = (): readonly string[] =>
    upstreams.routes.flatMap(route =>
      route.zones.map(zone => `${nameToText(zone)} ${route.upstream().servers.length}`),
    );
  t.same(zones(), []);
  setSearch('corp.example');
  upstreams.networkChanged('resolvers');
  t.same(zones(), ['corp.example. 1']);
  t.same(rerouted, ['corp.example.']);
  t.ok(labels().includes('route 192.0.2.53'));
  setSearch('hotel.example');
  setResolvers('192.0.2.9', '192.0.2.10');
  upstreams.networkChanged('resolvers');
  t.same(zones(), ['hotel.example. 2']);
  t.same(rerouted.slice(1), ['corp.example.', 'hotel.example.']);
  t.notOk(labels().includes('route 192.0.2.53'));
  await reload('routes: []');
  t.same(zones(), []);
  t.same(rerouted.slice(3), ['hotel.example.']);
});

await t.test('a question that waits for a server is asked of those that come in its place', async t => {
  const { network, clock, upstreams, reload } = setUp(servers(ONE));
  const asked = ask(upstreams.asked, 'x.example');
  await clock.advance(100);
  t.equal(network.last.target.address, '192.0.2.1', 'it does not answer');
  await reload(servers(TWO));
  t.equal(asked.times, 0, 'it goes on waiting');
  t.equal(network.last.target.address, '192.0.2.2');
  network.last.accept();
  await clock.advance(0);
  network.last.answer(ANSWER);
  await clock.advance(0);
  t.equal(wordOf(asked), 'two.test');
  await clock.advance(20_000);
  t.equal(asked.times, 1);
  t.same(
    network.streams.filter(({ target }) => target.address === '192.0.2.1').map(({ asked: names }) => names),
    [[]],
    'the first one has heard nothing, and is not dialled any more',
  );
});

await t.test(
  'servers that stay keep their connections and numbers; those that come get numbers of their own',
  async t => {
    const { network, upstreams, clock, reload, labels, ids, told } = setUp(servers(ONE));
    network.serve = () => ANSWER;
    upstreams.connect();
    await clock.advance(10);
    const [first] = ids();
    await reload(servers(TWO, ONE));
    t.same(labels(), ['main two.test', 'main one.test']);
    t.equal(ids()[1], first);
    t.equal(network.streams.filter(({ target }) => target.address === '192.0.2.1').length, 1);
    const [second] = ids();
    await reload(servers(ONE));
    await reload(servers(ONE, TWO));
    t.notOk(
      ids()
        .slice(1)
        .includes(second ?? 0),
      'a server that comes back is another one',
    );
    t.same([told.dialers, told.exchanged], [1, 3], 'and the failures of before are forgotten each time');
  },
);

await t.test('other roots, or another certificate of ours: all servers prove themselves anew', async t => {
  const config = `upstream: { servers: [${ONE}], ca_file: /ca, client_certificate: /me, client_key: /key }`;
  const files = { '/ca': 'roots', '/me': 'me', '/key': 'key' };
  const { network, upstreams, clock, reload, ids, told } = setUp(config, files);
  network.serve = () => ANSWER;
  upstreams.connect();
  await clock.advance(10);
  let [id] = ids();
  let count = 1;
  for (const path of Object.keys(files)) {
    await reload(config, { ...files, [path]: 'renewed' });
    await clock.advance(10);
    t.notOk(ids().includes(id ?? 0), path);
    [id] = ids();
    t.equal(network.streams.length, ++count, 'a new connection');
    t.equal(network.streams.at(-2)?.closed, true, 'and the one of before is closed');
    await reload(config, files);
    await clock.advance(10);
    [id] = ids();
    count++;
  }
  t.equal(told.dialers, 1 + 2 * Object.keys(files).length);
});

await t.test("the system's resolvers come and go with the plan, and change with the network", async t => {
  const { upstreams, reload, labels, setResolvers } = setUp(servers(ONE));
  t.equal(upstreams.mode, 'strict');
  await reload('');
  t.same(labels(), ['main 192.0.2.53']);
  t.equal(upstreams.mode, 'opportunistic');
  setResolvers('192.0.2.54');
  upstreams.networkChanged('resolvers');
  t.same(labels(), ['main 192.0.2.54']);
  await reload(servers(ONE));
  setResolvers('192.0.2.55');
  upstreams.networkChanged('resolvers');
  t.same(labels(), ['main one.test'], 'where they are not asked they do not matter');
  t.equal(upstreams.mode, 'strict');
});

await t.test('a route that goes while a question is on its way: nobody else hears of it', async t => {
  const { network, clock, upstreams, reload, labels } = setUp(both(servers(ONE), routes(['corp.test', '192.0.2.11'])));
  network.datagram = async () => new Promise(() => undefined);
  const [route] = upstreams.routes;
  const asked = ask(route?.upstream(), 'www.corp.test');
  await clock.advance(10);
  t.equal(network.datagrams.length, 1);
  await reload(servers(ONE));
  t.same(labels(), ['main one.test']);
  t.same(upstreams.routes, []);
  await clock.advance(20_000);
  t.equal(network.datagrams.length, 1, 'it is not sent again');
  t.same(
    network.streams.flatMap(({ asked: names }) => names),
    [],
  );
  const late = ask(route?.upstream(), 'late.corp.test');
  t.equal(wordOf(late), 'handed_back', 'the route of before asks nobody any more');
  t.same([asked.outcome?.at, asked.times], ['failure', 1], 'and no question is left behind');
});

await t.test('what was on its way to resolvers that a reload takes away is handed back at once', async t => {
  const { network, clock, upstreams, reload } = setUp(both(servers(ONE), routes(['corp.test', '192.0.2.11'])));
  network.datagram = async () => new Promise(() => undefined);
  const asked = ask(upstreams.routes[0]?.upstream(), 'www.corp.test');
  await clock.advance(10);
  await reload(both(servers(ONE), routes(['corp.test', '192.0.2.12'])));
  t.equal(wordOf(asked), 'handed_back', 'the stage asks those that came');
  t.equal(asked.times, 1);
});

await t.test(
  'what a validated route was asked is handed back, and no part of it goes to other servers under the routes of then',
  async t => {
    const route = (resolver: string): string =>
      `routes: [{ zones: [home.arpa], resolvers: [${resolver}], dnssec: require }]`;
    const { network, clock, upstreams, reload } = setUp(both(servers(ONE), route('192.0.2.11')));
    network.datagram = async () => new Promise(() => undefined);
    const asked = ask(upstreams.asked, 'printer.home.arpa');
    await clock.advance(10);
    await reload(both(servers(ONE), route('192.0.2.12')));
    await clock.advance(10);
    t.same([wordOf(asked), network.datagrams.length], ['handed_back', 1], 'the stage begins it anew');
    const { routesEpoch } = upstreams;
    const begun = ask(upstreams.asked, 'camera.home.arpa', routesEpoch);
    await clock.advance(10);
    t.same([wordOf(begun), network.datagrams.length], [undefined, 2]);
    await reload(servers(ONE));
    t.equal(wordOf(begun), 'handed_back');
    t.equal(wordOf(ask(upstreams.asked, 'camera.home.arpa', routesEpoch)), 'handed_back', 'a later part of it');
    await reload(servers(ONE));
    t.equal(upstreams.routesEpoch, routesEpoch + 1, 'a reload that leaves the routes interrupts no question');
    await clock.advance(1000);
    t.same(
      network.streams.flatMap(({ asked: names }) => names),
      [],
    );
  },
);

await t.test('routes of the same resolvers are kept; zones that are asked of others are told', async t => {
  const { reload, ids, rerouted } = setUp(
    both(servers(ONE), routes(['a.test', '192.0.2.11'], ['b.test', '192.0.2.12'])),
  );
  const [, a, b] = ids();
  await reload(both(servers(ONE), routes(['b.test', '192.0.2.12'], ['a.test', '192.0.2.11'])));
  t.same(ids().slice(1), [b, a], 'in another order');
  t.same(rerouted.splice(0), [], 'which is no change');
  await reload(both(servers(ONE), routes(['b.test', '192.0.2.12'], ['c.test', '192.0.2.11'])));
  t.same(ids().slice(1), [b, a]);
  t.same(rerouted.splice(0), ['a.test.', 'c.test.'], 'one that has gone, and one that has come');
  await reload(both(servers(ONE), routes(['b.test', '192.0.2.13'], ['c.test', '192.0.2.11'])));
  t.same(rerouted.splice(0), ['b.test.'], 'one whose resolvers are others');
  t.equal(ids()[2], a);
  await reload(both(servers(TWO), routes(['b.test', '192.0.2.13'], ['c.test', '192.0.2.11'])));
  t.same(rerouted, [], 'other servers of all other names are no matter for routes');
});

await t.test('of two routes for a zone the first counts: exchanged, they are another route', async t => {
  const clients = 'clients: [{ name: kids, networks: [10.0.0.0/24] }]\n';
  const routes = (...resolvers: readonly string[]): string =>
    `${clients}routes: [${resolvers.map(each => `{ zones: [a.test], resolvers: [${each}], clients: [kids] }`).join()}]`;
  const { reload, rerouted } = setUp(routes('192.0.2.1', '192.0.2.2'));
  await reload(routes('192.0.2.2', '192.0.2.1'));
  t.same(rerouted.splice(0), ['a.test.']);
  await reload(routes('192.0.2.2', '192.0.2.1'));
  t.same(rerouted, []);
});

await t.test('a route with a schedule comes and goes with the time; what was cached of its zones is told', async t => {
  const scheduled = `routes: [
    { zones: [a.test], resolvers: [192.0.2.11], schedule: "mon-fri 20:00-07:00" },
    { zones: [b.test], resolvers: [192.0.2.12] } ]`;
  const { clock, upstreams, labels, ids, rerouted, told, reload } = setUp(both(servers(ONE), scheduled));
  /** A day of March 2026, whose second is a Monday, in local time. @returns the routes */
  const at = (day: number, hour: number, minute: number): readonly string[] => {
    clock.setWall(new Date(2026, 2, day, hour, minute).getTime());
    upstreams.lookAtTime();
    return labels().filter(label => label.startsWith('route'));
  };
  const [A, B] = ['route 192.0.2.11:53', 'route 192.0.2.12:53'];
  t.same(at(2, 19, 59), [B]);
  const [, b] = ids();
  rerouted.splice(0);
  told.exchanged = 0;
  t.same(at(2, 20, 0), [A, B]);
  t.same(rerouted.splice(0), ['a.test.']);
  t.equal(ids()[2], b, 'another route is not touched');
  t.same(at(3, 6, 59), [A, B]);
  t.equal(told.exchanged, 1, 'nothing else has changed');
  t.same(at(3, 7, 0), [B]);
  t.same(rerouted.splice(0), ['a.test.']);
  t.same(at(7, 21, 0), [B], 'on a Saturday');
  t.equal(upstreams.changesInMs(40_000), 40_000, 'it is looked at whenever a schedule can begin or end');
  await reload(servers(ONE));
  t.equal(upstreams.changesInMs(40_000), Infinity, 'where there are schedules');
});

for (const [title, isReached] of [
  ['that waits for a server', false],
  ['that a server does not answer', true],
] as const)
  await t.test(`a question ${title} goes to no new server when a route takes its name`, async t => {
    const { network, clock, upstreams, reload } = setUp(servers(ONE));
    upstreams.connect();
    await clock.advance(10);
    if (isReached) network.last.accept();
    const asked = ask(upstreams.asked, 'www.corp.example', upstreams.routesEpoch);
    await clock.advance(10);
    await reload(both(servers(TWO), routes(['corp.example', '10.0.0.53'])));
    const toTwo = network.streams.filter(each => each.target.address === '192.0.2.2');
    t.equal(toTwo.length, 1);
    toTwo[0]?.accept();
    await clock.advance(4500);
    t.same(toTwo[0]?.asked, []);
    t.equal(wordOf(asked), 'handed_back');
  });

for (const [title, isHedged] of [
  ['that waits for the handshake', false],
  ['that has left over one connection, and waits for another one', true],
] as const)
  await t.test(`a question ${title} does not leave for a server that stays when a route takes its name`, async t => {
    const { network, clock, upstreams, reload } = setUp(servers(ONE));
    upstreams.connect();
    await clock.advance(10);
    const [first] = network.streams;
    if (isHedged) first?.accept();
    const asked = ask(upstreams.asked, 'www.corp.example', upstreams.routesEpoch);
    const other = ask(upstreams.asked, 'www.example', upstreams.routesEpoch);
    await clock.advance(isHedged ? 1300 : 10);
    const waiting = network.streams.at(-1);
    t.equal(waiting !== first, isHedged);
    await reload(both(servers(ONE), routes(['corp.example', '10.0.0.53'])));
    t.equal(wordOf(asked), isHedged ? undefined : 'handed_back', 'at once, if no answer can come');
    waiting?.accept();
    await clock.advance(0);
    t.same(waiting?.asked, []);
    if (isHedged) first?.answer(ANSWER, 'www.corp.example.');
    await clock.advance(0);
    t.same(
      [wordOf(asked), asked.times],
      [isHedged ? 'one.test' : 'handed_back', 1],
      'what has left may still be answered',
    );
    await clock.advance(4500);
    t.same([wordOf(other), other.times], ['handed_back', 1], 'and no question is left behind');
  });

await t.test('routes that become one are other routes: what they were asked can begin anew', async t => {
  const strict = (...zones: readonly (readonly string[])[]): string =>
    `routes: [${zones.map(each => `{ zones: [${each.join()}], resolvers: [10.0.0.53], mode: strict, name: dns.corp.example }`).join()}]`;
  const { network, clock, upstreams, reload } = setUp(both(servers(ONE), strict(['a.example'], ['b.example'])));
  const { routesEpoch } = upstreams;
  const asked = upstreams.routes.map(each => ask(each.upstream(), 'x.b.example', routesEpoch));
  await clock.advance(10);
  for (const each of network.streams) each.accept();
  await clock.advance(10);
  await reload(both(servers(ONE), strict(['a.example', 'b.example'])));
  t.ok(asked.map(wordOf).includes('handed_back'));
  t.not(upstreams.routesEpoch, routesEpoch);
});

await t.test('what is closed hands back all questions, and opens nothing more', async t => {
  const { network, clock, upstreams } = setUp(both(servers(ONE), routes(['corp.test', '192.0.2.11'])));
  network.datagram = async () => new Promise(() => undefined);
  const all = [
    ask(upstreams.asked, 'x.example'),
    ask(upstreams.routes[0]?.upstream(), 'www.corp.test'),
    ask(upstreams.portalResolvers, 'portal.test'),
  ];
  await clock.advance(10);
  upstreams.close();
  await clock.advance(20_000);
  t.same(all.map(wordOf), ['handed_back', 'handed_back', 'handed_back']);
  t.same(
    all.map(({ times }) => times),
    [1, 1, 1],
  );
  t.same([network.streams.length, network.datagrams.length], [1, 2]);
});
