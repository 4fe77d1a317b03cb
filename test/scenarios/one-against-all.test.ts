// Clients over TCP, DNS over TLS and UDP that take all they can get: none takes much memory, and others are served.

import { createSocket } from 'node:dgram';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import t, { type Test } from 'tap';

import { askDaemon } from '../../src/control/client.js';
import { compose } from '../../src/wire/compose.js';
import { FLAG, HEADER_BYTES, idOf } from '../../src/wire/header.js';
import { messageToText } from '../../src/wire/message.js';
import { TYPE } from '../../src/wire/rrtype.js';
import { authority, certificate } from '../fixtures/certificates.js';
import { type At, ask, queryMessage, tryAsk } from '../fixtures/client.js';
import { Crowd, isAnswered, LARGE, TEXTS } from '../fixtures/crowd.js';
import { answering } from '../fixtures/daemon.js';
import { dotServer } from '../fixtures/dot-server.js';
import { freePort } from '../fixtures/free-port.js';
import { warmed } from '../fixtures/memory.js';
import { startDotstub, temporaryDirectory } from '../fixtures/program.js';
import { wireName } from '../fixtures/records.js';

/** What one client may cost. */
const MOST_MIB = 16;
/** A query that waits for a flood waits for many seconds. A busy machine is faster than that. */
const WORST_MS = 3000;

const LARGE_NAME = wireName(LARGE);
const RECORDS = TEXTS.map(text => ({
  owner: LARGE_NAME,
  type: TYPE.TXT,
  ttlSec: 3600,
  rdata: Buffer.from(`\xff${text}`, 'latin1'),
}));

const others = answering();
const ca = authority();
const directory = temporaryDirectory();
const own = certificate({ common: 'x', names: ['router.test'], issuer: ca });
writeFileSync(join(directory.path, 'ca.pem'), ca.cert);
writeFileSync(join(directory.path, 'cert.pem'), own.cert);
writeFileSync(join(directory.path, 'key.pem'), own.key);
/** How long names below slow.example take. */
const SLOW_MS = 1500;
const SLOW = Buffer.from('\x04slow\x07example\0', 'latin1');
const server = await dotServer({
  identity: certificate({ common: 'x', names: ['dns.test'], issuer: ca }),
  handler(query, session) {
    const end = query.indexOf(0, HEADER_BYTES) + 1;
    const question = query.subarray(HEADER_BYTES, end + 4);
    const name = query.subarray(HEADER_BYTES, end);
    const head = { id: idOf(query), flags: FLAG.RA | FLAG.RD };
    if (name.equals(LARGE_NAME)) session.reply(compose(question, { answer: RECORDS }, head).octets);
    else if (name.includes(SLOW)) setTimeout(() => session.reply(compose(question, {}, head).octets), SLOW_MS);
    else others(query, session);
  },
});
t.teardown(async () => {
  await server.close();
  directory.remove();
});

/** A daemon of its own, whose memory is that of nothing else. */
async function setUp(t: Test, access = '') {
  const [port, tlsPort] = [await freePort(), await freePort()];
  const daemon = await startDotstub(`
listen: ["127.0.0.1:${port}"]
listen_tls:
  addresses: ["127.0.0.1:${tlsPort}"]
  certificate: ${join(directory.path, 'cert.pem')}
  key: ${join(directory.path, 'key.pem')}
metrics: { listen: "off" }
state_directory: ${directory.path}
${access}
upstream:
  mode: strict
  ca_file: ${join(directory.path, 'ca.pem')}
  servers: [{ name: dns.test, addresses: ["127.0.0.1:${server.port}"] }]`);
  t.teardown(async () => daemon.stop());
  const at: At = { address: '127.0.0.1', port };
  return {
    at,
    crowd: new Crowd(t, { ports: { tcp: port, tls: tlsPort }, pid: daemon.child.pid ?? 0 }),
    /** The value of a series. */
    async metric(series: string): Promise<number> {
      const reply = await askDaemon(daemon.controlSocket, { command: 'metrics', args: [] });
      if (!reply.ok) throw new Error(reply.problem);
      return Number(
        reply.text
          .split('\n')
          .find(each => each.startsWith(`${series} `))
          ?.split(' ')
          .at(-1) ?? 0,
      );
    },
  };
}

/** Asks for names that nobody has asked for, one after another. Returns the milliseconds. */
async function misses(at: At, pauseMs: number): Promise<number[]> {
  const waits: number[] = [];
  for (let i = 0; i < 60; i++) {
    waits.push((await ask(at, `before${i}.wild.example`)).ms);
    await sleep(pauseMs);
  }
  return waits;
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;

/** Says how much longer misses take beside one that takes all it can get. */
function compared(t: Test, quiet: readonly number[], beside: readonly number[]): void {
  const [before, now] = [median(quiet), median(beside)];
  t.comment(
    `misses of others: median ${before.toFixed(2)} ms, beside it ${now.toFixed(2)} ms: ${(now / before).toFixed(2)} times; worst ${Math.max(...beside).toFixed(1)} ms`,
  );
}

for (const over of ['tcp', 'tls'] as const) {
  for (const [title, hosts] of [
    ['one', ['0.2']],
    ['six of one client', Array<string>(6).fill('0.2')],
    ['six of six clients', ['0.2', '0.3', '0.4', '0.5', '0.6', '0.7']],
  ] as const)
    await t.test(`sessions that pipeline 62 kB of questions for 59 kB and read nothing, ${over}: ${title}`, async t => {
      const { at, crowd } = await setUp(t);
      t.equal((await ask(at, LARGE, { type: 'TXT', tcp: true })).text.answers.length, TEXTS.length);
      await warmed(async () => ask(at, LARGE, { type: 'TXT', tcp: true }));
      const quiet = await misses(at, 20);
      const waits: number[] = [];
      const grown = await crowd.greedy(over, hosts, async () =>
        waits.push((await ask(at, `n${waits.length}.wild.example`)).ms),
      );
      compared(t, quiet, waits);
      t.ok(grown < MOST_MIB, `they take ${grown.toFixed(1)} MiB`);
      t.ok(Math.max(...waits) < WORST_MS, `misses of others take at most ${Math.max(...waits).toFixed()} ms`);
    });

  await t.test(`1,020 idle sessions of clients that may ask, ${over}: 32 newcomers are served over both`, async t => {
    const { at, crowd, metric } = await setUp(t);
    await ask(at, 'www.example');
    // Without a handshake, they count the same.
    await crowd.silent(over);
    const filled = await metric(`dotstub_client_connections{proto="${over}"}`);
    t.ok(filled > 300, `they fill the table: ${filled}`);
    for (const each of ['tcp', 'tls'] as const) t.equal(await crowd.served(each, '2'), 32, each);
    t.equal(await metric('dotstub_dropped_total{reason="connections"}'), 0, 'nobody was refused');
    t.ok((await ask(at, 'a.wild.example')).ms < WORST_MS, 'UDP does not notice');
  });

  await t.test(`1,020 sessions of clients that may not ask, ${over}: none of them counts`, async t => {
    const { at, crowd, metric } = await setUp(t, 'access: { allow: [127.0.0.0/24] }');
    await ask(at, 'www.example');
    const silent = await crowd.silent(over);
    for (const each of ['tcp', 'tls'] as const) t.equal(await crowd.served(each, '0'), 32, each);
    t.equal(await metric('dotstub_dropped_total{reason="not_allowed"}'), silent.length);
    t.equal(await metric('dotstub_dropped_total{reason="displaced"}'), 0, 'nobody had to make room');
    t.notOk(await crowd.isServed(over, '1.1'));
  });
}

await t.test(
  'one client with 1,000 connections without a handshake takes 20 places, and others keep theirs',
  async t => {
    const { at, crowd, metric } = await setUp(t);
    await ask(at, 'www.example');
    const before = await crowd.session('tls', '2.100');
    await Promise.all(Array.from({ length: 1000 }, async () => crowd.open('tls', '1.1')));
    t.equal(await crowd.served('tls', '2'), 32);
    t.ok((await metric('dotstub_client_connections{proto="tls"}')) <= 20 + 33);
    t.ok(await isAnswered(before), 'a session from before them is open');
    t.ok(await crowd.isServed('tls', '1.1'), 'and that client is served, too');
  },
);

await t.test('a flood of one client over a slow upstream costs others nothing', async t => {
  const { at, metric } = await setUp(t);
  await ask(at, 'www.example');
  const quiet = await misses(at, 0);
  const flood = createSocket('udp4');
  await new Promise<void>(resolve => flood.bind(0, '127.0.0.2', resolve));
  t.teardown(() => flood.close());
  const refused: string[] = [];
  flood.on('message', message => {
    const text = messageToText(message);
    if (text?.rcode === 'SERVFAIL') refused.push(JSON.stringify(text.extendedErrors));
  });
  let asked = 0;
  const asking = setInterval(() => {
    for (let i = 0; i < 100; i++) flood.send(queryMessage(`n${asked++}.slow.example`), at.port, at.address);
  }, 20);
  t.teardown(() => clearInterval(asking));
  await sleep(1200);
  const rcodes: (string | undefined)[] = [];
  const waits: number[] = [];
  for (let i = 0; i < 96; i++) {
    const told = await tryAsk(at, `m${i}.wild.example`);
    rcodes.push(told?.text.rcode);
    waits.push(told?.ms ?? Infinity);
  }
  clearInterval(asking);
  compared(t, quiet, waits);
  t.same(new Set(rcodes), new Set(['NOERROR']), 'all 96 names of another');
  t.ok(asked > 3000, `${asked} questions`);
  t.ok(refused.length > 0, 'beyond its share there is no place to wait');
  t.match(refused[0], /"infoCode":23.*too many queries of this client/);
  t.ok((await metric('dotstub_failures_total{reason="client_overload"}')) > 0);
});
