// Two groups of clients, one name, opposite rules: many questions of both at once, over every transport, and no answer crosses.
// GROUP_QUERIES sets how many (12,000).

import { createSocket } from 'node:dgram';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';

import t from 'tap';

import { frameReader, framed } from '../../src/wire/frame.js';
import { messageToText } from '../../src/wire/message.js';
import { type At, queryMessage } from '../fixtures/client.js';
import { freePort } from '../fixtures/free-port.js';
import { records } from '../fixtures/records.js';
import { type Json, KNOWN, Rig } from '../fixtures/rig.js';
import { world } from '../fixtures/world.js';

const QUERIES = Number(process.env['GROUP_QUERIES'] ?? 12_000);
/** How many questions of a session wait at a time. */
const WINDOW = 20;
/** A datagram that was lost is not waited for. */
const PATIENCE_MS = 2000;
const NAME = 'games.example';

/** A way to ask, from one address. */
interface Session {
  send(message: Buffer): void;
  close(): void;
}

type Opens = (from: string, port: number, take: (message: Buffer) => void) => Promise<Session>;

const overUdp: Opens = async (from, port, take) => {
  const socket = createSocket('udp4', take);
  await new Promise<void>(resolve => socket.bind(0, from, resolve));
  await new Promise<void>(resolve => socket.connect(port, '127.0.0.1', resolve));
  return { send: message => socket.send(message), close: () => socket.close() };
};
const overStream =
  (secured: boolean): Opens =>
  async (from, port, take) => {
    const plain = connect({ port, host: '127.0.0.1', localAddress: from });
    await new Promise<void>((resolve, reject) => plain.once('connect', resolve).once('error', reject));
    const socket = secured ? connectTls({ socket: plain, rejectUnauthorized: false }) : plain;
    const frames = frameReader();
    socket.on('data', (chunk: Buffer) => void frames.push(chunk, take));
    return { send: message => socket.write(framed(message)), close: () => plain.destroy() };
  };

/** Asks so often. Returns how often each answer came. */
async function asks(open: Opens, from: string, port: number, count: number): Promise<ReadonlyMap<string, number>> {
  const seen = new Map<string, number>();
  let sent = 0;
  let came = 0;
  await new Promise<void>((resolve, reject) => {
    let late: NodeJS.Timeout | undefined;
    open(from, port, message => {
      const text = messageToText(message);
      const said = `${text?.rcode ?? 'nothing'} ${text?.answers.map(({ data }) => data).join(' ') ?? ''}`.trim();
      seen.set(said, (seen.get(said) ?? 0) + 1);
      came++;
      next();
    }).then(session => {
      const end = (): void => {
        clearTimeout(late);
        session.close();
        resolve();
      };
      next = () => {
        if (came >= count) return end();
        clearTimeout(late);
        late = setTimeout(end, PATIENCE_MS);
        for (; sent < count && sent - came < WINDOW; sent++) session.send(queryMessage(NAME, { id: sent & 0xffff }));
      };
      next();
    }, reject);
    let next = (): void => undefined;
  });
  return seen;
}

for (const threads of [1, 0])
  await t.test(`threads ${threads}: ${QUERIES} questions of two groups`, { timeout: 600_000 }, async t => {
    const rig = await Rig.make(t);
    const main = await rig.server('dns.test', { answer: world(records(`${KNOWN}${NAME}. 300 A 192.0.2.68\n`)) });
    writeFileSync(rig.path('key.pem'), rig.identity.key);
    writeFileSync(rig.path('cert.pem'), rig.identity.cert);
    const tls = await freePort();
    await rig.start({
      ...{ upstream: { servers: [main.entry] }, front: { threads }, access: { per_client: 0 } },
      listen_tls: { addresses: [`127.0.0.1:${tls}`], certificate: rig.path('cert.pem'), key: rig.path('key.pem') },
      lists: [{ name: 'games', sources: [rig.file('games.txt', `${NAME}\n`)] }],
      clients: [
        { name: 'kids', networks: ['127.0.0.2'], lists: ['games'] },
        { name: 'grown-ups', networks: ['127.0.0.3'], lists: [] },
      ],
    });
    const ways = [
      [overUdp, rig.port],
      [overStream(false), rig.port],
      [overStream(true), tls],
    ] as const;
    const each = Math.ceil(QUERIES / 2 / ways.length);
    const groups = [
      ['127.0.0.2', 'NXDOMAIN'],
      ['127.0.0.3', 'NOERROR 192.0.2.68'],
    ] as const;
    // All sessions of both at once.
    const all = groups.flatMap(([from, expected]) =>
      ways.map(async ([open, port]) => ({ from, expected, seen: await asks(open, from, port, each) })),
    );
    for (const { from, expected, seen } of await Promise.all(all)) {
      t.same([...seen.keys()], [expected], from);
      t.ok([...seen.values()].reduce((sum, count) => sum + count, 0) >= 0.9 * each, 'most were answered');
    }
    const hits = (await rig.metrics()).get('dotstub_cache_hits_total{kind="positive"}') ?? 0;
    t.ok(hits > 0, `cached answers: ${hits}`);
  });

const FRONTS = [{ threads: 1 }, { threads: 0 }, { io: 'dgram' }];
for (const front of FRONTS)
  await t.test(`a group is who asks at an address of ours, over every transport: ${JSON.stringify(front)}`, async t => {
    const rig = await Rig.make(t);
    const main = await rig.server('dns.test', { answer: world(records(`${KNOWN}${NAME}. 300 A 192.0.2.68\n`)) });
    writeFileSync(rig.path('key.pem'), rig.identity.key);
    writeFileSync(rig.path('cert.pem'), rig.identity.cert);
    const tls = await freePort();
    // Each address by itself, and a wildcard, whose datagrams say where they were sent to. Without threads a wildcard is a
    // socket for each address of an interface, of which 127.0.0.2 is none.
    const each = [`127.0.0.1:${rig.port}`, `127.0.0.2:${rig.port}`];
    const wildcard = 'threads' in front && front.threads > 0 ? [[`0.0.0.0:${rig.port}`]] : [];
    for (const listen of [each, ...wildcard]) {
      const config = (listeners: readonly string[]): Json => ({
        ...{ upstream: { servers: [main.entry] }, front, listen, metrics: { listen: 'off' } },
        listen_tls: {
          addresses: [`127.0.0.1:${tls}`, `127.0.0.2:${tls}`],
          certificate: rig.path('cert.pem'),
          key: rig.path('key.pem'),
        },
        lists: [{ name: 'games', sources: [rig.file('games.txt', `${NAME}\n`)] }],
        clients: [
          { name: 'guests', listeners, lists: ['games'] },
          { name: 'known', networks: ['127.0.0.9'], lists: [] },
        ],
      });
      await rig.start(config(['127.0.0.2']));
      const at = (address: string): At => ({ address, port: rig.port });
      const twice = async (address: string, tcp: boolean): Promise<readonly string[]> => [
        await rig.answer(NAME, { tcp }, at(address)),
        await rig.answer(NAME, { tcp }, at(address)),
      ];
      for (const tcp of [false, true]) {
        t.same(await twice('127.0.0.1', tcp), Array<string>(2).fill('NOERROR 192.0.2.68'), `tcp: ${tcp}`);
        t.same(await twice('127.0.0.2', tcp), ['NXDOMAIN', 'NXDOMAIN'], `guests, tcp: ${tcp}`);
        t.same(await twice('127.0.0.1', tcp), Array<string>(2).fill('NOERROR 192.0.2.68'), 'and no answer crosses');
      }
      const seen = await asks(overStream(true), '127.0.0.1', tls, 3);
      t.same([...seen.keys()], ['NOERROR 192.0.2.68']);
      t.match(await rig.command('explain', [NAME, 'A', '--listener', '127.0.0.2']), 'group guests');
      t.match(await rig.command('explain', [NAME]), 'in no group');
      await rig.reload(config(['127.0.0.1']));
      t.equal(await rig.answer(NAME, {}, at('127.0.0.1')), 'NXDOMAIN', 'a reload exchanges them');
      t.equal(await rig.answer(NAME, {}, at('127.0.0.2')), 'NOERROR 192.0.2.68');
      await rig.daemon.stop();
    }
  });
