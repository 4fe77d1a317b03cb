// Which address is asked while some cannot be reached, and what happens to addresses that were looked up.

import t from 'tap';

import type { PoolSpec } from '../../src/upstream/pool.js';
import { responseTo } from '../fixtures/messages.js';
import { at, nameless, setUp, wordOf } from '../fixtures/pool.js';

const A = 'x.example. 60 A 192.0.2.1';
const POLICIES: readonly PoolSpec['policy'][] = ['ordered', 'fastest', 'round_robin', 'random', 'sharded'];
const DEAD = ['192.0.2.1', '192.0.2.2', '192.0.2.3'];
const ALIVE = '192.0.2.4';

for (const policy of POLICIES) {
  for (const prepares of [true, false]) {
    await t.test(
      `three addresses that swallow packets and one that works, ${policy}, ${prepares ? '' : 'not '}prepared: 100 of 100`,
      async t => {
        for (const servers of [[...DEAD, ALIVE].map(each => nameless(each)), [at('one', ...DEAD, ALIVE)]]) {
          const { clock, network, ask, tested } = setUp(servers, { mode: 'strict', policy });
          // A stream to a dead address never opens; the dialer gives up after 2 s.
          network.connects = ({ address }) => address === ALIVE;
          network.serve = () => ({ answers: A });
          if (prepares) tested.prepare();
          let worst = 0;
          /** How many streams there were at each tenth of a second. */
          const opened: number[] = [];
          for (let i = 0; i < 100; i++) {
            const asked = ask(`n${i}.example${i}`);
            let ms = 0;
            while (asked.outcome === undefined && ms < 5000) {
              await clock.advance(10);
              ms += 10;
            }
            worst = Math.max(worst, ms);
            if (asked.outcome?.at !== 'reply') t.fail(`${i}: ${String(wordOf(asked))}`);
            await clock.advance(90);
            opened.push(network.streams.length);
            for (const each of network.streams.slice(0, opened.at(-20) ?? 0)) {
              if (each.target.address !== ALIVE) each.refuse('connect_timeout', 'no TCP connection within 2000 ms');
            }
          }
          t.ok(worst <= 1000, `${worst} ms at most`);
          t.ok(network.streams.length < 60, `${network.streams.length} connections in 10 s`);
        }
      },
    );
  }
  await t.test(`cleartext, three addresses that swallow packets and one that works, ${policy}`, async t => {
    const { clock, network, ask } = setUp(
      [...DEAD, ALIVE].map(each => nameless(each)),
      { mode: 'off', policy },
      (_name, address) => (address === ALIVE ? { answers: A } : undefined),
    );
    let answered = 0;
    for (let i = 0; i < 100; i++) {
      const asked = ask(`n${i}.example${i}`);
      await clock.advance(100);
      if (i === 0) await clock.advance(4600);
      if (asked.outcome?.at === 'reply') answered++;
    }
    t.ok(answered >= 99, `${answered} of 100`);
    t.not(network.datagrams.length, 0);
  });
}

await t.test(
  'an address that worked and now swallows packets holds queries up for a quarter of a second only',
  async t => {
    for (const policy of ['ordered', 'round_robin', 'sharded'] as const) {
      const { clock, network, ask, tested } = setUp([at('one', '192.0.2.1'), at('two', '192.0.2.2')], { policy });
      network.serve = () => ({ answers: A });
      tested.prepare();
      await clock.advance(10);
      network.connects = ({ address }) => address !== '192.0.2.1';
      network.streams[0]?.finish(true);
      tested.prepare();
      await clock.advance(300);
      for (let i = 0; i < 20; i++) {
        const asked = ask(`n${i}.example${i}`);
        await clock.advance(50);
        t.equal(wordOf(asked), 'two', policy);
      }
    }
  },
);

await t.test('a designated resolver that has moved is found at its new address', async t => {
  let hint = '192.0.2.77';
  const { clock, network, ask, tested } = setUp([nameless('192.0.2.1', { discover: true })], { mode: 'opportunistic' });
  network.datagram = name =>
    name === '_dns.resolver.arpa.'
      ? { answers: `_dns.resolver.arpa. 3600 SVCB 1 dns.example. alpn=dot ipv4hint=${hint}` }
      : { answers: A };
  network.serve = (_name, { address }) => (address === hint ? { answers: A } : 'refuse');
  tested.prepare();
  await clock.advance(100);
  hint = '192.0.2.78';
  for (const each of network.streams) each.finish(true);
  for (let i = 0; i < 10; i++) {
    ask();
    await clock.advance(1000);
  }
  const asked = ask();
  await clock.advance(50);
  t.match(asked.outcome, { at: 'reply', protocol: 'dot' });
  t.same(
    network.datagrams.filter(({ name }) => name === 'x.example.'),
    [],
    'no name in cleartext meanwhile',
  );
});

await t.test('servers that work keep their turns while one is tried again', async t => {
  const { clock, network, ask } = setUp([at('one', '192.0.2.1'), at('two', '192.0.2.2'), at('three', '192.0.2.3')], {
    policy: 'round_robin',
  });
  network.serve = (_name, { address }) => (address === '192.0.2.2' ? 'refuse' : { answers: A });
  const words: (string | undefined)[] = [];
  for (let i = 0; i < 40; i++) {
    const asked = ask();
    await clock.advance(250);
    words.push(wordOf(asked));
  }
  const count = (word: string): number => words.filter(each => each === word).length;
  t.ok(Math.abs(count('one') - count('three')) < 6, `${count('one')} and ${count('three')}`);
  t.equal(count('one') + count('three'), 40);
});

await t.test('a server that accepts one connection from each client is asked over that one', async t => {
  for (const mode of ['strict', 'opportunistic'] as const) {
    const { clock, network, ask, tested } = setUp([at('one', '192.0.2.1')], { mode });
    network.datagram = () => ({ answers: A });
    network.serve = () => ({ answers: A });
    tested.prepare();
    await clock.advance(100);
    network.serve = name => (name === '' ? 'refuse' : { answers: A });
    const asked = Array.from({ length: 120 }, (_, i) => ask(`n${i}.example`));
    await clock.advance(100);
    t.equal(asked.filter(({ outcome }) => outcome?.at === 'reply' && outcome.protocol === 'dot').length, 120, mode);
    t.match(tested.overview(), [{ addresses: [{ state: 'private' }] }]);
  }
});

await t.test('what bootstrap said is looked up again where nobody is reached, less and less often', async t => {
  let address = '192.0.2.66';
  const { clock, network, ask } = setUp(
    [at('one')],
    { bootstrapServers: () => [{ address: '192.0.2.53', port: 53 }] },
    () => ({ answers: `one. 86400 A ${address}` }),
  );
  network.serve = (_name, target) => (target.address === '192.0.2.1' ? { answers: A } : 'refuse');
  const wrong = ask();
  await clock.advance(100);
  t.equal(wordOf(wrong), 'connect');
  for (let seconds = 0; seconds < 60; seconds++) {
    ask();
    await clock.advance(1000);
  }
  const looked = network.datagrams.filter(({ type }) => type === 'A').length;
  t.ok(looked > 3 && looked < 8, `${looked} look-ups in a minute`);
  address = '192.0.2.1';
  let seconds = 0;
  let last: string | undefined;
  for (; seconds < 120 && last !== 'one'; seconds++) {
    const asked = ask();
    await clock.advance(1000);
    last = wordOf(asked);
  }
  t.ok(seconds < 70, `found after ${seconds} s`);
});

await t.test('a bootstrap resolver whose answer leads nowhere does not hide the next one', async t => {
  for (const answers of ['one. 86400 A 192.0.2.66', 'one. 60 A 0.0.0.0\none. 60 AAAA ::']) {
    const { clock, network, ask } = setUp(
      [at('one')],
      { bootstrapServers: () => ['192.0.2.53', '192.0.2.54'].map(address => ({ address, port: 53 })) },
      (_name, address) => ({ answers: address === '192.0.2.53' ? answers : 'one. 60 A 192.0.2.1' }),
    );
    network.serve = (_name, { address }) => (address === '192.0.2.1' ? { answers: A } : 'refuse');
    let last: string | undefined;
    let seconds = 0;
    for (; seconds < 30 && last !== 'one'; seconds++) {
      const asked = ask();
      await clock.advance(1000);
      last = wordOf(asked);
    }
    t.ok(seconds < 10, `${answers}: ${seconds} s`);
  }
});

await t.test('an address that works stays until one of the new ones does', async t => {
  let addresses = 'one. 60 A 192.0.2.1';
  const { clock, network, ask, tested } = setUp(
    [at('one')],
    { bootstrapServers: () => [{ address: '192.0.2.53', port: 53 }] },
    () => ({ answers: addresses }),
  );
  network.serve = (_name, { address }) => (address === '192.0.2.66' ? 'refuse' : { answers: A });
  ask();
  await clock.advance(100);
  addresses = 'one. 60 A 192.0.2.66';
  for (let i = 0; i < 30; i++) {
    const asked = ask();
    await clock.advance(10_000);
    t.equal(wordOf(asked), 'one');
  }
  t.match(
    tested.overview().flatMap(each => each.addresses.map(({ address }) => address)),
    ['192.0.2.1', '192.0.2.66'],
  );
  addresses = 'one. 60 A 192.0.2.2';
  for (let i = 0; i < 10; i++) {
    const asked = ask();
    await clock.advance(10_000);
    t.equal(wordOf(asked), 'one');
  }
  t.same(
    tested.overview().flatMap(each => each.addresses.map(({ address }) => address)),
    ['192.0.2.2'],
    'it has moved',
  );
});

await t.test(
  'in cleartext, a server that answers over TCP only: every query is answered, and UDP is tried again',
  async t => {
    const { clock, network, ask, tested } = setUp([nameless('192.0.2.1')], { mode: 'off' });
    network.rttMs = 10;
    network.serve = () => ({ answers: A });
    const first = ask();
    await clock.advance(2600);
    t.equal(wordOf(first), '192.0.2.1', 'the first one after two tries over UDP');
    for (let i = 0; i < 20; i++) {
      const asked = ask(`n${i}.example`);
      await clock.advance(50);
      t.equal(wordOf(asked), '192.0.2.1', 'the others at once');
      await clock.advance(10_000);
    }
    network.datagram = () => ({ answers: A });
    ask();
    await clock.advance(61_000);
    ask();
    await clock.advance(2000);
    const streams = network.received.length;
    const last = ask('last.example');
    await clock.advance(2000);
    t.equal(wordOf(last), '192.0.2.1');
    t.equal(network.received.length, streams, 'over UDP again');
    t.equal(tested.overview()[0]?.addresses[0]?.failure, undefined);
  },
);

await t.test('in cleartext, a round trip of 1.3 s', async t => {
  const { clock, network, ask } = setUp([nameless('192.0.2.1')], { mode: 'off' }, () => ({ answers: A }));
  network.rttMs = 1300;
  network.serve = () => 'block';
  for (let i = 0; i < 10; i++) {
    const asked = ask(`n${i}.example`);
    await clock.advance(4400);
    t.equal(wordOf(asked), '192.0.2.1');
  }
});

await t.test('bootstrap over TCP: where UDP is silent, and where its answer is truncated', async t => {
  for (const over of ['silent', 'truncated']) {
    const { clock, network, ask } = setUp(
      [at('dns.example')],
      { bootstrapServers: () => [{ address: '192.0.2.53', port: 53 }] },
      () => (over === 'silent' ? undefined : { flags: 0x0200 }),
    );
    network.serve = (_name, { port }) => ({ answers: port === 53 ? 'dns.example. 300 A 192.0.2.77' : A });
    const asked = ask();
    await clock.advance(500);
    t.equal(wordOf(asked), 'dns.example', over);
    t.same(
      network.streams.filter(({ closed, target }) => target.port === 53 && !closed),
      [],
      'nothing stays open',
    );
  }
});

await t.test(
  'bootstrap: an answer in another letter case is not believed; a server that changes it is asked again',
  async t => {
    const folded = (message: Buffer): Buffer => {
      for (let i = 12; message[i] !== 0; i++) message[i] = (message[i] ?? 0) | ((message[i] ?? 0) >= 0x41 ? 0x20 : 0);
      return message;
    };
    for (const isForged of [true, false]) {
      let sends = 0;
      const { clock, network, ask } = setUp(
        [at('a-long-enough-name.example')],
        { bootstrapServers: () => [{ address: '192.0.2.53', port: 53 }] },
        undefined,
        {
          dialDatagram: async (_target, query, accept) => {
            sends++;
            const wrong = folded(responseTo(query, { answers: 'x.example. 300 A 192.0.2.66' }));
            const right = responseTo(query, { answers: 'x.example. 300 A 192.0.2.77' });
            const took = [wrong, isForged ? right : folded(right)].find(each => accept(each));
            await new Promise(resolve => setImmediate(resolve));
            return took ?? 'timeout';
          },
        },
      );
      network.serve = (_name, { port }) => (port === 53 ? 'refuse' : { answers: A });
      const asked = ask();
      await clock.advance(100);
      t.equal(wordOf(asked), 'a-long-enough-name.example');
      t.equal(network.last.target.address, isForged ? '192.0.2.77' : '192.0.2.66');
      t.equal(sends, isForged ? 2 : 4, 'A and AAAA');
    }
  },
);
