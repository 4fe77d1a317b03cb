// Runs in separate namespaces (see stuck-link.test.ts). A client is behind a link that takes nothing from us: its replies stay in
// the send buffer of our socket. It asks without end, while another client asks the same address over the loopback interface. The
// arguments name the program, and `front` of its configuration. It prints what the others got as JSON.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { authority, certificate } from '../fixtures/certificates.js';
import { ask, queryMessage, tryAsk } from '../fixtures/client.js';
import { answering } from '../fixtures/daemon.js';
import { dotServer } from '../fixtures/dot-server.js';
import { residentMib } from '../fixtures/memory.js';
import { startDotstub, temporaryDirectory } from '../fixtures/program.js';
import { bench, start, unboundAtHome } from '../fixtures/servers.js';

const [program = 'dotstub', front = '{ threads: 1 }'] = process.argv.slice(2);
const at = { address: '10.9.0.1', port: 5300 };
const METRICS = 9153;
const QUERIES = 40;

/** A process that has the other end of the link as its network. */
const other = spawn('unshare', ['--net', 'sh', '-c', 'echo; exec sleep 100'], { stdio: ['ignore', 'pipe', 'inherit'] });
await new Promise(resolve => other.stdout.once('data', resolve));
const inside = `nsenter --net=/proc/${other.pid ?? 0}/ns/net`;
const shell = (script: string): void => void execFileSync('sh', ['-ec', script], { stdio: 'inherit' });
shell(`
  ip link set lo up
  ip link add v0 type veth peer name v1
  ip link set v1 netns ${other.pid ?? 0}
  ip addr add ${at.address}/24 dev v0
  ip link set v0 up
  ${inside} ip addr add 10.9.0.2/24 dev v1
  ${inside} ip link set v1 up
  ip neigh replace 10.9.0.2 lladdr 02:00:00:00:00:01 dev v0`);

const ends: (() => unknown)[] = [() => other.kill()];
/** Starts the program with a zone behind it. */
async function started(): Promise<ChildProcess> {
  if (program === 'unbound') {
    const on = bench({ teardown: end => void ends.push(end) });
    writeFileSync(
      join(on.path, 'unbound.conf'),
      `server:
  interface: ${at.address}@${at.port}
  interface: 127.0.0.1@${at.port}
  access-control: 10.0.0.0/8 allow
  module-config: "iterator"
  local-zone: example. redirect
  local-data: "example. 300 A 192.0.2.80"
${unboundAtHome(on)}`,
    );
    return (await start(on, 'unbound', ['-d', '-c', join(on.path, 'unbound.conf')], at.port)).child;
  }
  const directory = temporaryDirectory();
  const ca = authority();
  writeFileSync(join(directory.path, 'ca.pem'), ca.cert);
  const identity = certificate({ common: 'x', names: ['dns.test'], issuer: ca });
  const server = await dotServer({ identity, handler: answering() });
  const daemon = await startDotstub(`
listen: ["${at.address}:${at.port}"]
front: ${front}
metrics: { listen: "127.0.0.1:${METRICS}" }
upstream: { ca_file: ${join(directory.path, 'ca.pem')}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${server.port}"] }] }`);
  ends.push(() => directory.remove());
  return daemon.child;
}

const child = await started();
await ask(at, 'www.example');
/** The resident memory of the server, MiB. */
const resident = (): number => residentMib(child.pid ?? 0);
const before = resident();
shell('tc qdisc add dev v0 root tbf rate 8bit burst 1540 limit 100000000');
const flood = spawn('sh', ['-c', `exec ${inside} "$0" "$@"`, process.execPath, '-e', floodProgram()], {
  stdio: 'inherit',
});
await sleep(3000);

let answered = 0;
for (let i = 0; i < QUERIES; i++) {
  const told = await tryAsk(at, i % 2 === 0 ? 'www.example' : `n${i}.wild.example`, { timeoutMs: 500 });
  if (told?.text.rcode === 'NOERROR') answered++;
}
const overTcp = (await tryAsk(at, 'www.example', { tcp: true, timeoutMs: 1000 }))?.text.rcode;
const grownMiB = resident() - before;
const scrape = async (): Promise<string> => (await fetch(`http://127.0.0.1:${METRICS}/metrics`)).text();
const [, lost = '0'] =
  program === 'dotstub' ? (/reason="socket_full"} (\d+)/.exec(await scrape().catch(() => '')) ?? []) : [];
const ended = new Promise<boolean>(resolve => child.once('exit', () => resolve(true)));
child.kill('SIGTERM');
const stopped = await Promise.race([ended, sleep(5000).then(() => false)]);
console.log(JSON.stringify({ answered, overTcp, grownMiB, lost: Number(lost), stopped }));
child.kill('SIGKILL');
flood.kill();
for (const end of ends.reverse()) await end();
process.exit(0);

/** The program of the client: 40,000 queries a second. */
function floodProgram(): string {
  return `
    const socket = require('dgram').createSocket('udp4');
    const query = Buffer.from('${queryMessage('www.example').toString('hex')}', 'hex');
    socket.bind(() => setInterval(() => {
      for (let i = 0; i < 200; i++) socket.send(query, ${at.port}, '${at.address}');
    }, 5));`;
}
