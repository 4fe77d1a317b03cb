// Which way a server is asked: over TLS, or over HTTPS while port 853 cannot be reached.

import t from 'tap';

import type { FailureCode } from '../../src/base/outcome.js';
import { FAILURES, failure } from '../../src/base/outcome.js';
import type { Mode } from '../../src/base/overview.js';
import { monoMs } from '../../src/base/time.js';
import type { ServerSpec } from '../../src/upstream/server.js';
import { bothFailed, isUnreachable, probing, toHttps } from '../../src/upstream/transport-choice.js';
import { at, type AskedQuestion, setUp, wordOf } from '../fixtures/pool.js';

await t.test('port 853 is tried again after 1 s, then after twice as long, and at least every 30 s', t => {
  const why = failure('connect', 'refused');
  let choice = toHttps(why, monoMs(0));
  const waits = [choice.probeAtMs];
  for (let i = 0; i < 40; i++) {
    const nowMs = choice.probeAtMs;
    choice = probing(choice, nowMs);
    waits.push(monoMs(choice.probeAtMs - nowMs));
  }
  t.same(waits.slice(0, 7), [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
  t.ok(waits.slice(7).every(each => each === 30_000));
  t.equal(choice.why, why, 'the cause is kept');
  t.end();
});

await t.test('failures to reach the server open the other way, and failures of a reached one do not', t => {
  const open = (Object.keys(FAILURES) as FailureCode[]).filter(isUnreachable);
  t.same(open.toSorted(), ['closed', 'connect', 'connect_timeout', 'timeout', 'tls_alert', 'tls_verify']);
  t.match(bothFailed(failure('connect', 'port 853: refused'), failure('http', 'status 404')), {
    code: 'connect',
    detail: 'port 853: refused; over HTTPS: status 404',
  });
  t.end();
});

const https = { host: undefined, port: 443, path: '/dns-query' };
const server = (more: Partial<ServerSpec> = {}): ServerSpec => ({ ...at('one', '192.0.2.1'), https, ...more });

/** A network whose ports 853 and 443 can be blocked. */
function blockable(mode: Mode = 'strict', servers: readonly ServerSpec[] = [server()]) {
  const one = setUp(servers, { mode });
  const blocked = new Map<number, 'block' | 'refuse' | 'silence'>();
  one.network.serve = (_, { port }) => blocked.get(port) ?? { answers: 'x.example 60 A 192.0.2.80' };
  const protocol = (asked: AskedQuestion): string =>
    asked.outcome?.at === 'reply' ? asked.outcome.protocol : (wordOf(asked) ?? 'waiting');
  return {
    ...one,
    blocked,
    /** Asks, waits, and says over what the answer came. */
    async over(ms = 20): Promise<string> {
      const asked = one.ask();
      await one.clock.advance(ms);
      return protocol(asked);
    },
    protocol,
    get address() {
      return one.tested.overview()[0]?.addresses[0];
    },
    streams: (port: number) => one.network.streams.filter(({ target }) => target.port === port),
  };
}

await t.test('while port 853 works, no connection over HTTPS is opened', async t => {
  const one = blockable();
  for (let i = 0; i < 5; i++) t.equal(await one.over(), 'dot');
  await one.clock.advance(60_000);
  t.equal(one.streams(443).length, 0);
  t.match(one.address, { transport: 'dot', transportReason: undefined });
});

await t.test('port 853 is refused: the query itself is answered over HTTPS, by the same identity', async t => {
  const one = blockable();
  one.blocked.set(853, 'refuse');
  t.equal(await one.over(50), 'https');
  t.match(one.streams(443)[0]?.target, {
    address: '192.0.2.1',
    alpn: 'h2',
    security: { at: 'authenticated', name: 'one', pins: [], pinPolicy: 'pin_and_pkix' },
  });
  t.match(one.address, { state: 'private', path: 'tls', transport: 'https', authenticated: true });
  t.match(one.address?.transportReason, /the connection could not be made: refused/);
  t.equal(one.network.datagrams.length, 0, 'nothing goes in cleartext');
  t.equal(one.log.lines.filter(line => /over HTTPS, port 443; port 853 cannot be used: /.test(line)).length, 1);
  t.equal(one.count('upstreamQuery', 'one', 'https'), 1);
});

await t.test('port 853 drops packets: HTTPS is tried after half a second, and answers', async t => {
  const one = blockable();
  one.blocked.set(853, 'block');
  const asked = one.ask();
  await one.clock.advance(450);
  t.equal(one.streams(443).length, 0, 'not yet');
  await one.clock.advance(150);
  t.equal(one.protocol(asked), 'https');
  t.equal(await one.over(), 'https', 'and then all queries go there at once');
});

await t.test('many addresses whose port 853 drops packets: no query is lost while that is found out', async t => {
  const addresses = ['192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.4'].map(address => ({ address, port: 853 }));
  for (const policy of ['ordered', 'fastest', 'round_robin'] as const) {
    const one = setUp([server({ addresses })], { policy });
    one.network.serve = name => (name === '' ? 'block' : { answers: 'x.example 60 A 192.0.2.80' });
    const asked = Array.from({ length: 20 }, () => one.ask());
    // Handshakes over HTTPS take 300 ms.
    const accepted = new Set<unknown>();
    for (let ms = 0; ms < 2500; ms += 100) {
      const begun = one.network.streams.filter(each => each.target.port === 443 && !accepted.has(each));
      await one.clock.advance(300);
      for (const each of begun) {
        accepted.add(each);
        each.accept();
      }
      await one.clock.advance(50);
    }
    t.same([...new Set(asked.map(({ outcome }) => outcome?.at === 'reply' && outcome.protocol))], ['https'], policy);
  }
});

await t.test(
  'a slow handshake over port 853 that comes first is preferred, and the other connection is closed',
  async t => {
    const one = blockable();
    one.blocked.set(853, 'block').set(443, 'block');
    const asked = one.ask();
    await one.clock.advance(700);
    t.equal(one.streams(443).length, 1);
    one.blocked.clear();
    one.streams(853)[0]?.accept();
    await one.clock.advance(20);
    t.equal(one.protocol(asked), 'dot');
    t.equal(one.streams(443)[0]?.closed, true);
    t.same(one.streams(443)[0]?.asked, []);
  },
);

await t.test('an open connection that goes dead: answered over HTTPS within 3 s of the block', async t => {
  const one = blockable();
  t.equal(await one.over(), 'dot');
  one.blocked.set(853, 'block');
  const asked = one.ask();
  let ms = 0;
  while (one.protocol(asked) === 'waiting' && ms < 4000) {
    await one.clock.advance(50);
    ms += 50;
  }
  t.equal(one.protocol(asked), 'https');
  t.ok(ms < 2000, `${ms} ms`);
  t.equal(one.network.datagrams.length, 0);
});

await t.test('port 853 is tried beside the queries, and queries go back as soon as it answers', async t => {
  const one = blockable();
  one.blocked.set(853, 'refuse');
  await one.over(50);
  for (let s = 0; s < 120; s++) t.equal(await one.over(1000), 'https', 'no query waits for a probe');
  const tries = one.streams(853).length;
  t.ok(tries >= 7 && tries <= 10, `${tries} tries in two minutes`);
  one.blocked.delete(853);
  let s = 0;
  while ((await one.over(1000)) === 'https') s++;
  t.ok(s <= 31, `back after ${s} s`);
  t.match(one.address, { transport: 'dot', transportReason: undefined, state: 'private', authenticated: true });
  await one.clock.advance(100);
  t.ok(
    one.streams(443).every(each => each.closed),
    'HTTPS is left',
  );
  t.equal(one.log.lines.filter(line => /port 853 works again/.test(line)).length, 1);
});

await t.test('a port 853 that lets only handshakes through is not gone back to', async t => {
  const one = blockable();
  one.blocked.set(853, 'refuse');
  await one.over(50);
  one.blocked.set(853, 'silence');
  for (let s = 0; s < 60; s++) t.equal(await one.over(1000), 'https');
  const tries = one.streams(853).filter(({ asked }) => asked.length > 0);
  t.ok(tries.length > 3, 'it is tried');
  t.ok(
    tries.every(({ asked }) => asked[0] === 'x.example.'),
    'with a question that the server has just answered over HTTPS',
  );
});

await t.test(
  'somebody else answers on port 853: the same proof is asked for over HTTPS, and no name leaves before it',
  async t => {
    const one = setUp([server({ pins: ['a pin'], pinPolicy: 'pin_and_pkix' })]);
    const asked = one.ask();
    await one.clock.advance(10);
    const [dot] = one.network.streams;
    dot?.refuse('tls_verify', 'the certificate is for gateway.example, not for one');
    await one.clock.advance(10);
    t.match(one.network.last.target, { alpn: 'h2', security: { at: 'authenticated', name: 'one', pins: ['a pin'] } });
    t.same(one.network.last.asked, []);
    one.network.last.refuse('tls_verify', 'the certificate is for gateway.example, not for one');
    await one.clock.advance(5000);
    t.equal(wordOf(asked), 'tls_verify');
    t.match(
      one.tested.overview()[0]?.addresses[0]?.failure,
      /authenticated: the certificate is for gateway\.example.*; over HTTPS: .*the certificate is for gateway\.example/,
    );
    t.same(
      one.network.streams.flatMap(stream => stream.asked),
      [],
      'nobody has seen the name',
    );
    t.equal(one.network.datagrams.length, 0);
  },
);

await t.test('another network: port 853 is tried at once', async t => {
  const one = blockable();
  one.blocked.set(853, 'refuse');
  await one.over(50);
  one.blocked.clear();
  one.tested.networkChanged('network');
  await one.clock.advance(20);
  t.equal(await one.over(), 'dot');
});

await t.test('both ways fail: the words name both causes, and nothing goes in cleartext', async t => {
  const one = blockable();
  one.blocked.set(853, 'refuse').set(443, 'refuse');
  const asked = one.ask();
  await one.clock.advance(5000);
  t.equal(one.protocol(asked), 'connect');
  t.match(one.address, { state: 'failed', failure: /refused; over HTTPS: .*refused/ });
  t.equal(one.network.datagrams.length, 0);
  one.blocked.delete(443);
  await one.clock.advance(2000);
  t.equal(await one.over(800), 'https', 'and each of them may come back');
});

await t.test('without the option the cause is told, and the option that helps', async t => {
  const one = blockable('strict', [server({ https: undefined })]);
  one.blocked.set(853, 'refuse');
  await one.over(50);
  t.match(one.address?.failure, /refused$/);
  t.match(one.address?.hint, /^if this network blocks port 853, set upstream\.servers\[\]\.https/);
  t.match(one.log.lines.join('\n'), /upstream\.servers\[\]\.https/);
  const network = blockable('opportunistic', [server({ https: undefined, discover: true })]);
  network.blocked.set(853, 'refuse');
  await network.over(50);
  t.notMatch(network.address?.failure, /https/, "a resolver of the system's cannot have it");
});

await t.test('opportunistic mode: HTTPS is preferred to cleartext', async t => {
  const one = blockable('opportunistic');
  one.network.datagram = () => ({ answers: 'x.example 60 A 192.0.2.80' });
  one.blocked.set(853, 'refuse');
  await one.over(50);
  t.equal(await one.over(), 'https');
  t.match(one.address, { transport: 'https', state: 'private' });
});

await t.test('a URL for HTTPS has its own host and port', async t => {
  const one = blockable('strict', [server({ https: { host: 'doh.one', port: 8443, path: '/q' } })]);
  one.blocked.set(853, 'refuse');
  t.equal(await one.over(50), 'https');
  t.match(one.streams(8443)[0]?.target, { security: { name: 'doh.one' } });
});

await t.test('closing leaves no timer and no connection, whatever way was in use', async t => {
  for (const how of ['close', 'destroy'] as const) {
    const one = blockable();
    one.blocked.set(853, 'refuse');
    await one.over(50);
    one.tested[how]();
    await one.clock.advance(50);
    t.ok(
      one.network.streams.every(each => each.closed),
      how,
    );
    const before = one.network.streams.length;
    await one.clock.advance(120_000);
    t.equal(one.network.streams.length, before, 'nothing is opened any more');
    t.equal(one.clock.pending, 0);
  }
});

/** A resolver of the system's, which designates others. `blocked`: addresses and ports that are refused. */
function designating(said: readonly string[]) {
  const blocked = new Set<string>();
  const one = setUp(
    [{ ...at('', '192.0.2.1'), label: '192.0.2.1', name: undefined, discover: true }],
    { mode: 'opportunistic' },
    name => ({
      answers:
        name === '_dns.resolver.arpa.'
          ? said.map(each => `_dns.resolver.arpa. 600 SVCB ${each}`).join('\n')
          : 'x.example 60 A 192.0.2.80',
    }),
  );
  one.network.serve = (_, { address, port }) =>
    blocked.has(`${address} ${port}`) ? 'refuse' : { answers: 'x.example 60 A 192.0.2.80' };
  return {
    ...one,
    blocked,
    async over(): Promise<string> {
      const asked = one.ask();
      await one.clock.advance(100);
      return asked.outcome?.at === 'reply' ? asked.outcome.protocol : (wordOf(asked) ?? 'waiting');
    },
    dialled: () => one.network.streams.map(({ target }) => `${target.address} ${target.port} ${target.alpn ?? 'dot'}`),
  };
}
const DOHPATH = `key7=${Buffer.from('/dns-query{?dns}').toString('hex')}`;

await t.test('RFC 9462: designated HTTPS is used where designated DNS over TLS cannot be reached', async t => {
  const one = designating([
    '1 dns.example. alpn=dot ipv4hint=192.0.2.77',
    `2 doh.example. alpn=h2 ${DOHPATH} ipv4hint=192.0.2.78`,
  ]);
  one.blocked.add('192.0.2.1 853');
  one.tested.prepare();
  await one.clock.advance(100);
  t.equal(await one.over(), 'dot');
  t.notOk(one.dialled().includes('192.0.2.78 443 h2'), 'not before');
  t.match(one.log.lines.join('\n'), /192\.0\.2\.1 designates 192\.0\.2\.77 for DNS over TLS or HTTPS/);
  one.blocked.add('192.0.2.77 853');
  for (const each of one.network.streams) each.finish(true);
  t.equal(await one.over(), 'https');
  const found = one.network.streams.find(({ target }) => target.port === 443);
  t.match(
    found?.target.security,
    { at: 'authenticated', name: undefined, designatedBy: { address: '192.0.2.1', name: 'doh.example' } },
    'with the same proof',
  );
});

await t.test('RFC 9462: a resolver that designates only HTTPS is asked over that', async t => {
  const one = designating([`1 doh.example. alpn=h2 port=8443 ${DOHPATH} ipv4hint=192.0.2.78`]);
  one.blocked.add('192.0.2.1 853');
  one.tested.prepare();
  await one.clock.advance(100);
  t.equal(await one.over(), 'https');
  t.notOk(
    one.dialled().some(each => each.startsWith('192.0.2.78') && each.endsWith('dot')),
    'and over nothing else',
  );
});

await t.test(
  'RFC 9462: a resolver that designates HTTPS at its own address is asked there while 853 is blocked',
  async t => {
    const one = designating([`1 dns.example. alpn=dot,h2 ${DOHPATH} ipv4hint=192.0.2.1`]);
    one.tested.prepare();
    await one.clock.advance(100);
    t.equal(await one.over(), 'dot');
    t.equal(one.dialled().filter(each => each === '192.0.2.1 853 dot').length, 1, 'there is one connection');
    one.blocked.add('192.0.2.1 853');
    for (const each of one.network.streams) each.finish(true);
    t.equal(await one.over(), 'https');
    one.memory.network = 'elsewhere';
    one.tested.networkChanged('network');
    one.blocked.add('192.0.2.1 443');
    await one.clock.advance(100);
    t.equal(await one.over(), 'udp', 'on another network nothing is known');
  },
);
