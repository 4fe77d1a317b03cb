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

/** A resolver that knows the office at an address. */
const officeAt = (address: string): ReturnType<typeof world> =>
  world(records(`office.example. 300 A ${address}\nwww.office.example. 300 CNAME office.example.\n`));

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
async function asks(
  open: Opens,
  from: string,
  port: number,
  count: number,
  name = NAME,
): Promise<ReadonlyMap<string, number>> {
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
        for (; sent < count && sent - came < WINDOW; sent++) session.send(queryMessage(name, { id: sent & 0xffff }));
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

for (const threads of [1, 0])
  await t.test(`threads ${threads}: one name, two groups, and a route for each`, { timeout: 600_000 }, async t => {
    const rig = await Rig.make(t);
    const outside = `${KNOWN}office.example. 300 A 192.0.2.68\nwww.office.example. 300 CNAME office.example.\n`;
    const main = await rig.server('dns.test', { answer: world(records(outside)) });
    const [work, guests] = [await rig.plain(officeAt('192.0.2.11')), await rig.plain(officeAt('192.0.2.12'))];
    writeFileSync(rig.path('key.pem'), rig.identity.key);
    writeFileSync(rig.path('cert.pem'), rig.identity.cert);
    const tls = await freePort();
    const config = (...routes: readonly Json[]): Json => ({
      ...{ upstream: { servers: [main.entry] }, front: { threads }, access: { per_client: 0 }, routes },
      listen_tls: { addresses: [`127.0.0.1:${tls}`], certificate: rig.path('cert.pem'), key: rig.path('key.pem') },
      clients: [
        { name: 'work', networks: ['127.0.0.2'] },
        { name: 'guests', networks: ['127.0.0.3'] },
        { name: 'kids', networks: ['127.0.0.4'], routes: false },
      ],
    });
    const route = (at: string, ...clients: readonly string[]): Json => {
      return { zones: ['office.example'], resolvers: [at], clients };
    };
    const expect = async (expected: Readonly<Record<string, string>>): Promise<void> => {
      const ways = [
        [overUdp, rig.port],
        [overStream(false), rig.port],
        [overStream(true), tls],
      ] as const;
      const all = ['office.example', 'www.office.example'].flatMap(name =>
        Object.entries(expected).flatMap(([from, address]) =>
          ways.map(async ([open, port]) => {
            const seen = await asks(open, from, port, 100, name);
            t.match(
              [...seen.keys()].join(),
              new RegExp(`^NOERROR (office\\.example\\. )?${address}$`),
              `${from} ${name}`,
            );
          }),
        ),
      );
      await Promise.all(all);
    };
    const explained = async (client: string): Promise<string> =>
      rig.command('explain', ['office.example', 'A', '--client', client]);
    await rig.start(config(route(work.at, 'work'), route(guests.at, 'guests')));
    const outsiders = { '127.0.0.4': '192.0.2.68', '127.0.0.1': '192.0.2.68' };
    t.match(await explained('127.0.0.2'), `of the route for office.example.: ${work.at} would be asked`);
    t.match(await explained('127.0.0.3'), `of the route for office.example.: ${guests.at} would be asked`);
    t.match(await explained('127.0.0.1'), 'of dns.test');
    await expect({ '127.0.0.2': '192.0.2.11', '127.0.0.3': '192.0.2.12', ...outsiders });
    const once = ['office.example', 'www.office.example'];
    t.same([work.asked.toSorted(), guests.asked.toSorted()], [once, once], 'then from the cache');
    const cached = await rig.command('cache', ['get', 'office.example']);
    for (const words of [
      'from dns.test,',
      'for the group work, by',
      'for the group guests, by',
      'for groups without routes',
    ])
      t.match(cached, words, 'and each is shown');
    t.match(await rig.command('status'), /route \(work\)[^]*route \(guests\)/);

    await rig.reload(config(route(guests.at, 'guests'), route(work.at, 'work')));
    await expect({ '127.0.0.2': '192.0.2.11', '127.0.0.3': '192.0.2.12', ...outsiders });
    await rig.reload(config(route(work.at, 'guests'), route(guests.at)));
    await expect({ '127.0.0.2': '192.0.2.12', '127.0.0.3': '192.0.2.11', '127.0.0.1': '192.0.2.12' });
    await expect({ '127.0.0.4': '192.0.2.68' });
    await rig.reload(config());
    await expect({ '127.0.0.2': '192.0.2.68', '127.0.0.3': '192.0.2.68', ...outsiders });
  });

await t.test('a route for all names of a group leaves special-use names and local addresses as they are', async t => {
  const rig = await Rig.make(t);
  const main = await rig.server('dns.test');
  const given = '*.example. 300 A 192.0.2.11\ninside.example. 300 A 192.168.7.7\n*.test. 300 A 192.0.2.12\n';
  const filter = await rig.plain(world(records(given)));
  await rig.start({
    ...{ upstream: { mode: 'encrypted', servers: [main.entry] }, rebinding: { protect: true } },
    routes: [{ zones: ['.'], resolvers: [filter.at], clients: ['kids'] }],
    clients: [{ name: 'kids', networks: ['127.0.0.2'] }],
  });
  const asked = (name: string): string[] => filter.asked.filter(each => each === name);
  const at = (from: string) => async (name: string) => asks(overUdp, from, rig.port, 2, name);
  const kids = at('127.0.0.2');
  t.same([...(await kids('www.example')).keys()], ['NOERROR 192.0.2.11']);
  t.same([...(await at('127.0.0.1')('www.example')).keys()], ['NOERROR 192.0.2.80']);
  t.same([...(await kids('hidden.onion')).keys()], ['NXDOMAIN']);
  t.same([...(await kids('inside.example')).keys()], ['NOERROR'], 'the address of a local network is left out');
  t.same([asked('www.example').length, asked('hidden.onion').length], [1, 0]);
});
