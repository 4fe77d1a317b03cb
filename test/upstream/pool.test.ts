// Scripted conversations: the pool with everything below it, over a network and a clock that the test plays.

import t from 'tap';

import type { DialTarget } from '../../src/base/ports.js';
import { findOption, OPTION } from '../../src/wire/edns.js';
import { optOf } from '../../src/wire/scan.js';
import { networkMemory } from '../../src/upstream/memory.js';
import { queryMessage } from '../fixtures/client.js';
import { responseTo } from '../fixtures/messages.js';
import type { Reaction } from '../fixtures/network.js';
import { at, setUp } from '../fixtures/pool.js';

const A = 'x.example. 60 A 192.0.2.1';
/** Servers that answer, and resolvers that refuse TCP. */
const allBut53 = (_name: string, { port }: DialTarget): Reaction => (port === 53 ? 'refuse' : { answers: A });

await t.test('a query waits for the handshake, and is answered', async t => {
  const { clock, network, ask, count } = setUp([at('one', '192.0.2.1')]);
  const asked = ask();
  await clock.advance(10);
  t.same(network.last.target, {
    address: '192.0.2.1',
    port: 853,
    security: { at: 'authenticated', name: 'one', pins: [], pinPolicy: 'pin_and_pkix' },
  });
  t.equal(network.last.queries.length, 0, 'nothing is sent before the server has proved itself');
  network.last.accept();
  network.last.queries.length = 0;
  await clock.advance(10);
  network.last.answer({ answers: A });
  await clock.advance(1);
  t.match(asked.outcome, { at: 'reply', server: { label: 'one' }, protocol: 'dot', scan: { rcode: 0, ttlSec: 60 } });
  t.equal(count('upstreamConnect', 'one'), 1);
});

await t.test('many queries share one connection, and are answered in any order', async t => {
  const { clock, network, ask } = setUp([at('one', '192.0.2.1')]);
  const names = ['a.example', 'b.example', 'c.example'];
  const asked = names.map(name => ask(name));
  await clock.advance(1);
  network.last.accept();
  await clock.advance(1);
  for (const name of [...names].reverse()) network.last.answer({ answers: A }, `${name}.`);
  await clock.advance(1);
  t.ok(asked.every(({ outcome }) => outcome?.at === 'reply'));
  t.equal(network.streams.length, 1);
});

await t.test(
  'a connection is kept warm for a minute after the last query, then closed; the next query opens a new one',
  async t => {
    const { clock, network, ask, count } = setUp([at('one', '192.0.2.1')]);
    network.serve = () => ({ answers: A });
    ask();
    await clock.advance(7900);
    t.same(network.last.asked, ['x.example.']);
    await clock.advance(50_000);
    t.notOk(network.last.closed);
    t.same([...new Set(network.last.asked)], ['x.example.', '.'], 'nothing but the root is asked for that');
    await clock.advance(15_000);
    t.ok(network.last.closed);
    t.equal(count('upstreamClose', 'one', 'client_idle'), 1);
    const again = ask();
    await clock.advance(10);
    t.equal(again.outcome?.at, 'reply');
    t.equal(network.streams.length, 2);
  },
);

await t.test(
  'the server closes with queries in flight: all are asked again at once, the server is not blamed',
  async t => {
    const { clock, network, ask, count, tested } = setUp([at('one', '192.0.2.1')]);
    const asked = Array.from({ length: 50 }, (_, i) => ask(`n${i}.example`));
    await clock.advance(1);
    const [first] = network.streams;
    first?.accept();
    await clock.advance(1);
    first?.answer({ answers: A });
    first?.finish(true);
    await clock.advance(1);
    t.equal(network.streams.length, 2, 'one new connection');
    network.serve = () => ({ answers: A });
    network.last.accept();
    await clock.advance(1);
    for (const query of network.last.queries.splice(0)) network.last.send(responseTo(query, { answers: A }));
    await clock.advance(1);
    t.equal(asked.filter(({ outcome }) => outcome?.at === 'reply').length, 50);
    t.equal(count('replay'), 49);
    t.ok(tested.ready);
  },
);

await t.test('a query is sent three times at most', async t => {
  const { clock, network, ask } = setUp([at('one', '192.0.2.1')]);
  network.serve = name => (name === '' ? {} : 'close');
  const asked = ask();
  await clock.advance(100);
  t.match(asked.outcome, { at: 'failure', code: 'closed' });
  t.ok(network.streams.length <= 3, `${network.streams.length} connections`);
});

await t.test('a server that cannot be reached: the next is asked at once', async t => {
  const { clock, network, ask, log } = setUp([at('one', '192.0.2.1'), at('two', '192.0.2.2')]);
  network.serve = (_name, { address }) => (address === '192.0.2.1' ? 'refuse' : { answers: A });
  const asked = ask();
  await clock.advance(50);
  t.match(asked.outcome, { at: 'reply', server: { label: 'two' } });
  t.match(log.lines.join('\n'), /one \(192\.0\.2\.1\): the connection could not be made: refused/);
  const again = ask();
  await clock.advance(50);
  t.match(again.outcome, { at: 'reply', server: { label: 'two' } });
  t.equal(
    network.streams.filter(({ target }) => target.address === '192.0.2.1').length,
    1,
    'one is left alone for a while',
  );
});

await t.test('an unreachable server is tried again after its back-off', async t => {
  const { clock, network, ask } = setUp([at('one', '192.0.2.1'), at('two', '192.0.2.2')]);
  network.serve = (_name, { address }) => (address === '192.0.2.1' ? 'refuse' : { answers: A });
  ask();
  await clock.advance(1500);
  network.serve = () => ({ answers: A });
  const beside = ask();
  await clock.advance(50);
  t.match(beside.outcome, { at: 'reply', server: { label: 'two' } }, 'no query waits for the attempt');
  const again = ask();
  await clock.advance(50);
  t.match(again.outcome, { at: 'reply', server: { label: 'one' } });
});

await t.test(
  'with every server down a query fails at once, with the reason; a second later they are tried again',
  async t => {
    const { clock, network, ask, tested } = setUp([at('one', '192.0.2.1'), at('two', '192.0.2.2')]);
    network.serve = () => 'refuse';
    const first = ask();
    await clock.advance(50);
    t.match(first.outcome, { at: 'failure', code: 'connect', detail: 'refused' });
    t.notOk(tested.ready);
    // Back-off grows, but a trial a second stays.
    for (let i = 0; i < 8; i++) {
      ask();
      await clock.advance(1000);
    }
    const dialled = network.streams.length;
    network.serve = () => ({ answers: A });
    const back = ask();
    await clock.advance(50);
    t.equal(back.outcome?.at, 'reply', 'the first query after the outage is answered');
    t.ok(dialled < 25, `${dialled} trials in 8 s`);
    t.ok(tested.ready);
  },
);

await t.test('SERVFAIL and REFUSED: one other server is asked, once', async t => {
  const { clock, network, ask } = setUp([at('one', '192.0.2.1'), at('two', '192.0.2.2'), at('three', '192.0.2.3')]);
  network.serve = (_name, { address }) => (address === '192.0.2.2' ? { answers: A } : { rcode: 2 });
  const asked = ask();
  await clock.advance(50);
  t.match(asked.outcome, { at: 'reply', server: { label: 'two' }, scan: { rcode: 0 } });
  network.serve = () => ({ rcode: 5 });
  const refused = ask();
  await clock.advance(50);
  t.match(refused.outcome, { at: 'reply', scan: { rcode: 5 } }, 'the others agree: that is the answer');
  t.same(
    network.streams.filter(({ target }) => target.address === '192.0.2.3').flatMap(each => each.asked),
    [],
    'the third was never asked',
  );
});

await t.test('a server that is slow: another is asked beside it, and the first answer counts', async t => {
  const { clock, network, ask } = setUp([at('one', '192.0.2.1'), at('two', '192.0.2.2')]);
  network.serve = (_name, { address }) => (address === '192.0.2.1' ? 'silence' : { answers: A });
  const asked = ask();
  await clock.advance(2000);
  t.match(asked.outcome, { at: 'reply', server: { label: 'two' } });
});

await t.test(
  'a connection gone silent: its queries are asked over a second one within a second or so, and it is cut at 3 s',
  async t => {
    const { clock, network, ask, count } = setUp([at('one', '192.0.2.1')]);
    network.serve = () => ({ answers: A });
    ask();
    await clock.advance(100);
    network.serve = (_name, target) => (target === network.streams[0]?.target ? 'silence' : { answers: A });
    const asked = ask();
    await clock.advance(1100);
    t.match(asked.outcome, { at: 'reply' });
    t.equal(count('hedge'), 1);
    t.equal(network.streams.length, 2);
    const next = ask();
    await clock.advance(20);
    t.equal(next.outcome?.at, 'reply', 'the suspect connection is not used for new queries');
    await clock.advance(2100);
    t.ok(network.streams[0]?.closed);
    t.equal(count('upstreamClose', 'one', 'silent'), 1);
  },
);

await t.test('one of many never answered: the others are, and the connection lives while it is heard from', async t => {
  const { clock, network, ask } = setUp([at('one', '192.0.2.1')]);
  network.serve = name => (name === 'never.example.' ? 'silence' : { answers: A });
  const never = ask('never.example');
  for (let i = 0; i < 100; i++) {
    const asked = ask(`n${i}.example`);
    await clock.advance(50);
    if (asked.outcome?.at !== 'reply') t.fail(`${i} was not answered`);
  }
  t.match(never.outcome, { at: 'failure', code: 'timeout' });
  t.equal(network.streams.length, 1);
  t.notOk(network.streams[0]?.closed);
});

await t.test('no server answers: SERVFAIL at 4.5 s, before the client gives up at 5 s', async t => {
  const { clock, network, ask } = setUp([at('one', '192.0.2.1'), at('two', '192.0.2.2')]);
  network.serve = name => (name === '' ? {} : 'silence');
  const asked = ask();
  await clock.advance(3000);
  t.equal(asked.outcome, undefined);
  await clock.advance(1550);
  t.match(asked.outcome, { at: 'failure', code: 'timeout', detail: /one, two|stopped answering/ });
});

await t.test('wrong id, wrong question, malformed and duplicate replies are dropped and counted', async t => {
  const { clock, network, ask, count } = setUp([at('one', '192.0.2.1')]);
  const asked = ask();
  await clock.advance(1);
  network.last.accept();
  await clock.advance(1);
  const [query = Buffer.alloc(0)] = network.last.queries;
  const right = responseTo(query, { answers: A });
  const wrongId = Buffer.from(right);
  wrongId.writeUInt16BE((right.readUInt16BE(0) + 1) & 0xffff, 0);
  network.last.send(wrongId);
  network.last.send(responseTo(queryMessage('other.example', { id: query.readUInt16BE(0) }), { answers: A }));
  network.last.send(Buffer.from([1, 2, 3]));
  await clock.advance(1);
  t.equal(asked.outcome, undefined);
  network.last.send(right);
  network.last.send(right);
  await clock.advance(1);
  t.equal(asked.outcome?.at, 'reply');
  t.equal(count('upstreamError', 'one', 'id_mismatch'), 3, 'wrong id, too short, duplicate');
  t.equal(count('upstreamError', 'one', 'question_mismatch'), 1);
  t.notOk(network.last.closed);
});

await t.test('an answer that cannot be parsed: another server is asked, else SERVFAIL', async t => {
  const { clock, network, ask } = setUp([at('one', '192.0.2.1')]);
  const asked = ask();
  await clock.advance(1);
  network.last.accept();
  await clock.advance(1);
  const [query = Buffer.alloc(0)] = network.last.queries;
  network.last.send(Buffer.concat([responseTo(query, { answers: A }), Buffer.from([0])]));
  await clock.advance(1);
  t.match(asked.outcome, { at: 'failure', code: 'parse', detail: 'one' });
});

await t.test('strict: whatever happens, no datagram with a client name', async t => {
  const { clock, network, ask } = setUp([at('one', '192.0.2.1')]);
  for (const behaviour of ['refuse', 'close', 'silence'] as const) {
    network.serve = () => behaviour;
    ask();
    await clock.advance(5000);
  }
  t.same(network.datagrams, []);
  t.ok(network.streams.every(({ target }) => target.security.at === 'authenticated'));
});

await t.test('opportunistic: cleartext at once, TLS as soon as it is known to work', async t => {
  const { clock, network, ask, count } = setUp([{ ...at('', '192.0.2.1'), label: '192.0.2.1', name: undefined }], {
    mode: 'opportunistic',
  });
  network.serve = () => ({ answers: A });
  network.datagram = () => ({ answers: A });
  const first = ask();
  await clock.advance(10);
  t.match(first.outcome, { protocol: 'udp' });
  t.match(network.last.target, { security: { at: 'encrypted' } });
  const second = ask();
  await clock.advance(10);
  t.match(second.outcome, { protocol: 'dot' });
  t.equal(count('cleartext', 'opportunistic'), 1);
});

await t.test('opportunistic: TLS fails, cleartext serves, and TLS is tried again later', async t => {
  const { clock, network, ask } = setUp([{ ...at('', '192.0.2.1'), label: '192.0.2.1', name: undefined }], {
    mode: 'opportunistic',
  });
  network.serve = () => 'refuse';
  network.datagram = () => ({ answers: A });
  ask();
  await clock.advance(1000);
  ask();
  await clock.advance(1000);
  t.equal(network.streams.length, 1);
  await clock.advance(75_000);
  network.serve = () => ({ answers: A });
  ask();
  await clock.advance(10);
  const later = ask();
  await clock.advance(10);
  t.match(later.outcome, { protocol: 'dot' });
});

await t.test('mode off: cleartext only; a truncated answer is fetched over TCP', async t => {
  const { clock, network, ask, count } = setUp([{ ...at('', '192.0.2.1'), label: '192.0.2.1', name: undefined }], {
    mode: 'off',
  });
  network.serve = () => ({ answers: A });
  network.datagram = () => ({ flags: 0x0200 });
  const asked = ask();
  await clock.advance(10);
  t.match(asked.outcome, { protocol: 'tcp', scan: { answers: 1 } });
  t.match(network.last.target, { port: 53, security: { at: 'cleartext' } });
  t.equal(count('cleartext', 'off'), 2, 'over UDP and over TCP');
});

await t.test('bootstrap: a name without addresses is looked up there, and only its name', async t => {
  const { clock, network, ask, count } = setUp(
    [at('dns.example')],
    { bootstrapServers: () => [{ address: '192.0.2.53', port: 53 }] },
    name => (name === 'dns.example.' ? { answers: 'dns.example. 300 A 192.0.2.77' } : undefined),
  );
  network.serve = () => ({ answers: A });
  const asked = ask();
  await clock.advance(50);
  t.match(asked.outcome, { at: 'reply', server: { label: 'dns.example' } });
  t.equal(network.last.target.address, '192.0.2.77');
  t.same(
    network.datagrams.map(({ name, address, type }) => `${name} ${type} @${address}`),
    ['dns.example. A @192.0.2.53', 'dns.example. AAAA @192.0.2.53'],
  );
  t.equal(count('cleartext', 'bootstrap'), 2);
});

await t.test('a link-local address that a resolver tells is on the link of the resolver', async t => {
  const { clock, network, ask, memory } = setUp(
    [at('dns.example')],
    { bootstrapServers: () => [{ address: 'fe80::53%eth0', port: 53 }] },
    (_name, _address, query) =>
      query.includes(Buffer.from([0, 28, 0, 1])) ? { answers: 'dns.example. 60 AAAA fe80::1' } : {},
  );
  network.serve = () => ({ answers: A });
  const asked = ask();
  await clock.advance(50);
  t.match(asked.outcome, { at: 'reply' });
  t.equal(network.last.target.address, 'fe80::1%eth0');
  const saved = networkMemory(() => clock.wallMs(), memory.save());
  t.same(saved.recall('dns.example'), ['fe80::1%eth0'], 'and is remembered so');

  const designated = setUp(
    [{ ...at('', 'fe80::53%eth0'), label: 'fe80::53%eth0', name: undefined, discover: true }],
    { mode: 'opportunistic' },
    (name, _address, query) =>
      name === '_dns.resolver.arpa.'
        ? { answers: '_dns.resolver.arpa. 600 SVCB 1 dns.example. alpn=dot' }
        : query.includes(Buffer.from([0, 28, 0, 1]))
          ? { answers: 'dns.example. 60 AAAA fe80::54' }
          : {},
  );
  designated.tested.prepare();
  await designated.clock.advance(50);
  t.match(designated.network.streams.find(({ target }) => target.address === 'fe80::54%eth0')?.target, {
    security: { at: 'authenticated', designatedBy: { address: 'fe80::53%eth0' } },
  });
});

await t.test('bootstrap fails: the addresses of last time serve, and have to prove the name all the same', async t => {
  const { clock, network, ask, memory } = setUp([at('dns.example')], {
    bootstrapServers: () => [{ address: '192.0.2.53', port: 53 }],
  });
  network.serve = allBut53;
  memory.remember('dns.example', ['192.0.2.77']);
  const asked = ask();
  await clock.advance(50);
  t.match(asked.outcome, { at: 'reply' });
  t.match(network.last.target, { address: '192.0.2.77', security: { at: 'authenticated', name: 'dns.example' } });
});

await t.test('bootstrap fails: queries fail with the reason, and it is tried again a second later', async t => {
  const { clock, network, ask } = setUp([at('dns.example')], {
    bootstrapServers: () => [{ address: '192.0.2.53', port: 53 }],
  });
  network.serve = allBut53;
  const asked = ask();
  await clock.advance(100);
  t.match(asked.outcome, { at: 'failure', code: 'bootstrap', detail: '192.0.2.53 did not answer for dns.example' });
  network.datagram = () => ({ answers: 'dns.example. 300 A 192.0.2.77' });
  await clock.advance(1000);
  const again = ask();
  await clock.advance(50);
  t.equal(again.outcome?.at, 'reply');
});

await t.test('bootstrap: a daemon that starts before its network gets ready by itself, without a query', async t => {
  const { clock, network, tested } = setUp([at('dns.example')], {
    bootstrapServers: () => [{ address: '192.0.2.53', port: 53 }],
  });
  await clock.advance(20_000);
  t.notOk(tested.ready);
  t.ok(network.datagrams.length < 40, `${network.datagrams.length} questions in 20 s`);
  network.datagram = () => ({ answers: 'dns.example. 300 A 192.0.2.77' });
  await clock.advance(20_000);
  t.ok(tested.ready);
});

await t.test(
  'bootstrap: an expired address is looked up again, without dropping the connection that works',
  async t => {
    const { clock, network, ask } = setUp(
      [at('dns.example')],
      { bootstrapServers: () => [{ address: '192.0.2.53', port: 53 }] },
      name => (name === 'dns.example.' ? { answers: 'dns.example. 61 A 192.0.2.77' } : undefined),
    );
    network.serve = () => ({ answers: A });
    ask();
    for (let i = 0; i < 70; i++) {
      await clock.advance(1000);
      ask();
    }
    await clock.advance(10);
    t.equal(network.datagrams.length, 4, 'two searches');
    t.equal(network.streams.length, 1);
  },
);

await t.test(
  'B17 row 8: started without a network, queries wait 4.2 s, fail with the reason, and are answered once there is one',
  async t => {
    const { clock, network, ask, tested } = setUp([at('one', '192.0.2.1'), at('two', '192.0.2.2')]);
    network.serve = () => 'refuse';
    tested.prepare();
    await clock.advance(100);
    const early = ask();
    await clock.advance(4100);
    t.equal(early.outcome, undefined, 'held');
    await clock.advance(200);
    t.match(early.outcome, { at: 'failure', code: 'connect', detail: 'refused' });
    const held = ask();
    await clock.advance(1000);
    network.serve = () => ({ answers: A });
    await clock.advance(1100);
    t.equal(held.outcome?.at, 'reply', "found by itself, within about a second of the network's return");
    t.ok(network.streams.length < 30, `${network.streams.length} trials`);
    network.serve = () => 'refuse';
    network.last.finish(true);
    await clock.advance(10);
    const outage = ask();
    await clock.advance(200);
    t.match(outage.outcome, { at: 'failure' }, 'an outage later is told at once');
  },
);

await t.test('half a minute after the start without success queries fail at once', async t => {
  const { clock, network, ask, tested } = setUp([at('one', '192.0.2.1')]);
  network.serve = () => 'refuse';
  tested.prepare();
  await clock.advance(31_000);
  const late = ask();
  await clock.advance(200);
  t.match(late.outcome, { at: 'failure' });
});

await t.test(
  'B17 row 4: everything down for ten minutes, then back: the first query after that is answered',
  async t => {
    const { clock, network, ask } = setUp([at('one', '192.0.2.1'), at('two', '192.0.2.2')]);
    network.serve = () => ({ answers: A });
    ask();
    await clock.advance(100);
    network.serve = () => 'refuse';
    network.last.finish(true);
    for (let i = 0; i < 200; i++) {
      ask();
      await clock.advance(3000);
    }
    const dialled = network.streams.length;
    network.serve = () => ({ answers: A });
    const back = ask();
    await clock.advance(1500);
    t.equal(back.outcome?.at, 'reply');
    t.ok(dialled < 450, `${dialled} trials in ten minutes`);
  },
);

await t.test('prepared: connected before anybody asks', async t => {
  const { clock, network, ask, tested } = setUp([at('one', '192.0.2.1'), at('two', '192.0.2.2')]);
  network.serve = () => ({ answers: A });
  tested.prepare();
  await clock.advance(10);
  t.equal(network.streams.length, 2);
  ask();
  await clock.advance(10);
  t.equal(network.streams.length, 2);
});

await t.test(
  'the network changes: what is in flight is asked again at once over new connections, and back-off is forgotten',
  async t => {
    const { clock, network, ask, tested } = setUp([at('one', '192.0.2.1'), at('two', '192.0.2.2')]);
    network.serve = (_name, { address }) => (address === '192.0.2.1' ? {} : 'refuse');
    ask();
    await clock.advance(100);
    network.serve = () => 'silence';
    const caught = ask();
    await clock.advance(10);
    const [old] = network.streams;
    network.serve = () => ({ answers: A });
    tested.networkChanged('network');
    await clock.advance(20);
    t.equal(caught.outcome?.at, 'reply', 'not a second is waited on the old connection');
    t.ok(old?.closed);
    t.ok(
      network.streams.filter(({ target }) => target.address === '192.0.2.2').length >= 1,
      'the one in back-off is tried too',
    );
  },
);

await t.test(
  'opportunistic: after sleep TLS is still known to work; on another network it has to show that again',
  async t => {
    const { clock, network, ask, count, tested } = setUp(
      [{ ...at('', '192.0.2.1'), label: '192.0.2.1', name: undefined }],
      { mode: 'opportunistic' },
    );
    network.datagram = () => ({ answers: A });
    network.serve = () => ({ answers: A });
    tested.prepare();
    await clock.advance(50);
    tested.networkChanged('resume');
    const resumed = ask();
    await clock.advance(50);
    t.match(resumed.outcome, { protocol: 'dot' });
    network.serve = () => 'silence';
    tested.networkChanged('network');
    await clock.advance(10);
    // The probe of before ends with its connection, and that is no failure of this network's.
    network.serve = () => ({ answers: A });
    tested.networkChanged('network');
    const elsewhere = ask();
    await clock.advance(50);
    t.match(elsewhere.outcome, { protocol: 'udp' });
    const soon = ask();
    await clock.advance(50);
    t.match(soon.outcome, { protocol: 'dot' });
    t.equal(count('upstreamError', '192.0.2.1'), 0);
  },
);

await t.test('other servers: those that stay keep their connection, the others finish and go', async t => {
  const { clock, network, ask, spec, tested } = setUp([at('one', '192.0.2.1'), at('two', '192.0.2.2')]);
  network.serve = () => ({ answers: A });
  tested.prepare();
  await clock.advance(10);
  tested.configure({ ...spec, servers: [at('two', '192.0.2.2'), at('three', '192.0.2.3')] });
  await clock.advance(10);
  t.same(
    network.streams.map(({ target: { address }, closed }) => `${address} ${closed ? 'closed' : 'open'}`),
    ['192.0.2.1 closed', '192.0.2.2 open', '192.0.2.3 open'],
  );
  const asked = ask();
  await clock.advance(10);
  t.match(asked.outcome, { at: 'reply', server: { label: 'two' } });
  tested.configure({ ...spec, servers: [] });
  const nobody = ask();
  await clock.advance(10);
  t.match(nobody.outcome, { at: 'failure', code: 'no_upstream' });
});

await t.test(
  'B17 row 1: a server that closes idle connections costs no query anything, and is closed first the next time',
  async t => {
    const { clock, network, ask, count } = setUp([at('one', '192.0.2.1')]);
    network.serve = name => (name === '.' ? 'silence' : { answers: A });
    ask();
    await clock.advance(5000);
    network.last.finish();
    const asked = ask();
    await clock.advance(10);
    t.equal(asked.outcome?.at, 'reply');
    t.equal(network.streams.length, 2);
    network.serve = () => ({ answers: A });
    await clock.advance(4050);
    t.equal(
      network.last.asked.filter(name => name === '.').length,
      1,
      'kept warm after 4 s, a second before the server would close',
    );
    t.equal(count('upstreamError', 'one'), 0, 'nobody is to blame');
  },
);

await t.test(
  'B17 row 2: reset with 50 queries in flight: 50 answers, each sent twice at most, one new connection',
  async t => {
    const { clock, network, ask } = setUp([at('one', '192.0.2.1')]);
    network.serve = name => (name === '' ? {} : 'silence');
    const asked = Array.from({ length: 50 }, (_, i) => ask(`n${i}.example`));
    await clock.advance(10);
    network.serve = () => ({ answers: A });
    network.streams[0]?.finish(true);
    await clock.advance(20);
    t.equal(asked.filter(({ outcome }) => outcome?.at === 'reply').length, 50);
    t.equal(network.streams.length, 2);
  },
);

await t.test('a server that says it closes at once (RFC 7828 §3.2.2) is asked over a new connection', async t => {
  const { clock, network, ask } = setUp([at('one', '192.0.2.1')]);
  network.serve = () => ({ answers: A, options: [{ code: 11, data: Buffer.from([0, 0]) }] });
  ask();
  await clock.advance(10);
  t.ok(network.last.closed);
  const again = ask();
  await clock.advance(10);
  t.equal(again.outcome?.at, 'reply');
  t.equal(network.streams.length, 2);
});

await t.test('a server that says how long it keeps idle connections is taken at its word', async t => {
  const { clock, network, ask } = setUp([at('one', '192.0.2.1')]);
  network.serve = () => ({ answers: A, options: [{ code: 11, data: Buffer.from([0, 30]) }] });
  ask();
  await clock.advance(1900);
  t.notOk(network.last.asked.includes('.'));
  await clock.advance(200);
  t.ok(network.last.asked.includes('.'), 'kept warm after 2 s of the 3');
});

await t.test('many queries in flight: a second connection, and no third', async t => {
  const { clock, network, ask } = setUp([at('one', '192.0.2.1')]);
  network.serve = name => (name === '' ? {} : 'silence');
  ask();
  await clock.advance(5);
  for (let i = 0; i < 300; i++) {
    ask(`n${i}.example`);
    if (i % 20 === 0) await clock.advance(1);
  }
  t.equal(network.streams.length, 2);
});

await t.test('handshakes are rare: 10,000 queries at 200/s take at most 2 connections', async t => {
  const { clock, network, ask } = setUp([at('one', '192.0.2.1')]);
  network.serve = () => ({ answers: A });
  let answered = 0;
  for (let i = 0; i < 1000; i++) {
    const asked = Array.from({ length: 10 }, (_, n) => ask(`n${i}-${n}.example`));
    await clock.advance(50);
    answered += asked.filter(({ outcome }) => outcome?.at === 'reply').length;
  }
  t.equal(answered, 10_000);
  t.ok(network.streams.length <= 2, `${network.streams.length} connections`);
});

await t.test(
  'an address that takes long to connect to: the next one is asked too, a quarter of a second later',
  async t => {
    const { clock, network, ask } = setUp([at('one', '192.0.2.1', '2001:db8::1')]);
    const asked = ask();
    await clock.advance(200);
    t.equal(network.streams.length, 1);
    await clock.advance(120);
    t.equal(network.last.target.address, '2001:db8::1');
    network.last.accept();
    await clock.advance(1);
    network.last.answer({ answers: A });
    await clock.advance(1);
    t.equal(asked.outcome?.at, 'reply');
  },
);

await t.test(
  'opportunistic: a server that connects but does not answer over TLS is not trusted with queries',
  async t => {
    const { clock, network, ask, log } = setUp([{ ...at('', '192.0.2.1'), label: '192.0.2.1', name: undefined }], {
      mode: 'opportunistic',
    });
    network.datagram = () => ({ answers: A });
    network.serve = name => (name === '.' ? { rcode: 2 } : {});
    ask();
    await clock.advance(50);
    const asked = ask();
    await clock.advance(50);
    t.match(asked.outcome, { protocol: 'udp' });
    t.match(log.lines.join('\n'), /TLS connects, but queries are not answered; its queries go in cleartext meanwhile/);
  },
);

await t.test('opportunistic: a server that worked fails: cleartext at once, TLS again a second later', async t => {
  const { clock, network, ask } = setUp([{ ...at('', '192.0.2.1'), label: '192.0.2.1', name: undefined }], {
    mode: 'opportunistic',
  });
  network.datagram = () => ({ answers: A });
  network.serve = () => ({ answers: A });
  ask();
  await clock.advance(50);
  network.serve = () => 'refuse';
  network.last.finish(true);
  const lost = ask();
  await clock.advance(50);
  t.equal(lost.outcome?.at, 'reply');
  const plain = ask();
  await clock.advance(50);
  t.match(plain.outcome, { protocol: 'udp' });
  network.serve = () => ({ answers: A });
  await clock.advance(2500);
  ask();
  await clock.advance(50);
  const back = ask();
  await clock.advance(50);
  t.match(back.outcome, { protocol: 'dot' });
});

await t.test(
  'opportunistic: where a server has proved itself before, port 853 blocked means no answer for half a minute, not cleartext',
  async t => {
    const { clock, network, ask, memory } = setUp([at('one', '192.0.2.1')], { mode: 'opportunistic' });
    network.datagram = () => ({ answers: A });
    network.serve = () => 'refuse';
    memory.prove('one');
    for (let i = 0; i < 14; i++) {
      const asked = ask();
      await clock.advance(2000);
      t.equal(asked.outcome?.at, 'failure', `${2 * i} s`);
    }
    t.same(network.datagrams, []);
    for (let i = 0; i < 6; i++) {
      ask();
      await clock.advance(2000);
    }
    const asked = ask();
    await clock.advance(100);
    t.match(asked.outcome, { protocol: 'udp' }, 'a network that really lets nothing through is served all the same');
  },
);

await t.test(
  "RFC 9462: a resolver that names a DNS-over-TLS server is followed there, if that proves the resolver's address",
  async t => {
    const said =
      '_dns.resolver.arpa. 600 SVCB 1 dns.example. alpn=dot port=8853 ipv4hint=192.0.2.77\n_dns.resolver.arpa. 600 SVCB 2 doh.example. alpn=h2 ipv4hint=192.0.2.78';
    const { clock, network, ask, count, log, tested } = setUp(
      [{ ...at('', '192.0.2.1'), label: '192.0.2.1', name: undefined, discover: true }],
      { mode: 'opportunistic' },
      name => ({ answers: name === '_dns.resolver.arpa.' ? said : A }),
    );
    network.serve = (_name, { address }) => (address === '192.0.2.77' ? { answers: A } : 'refuse');
    tested.prepare();
    await clock.advance(50);
    const found = network.streams.find(({ target }) => target.address === '192.0.2.77');
    t.match(found?.target, {
      port: 8853,
      security: { at: 'authenticated', name: undefined, designatedBy: { address: '192.0.2.1', name: 'dns.example' } },
    });
    t.notOk(
      network.streams.some(({ target }) => target.address === '192.0.2.78'),
      'HTTPS without a path cannot be asked',
    );
    const asked = ask();
    await clock.advance(50);
    t.match(asked.outcome, { protocol: 'dot' });
    t.match(log.lines.join('\n'), /192\.0\.2\.1 designates 192\.0\.2\.77 for DNS over TLS/);
    t.equal(count('cleartext', 'probe'), 1);
    t.equal(count('cleartext', 'opportunistic'), 0);
    network.serve = () => 'refuse';
    for (const each of network.streams) each.finish(true);
    await clock.advance(50);
    for (let seconds = 0; seconds < 30; seconds += 2) {
      ask();
      await clock.advance(2000);
    }
    t.equal(count('cleartext', 'opportunistic'), 0, 'it has proved itself: no name goes in cleartext at once');
    for (let seconds = 0; seconds < 20; seconds += 2) {
      ask();
      await clock.advance(2000);
    }
    const without = ask();
    await clock.advance(500);
    t.match(without.outcome, { protocol: 'udp' }, 'where it stays away, the resolver itself serves');
  },
);

await t.test('RFC 7873: a server that shows cookies has to go on showing ours, until it falls silent', async t => {
  const { clock, network, ask } = setUp([{ ...at('', '192.0.2.1'), label: '192.0.2.1', name: undefined }], {
    mode: 'off',
  });
  const SERVER = Buffer.from('5e5e5e5e5e5e5e5e', 'hex');
  const shown: string[] = [];
  const cookieIn = (query: Buffer): Buffer => {
    const opt = optOf(query);
    return (opt && findOption(opt, OPTION.COOKIE)) ?? Buffer.alloc(0);
  };
  const answering =
    (change: (cookie: Buffer) => Buffer | undefined) => (_name: string, _address: string, query: Buffer) => {
      const cookie = cookieIn(query);
      shown.push(cookie.toString('hex'));
      const reply = change(cookie.subarray(0, 8));
      return { answers: A, options: reply === undefined ? [] : [{ code: OPTION.COOKIE, data: reply }] };
    };
  const outcome = async () => {
    const asked = ask();
    await clock.advance(50);
    return asked.outcome?.at === 'reply' ? 'reply' : asked.outcome?.code;
  };
  network.datagram = answering(() => undefined);
  t.equal(await outcome(), 'reply', 'who knows no cookies needs none');
  network.datagram = answering(own => Buffer.concat([own, SERVER]));
  t.equal(await outcome(), 'reply');
  t.equal(await outcome(), 'reply');
  t.match(shown, [/^.{16}$/, /^.{16}$/, /^.{16}5e5e5e5e5e5e5e5e$/], 'what it gave is shown the next time');
  t.equal(new Set(shown.map(each => each.slice(0, 16))).size, 1);
  network.datagram = answering(() => Buffer.concat([Buffer.alloc(8, 1), SERVER]));
  t.equal(await outcome(), 'timeout', 'a forger does not know ours');
  network.datagram = answering(own => Buffer.concat([own, SERVER]));
  t.equal(await outcome(), 'reply');
  let sends = 0;
  network.datagram = (name, ...more) => {
    // The server is also asked for the root.
    if (name !== '.') sends++;
    return answering(() => undefined)(name, ...more);
  };
  t.equal(await outcome(), 'reply', 'the first answer without one is ignored, and the second send doubts');
  t.equal(sends, 2);
});

await t.test('RFC 7873 §5.3: BADCOOKIE is asked again with the cookie that came with it', async t => {
  const { clock, network, ask } = setUp([{ ...at('', '192.0.2.1'), label: '192.0.2.1', name: undefined }], {
    mode: 'off',
  });
  let sends = 0;
  network.datagram = (_name, _address, query) => {
    const opt = optOf(query);
    const cookie = (opt && findOption(opt, OPTION.COOKIE)) ?? Buffer.alloc(8);
    const options = [{ code: OPTION.COOKIE, data: Buffer.concat([cookie.subarray(0, 8), Buffer.alloc(8, 0x5e)]) }];
    sends++;
    return cookie.length === 16 ? { answers: A, options } : { rcode: 23, options };
  };
  const asked = ask();
  await clock.advance(50);
  t.match(asked.outcome, { at: 'reply', scan: { rcode: 0 } });
  t.equal(sends, 2);
});

await t.test('cleartext: a server that knows no EDNS is asked without (RFC 6891 §6.2.2)', async t => {
  const { clock, network, ask, count } = setUp([{ ...at('', '192.0.2.1'), label: '192.0.2.1', name: undefined }], {
    mode: 'off',
  });
  network.datagram = (_name, _address, query) => (query.readUInt16BE(10) > 0 ? { rcode: 1 } : { answers: A });
  const asked = ask();
  await clock.advance(50);
  t.match(asked.outcome, { at: 'reply', scan: { rcode: 0 } });
  t.equal(count('cleartext', 'off'), 3, 'with options, with an empty OPT, without');
  t.equal(count('cleartext', 'probe'), 1, 'the root was asked with EDNS: it is no matter of one question');
  ask();
  await clock.advance(50);
  t.equal(count('cleartext', 'off'), 4, 'from then on it is asked without at once');
});

await t.test('closing: no more questions are taken', async t => {
  const { clock, network, ask, tested } = setUp([at('one', '192.0.2.1')]);
  network.serve = () => ({ answers: A });
  ask();
  await clock.advance(10);
  tested.close();
  tested.close();
  const late = ask();
  await clock.advance(10);
  t.match(late.outcome, { code: 'handed_back' });
  tested.destroy();
  tested.destroy();
  t.ok(network.last.closed);
});

await t.test('each answer counts as its own connection was authenticated, the server as all of them were', async t => {
  for (const provedFirst of [true, false]) {
    const { clock, network, ask, tested } = setUp([at('one', '192.0.2.1')], { mode: 'encrypted' });
    // So many queries that a second connection is opened.
    const asked = Array.from({ length: 50 }, (_, i) => ask(`n${i}.example`));
    await clock.advance(1);
    network.shows = { authenticated: provedFirst };
    network.last.accept();
    await clock.advance(1);
    asked.push(ask('last.example'));
    await clock.advance(1);
    network.shows = { authenticated: !provedFirst };
    network.last.accept();
    await clock.advance(1);
    t.equal(network.streams.length, 2);
    for (const { queries, answer } of network.streams) while (queries.length > 0) answer({ answers: A });
    await clock.advance(1);
    for (const [i, { outcome }] of asked.entries()) {
      const isFirst = i < 50;
      t.match(outcome, { at: 'reply', authenticated: isFirst === provedFirst }, `${provedFirst}, ${i}`);
    }
    t.match(tested.overview(), [{ addresses: [{ authenticated: false }] }]);
    network.streams[provedFirst ? 1 : 0]?.finish();
    await clock.advance(1);
    const [server] = tested.overview();
    t.match(server?.addresses, [{ authenticated: !provedFirst }], 'the last handshake decides again');
  }
});
