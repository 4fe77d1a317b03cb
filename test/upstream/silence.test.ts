// What is a silent server and what is not: dead zones, slow answers, and answers that trickle in.

import t from 'tap';

import { framed } from '../../src/wire/frame.js';
import { responseTo } from '../fixtures/messages.js';
import { type AskedQuestion, at, nameless, setUp, wordOf } from '../fixtures/pool.js';

const A = 'x.example. 60 A 192.0.2.1';
const isDead = (name: string): boolean => name.startsWith('dead');

await t.test('a name that is never answered does not make its server silent', async t => {
  for (const mode of ['strict', 'encrypted', 'opportunistic'] as const) {
    const { clock, network, ask, count, tested } = setUp([nameless('192.0.2.1')], { mode });
    network.datagram = () => ({ answers: A });
    network.serve = name => (isDead(name) ? 'silence' : { answers: A });
    tested.prepare();
    await clock.advance(100);
    const before = network.datagrams.length;
    for (let i = 0; i < 5; i++) {
      const dead = ask(`dead${i}.example`);
      await clock.advance(4600);
      t.equal(wordOf(dead), 'timeout');
      const alive = ask();
      await clock.advance(20);
      t.match(alive.outcome, { at: 'reply', protocol: 'dot' });
    }
    t.equal(network.streams.length, 1, `${mode}: one connection, which lives`);
    t.equal(network.datagrams.length, before, 'and no name in cleartext');
    t.equal(count('hedge'), 0, 'nothing is asked twice');
    t.ok(tested.ready);
  }
});

await t.test('a lone answer that takes long comes, and is asked for once', async t => {
  for (const tookMs of [1200, 2500, 3300, 4300]) {
    const { clock, network, ask } = setUp([at('one', '192.0.2.1')]);
    network.serve = name => (name === 'slow.example.' ? 'silence' : { answers: A });
    ask();
    await clock.advance(10);
    network.serve = undefined;
    const slow = ask('slow.example');
    await clock.advance(1);
    const [query = Buffer.alloc(0)] = network.last.queries;
    const { last } = network;
    network.serve = name => (name === 'slow.example.' ? 'silence' : { answers: A });
    for (let ms = 0; ms < tookMs; ms += 10) {
      await clock.advance(10);
      // What the connection asks on suspicion is answered at once.
      for (const each of last.queries.splice(0)) if (each !== query) last.send(responseTo(each, {}));
    }
    last.send(responseTo(query, { answers: A }));
    await clock.advance(1);
    t.equal(wordOf(slow), 'one', `${tookMs} ms`);
    t.equal(network.streams.flatMap(({ asked }) => asked).filter(name => name === 'slow.example.').length, 1);
  }
});

await t.test('the limits follow the round-trip time: on a slow link no answer is asked for twice', async t => {
  const { clock, network, ask, count } = setUp([at('one', '192.0.2.1')]);
  ask('first.example');
  await clock.advance(1);
  network.last.accept();
  for (let i = 0; i < 20; i++) {
    const asked = ask(`n${i}.example`);
    await clock.advance(700);
    for (const each of network.last.queries.splice(0)) network.last.send(responseTo(each, { answers: A }));
    await clock.advance(1);
    t.equal(wordOf(asked), 'one');
  }
  t.equal(count('hedge'), 0);
  t.equal(network.last.asked.filter(name => name === '.').length, 1, 'suspected once, before it was measured');
});

await t.test(
  'opportunistic: a server that is really silent is found out within 3 s, and cleartext goes on',
  async t => {
    const { clock, network, ask, tested } = setUp([nameless('192.0.2.1')], { mode: 'opportunistic' });
    network.datagram = () => ({ answers: A });
    network.serve = () => ({ answers: A });
    tested.prepare();
    await clock.advance(100);
    network.serve = name => (name === '' ? 'refuse' : 'silence');
    ask();
    await clock.advance(3100);
    const next = ask();
    await clock.advance(50);
    t.match(next.outcome, { at: 'reply', protocol: 'udp' });
  },
);

await t.test('a server that accepts connections and answers nothing is in back-off', async t => {
  for (const mode of ['strict', 'encrypted'] as const) {
    const { clock, network, ask, tested } = setUp([at('one', '192.0.2.1'), at('two', '192.0.2.2')], { mode });
    network.serve = (name, { address }) => (address === '192.0.2.1' && name !== '' ? 'silence' : { answers: A });
    const first = ask();
    await clock.advance(3100);
    t.equal(wordOf(first), 'two', mode);
    t.match(tested.overview(), [{ addresses: [{ state: 'failed', failure: /nothing is answered/ }] }, {}]);
    const next = ask();
    await clock.advance(10);
    t.equal(wordOf(next), 'two');
  }
});

await t.test('an answer that trickles in holds nobody up', async t => {
  const { clock, network, ask } = setUp([at('one', '192.0.2.1')]);
  network.serve = () => ({ answers: A });
  ask();
  await clock.advance(10);
  network.serve = undefined;
  const large = ask('large.example');
  const others = Array.from({ length: 97 }, (_, i) => ask(`n${i}.example`));
  await clock.advance(1);
  const [first] = network.streams;
  network.last.accept();
  for (const each of network.last.queries.splice(0)) network.last.send(responseTo(each, { answers: A }));
  network.serve = name => (name === 'large.example.' ? 'silence' : { answers: A });
  const answer = framed(responseTo(first?.queries[0] ?? Buffer.alloc(0), { answers: A }));
  for (let octet = 0; octet < 35; octet++) {
    first?.trickle(answer.subarray(octet, octet + 1));
    await clock.advance(100);
  }
  t.equal(others.filter(({ outcome }) => outcome?.at === 'reply').length, 97);
  t.equal(network.streams.length, 3, 'one for the others, and one for the large answer alone');
  const next = ask('next.example');
  await clock.advance(10);
  t.equal(wordOf(next), 'one', 'and new ones do not queue behind it');
  await clock.advance(15_000);
  t.ok(first?.closed, 'it does not stay open for ever');
  t.not(wordOf(large), undefined);
});

await t.test('a large answer over a slow but honest link is waited for', async t => {
  const { clock, network, ask, count } = setUp([at('one', '192.0.2.1')]);
  network.serve = () => ({ answers: A });
  ask();
  await clock.advance(10);
  network.serve = undefined;
  const large = ask('large.example');
  await clock.advance(1);
  const answer = framed(
    responseTo(network.last.queries[0] ?? Buffer.alloc(0), {
      answers: Array.from({ length: 1200 }, (_, i) => `x.example. 60 A 192.0.${i >> 8}.${i & 255}`).join('\n'),
    }),
  );
  for (let from = 0; from < answer.length; from += 1000) {
    network.last.trickle(answer.subarray(from, from + 1000));
    await clock.advance(100);
  }
  t.equal(wordOf(large), 'one');
  t.equal(count('hedge'), 0);
});

await t.test(
  'a large answer that comes fast enough to arrive holds nobody up either, and is asked for once',
  async t => {
    const { clock, network, ask } = setUp([at('one', '192.0.2.1')]);
    network.serve = () => ({ answers: A });
    ask();
    await clock.advance(10);
    network.serve = undefined;
    const large = ask('large.example');
    const others = [ask('a.example'), ask('b.example')];
    await clock.advance(1);
    const [first] = network.streams;
    network.serve = () => ({ answers: A });
    const answer = framed(
      responseTo(first?.queries[0] ?? Buffer.alloc(0), {
        answers: Array.from({ length: 1500 }, (_, i) => `x.example. 60 A 192.0.${i >> 8}.${i & 255}`).join('\n'),
      }),
    );
    for (let from = 0; from < answer.length; from += 1000) {
      first?.trickle(answer.subarray(from, from + 1000));
      await clock.advance(100);
      if (from === 15_000) t.strictSame(others.map(wordOf), ['one', 'one'], 'after 1.5 s');
    }
    t.equal(wordOf(large), 'one');
    t.equal(network.received.filter(query => query.includes('large')).length, 1);
  },
);

await t.test('cleartext: a dead zone does not make its server dead, and a dead server is asked last', async t => {
  const { clock, network, ask, count } = setUp([nameless('192.0.2.1'), nameless('192.0.2.2')], { mode: 'off' });
  network.datagram = name => (isDead(name) ? undefined : { answers: A });
  const dead = ask('dead.example');
  await clock.advance(5000);
  t.equal(wordOf(dead), 'timeout');
  for (let i = 0; i < 5; i++) {
    const asked = ask();
    await clock.advance(10);
    t.equal(wordOf(asked), '192.0.2.1');
  }
  network.datagram = (_name, address) => (address === '192.0.2.1' ? undefined : { answers: A });
  const lost: AskedQuestion = ask();
  await clock.advance(5000);
  t.equal(wordOf(lost), '192.0.2.2');
  const sent = count('cleartext', 'off');
  for (let i = 0; i < 5; i++) {
    const asked = ask();
    await clock.advance(10);
    t.equal(wordOf(asked), '192.0.2.2');
  }
  t.equal(count('cleartext', 'off'), sent + 5, 'no query goes to the dead one');
  network.datagram = () => ({ answers: A });
  for (let i = 0; i < 10; i++) {
    ask();
    await clock.advance(1000);
  }
  const back = ask();
  await clock.advance(10);
  t.equal(wordOf(back), '192.0.2.1', 'it is tried beside the queries, and the first again');
});
