// Clients over TCP, DNS over TLS and UDP that take all they can get: none takes much memory, and others are served.

import { createSocket } from 'node:dgram';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';

import t, { type Test } from 'tap';

import { askDaemon } from '../../src/control/client.js';
import { compose } from '../../src/wire/compose.js';
import { framed, frameReader } from '../../src/wire/frame.js';
import { FLAG, HEADER_BYTES, idOf } from '../../src/wire/header.js';
import { messageToText } from '../../src/wire/message.js';
import { TYPE } from '../../src/wire/rrtype.js';
import { authority, certificate } from '../fixtures/certificates.js';
import { type At, ask, queryMessage, tryAsk } from '../fixtures/client.js';
import { answering } from '../fixtures/daemon.js';
import { dotServer } from '../fixtures/dot-server.js';
import { freePort } from '../fixtures/free-port.js';
import { startDotstub, temporaryDirectory } from '../fixtures/program.js';
import { wireName } from '../fixtures/records.js';

/** What one client may cost. */
const MOST_MIB = 16;
/** A query that waits for a flood waits for seconds. A busy machine is faster than that. */
const WORST_MS = 500;

const LARGE = wireName('large.example');
/** 59 kB of text. */
const TEXTS = Array.from({ length: 220 }, (_, i) => ({
  owner: LARGE,
  type: TYPE.TXT,
  ttlSec: 3600,
  rdata: Buffer.from(`\xff${String(i).padEnd(255, 'x')}`, 'latin1'),
}));
/** 62 kB of questions for it. */
const QUESTIONS = Buffer.concat(
  Array.from({ length: 1400 }, (_, id) => framed(queryMessage('large.example', { type: 'TXT', id }))),
);

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
    if (name.equals(LARGE)) session.reply(compose(question, { answer: TEXTS }, head).octets);
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
  const kept = (socket: Socket): Socket => {
    t.teardown(() => socket.destroy());
    return socket.on('error', () => undefined);
  };
  /** A connection from 127.0.`host`, without a handshake. */
  const open = async (to: number, host: string): Promise<Socket> => {
    const socket = kept(connect({ port: to, host: '127.0.0.1', localAddress: `127.0.${host}` }));
    await new Promise(resolve => socket.once('connect', resolve).once('close', resolve));
    return socket;
  };
  /** A session over TCP or TLS. */
  const session = async (over: Over, host = '0.1'): Promise<Socket> => {
    const socket = await open(over === 'tcp' ? port : tlsPort, host);
    if (over === 'tcp') return socket;
    const secured = kept(connectTls({ socket, rejectUnauthorized: false, ALPNProtocols: ['dot'] }));
    await new Promise(resolve => secured.once('secureConnect', resolve).once('close', resolve));
    return secured;
  };
  return {
    at,
    tlsPort,
    open,
    session,
    rssMib: () =>
      Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${daemon.child.pid ?? 0}/status`, 'utf8'))?.[1]) / 1024,
    /** Whether a client is answered over a session of its own. */
    served: async (over: Over, host: string) => rcodeOver(await session(over, host)),
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

type Over = 'tcp' | 'tls';

/** The rcode of an answer over a session; undefined: there is none in 3 s. */
async function rcodeOver(socket: Socket): Promise<string | undefined> {
  return new Promise(resolve => {
    const frames = frameReader();
    const timer = setTimeout(() => resolve(undefined), 3000);
    const done = (rcode: string | undefined): void => {
      clearTimeout(timer);
      resolve(rcode);
    };
    socket.on('data', (chunk: Buffer) => frames.push(chunk, message => done(messageToText(message)?.rcode)));
    socket.on('close', () => done(undefined));
    if (socket.destroyed) return done(undefined);
    socket.write(framed(queryMessage('www.example')));
  });
}

for (const over of ['tcp', 'tls'] as const)
  for (const [title, hosts] of [
    ['one', ['0.2']],
    ['six of one client', Array<string>(6).fill('0.2')],
    ['six of six clients', ['0.2', '0.3', '0.4', '0.5', '0.6', '0.7']],
  ] as const)
    await t.test(`sessions that pipeline 62 kB of questions for 59 kB and read nothing, ${over}: ${title}`, async t => {
      const { at, rssMib, session } = await setUp(t);
      for (let i = 0; i < 50; i++) {
        const { text } = await ask(at, 'large.example', { type: 'TXT', tcp: true });
        if (i === 0) t.equal(text.answers.length, TEXTS.length);
      }
      const before = rssMib();
      let most = before;
      const waits: number[] = [];
      for (let round = 0; round < 2; round++) {
        const greedy = await Promise.all(hosts.map(async host => session(over, host)));
        for (const each of greedy) each.pause().write(QUESTIONS);
        for (let i = 0; i < 30; i++) {
          waits.push((await ask(at, `r${round}n${i}.wild.example`)).ms);
          most = Math.max(most, rssMib());
          await sleep(20);
        }
        for (const each of greedy) each.destroy();
      }
      t.comment(
        `${before.toFixed(0)} MiB, at most ${(most - before).toFixed(1)} more; ${Math.max(...waits).toFixed()} ms`,
      );
      t.ok(most - before < MOST_MIB, `they take ${(most - before).toFixed(1)} MiB`);
      t.ok(Math.max(...waits) < WORST_MS, `misses of others take at most ${Math.max(...waits).toFixed()} ms`);
    });

/** Idle sessions from 51 addresses, 20 from each: more than there is room for. */
async function idleCrowd(opening: (host: string) => Promise<Socket>): Promise<readonly Socket[]> {
  const all: Socket[] = [];
  for (let i = 1; i <= 51; i++)
    all.push(...(await Promise.all(Array.from({ length: 20 }, async () => opening(`1.${i}`)))));
  return all;
}

for (const over of ['tcp', 'tls'] as const) {
  await t.test(`1,020 idle sessions of clients that may ask, ${over}: 32 newcomers are served over both`, async t => {
    const { at, open, served, metric, tlsPort } = await setUp(t);
    await ask(at, 'www.example');
    // Without a handshake, they count the same.
    await idleCrowd(async host => open(over === 'tcp' ? at.port : tlsPort, host));
    const filled = await metric(`dotstub_client_connections{proto="${over}"}`);
    t.ok(filled > 500, `they fill the table: ${filled}`);
    for (const each of ['tcp', 'tls'] as const)
      for (let i = 1; i <= 32; i++) t.equal(await served(each, `2.${i}`), 'NOERROR', `${each}, client ${i}`);
    t.equal(await metric('dotstub_dropped_total{reason="connections"}'), 0, 'nobody was refused');
    t.ok((await ask(at, 'a.wild.example')).ms < WORST_MS, 'UDP does not notice');
  });

  await t.test(`1,020 sessions of clients that may not ask, ${over}: none of them counts`, async t => {
    const { at, open, served, metric, tlsPort } = await setUp(t, 'access: { allow: [127.0.0.0/24] }');
    await ask(at, 'www.example');
    const crowd = await idleCrowd(async host => open(over === 'tcp' ? at.port : tlsPort, host));
    for (const each of ['tcp', 'tls'] as const)
      for (let i = 1; i <= 32; i++) t.equal(await served(each, `0.${i}`), 'NOERROR', `${each}, client ${i}`);
    t.equal(await metric('dotstub_dropped_total{reason="not_allowed"}'), crowd.length);
    t.equal(await metric('dotstub_dropped_total{reason="displaced"}'), 0, 'nobody had to make room');
    t.equal(await served(over, '1.1'), undefined);
  });
}

await t.test(
  'one client with 1,000 connections without a handshake takes 20 places, and others keep theirs',
  async t => {
    const { at, open, session, served, metric, tlsPort } = await setUp(t);
    await ask(at, 'www.example');
    const before = await session('tls', '2.1');
    const crowd = await Promise.all(Array.from({ length: 1000 }, async () => open(tlsPort, '1.1')));
    for (let i = 1; i <= 32; i++) t.equal(await served('tls', `2.${i}`), 'NOERROR', `client ${i}`);
    t.ok((await metric('dotstub_client_connections{proto="tls"}')) <= 20 + 33);
    t.equal(await rcodeOver(before), 'NOERROR', 'a session from before them is open');
    t.equal(await served('tls', '1.1'), 'NOERROR', 'and that client is served, too');
    for (const each of crowd) each.destroy();
  },
);

await t.test('a flood of one client over a slow upstream costs others nothing', async t => {
  const { at, metric } = await setUp(t);
  await ask(at, 'www.example');
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
  for (let i = 0; i < 96; i++) rcodes.push((await tryAsk(at, `m${i}.wild.example`))?.text.rcode);
  clearInterval(asking);
  t.same(new Set(rcodes), new Set(['NOERROR']), 'all 96 names of another');
  t.ok(asked > 3000, `${asked} questions`);
  t.ok(refused.length > 0, 'beyond its share there is no place to wait');
  t.match(refused[0], /"infoCode":23.*too many queries of this client/);
  t.ok((await metric('dotstub_failures_total{reason="client_overload"}')) > 0);
});
