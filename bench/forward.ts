// Forwarding over DNS over TLS: dotstub beside Unbound as a forwarder, in the same run, with the same DNS-over-TLS
// server behind all. Different names (all missed), then the same again (all from cache), 200 outstanding; the servers
// start anew in every round and take turns at going first. With few names much of the time goes into getting warm.

import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { type At, ask } from '../test/fixtures/client.js';
import { freePort } from '../test/fixtures/free-port.js';
import { startDotstub } from '../test/fixtures/program.js';
import { type Bench, bench, missing, start, unboundAtHome, unboundTls } from '../test/fixtures/servers.js';
import { LOAD_CPU, load, type Load, median, residentBytes, SERVER_CPU, table } from './measure.js';

const NAMES = [10_000, 50_000];
const OUTSTANDING = 200;

/** A DNS-over-TLS server that answers every name below test. at once. */
async function upstream(on: Bench): Promise<At> {
  const port = await freePort();
  const file = join(on.path, 'upstream.conf');
  writeFileSync(file, `
server:
${unboundTls(on, port)}
  incoming-num-tcp: 100
  local-zone: test. redirect
  local-data: "test. 300 A 192.0.2.99"
remote-control:
  control-enable: no
`);
  const { child } = await start(on, 'unbound', ['-d', '-c', file], port);
  await pin(child.pid ?? 0, LOAD_CPU);
  return { address: '127.0.0.1', port };
}

async function pin(pid: number, cpu: string): Promise<void> {
  await new Promise(resolve => spawn('taskset', ['-a', '-p', '-c', cpu, String(pid)], { stdio: 'ignore' }).once('close', resolve));
}

interface Contender {
  readonly port: number;
  readonly pid: number;
  stop(): Promise<unknown>;
}

async function dotstub(on: Bench, behind: At, threads: number): Promise<Contender> {
  const port = await freePort();
  const running = await startDotstub(`
listen: ["127.0.0.1:${port}"]
metrics: { listen: off }
dnssec: { mode: off }
front: { threads: ${threads} }
cache: { size: 48MiB }
upstream: { ca_file: ${on.caFile}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${behind.port}"] }] }
`);
  return { port, pid: running.child.pid ?? 0, stop: () => running.stop() };
}

async function unboundForwarder(on: Bench, behind: At): Promise<Contender> {
  const port = await freePort();
  const file = join(on.path, `forwarder-${port}.conf`);
  writeFileSync(file, `
server:
  interface: 127.0.0.1@${port}
${unboundAtHome(on)}
  num-threads: 1
  do-not-query-localhost: no
  module-config: "iterator"
  local-zone: test. nodefault
  tls-cert-bundle: "${on.caFile}"
  msg-cache-size: 16m
  rrset-cache-size: 32m
  outgoing-range: 4096
  num-queries-per-thread: 2048
remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-tls-upstream: yes
  forward-addr: 127.0.0.1@${behind.port}#dns.test
`);
  const { child, stop } = await start(on, 'unbound', ['-d', '-c', file], port);
  return { port, pid: child.pid ?? 0, stop };
}

interface Round {
  readonly missed: Load;
  readonly cached: Load;
  readonly rss: number;
}

async function round(made: Promise<Contender>, names: string): Promise<Round> {
  const contender = await made;
  await pin(contender.pid, SERVER_CPU);
  // The first query opens the connection, and is not what is measured.
  await ask({ address: '127.0.0.1', port: contender.port }, 'warm.test');
  await sleep(200);
  const missed = await load(contender.port, contender.pid, names, OUTSTANDING);
  const cached = await load(contender.port, contender.pid, names, OUTSTANDING);
  const rss = residentBytes(contender.pid);
  await contender.stop();
  return { missed, cached, rss };
}

type Start = (on: Bench, behind: At) => Promise<Contender>;
const CONTENDERS: Readonly<Record<string, Start>> = {
  'dotstub, threads 1': async (on, behind) => dotstub(on, behind, 1),
  'dotstub, threads 0': async (on, behind) => dotstub(on, behind, 0),
  Unbound: unboundForwarder,
};

/** Runs the comparison and prints it. */
export async function forward(rounds: number): Promise<void> {
  const lacking = missing('unbound', 'dnsperf', 'taskset');
  if (lacking !== false) {
    console.log(`forward: skipped, ${lacking}`);
    return;
  }
  const ends: (() => unknown)[] = [];
  const on = bench({ teardown: end => void ends.push(end) });
  const names = join(on.path, 'names');
  const behind = await upstream(on);
  for (const count of NAMES) {
    writeFileSync(names, Array.from({ length: count }, (_, i) => `n${i}.test A\n`).join(''));
    const results = new Map<string, Round[]>(Object.keys(CONTENDERS).map(who => [who, []]));
    for (let i = 0; i < rounds; i++) {
      const turns = Object.entries(CONTENDERS);
      for (const [who, begin] of [...turns.slice(i % turns.length), ...turns.slice(0, i % turns.length)]) {
        results.get(who)?.push(await round(begin(on, behind), names));
      }
    }
    console.log(`\nforward: ${count} names missed over DNS over TLS, then the same from cache; ${OUTSTANDING} outstanding, medians of ${rounds} alternating rounds`);
    console.log(report(results));
  }
  for (const end of ends) await end();
}

function report(results: ReadonlyMap<string, readonly Round[]>): string {
  const middle = (who: string, of: (one: Round) => number): number => median((results.get(who) ?? []).map(of));
  const rows = (['missed', 'cached'] as const).flatMap(path => [...results.keys()].map(who => {
    const cpu = (which: string): number => middle(which, each => each[path].cpuMicrosecondsPerQuery);
    const rate = (which: string): number => middle(which, each => each[path].perSecond);
    const total = (of: (one: Load) => number): string => String((results.get(who) ?? []).reduce((sum, each) => sum + of(each[path]), 0));
    return [
      `${path}: ${who}`, cpu(who).toFixed(1), (cpu(who) / cpu('Unbound')).toFixed(2), rate(who).toFixed(0), (rate(who) / rate('Unbound')).toFixed(2),
      total(each => each.lost), total(each => each.failed), `${(middle(who, each => each.rss) / 1e6).toFixed(0)} MB`,
    ];
  }));
  return table([['', 'CPU µs/query', 'x Unbound', 'queries/s', 'x Unbound', 'lost', 'failed', 'resident'], ...rows]);
}
