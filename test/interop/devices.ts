// Runs in separate namespaces (see devices.test.ts): a household's box with a device at the other end of a link. The argument is
// `front` of the configuration. It prints what the device got, from one hardware address and IP address after another, as JSON.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { authority, certificate } from '../fixtures/certificates.js';
import { answering } from '../fixtures/daemon.js';
import { dotServer } from '../fixtures/dot-server.js';
import { link } from '../fixtures/link.js';
import { startDotstub, temporaryDirectory } from '../fixtures/program.js';

const [front = '{ threads: 1 }'] = process.argv.slice(2);
const KID = '02:aa:bb:cc:dd:01';
const OTHER = '02:aa:bb:cc:dd:02';

const { ip, ipThere, askFrom, end } = await link();
await ip('addr add 10.9.0.1/24 dev v0');
await ip('addr add fd00:9::1/64 dev v0 nodad');

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
access: { allow: [local] }
upstream: { ca_file: ${join(directory.path, 'ca.pem')}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${server.port}"] }] }
lists: [{ name: games, sources: [${join(directory.path, 'games.txt')}] }]
clients: [{ name: kids, macs: ["${KID.toUpperCase().replaceAll(':', '-')}"], lists: [games] }]
`);

/** The device comes back with other addresses. */
async function becomes(mac: string, address: string): Promise<void> {
  await ipThere('link set v1 down');
  await ipThere(`link set v1 address ${mac}`);
  await ipThere('addr flush dev v1');
  await ipThere('link set v1 up');
  const [family, prefix, nodad] = address.includes(':') ? ['-6', 64, ' nodad'] : ['-4', 24, ''];
  await ipThere(`${family} addr add ${address}/${prefix}${nodad} dev v1`);
}

const found: Record<string, readonly string[]> = {};
/** How long the daemon may take to learn of a device or a network: it reads the table of the kernel once a second at least. */
const LEARNT_MS = 3000;
/** What the device gets for the name on the list. @param due what it shall get, once the daemon knows of it */
async function asks(what: string, at: string, due: string): Promise<void> {
  // The kernel learns of it by its first packet, and the daemon some time later.
  const untilMs = Date.now() + LEARNT_MS;
  while ((await askFrom(at, 'www.example')) !== due && Date.now() < untilMs) await sleep(50);
  // The second one is given from the ready replies.
  found[what] = [await askFrom(at, 'www.example'), await askFrom(at, 'www.example'), await askFrom(at, 'www.example')];
}
for (const [what, mac, address, at] of [
  ['kid', KID, '10.9.0.9', '10.9.0.1'],
  ['kid, another address', KID, '10.9.0.77', '10.9.0.1'],
  ['other', OTHER, '10.9.0.10', '10.9.0.1'],
  ['other, over IPv6', OTHER, 'fd00:9::10', 'fd00:9::1'],
  ['kid, over IPv6', KID, 'fd00:9::9', 'fd00:9::1'],
  ['other, where the kid was', OTHER, 'fd00:9::9', 'fd00:9::1'],
] as const) {
  await becomes(mac, address);
  await asks(what, at, what.startsWith('kid') ? 'NXDOMAIN' : 'NOERROR');
  if (!what.startsWith('kid')) continue;
  // The box forgets a device that sleeps, and the device need not ask for the box when it wakes.
  await ip('neigh flush all');
  await sleep(100);
  found[`${what}, awake`] = [await askFrom(at, 'www.example')];
}

// From a network that is not one of the box's, until it is.
await becomes(OTHER, '198.51.100.9');
await ipThere('route add 10.9.0.1 dev v1');
await ip('route add 198.51.100.9 dev v0');
await asks('from elsewhere', '10.9.0.1', 'REFUSED');
await ip('addr add 198.51.100.1/24 dev v0');
await asks('on a new network', '10.9.0.1', 'NOERROR');
await ip('addr del 198.51.100.1/24 dev v0');
await ip('route replace 198.51.100.9 dev v0');
await asks('when it is gone', '10.9.0.1', 'REFUSED');

console.log(JSON.stringify(found));
await daemon.stop();
await server.close();
end();
directory.remove();
process.exit(0);
