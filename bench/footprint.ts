// The time from start to the first answer, and resident memory: idle, and with names in the cache.

import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';

import { queryMessage } from '../test/fixtures/client.js';
import { freePort } from '../test/fixtures/free-port.js';
import { startDotstub } from '../test/fixtures/program.js';
import { residentBytes } from '../test/fixtures/memory.js';
import type { Section } from './compare.js';
import { begin, BUILDS, installed, KINDS, relay, type Setting } from './contenders.js';
import { load, median, table } from './measure.js';

const SIZES = [10_000, 100_000, 1_000_000];
const CACHE_MIB = 2048;
const MB = 1e6;

/** Measures memory with growing numbers of cached names. */
export async function memory(setting: Setting): Promise<Section[]> {
  const file = join(setting.on.path, 'names');
  const rows: string[][] = [];
  for (const kind of KINDS.filter(
    each => each.does.includes('cache') && each.does.includes('tls') && installed(each),
  )) {
    const contender = await begin(kind, { ...setting, cacheMiB: CACHE_MIB });
    await sleep(1000);
    const idle = residentBytes(contender.pid);
    const sizes: number[] = [];
    let known = 0;
    for (const size of SIZES) {
      writeFileSync(file, Array.from({ length: size - known }, (_, i) => `name-${known + i}.test A\n`).join(''));
      await load(contender, file, { outstanding: 100 });
      known = size;
      await sleep(1000);
      sizes.push(residentBytes(contender.pid));
    }
    await contender.stop();
    rows.push([
      kind.name,
      ...[idle, ...sizes].map(bytes => `${(bytes / MB).toFixed(0)} MB`),
      ...sizes.map((bytes, i) => ((bytes - idle) / (SIZES[i] ?? 1)).toFixed(0)),
    ]);
  }
  return [
    {
      title: 'Memory',
      how: 'Resident memory, idle after one answer and with this many names in cache (one A record each), and the growth in octets per name.',
      table: table([['', 'idle', '10 k', '100 k', '1 M', 'per name at 10 k', 'at 100 k', 'at 1 M'], ...rows]),
    },
  ];
}

/** Measures the time from start to the first answer, and idle memory, compared with Node.js alone. */
export async function starting(setting: Setting, rounds: number): Promise<Section[]> {
  // With it, Node.js 24 reads all certificates of the machine in a thread of its own as soon as it loads node:tls.
  delete process.env['NODE_EXTRA_CA_CERTS'];
  const bare = median(
    await times(rounds, async () => {
      const at = performance.now();
      await new Promise(resolve => spawn(process.execPath, ['-e', '0']).once('close', resolve));
      return performance.now() - at;
    }),
  );
  const sleeper = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 10000)']);
  await sleep(1500);
  const bareBytes = residentBytes(sleeper.pid ?? 0);
  sleeper.kill();
  const rows = [['node -e 0', bare.toFixed(0), '1.00', `${(bareBytes / MB).toFixed(0)} MB`, '1.00']];
  const kinds = [
    ...[0, 1].map(count => ({
      name: `a relay (the floor), threads ${count}`,
      begin: async (port: number) => Promise.resolve(relay(setting, port, count)),
    })),
    ...BUILDS.flatMap(({ name, command }) =>
      [0, 1].map(count => ({
        name: `${name}, threads ${count}`,
        begin: async (port: number) => ours(setting, port, count, command),
      })),
    ),
  ];
  const measured = kinds.map(kind => ({ ...kind, took: [] as number[], resident: [] as number[] }));
  for (let round = 0; round < rounds; round++) {
    for (const { begin: beginAt, took, resident } of measured) {
      const port = await freePort();
      const at = performance.now();
      const answered = firstAnswer(port).then(() => performance.now() - at);
      const running = await beginAt(port);
      took.push(await answered);
      // The first start writes what was compiled after 3 seconds.
      await sleep(4500);
      resident.push(residentBytes(running.pid));
      await running.stop();
    }
  }
  for (const { name, took, resident } of measured)
    rows.push([
      name,
      median(took).toFixed(0),
      (median(took) / bare).toFixed(2),
      `${(median(resident) / MB).toFixed(0)} MB`,
      (median(resident) / bareBytes).toFixed(2),
    ]);
  return [
    {
      title: 'Start',
      how: 'Time from exec to the first answer, which comes from the server over a new TLS connection; then resident memory when idle.',
      table: table([['', 'first answer ms', 'x node', 'idle', 'x node'], ...rows]),
    },
  ];
}

/** A process that is measured. */
interface Measured {
  readonly pid: number;
  stop(): Promise<unknown>;
}

async function ours(
  { on, upstream }: Setting,
  port: number,
  threads: number,
  command?: readonly string[],
): Promise<Measured> {
  const config = `
listen: ["127.0.0.1:${port}"]
special_names: { forward: [test] }
metrics: { listen: off }
dnssec: { mode: off }
front: { threads: ${threads} }
upstream: { ca_file: ${on.caFile}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${upstream.port}"] }] }
`;
  const running = await startDotstub(config, [], command);
  return { pid: running.child.pid ?? 0, stop: async () => running.stop() };
}

async function times(rounds: number, measure: () => Promise<number>): Promise<number[]> {
  const all: number[] = [];
  for (let i = 0; i < rounds; i++) all.push(await measure());
  return all;
}

/** Sends a query every 2 ms until an answer comes. */
async function firstAnswer(port: number): Promise<void> {
  const socket = createSocket('udp4');
  // Errors are expected until the server listens.
  socket.on('error', () => undefined);
  const query = queryMessage('start.test');
  const asking = setInterval(() => socket.send(query, port, '127.0.0.1'), 2);
  await new Promise(resolve => socket.once('message', resolve));
  clearInterval(asking);
  socket.close();
}
