// Runs in a namespace of its own (see flood.test.ts): a box between a LAN and a WAN. From the WAN comes a burst from thousands of source
// addresses, while a device in the LAN asks. It prints what both have received, as JSON.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { authority, certificate } from '../fixtures/certificates.js';
import { answering } from '../fixtures/daemon.js';
import { dotServer } from '../fixtures/dot-server.js';
import { link } from '../fixtures/link.js';
import { startDotstub, temporaryDirectory } from '../fixtures/program.js';

const [front = '{ threads: 1 }', limits = 'rate_limit: 200'] = process.argv.slice(2);
const CLIENT = fileURLToPath(new URL('flood-client.ts', import.meta.url));

const lan = await link('lan');
const wan = await link('wan');
await lan.ip('addr add 10.9.0.1/24 dev lan0');
await lan.ipThere('addr add 10.9.0.9/24 dev lan1');
await wan.ip('addr add 203.0.113.1/24 dev wan0');
await wan.ipThere('addr add 203.0.113.9/24 dev wan1');
// Every address of this network may be a source there.
await wan.ipThere('route add local 198.18.0.0/15 dev lo');
await wan.ip('route add 198.18.0.0/15 via 203.0.113.9');

const directory = temporaryDirectory();
const ca = authority();
writeFileSync(join(directory.path, 'ca.pem'), ca.cert);
const server = await dotServer({
  identity: certificate({ common: 'x', names: ['dns.test'], issuer: ca }),
  handler: answering(),
});
const daemon = await startDotstub(`
listen: ["0.0.0.0:53"]
metrics: { listen: "127.0.0.1:9153" }
state_directory: ${directory.path}
front: ${front}
access: { allow: ["10.9.0.0/24"], ${limits} }
upstream: { ca_file: ${join(directory.path, 'ca.pem')}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${server.port}"] }] }
`);

/** Runs a client at the other end of a link, and returns what it prints. */
async function run(there: readonly string[], args: readonly string[]): Promise<unknown> {
  const [command = '', ...before] = there;
  const child: ChildProcess = spawn(command, [...before, process.execPath, '--import=tsx', CLIENT, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let out = '';
  child.stdout?.on('data', (data: Buffer) => (out += String(data)));
  await once(child, 'close');
  return JSON.parse(out) as unknown;
}

const device = async (): Promise<unknown> => run(lan.there, ['ask', '10.9.0.1', '6']);
const quiet = await device();
const [beside, flood] = await Promise.all([device(), run(wan.there, ['flood', '203.0.113.1', '4'])]);
const metrics = await (await fetch('http://127.0.0.1:9153/metrics')).text();
const dropped = Number(/^dotstub_dropped_total\{reason="not_allowed"\} (\d+)/m.exec(metrics)?.[1] ?? 0);
console.log(JSON.stringify({ quiet, beside, flood, dropped }));
await daemon.stop();
await server.close();
lan.end();
wan.end();
directory.remove();
process.exit(0);
