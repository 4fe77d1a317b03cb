// Servers that close connections with queries in flight: after some answers, because of one query, or always.

import t from 'tap';

import type { DialTarget } from '../../src/base/ports.js';
import type { Reaction } from '../fixtures/network.js';
import { type AskedQuestion, at, setUp, wordOf } from '../fixtures/pool.js';

const A = 'x.example. 60 A 192.0.2.1';

/** Counts what happens on each connection. */
function perConnection(reaction: (count: number, name: string) => Reaction) {
  const counts = new WeakMap<DialTarget, number>();
  return (name: string, target: DialTarget): Reaction => {
    if (name === '') return {};
    const count = (counts.get(target) ?? 0) + 1;
    counts.set(target, count);
    return reaction(count, name);
  };
}

const replies = (asked: readonly AskedQuestion[]): number =>
  asked.filter(({ outcome }) => outcome?.at === 'reply').length;

for (const most of [1, 2, 7, 128]) {
  await t.test(`a server that closes after ${most} answers: all of many queries are answered`, async t => {
    const { clock, network, ask, count, tested } = setUp([at('one', '192.0.2.1')]);
    network.serve = perConnection(n => ({ answers: A, closes: n === most }));
    const asked = Array.from({ length: most === 128 ? 300 : 20 }, (_, i) => ask(`n${i}.example`));
    await clock.advance(1000);
    t.equal(replies(asked), asked.length);
    t.equal(count('upstreamError', 'one'), 0, 'the server is not blamed');
    t.ok(tested.ready);
    const before = count('replay');
    for (let i = 0; i < 5 * most; i++) ask(`later${i}.example`);
    await clock.advance(1000);
    t.equal(count('replay'), before, 'once the number is known, nothing is lost any more');
  });
}

await t.test('a server that takes more again is given more', async t => {
  const { clock, network, ask } = setUp([at('one', '192.0.2.1')]);
  network.serve = perConnection(n => (n <= 1 ? { answers: A } : 'close'));
  for (let i = 0; i < 20; i++) ask(`n${i}.example`);
  await clock.advance(1000);
  network.serve = () => ({ answers: A });
  ask();
  await clock.advance(1000);
  const before = network.streams.length;
  const asked = Array.from({ length: 40 }, (_, i) => ask(`m${i}.example`));
  await clock.advance(100);
  t.equal(replies(asked), 40);
  t.ok(network.streams.length <= before + 1, 'over the connection that is still open');
});

await t.test('a name that makes the server hang up: the others are answered, and it alone fails', async t => {
  for (const others of [1, 2, 3, 10, 40]) {
    for (const place of [0, Math.floor(others / 2), others]) {
      const { clock, network, ask, tested } = setUp([at('one', '192.0.2.1')]);
      network.serve = perConnection((_n, name) => (name === 'bad.example.' ? 'close' : { answers: A }));
      // The server works on all of them at the same time, so that the hang-up meets all.
      const serve = network.serve;
      ask('first.example');
      await clock.advance(10);
      network.serve = undefined;
      const asked: AskedQuestion[] = [];
      let bad: AskedQuestion | undefined;
      for (let i = 0; i <= others; i++) {
        if (i === place) bad = ask('bad.example');
        else asked.push(ask(`n${i}.example`));
      }
      await clock.advance(1);
      network.serve = serve;
      network.streams.at(-1)?.finish();
      await clock.advance(4600);
      t.equal(replies(asked), others, `${others} others, it was number ${place}`);
      t.equal(bad && wordOf(bad), 'closed');
      t.ok(tested.ready, 'the server is not in back-off');
    }
  }
});

await t.test('a name that makes the server hang up is asked of another server, too', async t => {
  const { clock, network, ask } = setUp([at('one', '192.0.2.1'), at('two', '192.0.2.2')]);
  network.serve = (name, { address }) =>
    name === 'bad.example.' && address === '192.0.2.1' ? 'close' : { answers: A };
  ask();
  await clock.advance(10);
  const bad = ask('bad.example');
  await clock.advance(100);
  t.equal(wordOf(bad), 'two');
  const next = ask();
  await clock.advance(10);
  t.equal(wordOf(next), 'one', 'and the first server goes on being asked for everything else');
});

await t.test('a hang-up name every 2 s beside 10 good queries a second: the good ones are answered', async t => {
  const { clock, network, ask } = setUp([at('one', '192.0.2.1')]);
  network.serve = perConnection((_n, name) => (name.startsWith('bad') ? 'close' : { answers: A }));
  const good: AskedQuestion[] = [];
  for (let i = 0; i < 100; i++) {
    if (i % 20 === 5) ask(`bad${i}.example`);
    good.push(ask(`good${i}.example`));
    await clock.advance(100);
  }
  t.equal(replies(good), 100);
});

await t.test('a server that hangs up on everything is in back-off, and the next one is asked', async t => {
  const { clock, network, ask, tested } = setUp([at('one', '192.0.2.1'), at('two', '192.0.2.2')]);
  network.serve = (name, { address }) => (address === '192.0.2.1' && name !== '' ? 'close' : { answers: A });
  const asked = ask();
  await clock.advance(100);
  t.equal(wordOf(asked), 'two');
  t.match(tested.overview(), [{ addresses: [{ state: 'failed' }] }, { addresses: [{ state: 'private' }] }]);
});

await t.test('queries that wait for a connection are ended with their server', async t => {
  const { clock, network, ask, tested } = setUp([at('one', '192.0.2.1')]);
  network.serve = perConnection(n => (n <= 1 ? { answers: A } : 'close'));
  for (let i = 0; i < 20; i++) ask(`n${i}.example`);
  await clock.advance(1000);
  network.serve = name => (name === '' ? {} : 'silence');
  const asked = Array.from({ length: 20 }, (_, i) => ask(`m${i}.example`));
  await clock.advance(10);
  t.equal(replies(asked), 0);
  tested.destroy();
  await clock.advance(10);
  t.ok(asked.every(each => wordOf(each) === 'handed_back' && each.outcomes === 1));
});
