// A reload that cannot open an address: nothing has changed, wherever the address stands; and once it is free, the same reload works.

import { createSocket } from 'node:dgram';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';

import t from 'tap';

import { askDaemon } from '../../src/control/client.js';
import { loadLibc } from '../../src/os/libc.js';
import { ask } from '../fixtures/client.js';
import { freePort } from '../fixtures/free-port.js';
import { PROGRAM, startDotstub } from '../fixtures/program.js';
import { eventually, type Json, Rig } from '../fixtures/rig.js';

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

const noLibc = 'unavailable' in loadLibc() && 'no system calls here';

await t.test(
  'what front threads take from connections is told when they are there, and not before',
  { skip: noLibc },
  async t => {
    const [port, taken, free] = [await freePort(), await freePort(), await freePort()];
    const configWith = (threads: number, metricsPort: number): string => `
listen: ["127.0.0.1:${port}"]
metrics: { listen: "127.0.0.1:${metricsPort}" }
front: { threads: ${threads} }
upstream: { mode: strict, servers: [{ name: nobody.test, addresses: ["127.0.0.1:9"] }] }
`;
    const before = configWith(1, free);
    const running = await startDotstub(before, [], ['sh', '-c', 'ulimit -n 300; exec "$0" "$@"', ...PROGRAM]);
    t.teardown(async () => running.stop());
    const release = await TAKERS.TCP(taken);
    const { configFile, controlSocket: socket } = running;
    const written = readFileSync(configFile, 'utf8');
    const reload = async (metricsPort: number): Promise<boolean> => {
      writeFileSync(configFile, written.replace(before, configWith(2, metricsPort)));
      return (await askDaemon(socket, { command: 'reload', args: [] })).ok;
    };
    const isTold = (): boolean => running.log().includes('front.threads: 1 more thread takes 12 files');
    t.equal(await reload(taken), false);
    t.notOk(isTold());
    await release();
    t.equal(await reload(taken), true);
    t.equal(await eventually(isTold, true), true);
  },
);
