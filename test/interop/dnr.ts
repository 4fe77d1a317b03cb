// Runs in a separate namespace (see dnr.test.ts): a DHCP server on veth0 announces the resolver with the files of deploy/dnr.
// The arguments are the server, and a process in the namespace of the clients. It prints as JSON what a client has read.

import { execFile, spawn } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';

import { announcedFrom } from '../../src/run/announced.js';
import { documentText } from '../fixtures/documents.js';
import { temporaryDirectory } from '../fixtures/program.js';

const [server = 'dnsmasq', there = ''] = process.argv.slice(2);
const directory = temporaryDirectory();
const file = (name: string, text: string): string => {
  const path = join(directory.path, name);
  writeFileSync(path, text);
  return path;
};
const PATIENCE_MS = 15_000;

/** The file of deploy/dnr, with what the server needs besides. */
function start(): readonly [program: string, args: readonly string[]] {
  if (server === 'dnsmasq') {
    const ranges = ['dhcp-range=192.168.1.10,192.168.1.50,1h', 'dhcp-range=fd00::,ra-stateless'];
    const others = ['port=0', 'interface=veth0', 'user=root', 'no-ping', 'dhcp-authoritative'];
    const paths = [`dhcp-leasefile=${directory.path}/leases`, `pid-file=${directory.path}/pid`];
    const config = file(
      'dnsmasq.conf',
      [documentText('deploy/dnr/dnsmasq.conf'), ...ranges, ...others, ...paths, ''].join('\n'),
    );
    return ['dnsmasq', ['--keep-in-foreground', `--conf-file=${config}`]];
  }
  const dhcp4 = {
    ...(JSON.parse(documentText('deploy/dnr/kea-dhcp4.json')) as object),
    'interfaces-config': { interfaces: ['veth0'] },
    'lease-database': { type: 'memfile', persist: false },
    subnet4: [{ id: 1, subnet: '192.168.1.0/24', pools: [{ pool: '192.168.1.10-192.168.1.50' }] }],
  };
  return ['kea-dhcp4', ['-c', file('kea.conf', JSON.stringify({ Dhcp4: dhcp4 }))]];
}

const [program, args] = start();
const environment = { ...process.env, KEA_PIDFILE_DIR: directory.path, KEA_LOCKFILE_DIR: directory.path };
const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: environment });
process.once('exit', () => child.kill());
let log = '';
for (const stream of [child.stdout, child.stderr]) stream.on('data', (text: Buffer) => (log += text.toString()));

const run = promisify(execFile);
const inThere = async (...command: string[]): Promise<string> =>
  (await run('nsenter', ['--target', there, '--net', ...command], { timeout: 8000 }).catch(() => ({ stdout: '' })))
    .stdout;

/** The data of option 162, as a client of DHCPv4 that has asked for it gets it. */
async function option4(): Promise<Buffer> {
  const script = file('script', '#!/bin/sh\necho "$1 opt162=$opt162"\n');
  chmodSync(script, 0o755);
  const client = ['-i', 'veth1', '-f', '-n', '-q', '-t', '3', '-T', '1', '-O', '162', '-s', script];
  const told = await inThere('busybox', 'udhcpc', ...client);
  return Buffer.from(/bound opt162=([0-9a-f]+)/.exec(told)?.[1] ?? '', 'hex');
}

/** The data of option 144: sends an Information-request (RFC 8415 §18.2.6), and reads the reply. */
async function option6(): Promise<Buffer> {
  const code = `
    const socket = require('node:dgram').createSocket('udp6');
    const request = Buffer.from('0b010203' + '0001000a00030001020000000001' + '000600020090' + '000800020000', 'hex');
    socket.on('message', reply => { console.log(reply.toString('hex')); socket.close(); });
    socket.bind(546, '::', () => socket.send(request, 547, 'ff02::1:2%veth1'));
    setTimeout(() => process.exit(), 1000).unref();`;
  const reply = Buffer.from((await inThere(process.execPath, '-e', code)).trim(), 'hex');
  for (let at = 4; at + 4 <= reply.length; at += 4 + reply.readUInt16BE(at + 2))
    if (reply.readUInt16BE(at) === 144) return reply.subarray(at + 4, at + 4 + reply.readUInt16BE(at + 2));
  return Buffer.alloc(0);
}

async function until(read: () => Promise<Buffer>): Promise<Buffer> {
  const end = performance.now() + PATIENCE_MS;
  while (performance.now() < end) {
    const octets = await read();
    if (octets.length > 0) return octets;
    await sleep(200);
  }
  return Buffer.alloc(0);
}

const options4 = [await until(option4)];
const options6 = server === 'dnsmasq' ? [await until(option6)] : [];
const read = announcedFrom({ resolvers: [], options4, options6, portals: [] }, () => false);
console.log(JSON.stringify({ found: read.resolvers, log }));
directory.remove();
process.exit();
