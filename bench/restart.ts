// `node --import=tsx bench/restart.ts [RESTARTS [NAMES]]`: restarts under 2,000 queries per second, a fifth of them for new
// names, with sockets that somebody else holds, as systemd does. NAMES: so many names in a list. Prints how many queries were
// lost, failed and waited for how long, and where the time of a restart goes.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { residentBytes } from '../test/fixtures/memory.js';
import { PROGRAM } from '../test/fixtures/program.js';
import { bench, missing } from '../test/fixtures/servers.js';
import { type Restart, SocketUnit } from '../test/fixtures/socket-unit.js';
import { loadLibc } from '../src/os/libc.js';
import { BUILDS, upstream } from './contenders.js';
import { LOAD_CPU, median, quantile, table } from './measure.js';

const PER_SECOND = 2000;
const KNOWN = 2000;
const NEW_PERCENT = 20;
/** Between two restarts, and before the first. */
const EVERY_MS = 4000;
/** What nobody shall wait longer for. */
const BAR_MS = 500;

const [restartsText = '5', namesText = '0'] = process.argv.slice(2);
const restarts = Number(restartsText);
const names = Number(namesText);
const libc = loadLibc();
const lacking = 'unavailable' in libc ? libc.unavailable : missing('unbound', 'taskset');
if (!(restarts >= 1) || 'unavailable' in libc || lacking !== false) {
  console.error(lacking === false ? 'usage: bench/restart.ts [RESTARTS [NAMES]]' : `restart: ${lacking}`);
  process.exit(2);
}

const ends: (() => unknown)[] = [];
const on = bench({ teardown: end => void ends.push(end) });
const behind = await upstream(on);
const list = join(on.path, 'list.txt');
if (names > 0) writeFileSync(list, Array.from({ length: names }, (_, i) => `ads${i}.blocked.example\n`).join(''));

/** Query by query: when it was sent, how long it waited, and with what it was answered. */
type Seen = readonly (readonly [at: number, ms: number, rcode: number, why: string])[];

/** A configuration of its own, with its directory. */
function configFile(directory: string, threads: number): string {
  const file = join(directory, 'dotstub.yaml');
  mkdirSync(join(directory, 'state'), { recursive: true });
  writeFileSync(
    file,
    `
special_names: { forward: [test] }
metrics: { listen: off }
control: { socket: ${join(directory, 'control.sock')} }
state_directory: ${join(directory, 'state')}
dnssec: { mode: off }
front: { threads: ${threads} }
upstream: { ca_file: ${on.caFile}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${behind.port}"] }] }
${names > 0 ? `lists: [{ name: ads, sources: [${list}], action: nxdomain }]` : ''}
`,
  );
  return file;
}

/** What the processes said about their start, in milliseconds since their predecessor was asked to stop. */
function steps(output: string, { askedAt, endedAt, readyAt }: Restart): Readonly<Record<string, number>> {
  const all: Record<string, number> = { ended: endedAt - askedAt };
  const told = {
    asked: /^stopping$/,
    stopped: /^stopped$/,
    starts: /^dotstub .* starts$/,
    lists: /^lists with/,
    cache: /^the cache has/,
    listening: /^listening on/,
  };
  for (const line of output.split('\n')) {
    if (!line.startsWith('{')) continue;
    const { time, msg } = JSON.parse(line) as { readonly time: string; readonly msg: string };
    const ms = Date.parse(time) - askedAt;
    const step = Object.entries(told).find(([, words]) => words.test(msg))?.[0];
    if (step !== undefined && ms >= 0) all[step] ??= ms;
  }
  return { ...all, ready: readyAt - askedAt };
}

/** Restarts one build again and again while clients ask. */
async function measure(label: string, command: readonly string[], threads: number): Promise<readonly string[]> {
  if ('unavailable' in libc) throw new Error(libc.unavailable);
  const directory = join(on.path, label.replace(/\W+/g, '-'));
  mkdirSync(directory);
  const unit = new SocketUnit(libc, [...command, 'run', '--config', configFile(directory, threads)]);
  await unit.start();
  const results = join(directory, 'asked.json');
  const script = fileURLToPath(new URL('./asking.ts', import.meta.url));
  const seconds = (EVERY_MS * (restarts + 1)) / 1000;
  const args = [script, ...[unit.port, PER_SECOND, seconds, KNOWN, NEW_PERCENT].map(String), results];
  const clients = spawn('taskset', ['-c', LOAD_CPU, process.execPath, '--import=tsx', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(clients, 'exit');
  await once(clients.stdout, 'data');
  const all: { readonly steps: Readonly<Record<string, number>>; readonly restart: Restart }[] = [];
  for (let i = 0; i < restarts; i++) {
    await sleep(EVERY_MS);
    const from = unit.output.length;
    const restart = await unit.restart();
    await sleep(200);
    all.push({ steps: steps(unit.output.slice(from), restart), restart });
  }
  await ended;
  const resident = residentBytes(unit.pid);
  await unit.stop();
  const seen = JSON.parse(readFileSync(results, 'utf8')) as Seen;
  for (const { steps: each, restart } of all) console.log(`${label}: ${timeline(each, seen, restart)}`);
  console.log(reasons(seen));
  const waits = seen.map(([, ms]) => ms).sort((a, b) => a - b);
  const count = (is: (ms: number, rcode: number) => boolean): string =>
    String(seen.filter(([, ms, rcode]) => is(ms, rcode)).length);
  return [
    label,
    String(seen.length),
    count(ms => ms < 0),
    count((_, rcode) => rcode > 0),
    count(ms => ms > BAR_MS),
    (waits.at(-1) ?? 0).toFixed(0),
    quantile(waits, 0.5).toFixed(1),
    median(all.map(({ steps: { ready = NaN } }) => ready)).toFixed(0),
    (resident / 2 ** 20).toFixed(0),
  ];
}

/** How often each reason was given. */
function reasons(seen: Seen): string {
  const counts = new Map<string, number>();
  for (const [, , rcode, why] of seen) if (rcode > 0) counts.set(why, (counts.get(why) ?? 0) + 1);
  return [...counts].map(([why, count]) => `${count} x ${why}`).join('; ');
}

/** One restart: its steps, and its queries. */
function timeline(each: Readonly<Record<string, number>>, seen: Seen, { askedAt }: Restart): string {
  const own = seen.filter(([at]) => at > askedAt - 100 && at < askedAt + EVERY_MS - 100);
  const replies = own.filter(([, ms]) => ms >= 0).map(([at, ms]) => at + ms - askedAt);
  const { ended = 0 } = each;
  const first = Math.min(...replies.filter(at => at > ended));
  const failed = own.filter(([, , rcode]) => rcode > 0).map(([at, ms]) => [at - askedAt, at + ms - askedAt] as const);
  const told = Object.entries(each).map(([step, ms]) => `${step} ${ms.toFixed(0)}`);
  const longest = Math.max(...own.map(([, ms]) => ms));
  const failures =
    failed.length === 0
      ? ''
      : `, ${failed.length} failed, sent ${Math.min(...failed.map(([at]) => at)).toFixed(0)} to ${Math.max(...failed.map(([at]) => at)).toFixed(0)}, answered ${Math.min(...failed.map(([, at]) => at)).toFixed(0)} to ${Math.max(...failed.map(([, at]) => at)).toFixed(0)}`;
  return `${told.join(', ')}, first answer ${first.toFixed(0)}, longest wait ${longest.toFixed(0)}${failures}`;
}

const rows: (readonly string[])[] = [
  ['', 'sent', 'lost', 'failed', '> 500 ms', 'most ms', 'p50 ms', 'ready ms', 'RSS MiB'],
];
for (const { name, command = PROGRAM } of BUILDS)
  for (const threads of [1, 0]) rows.push(await measure(`${name}, threads ${threads}`, command, threads));
console.log(`\n${restarts} restarts each, ${names} names in lists, Node.js ${process.versions.node}\n${table(rows)}`);
for (const end of ends) await end();
process.exit(0);
