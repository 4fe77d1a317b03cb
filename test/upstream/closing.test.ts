// After `close` nothing is opened, sent or looked up; what is in flight is finished; all other questions are handed back.

import t from 'tap';

import type { Pool, PoolSpec } from '../../src/upstream/pool.js';
import { at, nameless, setUp, wordOf } from '../fixtures/pool.js';

const A = 'x.example. 60 A 192.0.2.1';
const BOOTSTRAP = { bootstrapServers: () => [{ address: '192.0.2.53', port: 53 }] };

/** A server answers so late, on the real clock, that everything before it is over also on a busy machine. */
const ANSWERED_MS = 200;

/** The ways in which servers come to be asked no more. */
const ends: readonly (readonly [string, (tested: Pool, spec: PoolSpec) => void])[] = [
  ['closed', tested => tested.close()],
  ['destroyed', tested => tested.destroy()],
  ['taken out', (tested, spec) => tested.configure({ ...spec, servers: [] })],
];

for (const [how, end] of ends) {
  await t.test(`${how}: nothing is dialled, sent or looked up any more, whatever was under way`, async t => {
    // One is being connected to, one has failed and would be tried again, one has no address yet.
    const world = setUp([at('one', '192.0.2.1'), at('two', '192.0.2.2'), at('three')], BOOTSTRAP, async () => {
      await new Promise(resolve => setTimeout(resolve, ANSWERED_MS));
      return undefined;
    });
    const { clock, network, ask, tested, spec } = world;
    network.serve = (_name, { address }) => (address === '192.0.2.2' ? 'refuse' : 'silence');
    tested.prepare();
    await clock.advance(10);
    network.serve = undefined;
    network.streams[0]?.finish(true);
    const asked = [ask('a.example'), ask('b.example')];
    await clock.advance(1);
    const { length: dialled } = network.streams;
    const { length: sent } = network.datagrams;
    end(tested, spec);
    const queries = network.streams.flatMap(each => each.asked).length;
    for (const each of network.streams) each.accept();
    await new Promise(resolve => setTimeout(resolve, 2 * ANSWERED_MS));
    for (let minute = 0; minute < 5; minute++) {
      if (how !== 'taken out') asked.push(ask(`late${minute}.example`));
      await clock.advance(60_000);
    }
    t.equal(network.streams.length, dialled, 'dialled');
    t.equal(network.datagrams.length, sent, 'datagrams');
    t.equal(network.streams.flatMap(each => each.asked).length, queries, 'queries on streams');
    t.ok(
      asked.every(({ outcomes }) => outcomes === 1),
      'every question has come to an end',
    );
    t.ok(network.streams.every(({ closed }) => closed));
    t.equal(clock.pending, 0, 'and no timer runs');
  });

  await t.test(`${how}: discovery sends no more queries`, async t => {
    const { clock, network, tested, spec } = setUp(
      [nameless('192.0.2.1', { discover: true })],
      { mode: 'opportunistic' },
      async () => {
        await new Promise(resolve => setTimeout(resolve, ANSWERED_MS));
        return { answers: '_dns.resolver.arpa. 600 SVCB 1 dns.example. alpn=dot port=8853' };
      },
    );
    await clock.advance(1);
    t.equal(network.datagrams.length, 1);
    end(tested, spec);
    await new Promise(resolve => setTimeout(resolve, 2 * ANSWERED_MS));
    await clock.advance(3_600_000);
    t.equal(network.datagrams.length, 1, 'the address of dns.example is not looked up');
    t.same(network.streams, []);
  });
}

await t.test(
  'closed: a connection with questions in flight finishes them, and is closed with the last answer',
  async t => {
    const { clock, network, ask, tested } = setUp([at('one', '192.0.2.1')]);
    const asked = [ask('a.example'), ask('b.example')];
    await clock.advance(1);
    network.last.accept();
    await clock.advance(1);
    tested.close();
    network.last.answer({ answers: A }, 'b.example.');
    await clock.advance(1);
    t.same(asked.map(wordOf), [undefined, 'one']);
    t.notOk(network.last.closed);
    network.last.answer({ answers: A });
    await clock.advance(1);
    t.same(asked.map(wordOf), ['one', 'one']);
    t.ok(network.last.closed);
    await clock.advance(100);
    t.equal(clock.pending, 0);
  },
);

await t.test('closed: questions that wait for no answer are handed back at once', async t => {
  const held = setUp([at('one', '192.0.2.1')]);
  held.network.serve = () => 'refuse';
  held.tested.prepare();
  await held.clock.advance(10);
  const searching = setUp([at('three')], BOOTSTRAP, async () => new Promise(() => undefined));
  const connecting = setUp([at('one', '192.0.2.1')]);
  for (const { clock, ask, tested } of [held, searching, connecting]) {
    const asked = ask();
    await clock.advance(5);
    t.equal(asked.outcome, undefined);
    tested.close();
    t.match(asked, { outcome: { at: 'failure', code: 'handed_back' }, outcomes: 1 });
    t.equal(wordOf(ask()), 'handed_back', 'and so is what comes later');
  }
});

await t.test('closed: a question whose last attempt is lost is handed back, and no other server is asked', async t => {
  const { clock, network, ask, tested } = setUp([at('one', '192.0.2.1'), at('two', '192.0.2.2')]);
  network.serve = name => (name === '' ? {} : 'silence');
  tested.prepare();
  await clock.advance(5);
  const asked = ask();
  await clock.advance(5);
  tested.close();
  network.streams[0]?.finish(true);
  await clock.advance(5);
  t.match(asked, { outcome: { at: 'failure', code: 'handed_back' }, outcomes: 1 });
  t.equal(network.streams.length, 2);
  t.same(network.streams[1]?.asked, []);
});

await t.test(
  'closed: over UDP nothing is sent a second time, without EDNS, with another cookie, or over TCP',
  async t => {
    for (const parts of [undefined, { rcode: 1 }, { rcode: 23 }, { flags: 0x0200 }]) {
      const { clock, network, ask, tested } = setUp([nameless('192.0.2.1')], { mode: 'off' }, async () => {
        await new Promise(resolve => setTimeout(resolve, 10));
        return parts;
      });
      const asked = ask();
      tested.close();
      await new Promise(resolve => setTimeout(resolve, 30));
      await clock.advance(10);
      t.match(asked, { outcome: { at: 'failure', code: 'handed_back' }, outcomes: 1 });
      t.equal(network.datagrams.length, 1);
      t.same(network.streams, []);
    }
  },
);

await t.test('closed: an answer that is on its way over UDP is taken', async t => {
  const { clock, ask, tested } = setUp([nameless('192.0.2.1')], { mode: 'off' }, async () => {
    await new Promise(resolve => setTimeout(resolve, 10));
    return { answers: A };
  });
  const asked = ask();
  tested.close();
  await new Promise(resolve => setTimeout(resolve, 30));
  await clock.advance(10);
  t.equal(wordOf(asked), '192.0.2.1');
});

await t.test('destroyed: all is handed back at once, and no answer is taken any more', async t => {
  const tls = setUp([at('one', '192.0.2.1')]);
  tls.network.serve = name => (name === '' ? {} : 'silence');
  const udp = setUp([nameless('192.0.2.1')], { mode: 'off' }, async () => {
    await new Promise(resolve => setTimeout(resolve, 10));
    return { answers: A };
  });
  for (const { clock, network, ask, tested } of [tls, udp]) {
    const asked = ask();
    await clock.advance(5);
    tested.destroy();
    t.match(asked, { outcome: { at: 'failure', code: 'handed_back' }, outcomes: 1 });
    t.ok(network.streams.every(({ closed }) => closed));
    await new Promise(resolve => setTimeout(resolve, 30));
    await clock.advance(10_000);
    t.equal(asked.outcomes, 1);
    t.equal(clock.pending, 0);
  }
});

await t.test('a connection that drains is reached by a network change and by the end', async t => {
  for (const end of [
    (tested: Pool): void => tested.networkChanged('network'),
    (tested: Pool): void => tested.networkChanged('resume'),
    (tested: Pool): void => tested.destroy(),
  ]) {
    for (const drain of [
      (tested: Pool): void => tested.close(),
      (tested: Pool, spec: PoolSpec): void => tested.configure({ ...spec, servers: [at('two', '192.0.2.2')] }),
    ]) {
      const { clock, network, ask, tested, spec } = setUp([at('one', '192.0.2.1')]);
      network.serve = name => (name === '' ? {} : 'silence');
      const asked = ask();
      await clock.advance(5);
      drain(tested, spec);
      await clock.advance(5);
      t.notOk(network.streams[0]?.closed, 'it has a question in flight');
      end(tested);
      t.ok(network.streams[0]?.closed);
      await clock.advance(5000);
      t.equal(asked.outcomes, 1);
    }
  }
});

await t.test('a connection whose server asks us to close it (RFC 7828) is cut by a network change, too', async t => {
  const { clock, network, ask, tested } = setUp([at('one', '192.0.2.1')]);
  network.serve = name =>
    name === 'never.example.' ? 'silence' : { answers: A, options: [{ code: 11, data: Buffer.from([0, 0]) }] };
  const never = ask('never.example');
  ask('a.example');
  await clock.advance(10);
  t.notOk(network.streams[0]?.closed, 'it waits for its other answer');
  network.serve = () => ({ answers: A });
  tested.networkChanged('network');
  t.ok(network.streams[0]?.closed);
  await clock.advance(10);
  t.equal(wordOf(never), 'one', 'which the new connection brings');
});

await t.test('a connection that drains is closed after 5 s at the latest, whatever the server does', async t => {
  const { clock, network, ask, tested } = setUp([at('one', '192.0.2.1')]);
  network.serve = name => (name === '' ? {} : 'silence');
  ask();
  await clock.advance(5);
  tested.close();
  for (let i = 0; i < 60; i++) {
    // Messages that answer nothing keep it from being silent.
    network.last.send(Buffer.alloc(12));
    await clock.advance(100);
  }
  t.ok(network.last.closed);
  t.equal(clock.pending, 0);
});
