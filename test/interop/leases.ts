// Runs in a separate namespace (see leases.test.ts): dnsmasq serves addresses on veth0, and dotstub reads its leases. The argument
// is a process in the namespace of the clients. It prints its findings as JSON.

import { execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { tryAsk } from '../fixtures/client.js';
import { startDotstub, temporaryDirectory } from '../fixtures/program.js';

const [there = ''] = process.argv.slice(2);
const directory = temporaryDirectory();
const leases = join(directory.path, 'leases');
const at = { address: '127.0.0.1', port: 5300 };

const dnsmasq = spawn(
  'dnsmasq',
  [
    ...['--keep-in-foreground', '--conf-file=/dev/null', '--port=0', '--interface=veth0', '--no-ping', '--user=root'],
    ...[
      '--dhcp-range=192.168.77.10,192.168.77.50,1h',
      `--dhcp-leasefile=${leases}`,
      `--pid-file=${directory.path}/pid`,
    ],
    ...['--dhcp-host=02:00:00:00:00:01,192.168.77.20', '--dhcp-authoritative'],
  ],
  { stdio: 'inherit' },
);
process.once('exit', () => dnsmasq.kill());
await sleep(500);

/** Sends a message of DHCP (RFC 2131), as a client with this hardware address and name, and waits for a moment. */
function dhcp(kind: number, hardware: number, name: string, address = ''): void {
  const message = Buffer.alloc(240);
  message.set([1, 1, 6, 0, 1, 2, 3, hardware]);
  // Replies are to be broadcast.
  message[10] = 0x80;
  const octets = address.split('.').map(Number);
  const isRelease = kind === 7;
  if (isRelease) message.set(octets, 12);
  message.set([2, 0, 0, 0, 0, hardware], 28);
  message.set([99, 130, 83, 99], 236);
  const options = [53, 1, kind, 12, name.length, ...Buffer.from(name)];
  if (address !== '') options.push(54, 4, 192, 168, 77, 1);
  if (address !== '' && !isRelease) options.push(50, 4, ...octets);
  const whole = Buffer.concat([message, Buffer.from([...options, 255])]).toString('base64');
  const code = `
    const socket = require('node:dgram').createSocket('udp4');
    socket.bind(68, () => {
      socket.setBroadcast(true);
      socket.send(Buffer.from('${whole}', 'base64'), 67, '${isRelease ? '192.168.77.1' : '192.168.77.255'}');
      setTimeout(() => socket.close(), 300);
    });`;
  execFileSync('nsenter', ['--target', there, '--net', process.execPath, '-e', code]);
}

/** Gets an address. */
function enter(hardware: number, name: string, address: string): void {
  dhcp(1, hardware, name);
  dhcp(3, hardware, name, address);
}

const daemon = await startDotstub(`
listen: ["127.0.0.1:5300"]
upstream: { mode: off, servers: [{ addresses: [127.0.0.9] }] }
local: { leases: [{ file: ${leases}, domain: lan }], own_zones: [lan] }
`);

async function answer(name: string, type = 'A'): Promise<string> {
  const told = await tryAsk(at, name, { type });
  return [told?.text.rcode ?? 'silence', ...(told?.text.answers ?? []).map(each => each.data)].join(' ');
}

async function until(name: string, wanted: string): Promise<string> {
  for (let tries = 0; tries < 60 && (await answer(name)) !== wanted; tries++) await sleep(100);
  return answer(name);
}

enter(1, 'nas', '192.168.77.20');
const named = await until('nas.lan', 'NOERROR 192.168.77.20');
const reverse = await answer('20.77.168.192.in-addr.arpa', 'PTR');
enter(2, 'wpad', '192.168.77.21');
enter(3, 'www.bank.example', '192.168.77.22');
await sleep(1000);
const hostile = [await answer('wpad.lan'), await answer('www.bank.example.lan')];
const text = readFileSync(leases, 'utf8');
dhcp(7, 1, 'nas', '192.168.77.20');
const left = await until('nas.lan', 'NXDOMAIN');
const problems = daemon.log().match(/cannot be used/g)?.length ?? 0;
console.log(JSON.stringify({ named, reverse, hostile, left, problems, text }));
await daemon.stop();
directory.remove();
process.exit();
