// Servers that do not like EDNS, or one of its options, and errors that do not repeat the question.

import t from 'tap';

import { OPTION } from '../../src/wire/edns.js';
import { upstreamQuery } from '../../src/wire/upstream-query.js';
import { findOption } from '../../src/wire/edns.js';
import { optOf } from '../../src/wire/scan.js';
import { at, nameless, setUp, wordOf } from '../fixtures/pool.js';

const A = 'x.example. 60 A 192.0.2.1';
const FORMERR = 1;
const NOTIMP = 4;
const BADVERS = 16;

type Likes = (query: Buffer) => boolean;
const hasOption = (query: Buffer, code: number): boolean => {
  const opt = optOf(query);
  return opt !== undefined && findOption(opt, code) !== undefined;
};
const LIKES: Readonly<Record<string, Likes>> = {
  'no padding': query => !hasOption(query, OPTION.PADDING),
  'no client subnet': query => !hasOption(query, OPTION.CLIENT_SUBNET),
  'no keepalive': query => !hasOption(query, OPTION.TCP_KEEPALIVE),
  'no option': query => optOf(query) === undefined || query.length < 60,
  'no EDNS': query => optOf(query) === undefined,
};

for (const [what, likes] of Object.entries(LIKES)) {
  for (const rcode of [FORMERR, NOTIMP, BADVERS]) {
    for (const question of [true, false, 'counted'] as const) {
      // The upper bits of BADVERS need an OPT.
      if (question === 'counted' && rcode === BADVERS) continue;
      const without = { true: '', false: ' without the question', counted: ' with a header only, its counts left' };
      const words = `a server that wants ${what} and says ${rcode}${without[`${question}`]}`;
      await t.test(`over TLS, ${words}: asked again at once, and remembered`, async t => {
        const { clock, network, ask, tested } = setUp([at('one', '192.0.2.1')]);
        network.serve = () => ({ answers: A });
        network.reads = query => (likes(query) ? undefined : { rcode, question });
        const first = ask();
        await clock.advance(50);
        t.match(first.outcome, { at: 'reply', scan: { rcode: 0 } });
        const before = network.streams.flatMap(each => each.asked).length;
        for (let i = 0; i < 10; i++) {
          const asked = ask(`n${i}.example`);
          await clock.advance(50);
          t.match(asked.outcome, { at: 'reply', scan: { rcode: 0 } });
        }
        t.equal(network.streams.flatMap(each => each.asked).length, before + 10, 'no more questions than names');
        tested.networkChanged('network');
        network.reads = undefined;
        ask();
        await clock.advance(50);
        const last = network.received.at(-1) ?? Buffer.alloc(0);
        t.ok(hasOption(last, OPTION.PADDING), 'on another network, padding is used again');
      });
      await t.test(`over HTTPS, ${words}`, async t => {
        const { clock, network, ask } = setUp([
          { ...at('one', '192.0.2.1'), https: { host: undefined, port: 443, path: '/dns-query' } },
        ]);
        network.serve = (_name, { port }) => (port === 443 ? { answers: A } : 'refuse');
        network.reads = query => (likes(query) ? undefined : { rcode, question });
        for (let i = 0; i < 5; i++) {
          const asked = ask(`n${i}.example`);
          await clock.advance(200);
          t.match(asked.outcome, { at: 'reply', protocol: 'https', scan: { rcode: 0 } });
        }
        t.ok(network.received.length <= 5 + 5, `${network.received.length} queries`);
      });
      await t.test(`in cleartext, ${words}`, async t => {
        const { clock, network, ask } = setUp([nameless('192.0.2.1')], { mode: 'off' });
        network.datagram = (_name, _address, query) => (likes(query) ? { answers: A } : { rcode, question });
        for (let i = 0; i < 5; i++) {
          const asked = ask();
          await clock.advance(50);
          t.match(asked.outcome, { at: 'reply', scan: { rcode: 0 } });
        }
        t.ok(network.datagrams.length <= 5 + 3, `${network.datagrams.length} datagrams`);
      });
    }
  }
}

await t.test('a server that closes the connection after the error: the next form goes over the next one', async t => {
  const { clock, network, ask } = setUp([at('one', '192.0.2.1')]);
  network.serve = () => ({ answers: A });
  network.reads = query => (optOf(query) === undefined ? undefined : { rcode: FORMERR, closes: true });
  const asked = ask();
  await clock.advance(500);
  t.match(asked.outcome, { at: 'reply', scan: { rcode: 0 } });
});

await t.test('one question that is refused whatever its form says nothing about the server', async t => {
  const { clock, network, ask } = setUp([at('one', '192.0.2.1')]);
  network.serve = name => (name === 'odd.example.' ? { rcode: NOTIMP } : { answers: A });
  const odd = ask('odd.example');
  await clock.advance(50);
  t.match(odd.outcome, { at: 'reply', scan: { rcode: NOTIMP } });
  ask();
  await clock.advance(50);
  t.ok(hasOption(network.received.at(-1) ?? Buffer.alloc(0), OPTION.PADDING), 'the next query is padded');
  const before = network.received.length;
  ask('odd.example');
  await clock.advance(50);
  t.equal(network.received.length, before + 1, 'for a minute the refusal is taken at once');
});

await t.test('one question that is answered only without EDNS says nothing about the server either', async t => {
  const { clock, network, ask } = setUp([at('one', '192.0.2.1')]);
  network.serve = () => ({ answers: A });
  network.reads = (query, name) => (name === 'odd.example.' && optOf(query) !== undefined ? { rcode: 1 } : undefined);
  const odd = ask('odd.example');
  await clock.advance(50);
  t.equal(wordOf(odd), 'one');
  ask();
  await clock.advance(50);
  t.ok(hasOption(network.received.at(-1) ?? Buffer.alloc(0), OPTION.PADDING));
});

await t.test('any error without a question is matched by its id, and an answer without one is not', async t => {
  for (const [parts, word] of [
    [{ rcode: 2, question: false }, 'reply'],
    [{ rcode: 5, question: false }, 'reply'],
    [{ rcode: 5, question: 'counted' }, 'reply'],
    [{ rcode: 0, question: false }, undefined],
    [{ rcode: 0, question: 'counted' }, undefined],
    [{ rcode: 3, question: false }, undefined],
  ] as const) {
    const { clock, network, ask } = setUp([at('one', '192.0.2.1')]);
    network.serve = name => (name === '.' ? {} : parts);
    const asked = ask();
    await clock.advance(100);
    t.equal(asked.outcome?.at, word, JSON.stringify(parts));
  }
});

await t.test('a home router that drops queries with an OPT is found out by one try without', async t => {
  const { clock, network, ask } = setUp([nameless('192.0.2.1')], { mode: 'off' });
  network.datagram = (_name, _address, query) => (optOf(query) === undefined ? { answers: A } : undefined);
  for (let i = 0; i < 10; i++) {
    const asked = ask(`n${i}.example`);
    await clock.advance(50);
    t.equal(wordOf(asked), '192.0.2.1');
  }
  const names = network.datagrams.map(({ name }) => name).filter(name => name !== '.');
  t.equal(names.length, 11, 'only the first was sent twice');
});

await t.test('lost datagrams are not taken for a dislike of EDNS', async t => {
  const { clock, network, ask } = setUp([nameless('192.0.2.1')], { mode: 'off' });
  let sends = 0;
  network.datagram = () => (sends++ === 0 ? undefined : { answers: A });
  ask();
  await clock.advance(50);
  let last: Buffer = Buffer.alloc(0);
  network.datagram = (_name, _address, query) => {
    last = query;
    return { answers: A };
  };
  ask('y.example');
  await clock.advance(50);
  t.ok(optOf(last) !== undefined, 'the root was answered with an OPT');
});

await t.test('the addresses of a server are found through a resolver that drops or refuses EDNS', async t => {
  for (const refusal of [undefined, { rcode: 1 }, { rcode: 1, question: false }]) {
    const { clock, network, ask } = setUp(
      [at('one')],
      { bootstrapServers: () => [{ address: '192.0.2.53', port: 53 }] },
      (_name, _address, query) => (optOf(query) === undefined ? { answers: 'one. 60 A 192.0.2.1' } : refusal),
    );
    network.serve = () => ({ answers: A });
    const asked = ask();
    await clock.advance(100);
    t.equal(wordOf(asked), 'one');
  }
});

await t.test('a query without EDNS is what it says', t => {
  const question = Buffer.from([1, 120, 0, 0, 1, 0, 1]);
  t.equal(
    upstreamQuery(7, { question, dnssecOk: true, checkingDisabled: true }, undefined).length,
    12 + question.length,
  );
  t.end();
});
