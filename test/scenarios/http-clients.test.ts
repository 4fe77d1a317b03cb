// HTTP clients that ask too much, too fast, or nothing: queries and probes do not wait for them, and memory stays as it
// is.

import { get } from 'node:http';
import { connect, type Socket } from 'node:net';

import t, { type Test } from 'tap';

import { ask } from '../fixtures/client.js';
import { freePort } from '../fixtures/free-port.js';
import { residentMib, warmed } from '../fixtures/memory.js';
import { startDotstub } from '../fixtures/program.js';
import { Rig } from '../fixtures/rig.js';

/** What one client may cost: without these bounds, it was 170 MiB. V8 takes up to 20 when it compiles what HTTP needs. */
const MOST_MIB = 32;
/** Without these bounds, a query waited for seconds. A busy machine is faster than that. */
const WORST_MS = 500;
const REQUEST = 'GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n';

/** A daemon of its own, whose memory is that of nothing else. */
async function setUp(t: Test) {
  const rig = await Rig.make(t);
  const { entry } = await rig.server('dns.test');
  const [port, web] = [await freePort(), await freePort()];
  const config = {
    listen: [`127.0.0.1:${port}`],
    metrics: { listen: `0.0.0.0:${web}` },
    upstream: { ca_file: rig.path('ca.pem'), servers: [entry] },
    state_directory: rig.path('state'),
  };
  const daemon = await startDotstub(
    Object.entries(config)
      .map(([key, value]) => `${key}: ${JSON.stringify(value)}`)
      .join('\n'),
  );
  t.teardown(async () => daemon.stop());
  /** The longest of many queries that are not in the cache. */
  const worstMiss = async (): Promise<number> => {
    const waits: number[] = [];
    for (let i = 0; i < 100; i++) waits.push((await ask({ address: '127.0.0.1', port }, rig.fresh())).ms);
    return Math.max(...waits);
  };
  const rssMib = (): number => residentMib(daemon.child.pid ?? 0);
  /** A connection from 127.0.0.`host`. */
  const open = async (host: number): Promise<Socket> => {
    const socket = connect({ port: web, host: '127.0.0.1', localAddress: `127.0.0.${host}` });
    t.teardown(() => socket.destroy());
    socket.on('error', () => undefined);
    await new Promise(resolve => socket.once('connect', resolve).once('close', resolve));
    return socket;
  };
  /** The status of a path, over a new connection; undefined: none within a second. */
  const status = async (path: string): Promise<number | undefined> =>
    new Promise(resolve => {
      const asked = get({ host: '127.0.0.1', port: web, path, agent: false }, response => {
        response.resume().on('end', () => resolve(response.statusCode));
      });
      asked.on('error', () => resolve(undefined));
      asked.setTimeout(1000, () => {
        asked.destroy();
        resolve(undefined);
      });
    });
  await warmed(async () => ask({ address: '127.0.0.1', port }, rig.fresh()));
  t.equal(await status('/metrics'), 200);
  return { open, status, worstMiss, rssMib, daemon };
}

await t.test('one connection that asks for 3,000 scrapes at once and reads none', async t => {
  const { open, status, worstMiss, rssMib } = await setUp(t);
  const before = rssMib();
  const greedy = await open(2);
  greedy.pause().write(REQUEST.repeat(3000));
  const worst = await worstMiss();
  t.ok(worst < WORST_MS, `queries are answered within ${worst.toFixed()} ms`);
  t.ok(rssMib() - before < MOST_MIB, `it takes ${(rssMib() - before).toFixed(1)} MiB`);
  t.equal(await status('/livez'), 200);
});

await t.test('sixty-four connections that say nothing, of one client and of many', async t => {
  const { open, status } = await setUp(t);
  for (const hosts of [1, 8, 64]) {
    const silent = await Promise.all(Array.from({ length: 64 }, async (_, i) => open(1 + (i % hosts))));
    for (const path of ['/livez', '/readyz', '/metrics'])
      t.equal(await status(path), 200, `${path} beside those of ${hosts}`);
    for (const each of silent) each.destroy();
  }
});

await t.test('sixteen connections that ask as fast as they are answered', async t => {
  const { open, status, worstMiss, rssMib } = await setUp(t);
  const before = rssMib();
  let replies = 0;
  for (let i = 0; i < 16; i++) {
    const socket = await open(2);
    socket.on('data', (chunk: Buffer) => {
      if (!chunk.includes('HTTP/1.1 200')) return;
      replies++;
      socket.write(REQUEST);
    });
    socket.write(REQUEST);
  }
  const started = performance.now();
  const worst = await worstMiss();
  const rate = replies / ((performance.now() - started) / 1000);
  t.ok(worst < WORST_MS, `queries are answered within ${worst.toFixed()} ms`);
  t.ok(replies > 0 && rate < 1000, `${rate.toFixed()} scrapes a second`);
  t.ok(rssMib() - before < MOST_MIB, `they take ${(rssMib() - before).toFixed(1)} MiB`);
  t.equal(await status('/livez'), 200, 'for another client there is room');
});

await t.test('what is no HTTP, without an end', async t => {
  const { open, status, worstMiss, rssMib } = await setUp(t);
  const before = rssMib();
  for (let i = 0; i < 16; i++) {
    const socket = await open(2);
    const more = (): unknown => socket.writable && socket.write(Buffer.alloc(1 << 16, 'a'), more);
    more();
  }
  const worst = await worstMiss();
  t.ok(worst < WORST_MS, `queries are answered within ${worst.toFixed()} ms`);
  t.ok(rssMib() - before < MOST_MIB, `it takes ${(rssMib() - before).toFixed(1)} MiB`);
  t.equal(await status('/readyz'), 200);
});
