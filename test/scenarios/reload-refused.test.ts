// A reload that cannot open an address: nothing has changed, wherever the address stands; and once it is free, the same reload works.

import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

import t from 'tap';

import { ask } from '../fixtures/client.js';
import { freePort } from '../fixtures/free-port.js';
import { type Json, Rig } from '../fixtures/rig.js';

/** Takes a port; returns how to give it back. */
const TAKERS: Readonly<Record<'UDP' | 'TCP', (port: number) => Promise<() => Promise<void>>>> = {
  async UDP(port) {
    const socket = createSocket('udp4');
    await new Promise<void>(resolve => socket.bind(port, '127.0.0.1', resolve));
    return async () => new Promise(resolve => socket.close(() => resolve()));
  },
  async TCP(port) {
    const server = createServer();
    await new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve));
    return async () => new Promise(resolve => void server.close(() => resolve()));
  },
};

interface Refused {
  readonly option: string;
  readonly takes: 'UDP' | 'TCP';
  readonly threads: number;
  /** The configuration with the address that is taken. */
  readonly config: (rig: Rig, at: string) => Json;
}

const tls = (rig: Rig, addresses: readonly string[]): Json => {
  const { cert, key } = rig.issued('home.test');
  return { addresses, certificate: rig.file('home.pem', cert), key: rig.file('home.key', key) };
};

const ROWS: readonly Refused[] = [
  ...(
    [
      ['UDP', 0],
      ['TCP', 0],
      ['UDP', 1],
    ] as const
  ).map(([takes, threads]) => ({
    option: 'listen',
    takes,
    threads,
    config: (rig: Rig, at: string): Json => ({ listen: [`127.0.0.1:${rig.port}`, at] }),
  })),
  {
    option: 'listen_tls.addresses',
    takes: 'TCP',
    threads: 0,
    config: (rig, at) => ({ listen_tls: tls(rig, [at]) }),
  },
  {
    option: 'listen_https.addresses',
    takes: 'TCP',
    threads: 0,
    config: (rig, at) => ({ listen_https: tls(rig, [at]) }),
  },
  { option: 'metrics.listen', takes: 'TCP', threads: 0, config: (_rig, at) => ({ metrics: { listen: at } }) },
];

for (const { option, takes, threads, config } of ROWS) {
  await t.test(`${option}, ${takes}, ${threads} front threads`, async t => {
    const rig = await Rig.make(t);
    const main = await rig.server('dns.test');
    const base = { upstream: { servers: [main.entry] }, front: { threads } };
    await rig.start(base);
    const { listening } = rig.overview();
    const port = await freePort();
    const release = await TAKERS[takes](port);
    const next = { ...base, ...config(rig, `127.0.0.1:${port}`), cache: { max_ttl: '100s' } };
    const startedAt = Date.now();
    for (let i = 0; i < 2; i++) {
      await t.rejects(rig.reload(next), { message: new RegExp(`127\\.0\\.0\\.1:${port}.* is in use`) }, 'it is told');
      t.same(rig.overview().listening, listening);
      t.match(rig.overview().reload, { taken: false });
      t.match(rig.health, /refused/);
      t.equal((await ask(rig.at, rig.fresh())).text.answers[0]?.ttl, 300, 'no other option has changed either');
      t.equal((await ask(rig.at, rig.fresh(), { tcp: true })).text.rcode, 'NOERROR');
      t.ok((await rig.metrics()).size > 0);
    }
    // On a machine that is so slow, the connection may have been closed because it was idle.
    if (Date.now() - startedAt < 5000) t.equal(main.dot.connections, 1);
    await release();
    const { now } = await rig.reload(next);
    t.ok(now.includes('cache.max_ttl') && now.includes(option), now.join(', '));
    t.equal((await ask(rig.at, rig.fresh())).text.answers[0]?.ttl, 100);
    t.match(rig.overview().reload, { taken: true });
    t.same(await rig.reload(base).then(({ later }) => later), [], 'and back');
    t.same(rig.overview().listening, listening);
  });
}
