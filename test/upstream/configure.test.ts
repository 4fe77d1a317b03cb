// A pool that is configured anew in place, and servers that are told apart whatever they are called.

import t from 'tap';

import { TYPE } from '../../src/wire/rrtype.js';
import { at, nameless, setUp, wordOf } from '../fixtures/pool.js';
import { recorder } from '../fixtures/recorder.js';

const A = 'x.example. 60 A 192.0.2.1';

await t.test('servers that stay keep id, label, connection and what was learned; others are new servers', async t => {
  const { clock, network, ask, spec, tested } = setUp([at('one', '192.0.2.1'), at('two', '192.0.2.2')]);
  network.serve = () => ({ answers: A });
  tested.prepare();
  ask();
  await clock.advance(10);
  const before = tested.overview();
  tested.configure({ ...spec, policy: 'round_robin', servers: [at('two', '192.0.2.2'), at('one', '192.0.2.1')] });
  t.same(tested.overview(), [before[1], before[0]]);
  tested.configure({ ...spec, servers: [at('one', '192.0.2.1'), { ...at('two', '192.0.2.2'), pins: ['x'] }] });
  const after = tested.overview();
  t.same(after[0], before[0]);
  t.not(after[1]?.id, before[1]?.id, 'one whose pins are others is another server');
  t.equal(after[1]?.label, 'two');
  await clock.advance(10);
  t.equal(network.streams.length, 3);
  t.same(
    network.streams.map(({ closed }) => closed),
    [false, true, false],
  );
});

await t.test('another mode: all are connected to anew, and nothing of the old mode is sent any more', async t => {
  const { clock, network, ask, spec, tested } = setUp([at('one', '192.0.2.1')], { mode: 'opportunistic' }, () => ({
    answers: A,
  }));
  const first = ask();
  await clock.advance(10);
  t.match(first.outcome, { protocol: 'udp' });
  tested.configure({ ...spec, mode: 'strict' });
  const sent = network.datagrams.length;
  network.serve = () => ({ answers: A });
  await clock.advance(5);
  for (const each of network.streams) each.accept();
  const asked = ask();
  await clock.advance(10);
  t.match(asked.outcome, { protocol: 'dot', authenticated: true });
  t.equal(network.datagrams.length, sent);
  tested.configure({ ...spec, mode: 'off' });
  const plain = ask();
  await clock.advance(10);
  t.match(plain.outcome, { protocol: 'udp' });
  t.ok(network.streams.every(({ closed }) => closed));
});

await t.test('other roots, or another certificate of ours: no connection of before is kept', async t => {
  const { clock, network, spec, tested } = setUp([at('one', '192.0.2.1')]);
  network.serve = () => ({ answers: A });
  tested.prepare();
  await clock.advance(10);
  tested.configure({ ...spec, trust: 'sha256 of other roots' });
  await clock.advance(10);
  t.same(
    network.streams.map(({ closed }) => closed),
    [true, false],
  );
  tested.configure({ ...spec, trust: 'sha256 of other roots' });
  await clock.advance(10);
  t.equal(network.streams.length, 2);
});

await t.test('questions that wait are asked of the new servers', async t => {
  const { clock, network, ask, spec, tested } = setUp([at('one', '192.0.2.1')]);
  network.serve = (_name, { address }) => (address === '192.0.2.1' ? 'refuse' : { answers: A });
  tested.prepare();
  await clock.advance(10);
  const asked = ask();
  await clock.advance(10);
  t.equal(asked.outcome, undefined);
  tested.configure({ ...spec, servers: [at('two', '192.0.2.2')] });
  await clock.advance(10);
  t.equal(wordOf(asked), 'two');
  t.equal(asked.outcomes, 1);
});

await t.test('questions in flight at a server that goes are finished there, or asked of the new servers', async t => {
  const { clock, network, ask, spec, tested } = setUp([at('one', '192.0.2.1')]);
  network.serve = name => (name === '' ? {} : 'silence');
  const finished = ask('a.example');
  await clock.advance(5);
  network.serve = undefined;
  const lost = ask('b.example');
  await clock.advance(5);
  tested.configure({ ...spec, servers: [at('two', '192.0.2.2')] });
  network.serve = (_name, { address }) => (address === '192.0.2.2' ? { answers: A } : 'silence');
  await clock.advance(5);
  network.streams[1]?.accept();
  t.same([finished, lost].map(wordOf), [undefined, undefined]);
  network.streams[0]?.finish(true);
  await clock.advance(5);
  t.same([finished, lost].map(wordOf), ['two', 'two']);
  t.same(
    [finished, lost].map(({ outcomes }) => outcomes),
    [1, 1],
  );
});

await t.test(
  'questions that wait for the handshake of a server that goes are asked of the new servers at once',
  async t => {
    const { clock, network, ask, spec, tested } = setUp([at('one', '192.0.2.1')]);
    const asked = ask();
    await clock.advance(5);
    network.serve = () => ({ answers: A });
    tested.configure({ ...spec, servers: [at('two', '192.0.2.2')] });
    await clock.advance(5);
    t.equal(wordOf(asked), 'two');
    t.same(network.streams[0]?.asked, []);
  },
);

await t.test('other bootstrap resolvers are asked at once where no address is known', async t => {
  const { clock, network, spec, tested } = setUp(
    [at('dns.example')],
    { bootstrapServers: () => [{ address: '192.0.2.53', port: 53 }] },
    (_name, address) => (address === '192.0.2.54' ? { answers: 'dns.example. 300 A 192.0.2.77' } : undefined),
  );
  network.serve = () => ({ answers: A });
  await clock.advance(5);
  tested.configure({ ...spec, bootstrapServers: () => [{ address: '192.0.2.54', port: 53 }] });
  await clock.advance(5);
  t.ok(tested.ready);
});

await t.test('two entries of one name are two servers: in labels, ids, choice, counts and overview', async t => {
  const { observer, count } = recorder();
  const ends: string[] = [];
  const counting = {
    ...observer,
    server: (label: string) => ({ ...observer.server(label), end: () => void ends.push(label) }),
  };
  const two = [at('one', '192.0.2.1'), at('one', '192.0.2.2'), at('one', '192.0.2.2'), nameless('192.0.2.9')];
  const { clock, network, ask, spec, tested } = setUp(two, {}, undefined, { observer: counting });
  network.serve = (_name, { address }) => (address === '192.0.2.1' ? { rcode: 2 } : { answers: A });
  const labels = ['one', 'one (192.0.2.2)', 'one (192.0.2.2, 2)', '192.0.2.9'];
  t.same(
    tested.servers.map(({ label }) => label),
    labels,
  );
  t.equal(new Set(tested.servers.map(({ id }) => id)).size, 4);
  t.same(
    tested.overview().map(({ label, addresses }) => [label, addresses.map(({ address }) => address)]),
    labels.map((label, i) => [label, [two[i]?.addresses[0]?.address]]),
  );
  const asked = ask();
  await clock.advance(10);
  t.equal(wordOf(asked), 'one (192.0.2.2)', 'the other entry is another opinion');
  t.equal(count('upstreamResponse', 'one', 2), 1);
  t.equal(count('upstreamResponse', 'one (192.0.2.2)', 0), 1);
  const [first] = tested.servers;
  const avoiding = ask('y.example', [first?.id ?? 0]);
  await clock.advance(10);
  t.equal(wordOf(avoiding), 'one (192.0.2.2)');
  t.equal(count('upstreamQuery', 'one'), 1, 'avoided by its number, not by its name');
  const kept = tested.servers[1];
  tested.configure({ ...spec, servers: [at('one', '192.0.2.2'), at('one', '192.0.2.3')] });
  t.same(tested.servers[0], kept);
  t.same(tested.servers[1]?.label, 'one', 'a label that is free is given out again');
  await clock.advance(10);
  t.same(ends.toSorted(), ['192.0.2.9', 'one', 'one (192.0.2.2, 2)'], 'what went away ends its counts, once');
});

await t.test('the counts of a server end with its last connection', async t => {
  const { observer } = recorder();
  let ended = 0;
  const counting = { ...observer, server: (label: string) => ({ ...observer.server(label), end: () => void ended++ }) };
  const { clock, network, ask, spec, tested } = setUp([at('one', '192.0.2.1')], {}, undefined, {
    observer: counting,
  });
  network.serve = name => (name === '' ? {} : 'silence');
  ask();
  await clock.advance(5);
  tested.configure({ ...spec, servers: [] });
  t.equal(ended, 0);
  network.last.finish();
  t.equal(ended, 1);
  tested.close();
  tested.destroy();
  t.equal(ended, 1);
});

await t.test('a server with one dead and one working address is up, and each address has its own state', async t => {
  const { clock, network, ask, tested } = setUp([at('one', '192.0.2.1', '2001:db8::1')]);
  network.serve = (_name, { address }) => (address === '2001:db8::1' ? 'refuse' : { answers: A });
  tested.prepare();
  const asked = ask();
  await clock.advance(10);
  t.equal(wordOf(asked), 'one');
  t.match(tested.overview(), [
    {
      label: 'one',
      addresses: [
        { address: '192.0.2.1', state: 'private', authenticated: true, connections: 1 },
        { address: '2001:db8::1', state: 'failed', authenticated: false, connections: 0 },
      ],
    },
  ]);
});

await t.test('questions with nowhere to go are bounded', async t => {
  const { clock, network, tested } = setUp([at('one', '192.0.2.1')]);
  network.serve = () => 'refuse';
  tested.prepare();
  await clock.advance(10);
  const outcomes = new Map<string, number>();
  const question = Buffer.from([1, 0x78, 0, 0, 1, 0, 1]);
  for (let i = 0; i < 9000; i++) {
    tested.exchange({ question, dnssecOk: false, checkingDisabled: false }, TYPE.A, outcome => {
      const word = outcome.at === 'reply' ? 'reply' : outcome.code;
      outcomes.set(word, (outcomes.get(word) ?? 0) + 1);
    });
  }
  await clock.advance(10);
  t.same([...outcomes], [['overload', 9000 - 8192]]);
});
