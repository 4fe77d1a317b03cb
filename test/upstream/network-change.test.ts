// What is learned about failures through one network is forgotten on the next; on resume, only what is true of connections
// that are dead.

import t from 'tap';

import type { AddressOverview } from '../../src/base/overview.js';
import { networkMemory } from '../../src/upstream/memory.js';
import { wallMs } from '../../src/base/time.js';
import { findOption, OPTION } from '../../src/wire/edns.js';
import { optOf } from '../../src/wire/scan.js';
import type { ResponseParts } from '../fixtures/messages.js';
import { at, nameless, setUp, wordOf } from '../fixtures/pool.js';

const A = 'x.example. 60 A 192.0.2.1';
const SERVER_COOKIE = Buffer.from('5e5e5e5e5e5e5e5e', 'hex');

const cookieIn = (query: Buffer): Buffer => {
  const opt = optOf(query);
  return (opt && findOption(opt, OPTION.COOKIE)) ?? Buffer.alloc(0);
};

await t.test('RFC 7873 §8.1: on another network another DNS cookie is shown, after sleep the same one', async t => {
  const shown: string[] = [];
  const { clock, ask, tested } = setUp([nameless('192.0.2.1')], { mode: 'off' }, (_name, _address, query) => {
    const cookie = cookieIn(query);
    shown.push(cookie.toString('hex'));
    return {
      answers: A,
      options: [{ code: OPTION.COOKIE, data: Buffer.concat([cookie.subarray(0, 8), SERVER_COOKIE]) }],
    };
  });
  for (const change of [undefined, 'resume', 'network'] as const) {
    if (change !== undefined) tested.networkChanged(change);
    ask();
    await clock.advance(10);
  }
  t.equal(shown.length, 3);
  t.equal(shown[1], `${shown[0]}5e5e5e5e5e5e5e5e`, 'what the server gave is shown after sleep');
  t.equal(shown[2]?.length, 16, 'and not on another network');
  t.not(shown[2], shown[0]);
});

await t.test(
  'cleartext: what was in flight over UDP is asked again at once, and an answer of the old network is not taken',
  async t => {
    let answer: (parts: ResponseParts) => void = () => undefined;
    const { clock, network, ask, tested } = setUp(
      [nameless('192.0.2.1')],
      { mode: 'off' },
      async () => new Promise<ResponseParts>(resolve => (answer = resolve)),
    );
    const asked = ask();
    await clock.advance(5);
    const late = answer;
    tested.networkChanged('network');
    await clock.advance(5);
    t.equal(network.datagrams.length, 2);
    late({ answers: 'x.example. 60 A 192.0.2.66' });
    await clock.advance(5);
    t.equal(asked.outcome, undefined);
    answer({ answers: A });
    await clock.advance(5);
    t.match(asked, { outcome: { at: 'reply', protocol: 'udp' }, outcomes: 1 });
  },
);

await t.test('cleartext: connections over TCP are cut, and what was in flight on them is asked again', async t => {
  for (const change of ['network', 'resume'] as const) {
    const { clock, network, ask, tested } = setUp([nameless('192.0.2.1')], { mode: 'off' }, () => ({
      flags: 0x0200,
    }));
    network.serve = name => (name === '' ? {} : 'silence');
    const asked = ask();
    await clock.advance(5);
    network.serve = () => ({ answers: A });
    tested.networkChanged(change);
    t.ok(network.streams[0]?.closed);
    await clock.advance(5);
    t.match(asked, { outcome: { at: 'reply', protocol: 'tcp' }, outcomes: 1 });
    t.equal(network.streams.length, 2);
  }
});

await t.test('what was in flight is never sent over a connection that is about to be cut as well', async t => {
  const { clock, network, ask, tested } = setUp([at('one', '192.0.2.1'), at('two', '192.0.2.2')]);
  network.serve = name => (name === '' ? {} : 'silence');
  tested.prepare();
  await clock.advance(5);
  const asked = Array.from({ length: 20 }, (_, i) => ask(`n${i}.example`));
  await clock.advance(5);
  const old = [...network.streams];
  network.serve = () => ({ answers: A });
  tested.networkChanged('network');
  await clock.advance(10);
  t.ok(asked.every(({ outcome, outcomes }) => outcome?.at === 'reply' && outcomes === 1));
  t.same(old[1]?.asked, []);
});

await t.test('a question lives through any number of network changes until its deadline', async t => {
  const { clock, network, ask, tested } = setUp([at('one', '192.0.2.1'), at('two', '192.0.2.2')]);
  network.serve = name => (name === '' ? {} : 'silence');
  const asked = ask();
  for (let i = 0; i < 10; i++) {
    await clock.advance(100);
    tested.networkChanged('network');
  }
  network.serve = () => ({ answers: A });
  await clock.advance(100);
  tested.networkChanged('network');
  await clock.advance(20);
  t.equal(wordOf(asked), 'one');
  t.equal(asked.outcomes, 1);
});

await t.test('back-off, failures, round-trip times and proofs are forgotten on another network', async t => {
  const { clock, network, ask, tested } = setUp([at('one', '192.0.2.1'), at('two', '192.0.2.2')], {
    policy: 'round_robin',
  });
  const overview = (): readonly AddressOverview[] => tested.overview().flatMap(({ addresses }) => addresses);
  network.serve = (_name, { address }) => (address === '192.0.2.2' ? 'refuse' : { answers: A });
  ask('a.example');
  ask('b.example');
  await clock.advance(50);
  t.match(overview(), [
    { state: 'private', authenticated: true, rttMs: Number, failure: undefined },
    { state: 'failed', authenticated: false, path: 'refuse', failure: /refused/ },
  ]);
  network.serve = undefined;
  tested.networkChanged('resume');
  t.match(overview(), [
    { state: 'private', authenticated: true, rttMs: Number, connections: 1 },
    { state: 'probing', path: 'tls', failure: undefined },
  ]);
  tested.networkChanged('network');
  for (const each of overview())
    t.match(each, { state: 'probing', path: 'tls', authenticated: false, rttMs: undefined, failure: undefined });
});

await t.test(
  'questions that wait since the old network fail, if at all, with what was found on the new one',
  async t => {
    const { clock, network, ask, tested } = setUp([at('one', '192.0.2.1')]);
    network.serve = () => 'refuse';
    tested.prepare();
    const asked = ask();
    await clock.advance(5);
    t.equal(asked.outcome, undefined, 'it was refused, and waits');
    network.serve = undefined;
    tested.networkChanged('network');
    await clock.advance(5);
    t.equal(network.streams.filter(({ closed }) => !closed).length, 1);
    await clock.advance(4600);
    t.match(asked, { outcome: { code: 'timeout', detail: 'one' }, outcomes: 1 }, 'and not: refused');
  },
);

await t.test('that a server refuses the ALPN id is remembered until the network is another', async t => {
  const { clock, network, ask, tested } = setUp([at('one', '192.0.2.1')]);
  network.serve = () => ({ answers: A });
  network.shows = { refusesAlpn: true };
  const withoutAlpn = async (): Promise<boolean> => {
    ask();
    await clock.advance(5);
    return network.last.target.withoutAlpn === true;
  };
  t.equal(await withoutAlpn(), false);
  tested.networkChanged('resume');
  t.equal(await withoutAlpn(), true);
  network.shows = {};
  tested.networkChanged('network');
  t.equal(await withoutAlpn(), false);
});

await t.test(
  'bootstrap: a search that is under way belongs to the old network; the new one is searched at once',
  async t => {
    let answer: (parts: ResponseParts | undefined) => void = () => undefined;
    const { clock, network, ask, memory, tested } = setUp(
      [at('dns.example')],
      { bootstrapServers: () => [{ address: '192.0.2.53', port: 53 }] },
      async () => new Promise<ResponseParts | undefined>(resolve => (answer = resolve)),
    );
    network.serve = () => ({ answers: A });
    const asked = ask();
    await clock.advance(5);
    const late = answer;
    network.datagram = () => ({ answers: 'dns.example. 300 A 192.0.2.77' });
    tested.networkChanged('network');
    await clock.advance(5);
    t.equal(wordOf(asked), 'dns.example');
    late({ answers: 'dns.example. 300 A 192.0.2.66' });
    await clock.advance(5);
    t.same(
      network.streams.map(({ target }) => target.address),
      ['192.0.2.77'],
    );
    t.same(memory.recall('dns.example'), ['192.0.2.77']);
  },
);

await t.test('bootstrap: a failure of the old network is not told on the new one, and delays nothing', async t => {
  const { clock, network, ask, tested } = setUp([at('dns.example')], {
    bootstrapServers: () => [{ address: '192.0.2.53', port: 53 }],
  });
  network.serve = (_name, { port }) => (port === 53 ? 'refuse' : { answers: A });
  await clock.advance(10);
  t.match(tested.overview(), [{ addresses: [{ state: 'looking', failure: /did not answer/ }] }]);
  network.datagram = () => ({ answers: 'dns.example. 300 A 192.0.2.77' });
  tested.networkChanged('network');
  t.match(tested.overview(), [{ addresses: [{ state: 'looking', failure: undefined }] }]);
  const asked = ask();
  await clock.advance(5);
  t.equal(wordOf(asked), 'dns.example');
});

await t.test(
  'RFC 9462: servers that the resolver of the old network designated are not asked on the new one',
  async t => {
    const designating = (address: string) => (name: string) => ({
      answers:
        name === '_dns.resolver.arpa.'
          ? `_dns.resolver.arpa. 600 SVCB 1 dns.example. alpn=dot port=8853 ipv4hint=${address}`
          : A,
    });
    const { clock, network, ask, tested } = setUp(
      [nameless('192.0.2.1', { discover: true })],
      { mode: 'opportunistic' },
      designating('192.0.2.77'),
    );
    network.serve = (_name, { address }) => (address === '192.0.2.1' ? 'refuse' : { answers: A });
    tested.prepare();
    await clock.advance(50);
    t.match(ask(), { outcomes: 0 });
    await clock.advance(10);
    const old = network.streams.find(({ target }) => target.address === '192.0.2.77');
    t.equal(old?.closed, false);
    network.datagram = designating('192.0.2.78');
    tested.networkChanged('network');
    t.equal(old?.closed, true);
    await clock.advance(50);
    t.same(
      tested.overview().flatMap(({ addresses }) => addresses.map(({ address }) => address)),
      ['192.0.2.78', '192.0.2.1'],
    );
  },
);

await t.test(
  'a proof belongs to the server, whatever its address, and holds on the network it was made on',
  async t => {
    const memory = networkMemory(() => wallMs(0));
    const { clock, network, tested } = setUp(
      [at('one', '192.0.2.1'), at('one', '192.0.2.2')],
      { mode: 'strict' },
      undefined,
      { memory },
    );
    memory.network = 'home';
    network.serve = () => ({ answers: A });
    tested.prepare();
    await clock.advance(10);
    t.ok(memory.proved('one'));
    memory.network = 'elsewhere';
    t.notOk(memory.proved('one'));
  },
);
