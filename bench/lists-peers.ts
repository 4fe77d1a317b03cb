// Lists beside others: what a list of NAMES names takes, how long the start takes with it, and what clients notice while it is read
// again, in dotstub, Unbound (RPZ) and dnsmasq (addn-hosts), one after another. `npx tsx bench/lists-peers.ts [NAMES [DAEMON …]]`

import { createWriteStream, mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

import { ask } from '../test/fixtures/client.js';
import { freePort } from '../test/fixtures/free-port.js';
import { startDotstub } from '../test/fixtures/program.js';
import { bench, missing, start, unboundAtHome } from '../test/fixtures/servers.js';
import { residentBytes } from '../test/fixtures/memory.js';
import { upstream } from './contenders.js';
import { load, quantile, table } from './measure.js';

const NAMES = Number(process.argv[2] ?? 1_000_000);
/** Those that are measured; none: all. */
const DAEMONS = process.argv.slice(3);
const PER_SECOND = 5000;
/** Longer than five million names are read again, which begins within five seconds. */
const SECONDS = 20;
const KNOWN = 1000;

const lacking = missing('unbound', 'dnsmasq', 'dnsperf');
if (lacking !== false) {
  console.error(`lists-peers: ${lacking}`);
  process.exit(2);
}
const ends: (() => unknown)[] = [];
const on = bench({ teardown: end => void ends.push(end) });
const behind = await upstream(on);

/** Names as lists have them. */
function nameOf(i: number): string {
  const mixed = Math.imul(i + 1, 0x9e3779b1) >>> 0;
  const labels = ['ads', 'track', 'metrics', 'cdn'].slice(mixed & 3).concat(mixed.toString(36));
  return `${labels.join('.')}.${['com', 'net', 'example', 'io'][(mixed >> 2) & 3] ?? ''}`;
}

async function written(name: string, head: string, lineOf: (name: string) => string): Promise<string> {
  const path = join(on.path, name);
  const out = createWriteStream(path);
  out.write(head);
  for (let i = 0; i < NAMES; i++) if (!out.write(lineOf(nameOf(i)))) await once(out, 'drain');
  out.end();
  await once(out, 'finish');
  return path;
}

const domains = await written('domains.txt', '', name => `${name}\n`);
const zone = await written(
  'rpz.zone',
  '$TTL 300\n@ SOA localhost. root.localhost. 1 3600 600 86400 300\n@ NS localhost.\n',
  name => `${name} CNAME .\n`,
);
const hosts = await written('hosts', '', name => `0.0.0.0 ${name}\n`);
const asked = join(on.path, 'asked');
writeFileSync(asked, Array.from({ length: KNOWN }, (_, i) => `known${i}.test A\n`).join(''));

interface Started {
  readonly port: number;
  readonly pid: number;
  /** Has the list read again. */
  refresh(): void;
  stop(): Promise<unknown>;
}

const KINDS: Readonly<Record<string, () => Promise<Started>>> = {
  async dotstub() {
    const port = await freePort();
    const state = join(on.path, 'state');
    mkdirSync(state, { recursive: true });
    const running = await startDotstub(`
listen: ["127.0.0.1:${port}"]
special_names: { forward: [test] }
metrics: { listen: "off" }
state_directory: ${state}
dnssec: { mode: off }
access: { per_client: 0 }
lists: [{ name: all, sources: [${domains}] }]
upstream: { ca_file: ${on.caFile}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${behind.port}"] }] }
`);
    // The file is looked at every 5 s.
    const refresh = (): void => utimesSync(domains, new Date(), new Date());
    return { port, pid: running.child.pid ?? 0, refresh, stop: () => running.stop() };
  },
  async Unbound() {
    const port = await freePort();
    const file = join(on.path, 'unbound.conf');
    writeFileSync(
      file,
      `
server:
  interface: 127.0.0.1@${port}
${unboundAtHome(on)}
  num-threads: 1
  do-not-query-localhost: no
  module-config: "respip iterator"
  local-zone: test. nodefault
  tls-cert-bundle: "${on.caFile}"
remote-control:
  control-enable: no
rpz:
  name: rpz.example
  zonefile: ${zone}
forward-zone:
  name: "."
  forward-tls-upstream: yes
  forward-addr: 127.0.0.1@${behind.port}#dns.test
`,
    );
    const { child, stop } = await start(on, 'unbound', ['-d', '-c', file], port);
    return { port, pid: child.pid ?? 0, refresh: () => void child.kill('SIGHUP'), stop };
  },
  async dnsmasq() {
    const port = await freePort();
    const file = join(on.path, 'dnsmasq.conf');
    writeFileSync(
      file,
      `
port=${port}
listen-address=127.0.0.1
bind-interfaces
no-resolv
no-hosts
addn-hosts=${hosts}
server=127.0.0.1#${behind.plainPort}
cache-size=10000
`,
    );
    const args = ['-k', '-C', file, '-u', 'root', '--pid-file='];
    const { child, stop } = await start(on, 'dnsmasq', args, port);
    return { port, pid: child.pid ?? 0, refresh: () => void child.kill('SIGHUP'), stop };
  },
};

const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(0);
const ms = (seconds: number): string => (seconds * 1000).toFixed(2);
const rows = [['', 'start, s', 'RSS MiB', 'p99 ms', 'lost', 'p99 while it is read again', 'most', 'lost']];
for (const [name, begin] of Object.entries(KINDS)) {
  if (DAEMONS.length > 0 && !DAEMONS.includes(name)) continue;
  const startedAt = performance.now();
  const one = await begin();
  const at = { address: '127.0.0.1', port: one.port };
  while ((await ask(at, nameOf(1)).catch(() => undefined)) === undefined) await sleep(50);
  const startSeconds = (performance.now() - startedAt) / 1000;
  await load(one, asked, { times: 3, outstanding: 20 });
  const rss = residentBytes(one.pid);
  const options = { perSecond: PER_SECOND, forSeconds: SECONDS, verbose: true };
  const quiet = await load(one, asked, options);
  setTimeout(() => one.refresh(), 500);
  const busy = await load(one, asked, options);
  rows.push([
    ...[name, startSeconds.toFixed(1), mib(rss), ms(quantile(quiet.latencies, 0.99)), String(quiet.lost)],
    ...[ms(quantile(busy.latencies, 0.99)), ms(busy.latencies.at(-1) ?? NaN), String(busy.lost)],
  ]);
  await one.stop();
}
console.log(table(rows));
for (const end of ends.reverse()) await end();
process.exit(0);
