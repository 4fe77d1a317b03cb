// What must not hold up queries: connections that are dead, being closed or refused, and servers that accept everything
// and answer nothing.

import t from 'tap';

import type { DialTarget } from '../../src/base/ports.js';
import { responseTo } from '../fixtures/messages.js';
import type { Reaction } from '../fixtures/network.js';
import { type AskedQuestion, at, nameless, setUp, wordOf } from '../fixtures/pool.js';

const A = 'x.example. 60 A 192.0.2.1';
const https = { host: undefined, port: 443, path: '/dns-query' };

const replies = (asked: readonly AskedQuestion[]): number =>
  asked.filter(({ outcome }) => outcome?.at === 'reply').length;

/** A server that closes each connection after one answer. */
function oncePerConnection(): (name: string, target: DialTarget) => Reaction {
  const taken = new WeakSet<DialTarget>();
  return (name, target) => {
    if (name === '') return {};
    if (taken.has(target)) return 'silence';
    taken.add(target);
    return { answers: A, closes: true };
  };
}

await t.test('a server that took no other connection gets a new one when its only one is dead', async t => {
  const { clock, network, ask } = setUp([at('one', '192.0.2.1')]);
  network.serve = () => ({ answers: A });
  ask();
  await clock.advance(10);
  const dead = network.last.target;
  // A second connection is refused.
  network.serve = name => (name === '' ? 'refuse' : { answers: A });
  for (let i = 0; i < 60; i++) ask(`slow${i}.example`);
  await clock.advance(100);
  t.equal(network.streams.length, 2, 'another connection was tried');
  await clock.advance(5000);
  // The connection is dead from now on, and a new one works.
  network.serve = (_, target) => (target === dead ? 'silence' : { answers: A });
  const asked = ask('first.example');
  await clock.advance(1500);
  t.equal(wordOf(asked), 'one', 'the query that found it out');
  const next = ask('next.example');
  await clock.advance(100);
  t.equal(wordOf(next), 'one');
});

await t.test('port 853 is blocked while queries wait for a connection: all of them are moved to HTTPS', async t => {
  const { clock, network, ask } = setUp([{ ...at('one', '192.0.2.1'), https }]);
  network.serve = oncePerConnection();
  for (let i = 0; i < 20; i++) ask(`n${i}.example`);
  await clock.advance(1000);
  network.serve = (_, { port }) => (port === 443 ? { answers: A } : 'block');
  const asked = Array.from({ length: 40 }, (_, i) => ask(`blocked${i}.example`));
  await clock.advance(1000);
  t.equal(replies(asked), 40);
});

await t.test('cleartext: a TCP connection that is dead costs no query its answer', async t => {
  const { clock, network, ask } = setUp([nameless('192.0.2.1')], { mode: 'off' });
  network.datagram = () => ({ flags: 0x0200 });
  network.serve = () => ({ answers: A });
  ask();
  await clock.advance(10);
  const dead = network.last.target;
  network.serve = (_, target) => (target === dead ? 'silence' : { answers: A });
  const asked = Array.from({ length: 5 }, (_, i) => ask(`large${i}.example`));
  await clock.advance(1500);
  t.equal(replies(asked), 5);
  const next = ask('next.example');
  await clock.advance(100);
  t.equal(replies([next]), 1);
  t.equal(network.streams.length, 2);
});

await t.test('servers that accept connections and answer nothing are asked after those that answer', async t => {
  for (const mode of ['strict', 'encrypted'] as const) {
    for (const policy of ['ordered', 'round_robin', 'random', 'fastest', 'sharded'] as const) {
      const servers = [1, 2, 3, 4].map(n => at(`s${n}`, `192.0.2.${n}`));
      const { clock, network, ask, tested } = setUp(servers, { mode, policy });
      network.serve = (name, { address }) => (name !== '' && address !== '192.0.2.4' ? 'silence' : { answers: A });
      tested.prepare();
      await clock.advance(100);
      for (let i = 0; i < 20; i++) ask(`first${i}.example`);
      await clock.advance(5000);
      let late = 0;
      for (let i = 0; i < 50; i++) {
        const asked = ask(`n${i}.example`);
        await clock.advance(200);
        if (wordOf(asked) !== 's4') late++;
        await clock.advance(1000);
      }
      t.equal(late, 0, `${mode}, ${policy}`);
    }
  }
});

await t.test('a server that wants every connection closed after its first answers has few of them open', async t => {
  const { clock, network, ask } = setUp([at('one', '192.0.2.1')]);
  const keepalive0 = { code: 11, data: Buffer.from([0, 0]) };
  network.serve = name => (name.startsWith('dead') ? 'silence' : { answers: A, options: [keepalive0] });
  let most = 0;
  const asked: AskedQuestion[] = [];
  for (let i = 0; i < 200; i++) {
    ask(`dead${i}.example`);
    asked.push(ask(`good${i}.example`));
    await clock.advance(20);
    most = Math.max(most, network.streams.filter(each => !each.closed).length);
  }
  await clock.advance(4600);
  t.ok(most <= 16, `${most} connections`);
  t.equal(replies(asked), 200);
});

await t.test('while HTTPS is used, nothing wakes up for ever without queries', async t => {
  const { clock, network, ask } = setUp([{ ...at('one', '192.0.2.1'), https }]);
  network.serve = (_, { port }) => (port === 443 ? { answers: A } : 'refuse');
  const asked = ask();
  await clock.advance(100);
  t.equal(replies([asked]), 1);
  await clock.advance(300_000);
  const before = network.streams.length;
  await clock.advance(3_600_000);
  t.equal(network.streams.length, before, 'port 853 is not tried');
  t.equal(clock.pending, 0, 'no timer runs');
  const next = ask();
  await clock.advance(100);
  t.equal(replies([next]), 1);
  network.serve = () => ({ answers: A });
  await clock.advance(31_000);
  const later = ask();
  await clock.advance(100);
  t.match(later.outcome, { protocol: 'dot' });
});

await t.test('opportunistic: silence opens no way into cleartext while another server is private', async t => {
  for (const policy of ['ordered', 'round_robin', 'random'] as const) {
    for (const gapMs of [90, 700, 1700, 2300]) {
      const servers = ['192.0.2.1', '192.0.2.2', '192.0.2.3'].map(address => nameless(address));
      const { clock, network, ask, tested } = setUp(servers, { mode: 'opportunistic', policy });
      network.datagram = () => ({ answers: A });
      network.serve = () => ({ answers: A });
      tested.prepare();
      await clock.advance(100);
      // Only the second one answers anything, and not these names.
      network.serve = (name, { address }) =>
        name === '' || (name === '.' && address === '192.0.2.2') ? {} : 'silence';
      for (let ms = 0; ms < 12_000; ms += gapMs) {
        ask(`n${ms}.example`);
        await clock.advance(gapMs);
      }
      const leaked = network.datagrams.map(({ name }) => name).filter(name => name !== '.');
      t.same(leaked, [], `${policy}, every ${gapMs} ms`);
    }
  }
});

await t.test('a probe that is never answered does not keep a connection busy for ever', async t => {
  const { clock, network, ask } = setUp([at('one', '192.0.2.1')]);
  let probes = 0;
  // The first one is dropped, as by an overloaded server.
  network.serve = name => (name === '.' && probes++ === 0 ? 'silence' : { answers: A });
  ask();
  await clock.advance(300_000);
  t.equal(clock.pending, 0, 'no timer runs');
  t.ok(network.received.length < 20, `${network.received.length} queries`);
});

await t.test('answers to other questions than ours are no sign of life', async t => {
  const { clock, network, ask } = setUp([at('one', '192.0.2.1'), at('two', '192.0.2.2')]);
  const wrong = (query: Buffer): Buffer => {
    const other = responseTo(query, { answers: A });
    other[0] = (other[0] ?? 0) ^ 255;
    return other;
  };
  network.serve = (name, { address }) => {
    if (name === '' || address === '192.0.2.2') return { answers: A };
    for (const each of network.streams) {
      const { received } = network;
      const query = received.at(-1);
      if (each.target.address === '192.0.2.1' && query !== undefined) each.send(wrong(query));
    }
    return 'silence';
  };
  ask();
  await clock.advance(10_000);
  for (let i = 0; i < 10; i++) {
    const asked = ask(`n${i}.example`);
    await clock.advance(50);
    t.equal(wordOf(asked), 'two');
    await clock.advance(50);
  }
  await clock.advance(300_000);
  t.equal(clock.pending, 0, 'no timer runs');
});

await t.test('the second opinion after SERVFAIL is that of another server, not of another address', async t => {
  for (const policy of ['ordered', 'round_robin', 'random', 'fastest', 'sharded'] as const) {
    const servers = [at('one', '192.0.2.1', '2001:db8::1'), at('two', '192.0.2.2', '2001:db8::2')];
    const { clock, network, ask, tested } = setUp(servers, { policy });
    network.serve = (name, { address }) => (name !== '' && address.endsWith('1') ? { rcode: 2 } : { answers: A });
    tested.prepare();
    await clock.advance(10);
    const asked = Array.from({ length: 40 }, (_, i) => ask(`n${i}.example`));
    await clock.advance(100);
    t.ok(
      asked.every(each => wordOf(each) === 'two'),
      policy,
    );
  }
});

await t.test('opportunistic: a server that answers once per connection answers questions, not probes', async t => {
  const { clock, network, ask, tested } = setUp([nameless('192.0.2.1')], { mode: 'opportunistic' });
  network.serve = name => (name === '' ? {} : { answers: A, closes: true });
  tested.prepare();
  await clock.advance(100);
  const asked = Array.from({ length: 40 }, (_, i) => ask(`n${i}.example`));
  await clock.advance(1000);
  t.equal(replies(asked), 40);
  t.ok(network.received.length <= 121, `${network.received.length} queries while the number is learned`);
});
