// What Android's resolver does with Private DNS "automatic", by a script: a probe at port 853 of the resolver of the network, then
// queries over few connections that are resumed. Against the program as it runs.

import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { setTimeout as sleep } from 'node:timers/promises';

import t from 'tap';

import { plainQuery, questionOf } from '../../src/wire/compose.js';
import { PADDING_BLOCK, writeOpt } from '../../src/wire/edns.js';
import { framed, frameReader } from '../../src/wire/frame.js';
import { FLAG } from '../../src/wire/header.js';
import { messageToText } from '../../src/wire/message.js';
import { TYPE } from '../../src/wire/rrtype.js';
import { certificate } from '../fixtures/certificates.js';
import { ask } from '../fixtures/client.js';
import { answering } from '../fixtures/daemon.js';
import { dotServer } from '../fixtures/dot-server.js';
import { freePort } from '../fixtures/free-port.js';
import { startDotstub } from '../fixtures/program.js';
import { wireName } from '../fixtures/records.js';
import { bench } from '../fixtures/servers.js';
import { until } from '../fixtures/until.js';

const HOST = '127.0.0.1';
/** How long the server thinks about names that begin with "slow". */
const SLOW_MS = 300;
const ZONE = `
  example.       3600 SOA  ns.example. hostmaster.example. 1 7200 3600 1209600 300
  www.example.    300 A    192.0.2.80
  slow.example.   300 A    192.0.2.81
  *.wild.example. 300 A    192.0.2.99
  gstatic.com.   3600 SOA  ns.gstatic.com. hostmaster.gstatic.com. 1 7200 3600 1209600 300
  *.metric.gstatic.com. 300 AAAA 2001:db8::1
`;

const on = bench(t);
const answer = answering(ZONE);
const server = await dotServer({
  identity: certificate({ common: 'x', names: ['dns.test'], issuer: on.ca }),
  handler(query, session) {
    if (query.includes('slow')) setTimeout(() => answer(query, session), SLOW_MS);
    else answer(query, session);
  },
});
on.onEnd(async () => server.close());
const [plain, port] = [await freePort(), await freePort()];
const daemon = await startDotstub(`
listen: ["${HOST}:${plain}"]
listen_tls: { addresses: ["${HOST}:${port}"], certificate: ${on.certFile}, key: ${on.keyFile} }
metrics: { listen: off }
special_names: { forward: [test] }
upstream: { ca_file: ${on.caFile}, servers: [{ name: dns.test, addresses: ["${HOST}:${server.port}"] }] }
`);
on.onEnd(async () => void (await daemon.stop()));

/** A query as its resolver writes it, padded to 128 octets (RFC 8467 §4.1). */
function paddedQuery(id: number, name: string): Buffer {
  const query = plainQuery(id, FLAG.RD, questionOf(wireName(name), TYPE.A));
  query[11] = 1;
  const opt = writeOpt({ dnssecOk: false, options: [] }, [query.length, PADDING_BLOCK.query]);
  return Buffer.concat([query, opt]);
}

/** A connection. In automatic mode no certificate is verified, and sessions are resumed. */
interface Session {
  readonly socket: TLSSocket;
  /** In the order of arrival. */
  readonly replies: Buffer[];
  readonly tickets: Buffer[];
  readonly ended: () => boolean;
}
async function session(ticket?: Buffer, over?: Socket): Promise<Session> {
  const replies: Buffer[] = [];
  const tickets: Buffer[] = [];
  const frames = frameReader();
  let ended = false;
  const socket = connectTls({
    ...{ host: HOST, port, rejectUnauthorized: false, minVersion: 'TLSv1.2', ALPNProtocols: ['dot'] },
    ...{ allowHalfOpen: true },
    ...(ticket === undefined ? {} : { session: ticket }),
    ...(over === undefined ? {} : { socket: over }),
  });
  socket.on('data', (chunk: Buffer) => frames.push(chunk, message => replies.push(Buffer.from(message))));
  socket.on('session', (each: Buffer) => tickets.push(each));
  socket.on('end', () => (ended = true));
  on.onEnd(() => void socket.destroy());
  await new Promise<void>((resolve, reject) => {
    socket.once('secureConnect', resolve);
    socket.once('error', reject);
  });
  return { socket, replies, tickets, ended: () => ended };
}

const idsOf = (replies: readonly Buffer[]): number[] => replies.map(reply => reply.readUInt16BE(0));
const addressesIn = (reply: Buffer | undefined): unknown =>
  (reply && messageToText(reply))?.answers.map(each => each.data);

await t.test('the probe: any reply with the question will do, without EDNS', async t => {
  // Six characters at random, and the rest is fixed.
  const name = `${randomBytes(3).toString('hex')}-dnsotls-ds.metric.gstatic.com`;
  const probe = plainQuery(0x4242, FLAG.RD, questionOf(wireName(name), TYPE.AAAA));
  const { socket, replies } = await session();
  socket.write(framed(probe));
  await until(() => replies.length === 1, 'the reply');
  const [reply = Buffer.alloc(0)] = replies;
  t.equal(reply.readUInt16BE(4), 1, 'the question');
  t.equal(reply.readUInt16BE(10), 0, 'no EDNS that was not asked for');
  t.same(addressesIn(reply), ['2001:db8::1']);
  t.equal(socket.alpnProtocol, 'dot');
  socket.destroy();
});

await t.test('padded queries get padded replies, in any order', async t => {
  const { socket, replies } = await session();
  const names = ['slow.example', ...Array.from({ length: 20 }, (_, i) => `n${i}.wild.example`)];
  for (const [i, name] of names.entries()) {
    const query = paddedQuery(i, name);
    t.equal(query.length % PADDING_BLOCK.query, 0);
    socket.write(framed(query));
  }
  await until(() => replies.length === names.length, 'all replies');
  t.equal(idsOf(replies).at(-1), 0, 'the slow one comes last');
  t.same(new Set(idsOf(replies)), new Set(names.keys()));
  t.ok(replies.every(({ length }) => length === PADDING_BLOCK.response));
  socket.destroy();
});

await t.test('several messages in a record, and a message in several records', async t => {
  const { socket, replies } = await session();
  const queries = Array.from({ length: 5 }, (_, i) => framed(paddedQuery(i, `r${i}.wild.example`)));
  socket.write(Buffer.concat(queries));
  await until(() => replies.length === 5, 'replies to one record');
  const octets = framed(paddedQuery(9, 'pieces.wild.example'));
  for (let i = 0; i < octets.length; i += 7)
    await new Promise(resolve => socket.write(octets.subarray(i, i + 7), resolve));
  await until(() => replies.length === 6, 'a reply to many records');
  // The end of one and the beginning of the next.
  const two = Buffer.concat([10, 11].map(id => framed(paddedQuery(id, `t${id}.wild.example`))));
  for (const part of [two.subarray(0, 100), two.subarray(100, 131), two.subarray(131)])
    await new Promise(resolve => socket.write(part, resolve));
  await until(() => replies.length === 8, 'replies to records that end within messages');
  t.same(new Set(idsOf(replies).slice(5)), new Set([9, 10, 11]));
  socket.destroy();
});

await t.test('it connects again with each of its tickets, once', async t => {
  const first = await session();
  first.socket.write(framed(paddedQuery(1, 'www.example')));
  await until(() => first.replies.length === 1 && first.tickets.length === 2, 'a reply and two tickets');
  first.socket.end();
  await until(() => first.ended(), 'the end of the other side');
  t.notOk(first.socket.isSessionReused());
  for (const ticket of first.tickets) {
    const again = await session(ticket);
    t.ok(again.socket.isSessionReused(), 'resumed');
    again.socket.write(framed(paddedQuery(2, 'www.example')));
    await until(() => again.replies.length === 1, 'a reply');
    t.same(addressesIn(again.replies[0]), ['192.0.2.80']);
    again.socket.destroy();
  }
});

await t.test('it closes its side while a query waits, and gets the reply, then the end', async t => {
  const { socket, replies, ended } = await session();
  socket.end(framed(paddedQuery(7, 'slow.wild.example')));
  await until(ended, 'the end of the other side');
  t.same(idsOf(replies), [7]);
});

await t.test(
  'idle, the other side ends it first: it goes on with the ticket that it has',
  { timeout: 30_000 },
  async t => {
    const { socket, replies, tickets, ended } = await session();
    const startedAt = performance.now();
    socket.write(framed(paddedQuery(1, 'www.example')));
    await until(() => replies.length === 1 && tickets.length > 0, 'a reply and a ticket');
    let failure: Error | undefined;
    socket.on('error', (error: Error) => (failure = error));
    // Android would at 20 s.
    while (!ended() && performance.now() - startedAt < 19_000) await sleep(100);
    t.ok(ended(), 'an end');
    t.equal(failure, undefined, 'without an error');
    t.ok(performance.now() - startedAt > 8000, 'not before the idle time');
    const again = await session(tickets.at(-1));
    t.ok(again.socket.isSessionReused());
    again.socket.write(framed(paddedQuery(2, 'www.example')));
    await until(() => again.replies.length === 1, 'a reply');
  },
);

await t.test('it looks for designated resolvers over UDP, and is told where DNS over TLS is', async t => {
  const { text, message } = await ask({ address: HOST, port: plain }, '_dns.resolver.arpa', { type: 'SVCB' });
  t.match(text.answers, [{ type: 'SVCB', data: `1 dns.test. alpn=dot port=${port} ipv4hint=${HOST}` }]);
  t.match(text.additional, [{ name: 'dns.test', type: 'A', data: HOST }]);
  t.ok(message.length < 512);
});

await t.test('many probes that are given up within the handshake take no place', async t => {
  for (let i = 0; i < 60; i++) {
    const raw = connect({ host: HOST, port }).on('error', () => undefined);
    await new Promise(resolve => raw.once('connect', resolve));
    const probe = session(undefined, raw).catch(() => undefined);
    raw.destroy();
    await Promise.race([probe, sleep(5)]);
  }
  const { socket, replies } = await session();
  socket.write(framed(paddedQuery(1, 'www.example')));
  await until(() => replies.length === 1, 'a reply');
  t.same(addressesIn(replies[0]), ['192.0.2.80']);
});
