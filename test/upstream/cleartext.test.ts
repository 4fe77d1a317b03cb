// What never goes in cleartext in opportunistic mode, and how TLS comes back.

import fc from 'fast-check';
import t from 'tap';

import { networkMemory } from '../../src/upstream/memory.js';
import { wallMs } from '../../src/base/time.js';
import { leaked } from '../fixtures/network.js';
import { responseTo } from '../fixtures/messages.js';
import { at, nameless, setUp, wordOf } from '../fixtures/pool.js';

const A = 'x.example. 60 A 192.0.2.1';
const DESIGNATED = '_dns.resolver.arpa. 600 SVCB 1 dns.example. alpn=dot port=853 ipv4hint=192.0.2.77';

/** Slow, failing and unanswered names, and others. */
const behaviour = (name: string) =>
  /^(slow|dead)/.test(name) ? 'silence' : name.startsWith('fail') ? { rcode: 2 } : { answers: A };

await t.test('as long as one server is private, none is asked in cleartext: 10,000 queries', async t => {
  for (const policy of ['ordered', 'fastest', 'round_robin', 'random', 'sharded'] as const) {
    const { clock, network, ask, tested } = setUp(
      [nameless('192.0.2.1'), nameless('192.0.2.2'), nameless('192.0.2.3')],
      { mode: 'opportunistic', policy },
    );
    network.datagram = () => ({ answers: A });
    network.serve = (name, { address }) => (address === '192.0.2.2' ? behaviour(name) : 'refuse');
    tested.prepare();
    await clock.advance(100);
    let answered = 0;
    for (let i = 0; i < 100; i++) {
      const asked = Array.from({ length: 20 }, (_, n) =>
        ask(`${['slow', 'good', 'fail', 'good', 'dead'][n] ?? 'good'}${i}-${n}.example`),
      );
      await clock.advance(50);
      answered += asked.filter(({ outcome }) => outcome?.at === 'reply').length;
    }
    await clock.advance(5000);
    t.same(leaked(network), [], policy);
    t.same(
      tested.overview().flatMap(({ addresses }) => addresses.map(({ path }) => path)),
      ['refuse', 'tls', 'refuse'],
      'and status says so',
    );
    t.equal(answered, 100 * 18, 'all but those that are never answered');
  }
});

await t.test('a healthy designated resolver: nothing goes back to port 53, whatever happens to a name', async t => {
  const { clock, network, ask, tested } = setUp(
    [nameless('192.0.2.1', { discover: true }), nameless('192.0.2.2', { discover: true })],
    { mode: 'opportunistic' },
  );
  network.datagram = name => ({ answers: name === '_dns.resolver.arpa.' ? DESIGNATED : A });
  network.serve = (name, { address }) => (address === '192.0.2.77' ? behaviour(name) : 'refuse');
  tested.prepare();
  await clock.advance(100);
  for (let i = 0; i < 200; i++) {
    for (const kind of ['slow', 'fail', 'dead', 'good']) ask(`${kind}${i}.example`);
    await clock.advance(100);
  }
  await clock.advance(5000);
  t.same(leaked(network), []);
});

await t.test('servers that come and go in any order: a name goes in cleartext only while none is private', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.tuple(fc.constantFrom('192.0.2.1', '192.0.2.2'), fc.boolean(), fc.integer({ min: 50, max: 20_000 })),
        {
          maxLength: 12,
        },
      ),
      fc.array(fc.constantFrom('slow', 'fail', 'dead', 'good'), { minLength: 1, maxLength: 8 }),
      async (changes, kinds) => {
        const { clock, network, ask, tested } = setUp([nameless('192.0.2.1'), nameless('192.0.2.2')], {
          mode: 'opportunistic',
        });
        const works = new Map([
          ['192.0.2.1', true],
          ['192.0.2.2', true],
        ]);
        let wrong = 0;
        network.datagram = name => {
          if (
            name !== '.' &&
            tested.overview().some(({ addresses }) => addresses.some(each => each.state === 'private'))
          )
            wrong++;
          return { answers: A };
        };
        network.serve = (name, { address }) => (works.get(address) === true ? behaviour(name) : 'refuse');
        tested.prepare();
        await clock.advance(100);
        for (const [address, isUp, ms] of changes) {
          works.set(address, isUp);
          if (!isUp) for (const each of network.streams) if (each.target.address === address) each.finish(true);
          for (const [i, kind] of kinds.entries()) ask(`${kind}${i}.example`);
          await clock.advance(ms);
        }
        tested.destroy();
        return wrong === 0;
      },
    ),
    { numRuns: 60 },
  );
});

await t.test(
  'anti-downgrade memory belongs to the server: blocked after a restart, at another address, or both',
  async t => {
    for (const addresses of [['192.0.2.1'], ['192.0.2.9'], ['192.0.2.8', '192.0.2.9']]) {
      const before = networkMemory(() => wallMs(0));
      before.network = 'home';
      before.prove('one');
      const memory = networkMemory(() => wallMs(0), before.save());
      memory.network = 'home';
      const { clock, network, ask } = setUp([at('one', ...addresses)], { mode: 'opportunistic' }, undefined, {
        memory,
      });
      network.datagram = () => ({ answers: A });
      network.serve = () => 'refuse';
      for (let i = 0; i < 14; i++) {
        ask();
        await clock.advance(2000);
      }
      t.same(leaked(network), [], addresses.join(' '));
    }
  },
);

await t.test('what 0.1 remembered about one address of a server holds for the server', t => {
  const saved = JSON.stringify({
    version: 1,
    proofs: [
      ['home\none 192.0.2.1 853', 1],
      ['home\nfe80::1%eth0 fe80::1%eth0 853', 1],
    ],
  });
  const memory = networkMemory(() => wallMs(2), saved);
  memory.network = 'home';
  t.ok(memory.proved('one'));
  t.ok(memory.proved('fe80::1%eth0'));
  t.notOk(memory.proved('two'));
  t.end();
});

await t.test('a proved resolver that is blocked is not replaced by another one in cleartext at once', async t => {
  const { clock, network, ask, memory } = setUp([nameless('192.0.2.1'), nameless('192.0.2.2')], {
    mode: 'opportunistic',
  });
  network.datagram = () => ({ answers: A });
  network.serve = () => 'refuse';
  memory.prove('192.0.2.1');
  for (let i = 0; i < 14; i++) {
    ask();
    await clock.advance(2000);
  }
  t.same(leaked(network), []);
  for (let i = 0; i < 8; i++) {
    ask();
    await clock.advance(2000);
  }
  t.not(leaked(network).length, 0, 'after half a minute it counts as blocked');
});

await t.test('a forged answer that designates nobody does not end a resolver that works', async t => {
  let designates = true;
  const { clock, network, ask, tested } = setUp([nameless('192.0.2.1', { discover: true })], { mode: 'opportunistic' });
  network.datagram = name =>
    name === '_dns.resolver.arpa.' ? { answers: designates ? DESIGNATED : '' } : { answers: A };
  network.serve = (_name, { address }) => (address === '192.0.2.77' ? { answers: A } : 'refuse');
  tested.prepare();
  await clock.advance(100);
  designates = false;
  for (let i = 0; i < 90; i++) {
    ask();
    await clock.advance(10_000);
  }
  t.same(leaked(network), []);
});

await t.test('after an outage of everything, TLS is back with the first success over port 53', async t => {
  const { clock, network, ask, tested } = setUp([nameless('192.0.2.1'), nameless('192.0.2.2')], {
    mode: 'opportunistic',
  });
  network.datagram = () => ({ answers: A });
  network.serve = () => ({ answers: A });
  tested.prepare();
  await clock.advance(100);
  // The router restarts.
  network.datagram = undefined;
  network.serve = () => 'refuse';
  for (const each of network.streams) each.finish(true);
  for (let seconds = 0; seconds < 120; seconds += 5) {
    ask();
    await clock.advance(5000);
  }
  t.match(tested.overview(), [{ addresses: [{ state: 'failed' }] }, { addresses: [{ state: 'failed' }] }]);
  const [shown] = tested.overview().flatMap(({ addresses }) => addresses);
  t.ok((shown?.cleartextMs ?? 0) > 100_000, 'it shows for how long its queries have gone in cleartext');
  network.datagram = () => ({ answers: A });
  network.serve = () => ({ answers: A });
  const first = ask();
  await clock.advance(1000);
  t.equal(first.outcome?.at, 'reply');
  const second = ask();
  await clock.advance(50);
  t.match(second.outcome, { protocol: 'dot' });
  t.ok(tested.overview().every(({ addresses }) => addresses.every(each => each.cleartextMs === undefined)));
});

await t.test('lost datagrams are no outage: a server without TLS is not connected to again and again', async t => {
  const { clock, network, ask } = setUp([nameless('192.0.2.1')], { mode: 'opportunistic' });
  network.serve = () => 'refuse';
  for (let i = 0; i < 300; i++) {
    network.datagram = i % 3 === 0 ? undefined : () => ({ answers: A });
    ask(`n${i}.example`);
    await clock.advance(200);
  }
  t.ok(network.streams.length <= 12, `${network.streams.length} in a minute`);
});

await t.test('0x20: names go over UDP in random letter case, and only answers that repeat it are believed', async t => {
  const sent: string[] = [];
  const { clock, network, ask, count } = setUp([nameless('192.0.2.1')], { mode: 'off' });
  network.serve = () => 'refuse';
  const questionIn = (query: Buffer): string => query.toString('latin1', 12, query.indexOf(0, 12));
  network.datagram = (name, _address, query) => {
    if (name !== '.') sent.push(questionIn(query));
    return { answers: A };
  };
  for (let i = 0; i < 20; i++) {
    const asked = ask('a-long-enough-name.example');
    await clock.advance(10);
    const [question] = asked.outcome?.at === 'reply' ? [questionIn(asked.outcome.message)] : [];
    t.equal(question, '\x12a-long-enough-name\x07example', 'the client gets its own letter case');
  }
  t.equal(new Set(sent).size, 20, 'another one each time');
  t.equal(new Set(sent.map(each => each.toLowerCase())).size, 1);
  t.equal(count('upstreamError', '192.0.2.1', 'case_mismatch'), 0);
});

await t.test('0x20: a forged answer in another letter case is not believed, the true one is', async t => {
  const { clock, ask, count } = setUp([nameless('192.0.2.1')], { mode: 'off' }, undefined, {
    dialDatagram: async (_target, query, accept) => {
      const answer = responseTo(query, { answers: A });
      const forged = Buffer.from(answer);
      // Small letters only, as a forger would guess.
      for (let i = 12; forged[i] !== 0; i++) forged[i] = (forged[i] ?? 0) | ((forged[i] ?? 0) >= 0x41 ? 0x20 : 0);
      const took = [forged, answer].find(each => accept(each));
      await new Promise(resolve => setImmediate(resolve));
      return took ?? 'timeout';
    },
  });
  for (let i = 0; i < 20; i++) {
    const asked = ask(`name-number-${i}.example`);
    await clock.advance(10);
    t.equal(wordOf(asked), '192.0.2.1');
  }
  t.not(count('upstreamError', '192.0.2.1', 'case_mismatch'), 0);
});

await t.test('0x20: a server that does not repeat the letter case is found out at once, and asked without', async t => {
  let datagrams = 0;
  const { clock, ask } = setUp([nameless('192.0.2.1')], { mode: 'off' }, undefined, {
    dialDatagram: async (_target, query, accept) => {
      datagrams++;
      const answer = responseTo(query, { answers: A });
      for (let i = 12; answer[i] !== 0; i++) answer[i] = (answer[i] ?? 0) | ((answer[i] ?? 0) >= 0x41 ? 0x20 : 0);
      const took = accept(answer);
      await new Promise(resolve => setImmediate(resolve));
      return took ? answer : await new Promise(resolve => void clock.after(1000, () => resolve('timeout')));
    },
  });
  for (let i = 0; i < 10; i++) {
    const asked = ask(`name-number-${i}.example`);
    await clock.advance(10);
    t.equal(wordOf(asked), '192.0.2.1', 'no time is lost');
  }
  t.equal(datagrams, 11, 'one query more');
});
