// `node --import=tsx bench/holds.ts [MINUTES]`: what holds the loop of the main thread for more than 5 ms under mixed load:
// hits, misses, clients over TCP and TLS, a reload and a list that is read again each minute, with the query log on. Node.js
// 24 or newer, which says how much of the processor a thread has used: so own work is told from a busy machine.

import { spawn } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { freePort } from '../test/fixtures/free-port.js';
import { PROGRAM, startDotstub } from '../test/fixtures/program.js';
import { bench, missing } from '../test/fixtures/servers.js';
import { upstream } from './contenders.js';
import { LOAD_CPU, pin, SERVER_CPU } from './measure.js';

const HITS_PER_SECOND = 2000;
const MISSES_PER_SECOND = 400;
const TCP_PER_SECOND = 100;
const TLS_CLIENTS = 20;
const KNOWN = 2000;
const LIST_NAMES = 100_000;
/** How often there is a reload, and between two of them a list that has changed. */
const EVERY_MS = 60_000;

const [minutesText = '20'] = process.argv.slice(2);
const minutes = Number(minutesText);
const lacking = missing('unbound', 'dnsperf', 'taskset');
if (!(minutes > 0) || lacking !== false || !('threadCpuUsage' in process)) {
  console.error(lacking === false ? 'usage: bench/holds.ts [MINUTES], with Node.js 24 or newer' : `holds: ${lacking}`);
  process.exit(2);
}
const seconds = Math.ceil(minutes * 60);

const ends: (() => unknown)[] = [];
const on = bench({ teardown: end => void ends.push(end) });
const behind = await upstream(on);
const report = join(on.path, 'holds.txt');

// Runs in the daemon. A tick that comes late is a hold; its cause is what the profiler has seen most of meanwhile.
const probe = join(on.path, 'probe.mjs');
writeFileSync(
  probe,
  `import { Session } from 'node:inspector';
import { writeFileSync } from 'node:fs';
import { monitorEventLoopDelay, PerformanceObserver } from 'node:perf_hooks';
import { isMainThread } from 'node:worker_threads';
const used = () => { const { user, system } = process.threadCpuUsage(); return (user + system) / 1000; };
const nowMs = () => Number(process.hrtime.bigint()) / 1e6;
if (isMainThread && process.argv.includes('run')) {
  const [holds, gcs] = [[], []];
  let turns = 0;
  const session = new Session();
  session.connect();
  session.post('Profiler.enable');
  session.post('Profiler.setSamplingInterval', { interval: 1000 });
  const delays = monitorEventLoopDelay({ resolution: 10 });
  // The start is not what is measured.
  setTimeout(() => {
    session.post('Profiler.start');
    delays.enable();
    new PerformanceObserver(list => { for (const { startTime, duration } of list.getEntries()) if (duration > 1) gcs.push([performance.timeOrigin + startTime, duration]); }).observe({ entryTypes: ['gc'] });
    let [at, cpu] = [nowMs(), used()];
    setInterval(() => {
      const [nextAt, nextCpu] = [nowMs(), used()];
      turns++;
      if (nextAt - at > 6) holds.push({ from: at, to: nextAt, wall: nextAt - at, cpu: nextCpu - cpu, date: Date.now() });
      [at, cpu] = [nextAt, nextCpu];
    }, 1).unref();
  }, 5000).unref();
  process.on('exit', () => session.post('Profiler.stop', (error, result) => {
    const { nodes = [], samples = [], timeDeltas = [], startTime = 0 } = result?.profile ?? {};
    const byId = new Map(nodes.map(each => [each.id, each]));
    const parents = new Map(nodes.flatMap(({ id, children = [] }) => children.map(child => [child, id])));
    const stackOf = id => {
      const stack = [];
      for (let at = id; at !== undefined && stack.length < 5; at = parents.get(at)) stack.push(byId.get(at).callFrame.functionName || '-');
      return stack.join(' < ');
    };
    let time = startTime;
    const times = timeDeltas.map(delta => (time += delta) / 1000);
    const causeOf = ({ from, to, date, wall }) => {
      const gc = gcs.filter(([at]) => at > date - wall - 2 && at <= date).reduce((sum, [, ms]) => sum + ms, 0);
      const counts = new Map();
      times.forEach((at, i) => { if (at > from && at <= to) { const stack = stackOf(samples[i]); counts.set(stack, (counts.get(stack) ?? 0) + 1); } });
      const top = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 2).map(([stack, count]) => count + ' x ' + stack);
      return (gc > 0 ? 'collection ' + gc.toFixed(1) + ' ms; ' : '') + top.join('; ');
    };
    const own = holds.filter(({ cpu }) => cpu > 5).sort((a, b) => b.cpu - a.cpu);
    const lines = own.slice(0, 40).map(hold => hold.cpu.toFixed(1) + ' ms of work in ' + hold.wall.toFixed(1) + ' ms: ' + causeOf(hold));
    const late = [50, 99, 99.9].map(p => p + ' %: ' + Math.max(0, delays.percentile(p) / 1e6 - 10).toFixed(2) + ' ms').join(', ');
    writeFileSync(${JSON.stringify(report)}, [turns + ' turns; ' + own.length + ' holds above 5 ms by own work, ' + (holds.length - own.length) + ' because others had the processor; late by ' + late, ...lines].join('\\n'));
  }));
}
`,
);

const [port, tlsPort] = [await freePort(), await freePort()];
mkdirSync(join(on.path, 'state'));
const list = join(on.path, 'list.txt');
writeFileSync(list, Array.from({ length: LIST_NAMES }, (_, i) => `ads${i}.blocked.example\n`).join(''));
const config = `
listen: ["127.0.0.1:${port}"]
listen_tls: { addresses: ["127.0.0.1:${tlsPort}"], certificate: ${on.certFile}, key: ${on.keyFile} }
special_names: { forward: [test] }
metrics: { listen: off }
state_directory: ${join(on.path, 'state')}
log: { queries: full, query_file: ${join(on.path, 'queries.log')} }
lists: [{ name: ads, sources: [${list}], action: nxdomain }]
upstream: { ca_file: ${on.caFile}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${behind.port}"] }] }
`;
const [env = '', ...program] = PROGRAM;
const running = await startDotstub(config, [], [env, ...program.slice(0, 3), '--import', probe, ...program.slice(3)]);
await pin(running.child.pid ?? 0, SERVER_CPU);

const load = (args: readonly string[]): void => {
  const child = spawn('taskset', ['-c', LOAD_CPU, ...args], { stdio: 'ignore' });
  ends.push(() => child.kill());
};
const queries = (name: string, names: readonly string[]): string => {
  const file = join(on.path, name);
  writeFileSync(file, names.map(each => `${each} A\n`).join(''));
  return file;
};
const known = queries(
  'known',
  Array.from({ length: KNOWN }, (_, i) => `known${i}.test`),
);
const fresh = queries(
  'fresh',
  Array.from({ length: MISSES_PER_SECOND * seconds }, (_, i) => `new${i}.test`),
);
const dnsperf = (file: string, perSecond: number, ...more: readonly string[]): void =>
  load([
    'dnsperf',
    '-s',
    '127.0.0.1',
    '-p',
    String(port),
    '-d',
    file,
    '-Q',
    String(perSecond),
    '-l',
    String(seconds),
    ...more,
  ]);
dnsperf(known, HITS_PER_SECOND);
dnsperf(fresh, MISSES_PER_SECOND);
dnsperf(known, TCP_PER_SECOND, '-m', 'tcp', '-c', '10');
const clients = fileURLToPath(new URL('./clients.ts', import.meta.url));
load([process.execPath, '--import=tsx', clients, ...[tlsPort, TLS_CLIENTS, 200, seconds, KNOWN].map(String)]);

const until = performance.now() + seconds * 1000;
while (performance.now() < until) {
  await sleep(Math.min(EVERY_MS / 2, until - performance.now()));
  running.child.kill('SIGHUP');
  await sleep(Math.max(0, Math.min(EVERY_MS / 2, until - performance.now())));
  appendFileSync(list, `more${Date.now()}.blocked.example\n`);
}
await running.stop();
console.log(existsSync(report) ? readFileSync(report, 'utf8') : 'the daemon has written no report');
for (const end of ends) await end();
process.exit(0);
