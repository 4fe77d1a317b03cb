// Runs in separate namespaces (see devices.test.ts): a household's box with a device at the other end of a link. The argument is
// `front` of the configuration. It prints what the device got, from one hardware address and IP address after another, as JSON.

import { execFile, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

import { authority, certificate } from '../fixtures/certificates.js';
import { answering } from '../fixtures/daemon.js';
import { dotServer } from '../fixtures/dot-server.js';
import { startDotstub, temporaryDirectory } from '../fixtures/program.js';

const [front = '{ threads: 1 }'] = process.argv.slice(2);
const KID = '02:aa:bb:cc:dd:01';
const OTHER = '02:aa:bb:cc:dd:02';

/** A process that has the other end of the link as its network. */
const device = spawn('unshare', ['--net', 'sh', '-c', 'echo; exec sleep 100'], {
  stdio: ['ignore', 'pipe', 'inherit'],
});
await new Promise(resolve => device.stdout.once('data', resolve));
const inside = ['nsenter', `--net=/proc/${device.pid ?? 0}/ns/net`];
const run = async (...words: readonly string[]): Promise<string> => {
  const [command = '', ...args] = words;
  return (await promisify(execFile)(command, args)).stdout;
};
const ip = async (text: string): Promise<string> => run('ip', ...text.split(' '));
const ipInside = async (text: string): Promise<string> => run(...inside, 'ip', ...text.split(' '));
await ip('link set lo up');
await ip('link add v0 type veth peer name v1');
await ip(`link set v1 netns ${device.pid ?? 0}`);
await ip('addr add 10.9.0.1/24 dev v0');
await ip('addr add fd00:9::1/64 dev v0 nodad');
await ip('link set v0 up');

const directory = temporaryDirectory();
const ca = authority();
writeFileSync(join(directory.path, 'ca.pem'), ca.cert);
writeFileSync(join(directory.path, 'games.txt'), 'www.example\n');
const server = await dotServer({
  identity: certificate({ common: 'x', names: ['dns.test'], issuer: ca }),
  handler: answering(),
});
const daemon = await startDotstub(`
listen: ["10.9.0.1:53", "[fd00:9::1]:53"]
metrics: { listen: "off" }
state_directory: ${directory.path}
front: ${front}
upstream: { ca_file: ${join(directory.path, 'ca.pem')}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${server.port}"] }] }
lists: [{ name: games, sources: [${join(directory.path, 'games.txt')}] }]
clients: [{ name: kids, macs: ["${KID.toUpperCase().replaceAll(':', '-')}"], lists: [games] }]
`);

/** What the device gets for the name on the list. */
const answered = async (at: string): Promise<string> => {
  const text = await run(...inside, 'dig', '+tries=1', '+time=3', `@${at}`, 'www.example', 'A');
  return /status: (\w+)/.exec(text)?.[1] ?? text;
};
/** The device comes back with other addresses. */
const becomes = async (mac: string, address: string): Promise<void> => {
  await ipInside('link set v1 down');
  await ipInside(`link set v1 address ${mac}`);
  await ipInside('addr flush dev v1');
  await ipInside('link set v1 up');
  const [family, prefix, nodad] = address.includes(':') ? ['-6', 64, ' nodad'] : ['-4', 24, ''];
  await ipInside(`${family} addr add ${address}/${prefix}${nodad} dev v1`);
};

const found: Record<string, readonly string[]> = {};
for (const [what, mac, address, at] of [
  ['kid', KID, '10.9.0.9', '10.9.0.1'],
  ['kid, another address', KID, '10.9.0.77', '10.9.0.1'],
  ['other', OTHER, '10.9.0.10', '10.9.0.1'],
  ['other, over IPv6', OTHER, 'fd00:9::10', 'fd00:9::1'],
  ['kid, over IPv6', KID, 'fd00:9::9', 'fd00:9::1'],
  ['other, where the kid was', OTHER, 'fd00:9::9', 'fd00:9::1'],
] as const) {
  await becomes(mac, address);
  // The kernel learns of it by its first packet, and the daemon a moment later.
  await run(...inside, 'dig', '+tries=1', '+time=3', `@${at}`, 'alias.example', 'TXT');
  await sleep(100);
  // The second one is given from the ready replies.
  found[what] = [await answered(at), await answered(at), await answered(at)];
}
console.log(JSON.stringify(found));
await daemon.stop();
await server.close();
device.kill();
directory.remove();
process.exit(0);
