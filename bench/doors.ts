// Clients of DNS over TLS and HTTPS: dotstub and Unbound as their resolver, one after the other, several rounds. What kept
// connections cost that ask now and then, what full and resumed handshakes cost, and how long cached answers over UDP
// take in a storm of handshakes at a fixed rate.
// `npx tsx bench/doors.ts [ROUNDS [CLIENTS [SECONDS [EVERY_MS]]]]`: EVERY_MS is how often a client asks over TLS.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { setTimeout as sleep } from 'node:timers/promises';

import { freePort } from '../test/fixtures/free-port.js';
import { startDotstub } from '../test/fixtures/program.js';
import { bench, missing, program, start, unboundAtHome, unboundTls } from '../test/fixtures/servers.js';
import { residentBytes } from '../test/fixtures/memory.js';
import { upstream } from './contenders.js';
import type { Seen } from './clients.js';
import { cpuMicroseconds, load, LOAD_CPU, median, pin, quantile, SERVER_CPU, table } from './measure.js';
import { tlsOptions } from './tls-options.js';

const [rounds = 3, clients = 1000, seconds = 60, everyMs = 1000] = process.argv.slice(2).map(Number);
const KNOWN = 100;
/** Connections and their handshakes are over by then. */
const SETTLED_SECONDS = 10;
/** Before they are measured, V8 compiles what a handshake runs: after 500 of them, it has not finished. */
const WARMING_HANDSHAKES = 2500;
const HANDSHAKES = 2000;
const AT_ONCE = 8;
/** dnsperf has no more connections in a thread. */
const CLIENTS_PER_THREAD = 250;
/** Queries over UDP beside handshakes. */
const UDP_PER_SECOND = 1000;
const UDP_SECONDS = 10;
/** Full handshakes beside them. */
const STORM_PER_SECOND = 150;
const STORM_BEGINS_MS = 3000;

const lacking = missing('unbound', 'dnsperf', 'taskset', 'chrt');
if (lacking !== false) {
  console.error(`doors: ${lacking}`);
  process.exit(2);
}
const ends: (() => unknown)[] = [];
const on = bench({ teardown: end => void ends.push(end) });
const behind = await upstream(on);
const names = join(on.path, 'names');
writeFileSync(names, Array.from({ length: KNOWN }, (_, i) => `known${i}.test A\n`).join(''));

interface Running {
  /** Of DNS over TLS, over HTTPS, and over UDP. */
  readonly port: number;
  readonly https: number;
  readonly udp: number;
  readonly pid: number;
  stop(): Promise<unknown>;
}

const KINDS: Readonly<Record<string, () => Promise<Running>>> = {
  'dotstub, threads 1': async () => dotstub(1),
  'dotstub, threads 0': async () => dotstub(0),
  async Unbound() {
    const port = await freePort();
    const https = await freePort();
    const udp = await freePort();
    const file = join(on.path, `unbound-${port}.conf`);
    writeFileSync(
      file,
      `
server:
${unboundTls(on, port)}
  interface: 127.0.0.1@${udp}
  interface: 127.0.0.1@${https}
  https-port: ${https}
${unboundAtHome(on)}
  num-threads: 1
  do-not-query-localhost: no
  module-config: "iterator"
  local-zone: test. nodefault
  tls-cert-bundle: "${on.caFile}"
  # With fewer than half of them free, it closes connections sooner and sooner.
  incoming-num-tcp: ${4 * clients}
  tcp-idle-timeout: 120000
  edns-tcp-keepalive: yes
  edns-tcp-keepalive-timeout: 120000
remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-tls-upstream: yes
  forward-addr: 127.0.0.1@${behind.port}#dns.test
`,
    );
    const { child, stop } = await start(on, 'unbound', ['-d', '-c', file], port);
    return { port, https, udp, pid: child.pid ?? 0, stop };
  },
};

async function dotstub(threads: number): Promise<Running> {
  const port = await freePort();
  const https = await freePort();
  const udp = await freePort();
  const running = await startDotstub(`
listen: ["127.0.0.1:${udp}"]
listen_tls: { addresses: ["127.0.0.1:${port}"], certificate: ${on.certFile}, key: ${on.keyFile} }
listen_https: { addresses: ["127.0.0.1:${https}"], certificate: ${on.certFile}, key: ${on.keyFile} }
special_names: { forward: [test] }
metrics: { listen: "off" }
dnssec: { mode: off }
front: { threads: ${threads} }
access: { per_client: 0, sessions: ${4 * clients}, sessions_per_client: 0 }
upstream: { ca_file: ${on.caFile}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${behind.port}"] }] }
`);
  return { port, https, udp, pid: running.child.pid ?? 0, stop: () => running.stop() };
}

interface Kept {
  readonly lost: number;
  readonly microseconds: number;
  readonly p99Ms: number;
  readonly bytes: number;
}

/** Clients that each ask now and then over a connection that stays open. */
async function keptTls({ port, pid }: Running): Promise<Kept> {
  const idle = residentBytes(pid);
  const settled = SETTLED_SECONDS + seconds;
  const script = new URL('./clients.ts', import.meta.url).pathname;
  const args = ['--import=tsx', script, ...[port, clients, everyMs, settled, KNOWN].map(String)];
  const child = spawn('taskset', ['-c', LOAD_CPU, process.execPath, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const closed = once(child, 'close');
  const lines: string[] = [];
  const connected = new Promise<void>((resolve, reject) => {
    child.stdout.on('data', (data: Buffer) => {
      lines.push(...String(data).split('\n'));
      resolve();
    });
    child.once('close', () => reject(new Error('the clients have ended')));
  });
  await connected;
  await sleep(SETTLED_SECONDS * 1000);
  const before = cpuMicroseconds(pid);
  await sleep(seconds * 1000);
  const used = cpuMicroseconds(pid) - before;
  const bytes = residentBytes(pid) - idle;
  await closed;
  const { lost, p99Ms } = JSON.parse(lines.find(line => line.startsWith('{')) ?? '') as Seen;
  const queries = (1000 * seconds * clients) / everyMs;
  return { lost, microseconds: used / queries, p99Ms, bytes: bytes / clients };
}

/**
 * The same over HTTPS, once a second. dnsperf 2.10 loses all later answers of a connection from which it has read two at
 * once, from one record of TLS.
 */
async function keptHttps({ https, pid }: Running): Promise<Kept> {
  const idle = residentBytes(pid);
  const threads = String(Math.ceil(clients / CLIENTS_PER_THREAD));
  const args = ['-s', '127.0.0.1', '-p', String(https), '-m', 'doh', '-d', names, '-v', '-t', '5', '-T', threads];
  const amount = ['-c', String(clients), '-q', String(clients), '-Q', String(clients), '-l', String(seconds)];
  const child: ChildProcess = spawn('taskset', ['-c', LOAD_CPU, program('dnsperf') ?? '', ...args, ...amount], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let out = '';
  child.stdout?.on('data', (data: Buffer) => (out += String(data)));
  const closed = once(child, 'close');
  await sleep(SETTLED_SECONDS * 1000);
  const before = cpuMicroseconds(pid);
  await sleep((seconds - SETTLED_SECONDS - 1) * 1000);
  const used = cpuMicroseconds(pid) - before;
  const bytes = residentBytes(pid) - idle;
  await closed;
  // "> NOERROR known1.test A 0.000123", of those after the connections were made.
  const all = [...out.matchAll(/^> \w+ \S+ \S+ ([\d.]+)$/gm)].map(([, each]) => Number(each));
  const latencies = all.slice(SETTLED_SECONDS * clients).sort((a, b) => a - b);
  return {
    lost: Number(/Queries lost:\s+(\d+)/.exec(out)?.[1] ?? -1),
    microseconds: used / (clients * (seconds - SETTLED_SECONDS - 1)),
    p99Ms: 1000 * quantile(latencies, 0.99),
    bytes: bytes / clients,
  };
}

/** CPU microseconds of the server for each handshake. */
async function handshakes({ port, pid }: Running, resumed: boolean): Promise<number> {
  const options = tlsOptions(port);
  const one = async (session: Buffer | undefined): Promise<Buffer | undefined> => {
    const socket: TLSSocket = connect(session === undefined ? options : { ...options, session });
    let ticket: Buffer | undefined;
    socket.on('session', (data: Buffer) => (ticket = data));
    await once(socket, 'secureConnect');
    if (resumed && session !== undefined && !socket.isSessionReused()) throw new Error('it was not resumed');
    // The ticket comes after the handshake. Not all servers send another one when it was used (RFC 8446 §4.6.1).
    for (let waited = 0; resumed && session === undefined && ticket === undefined && waited < 100; waited++)
      await sleep(1);
    socket.destroy();
    return ticket;
  };
  const series = async (count: number): Promise<void> => {
    let ticket = resumed ? await one(undefined) : undefined;
    for (let i = 0; i < count; i++) ticket = (await one(ticket)) ?? ticket;
  };
  await series(WARMING_HANDSHAKES);
  const before = cpuMicroseconds(pid);
  await Promise.all(Array.from({ length: AT_ONCE }, async () => series(HANDSHAKES / AT_ONCE)));
  return (cpuMicroseconds(pid) - before) / (HANDSHAKES + (resumed ? AT_ONCE : 0));
}

/** The 99th percentile of cached answers over UDP, ms: without, and beside a storm of full handshakes. */
interface Udp {
  readonly calmMs: number;
  readonly busyMs: number;
  /** The handshakes that were made in each second of the storm. */
  readonly perSecond: number;
}

/**
 * Asks over UDP. The storm has the same rate for each server, one that all of them can serve: a server whose handshakes cost
 * less would otherwise get more of them. Its client is on the CPU of the one that asks, under SCHED_IDLE: at this rate it
 * needs less than that leaves, and it gives way at once, so that the latencies are not those of dnsperf waiting for its
 * own CPU. How many handshakes were made is shown, because nothing else says that it had enough of the CPU.
 */
async function besideHandshakes({ port, udp, pid }: Running): Promise<Udp> {
  const p99 = async (): Promise<number> => {
    const asked = { perSecond: UDP_PER_SECOND, forSeconds: UDP_SECONDS, verbose: true };
    return 1000 * quantile((await load({ port: udp, pid }, names, asked)).latencies, 0.99);
  };
  await p99();
  const calmMs = await p99();
  const script = new URL('./storm.ts', import.meta.url).pathname;
  const client = [process.execPath, '--import=tsx', script, String(port), String(STORM_PER_SECOND)];
  const storm = spawn('taskset', ['-c', LOAD_CPU, 'chrt', '--idle', '0', ...client], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(storm, 'close');
  let made = 0;
  storm.stdout.on('data', (data: Buffer) => (made = Number(String(data).trim().split('\n').at(-1))));
  // Until it has come up to its rate.
  await sleep(STORM_BEGINS_MS);
  const before = made;
  const startedAt = performance.now();
  const busyMs = await p99();
  const perSecond = (1000 * (made - before)) / (performance.now() - startedAt);
  storm.kill();
  await ended;
  return { calmMs, busyMs, perSecond };
}

interface Row {
  readonly udp: Udp;
  readonly overTls: Kept;
  readonly overHttps: Kept;
  readonly full: number;
  readonly resumed: number;
}
const measured = new Map<string, Row[]>();
for (let round = 0; round < rounds; round++)
  for (const [name, begin] of Object.entries(KINDS)) {
    const running = await begin();
    await pin(running.pid, SERVER_CPU);
    const full = await handshakes(running, false);
    const resumed = await handshakes(running, true);
    const udp = await besideHandshakes(running);
    const overTls = await keptTls(running);
    const row = { overTls, overHttps: await keptHttps(running), full, resumed, udp };
    measured.set(name, [...(measured.get(name) ?? []), row]);
    await running.stop();
    console.error(name, JSON.stringify(row));
  }

const of = (name: string, value: (row: Row) => number): number => median((measured.get(name) ?? []).map(value));
const against = (name: string, value: (row: Row) => number): string =>
  `${of(name, value).toFixed(1)} (${(of(name, value) / of('Unbound', value)).toFixed(2)})`;
const keptColumns = (name: string, value: (row: Row) => Kept): string[] => [
  against(name, row => value(row).microseconds),
  of(name, row => value(row).p99Ms).toFixed(2),
  String(Math.max(...(measured.get(name) ?? []).map(row => value(row).lost))),
  of(name, row => value(row).bytes / 1024).toFixed(1),
];
const udpColumn = (name: string): string =>
  `${of(name, ({ udp }) => udp.calmMs).toFixed(2)} → ${of(name, ({ udp }) => udp.busyMs).toFixed(2)} at ${of(name, ({ udp }) => udp.perSecond).toFixed(0)}/s`;
const head = (over: string): string[] => [`${over}: CPU us/query (to Unbound)`, 'p99 ms', 'lost', 'KiB/connection'];
console.log(
  table([
    ['', ...head('TLS'), ...head('HTTPS'), 'full handshake, us', 'resumed, us', 'UDP p99, ms, in a storm'],
    ...[...measured.keys()].map(name => [
      name,
      ...keptColumns(name, ({ overTls }) => overTls),
      ...keptColumns(name, ({ overHttps }) => overHttps),
      against(name, ({ full }) => full),
      against(name, ({ resumed }) => resumed),
      udpColumn(name),
    ]),
  ]),
);
for (const end of ends) await end();
process.exit(0);
