// Runs in separate namespaces (see listening.test.ts). veth0 is our end of a link, and veth1 the other one, from where clients ask.
// The arguments name the situation and how UDP is served. It prints its findings as JSON.

import { execFileSync, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { isIPv6 } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { setTimeout as sleep } from 'node:timers/promises';

import { askDaemon } from '../../src/control/client.js';
import { framed } from '../../src/wire/frame.js';
import { authority, certificate } from '../fixtures/certificates.js';
import { exchangeTcp, queryMessage } from '../fixtures/client.js';
import { type RunningProgram, startDotstub, temporaryDirectory } from '../fixtures/program.js';

const [situation = '', host = ''] = process.argv.slice(2);
const PORT = 5300;
const TLS_PORT = 8530;
const HTTP_PORT = 9153;
/** How long an answer may take. The link has no loss. */
const ANSWER_MS = 300;
const LOOK_MS = 20;
/** Far above what anything takes here that has to come. */
const PATIENCE_MS = 15_000;

const directory = temporaryDirectory();
const own = certificate({ common: 'x', names: ['router.test'], issuer: authority() });
writeFileSync(join(directory.path, 'cert.pem'), own.cert);
writeFileSync(join(directory.path, 'key.pem'), own.key);
mkdirSync(join(directory.path, 'state'));

const ip = (...args: string[]): string => execFileSync('ip', args, { encoding: 'utf8' });

/** What the daemon answers itself (RFC 8482). */
const question = (): Buffer => queryMessage('.', { type: 'ANY' });

/** A configuration. Its server is never asked. */
const configuration = (listen: readonly string[], more = ''): string => `
listen: [${listen.map(each => `"${each}"`).join(', ')}]
state_directory: ${join(directory.path, 'state')}
front: { io: ${host.includes('dgram') ? 'dgram' : 'auto'}, threads: ${host.includes('thread') ? 1 : 0} }
access: { allow: ["127.0.0.0/8", "::1", "192.168.0.0/16", "fd00::/8", "fe80::/10"] }
upstream: { servers: [{ name: dns.test, addresses: ["127.0.0.9"] }] }
${more.includes('metrics') ? more : `metrics: { listen: off }\n${more}`}`;

const withAll = (address: string, others: readonly string[] = []): string => {
  const at = address.includes(':') ? `[${address}]` : address;
  return configuration(
    [`${at}:${PORT}`, ...others],
    `listen_tls: { addresses: ["${at}:${TLS_PORT}"], certificate: ${join(directory.path, 'cert.pem')}, key: ${join(directory.path, 'key.pem')} }
metrics: { listen: "${at}:${HTTP_PORT}" }`,
  );
};

/** Asks over UDP. Only a reply from the address that was asked counts. */
async function udp(address: string, port = PORT): Promise<boolean> {
  const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
  return new Promise(resolve => {
    const finish = (answered: boolean): void => {
      clearTimeout(timer);
      socket.close();
      resolve(answered);
    };
    const timer = setTimeout(() => finish(false), ANSWER_MS);
    socket.on('error', () => finish(false));
    socket.on('message', () => finish(true));
    socket.on('connect', () => socket.send(question()));
    socket.connect(port, address);
  });
}

const tcp = async (address: string): Promise<boolean> =>
  (await exchangeTcp({ address, port: PORT }, [question()], ANSWER_MS)).length > 0;

const tls = async (address: string): Promise<boolean> =>
  new Promise(resolve => {
    const socket = connectTls({ host: address, port: TLS_PORT, rejectUnauthorized: false }, () =>
      socket.write(framed(question())),
    );
    const finish = (answered: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answered);
    };
    const timer = setTimeout(() => finish(false), ANSWER_MS);
    socket.on('data', () => finish(true));
    socket.on('error', () => finish(false));
  });

const http = async (address: string): Promise<boolean> =>
  new Promise(resolve => {
    const request = get({ host: address, port: HTTP_PORT, path: '/livez', timeout: ANSWER_MS, agent: false }, reply => {
      reply.resume();
      resolve(reply.statusCode === 200);
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(false));
  });

const udpAndTcp = async (address: string): Promise<boolean> => (await udp(address)) && (await tcp(address));
/** What is answered at an address. */
const served = async (address: string): Promise<Record<string, boolean>> => ({
  udp: (await udp(address)) && (await udp(address)),
  tcp: await tcp(address),
  tls: await tls(address),
  http: await http(address),
});

/** Asks at an address 200 times a second; `stop` returns how many questions were never answered. */
function pump(address: string): { stop(): Promise<number> } {
  const socket = createSocket('udp4');
  const open = new Set<number>();
  let id = 0;
  socket.on('message', reply => open.delete(reply.readUInt16BE(0)));
  const timer = setInterval(() => {
    open.add(++id);
    socket.send(queryMessage('.', { type: 'ANY', id }), PORT, address);
  }, 5);
  return {
    async stop() {
      clearInterval(timer);
      await until(() => open.size === 0);
      socket.close();
      return open.size;
    },
  };
}

/** Waits until something holds, and returns how long that took, ms; -1: it did not come. */
async function until(holds: () => boolean | Promise<boolean>): Promise<number> {
  const startedAt = performance.now();
  while (performance.now() - startedAt < PATIENCE_MS) {
    if (await holds()) return Math.round(performance.now() - startedAt);
    await sleep(LOOK_MS);
  }
  return -1;
}

const result: Record<string, unknown> = {};

/** What the daemon says about itself. */
async function status({ controlSocket }: RunningProgram): Promise<{ listening: string[]; health: string }> {
  const reply = await askDaemon(controlSocket, { command: 'status', args: [] });
  if (!reply.ok) throw new Error(reply.problem);
  return reply.data as { listening: string[]; health: string };
}

const health = async (daemon: RunningProgram): Promise<string> => (await status(daemon)).health;

const flagOf = (address: string, flag: string): boolean => ip('-6', '-o', 'addr', 'show', 'to', address).includes(flag);

const SITUATIONS: Readonly<Record<string, () => Promise<RunningProgram>>> = {
  /** At every boot: addresses are tentative, one is used by another machine, one is on two interfaces. */
  async 'not ready'() {
    for (const name of ['veth0', 'veth1']) writeFileSync(`/proc/sys/net/ipv6/conf/${name}/dad_transmits`, '1');
    ip('addr', 'add', 'fd00::6/64', 'dev', 'veth1', 'nodad');
    ip('addr', 'add', 'fd00::6/64', 'dev', 'veth0');
    result['failed'] = await until(() => flagOf('fd00::6', 'dadfailed'));
    ip('addr', 'del', 'fd00::6/64', 'dev', 'veth1');
    ip('addr', 'add', '192.168.7.1/32', 'dev', 'veth1');
    writeFileSync('/proc/sys/net/ipv6/conf/veth0/dad_transmits', '5');
    ip('addr', 'add', 'fd00::5/64', 'dev', 'veth0');
    const daemon = await startDotstub(configuration([`0.0.0.0:${PORT}`, `[::]:${PORT}`]));
    result['tentative'] = flagOf('fd00::5', 'tentative');
    const first = await status(daemon);
    result['listening'] = first.listening;
    result['health'] = first.health;
    result['four'] = await udpAndTcp('192.168.7.1');
    result['ready'] = await until(() => !flagOf('fd00::5', 'tentative'));
    result['six'] = await until(async () => udpAndTcp('fd00::5'));
    return daemon;
  },
  async 'come and go'() {
    const daemon = await startDotstub(configuration([`0.0.0.0:${PORT}`, `[::]:${PORT}`]));
    const others = pump('127.0.0.1');
    ip('addr', 'add', '192.168.9.1/24', 'dev', 'veth0');
    result['four'] = await until(async () => udpAndTcp('192.168.9.1'));
    ip('addr', 'add', 'fd00::9/64', 'dev', 'veth0', 'nodad');
    result['six'] = await until(async () => udpAndTcp('fd00::9'));
    const lists = async (text: string): Promise<boolean> => (await status(daemon)).listening.includes(text);
    const text = host.includes('thread') ? `0.0.0.0:${PORT} (UDP)` : `192.168.9.1:${PORT} (UDP)`;
    result['listed'] = await until(async () => lists(text));
    ip('addr', 'del', '192.168.9.1/24', 'dev', 'veth0');
    if (!host.includes('thread')) result['unlisted'] = await until(async () => !(await lists(text)));
    ip('addr', 'add', '192.168.9.1/24', 'dev', 'veth0');
    result['again'] = await until(async () => udpAndTcp('192.168.9.1'));
    // Addresses stay on an interface without a carrier, and programs on this machine use them.
    ip('link', 'set', 'veth1', 'down');
    await sleep(1500);
    result['without carrier'] = await udpAndTcp('192.168.9.1');
    result['lost elsewhere'] = await others.stop();
    return daemon;
  },
  /** Addresses that somebody has written. */
  async ahead() {
    const daemon = await startDotstub(withAll('192.168.9.1', [`127.0.0.1:${PORT}`, `[fd00::9]:${PORT}`]));
    result['meanwhile'] = await udpAndTcp('127.0.0.1');
    result['health'] = await health(daemon);
    result['listening'] = (await status(daemon)).listening;
    // 192.168.9.1, as proc(5) has it.
    for (const each of ['udp', 'tcp'])
      result[`${each} ahead`] = readFileSync(`/proc/net/${each}`).includes(' 0109A8C0:');
    ip('addr', 'add', '192.168.9.1/24', 'dev', 'veth0');
    ip('addr', 'add', 'fd00::9/64', 'dev', 'veth0', 'nodad');
    result['came'] = await until(async () => Object.values(await served('192.168.9.1')).every(Boolean));
    result['six'] = await until(async () => udpAndTcp('fd00::9'));
    result['healed'] = await until(async () => !(await health(daemon)).includes('192.168.9.1'));
    return daemon;
  },
  /** From the other end of the link. */
  async 'link-local'() {
    ip('addr', 'add', 'fe80::1/64', 'dev', 'veth0', 'nodad');
    const daemon = await startDotstub(withAll('fe80::1%veth0'));
    // The client needs an address, too.
    await until(() => !ip('-6', '-o', 'addr', 'show', 'dev', 'veth1').includes('tentative'));
    result['here'] = await served('fe80::1%veth0');
    result['there'] = await served('fe80::1%veth1');
    // The interface comes again, and has another index.
    ip('link', 'del', 'veth0');
    result['gone'] = await until(async () => (await health(daemon)).includes('fe80::1%veth0'));
    ip('link', 'add', 'veth0', 'type', 'veth', 'peer', 'name', 'veth1');
    for (const name of ['veth0', 'veth1']) ip('link', 'set', name, 'up');
    ip('addr', 'add', 'fe80::1/64', 'dev', 'veth0', 'nodad');
    const all = async (): Promise<boolean> => Object.values(await served('fe80::1%veth1')).every(Boolean);
    result['again'] = await until(all);
    return daemon;
  },
  async 'no interface yet'() {
    // Node.js does not know all names that interfaces may have.
    const name = host === 'no system calls' ? 'br0' : 'br_lan';
    const daemon = await startDotstub(withAll(`fe80::1%${name}`, [`127.0.0.1:${PORT}`]));
    result['meanwhile'] = await udpAndTcp('127.0.0.1');
    result['health'] = await health(daemon);
    ip('link', 'add', name, 'type', 'veth', 'peer', 'name', 'there0');
    for (const each of [name, 'there0']) ip('link', 'set', each, 'up');
    ip('addr', 'add', 'fe80::1/64', 'dev', name, 'nodad');
    result['came'] = await until(async () => Object.values(await served('fe80::1%there0')).every(Boolean));
    return daemon;
  },
  /** A wildcard of which another program has one address. */
  async 'in use'() {
    const other = createSocket('udp4');
    await new Promise<void>(resolve => other.bind(PORT, '192.168.7.1', resolve));
    const daemon = await startDotstub(configuration([`0.0.0.0:${PORT}`]));
    result['others'] = await udp('127.0.0.1');
    result['health'] = await health(daemon);
    other.close();
    result['free'] = await until(async () => udp('192.168.7.1'));
    return daemon;
  },
  async 'no IPv6'() {
    for (const each of ['all', 'default', 'lo']) writeFileSync(`/proc/sys/net/ipv6/conf/${each}/disable_ipv6`, '1');
    const daemon = await startDotstub(configuration([`127.0.0.1:${PORT}`, `[::1]:${PORT}`]));
    result['four'] = await udpAndTcp('127.0.0.1');
    result['health'] = await health(daemon);
    return daemon;
  },
  /** The first address goes; a service manager listens. */
  async watchdog() {
    const heard = join(directory.path, 'heard');
    const socket = join(directory.path, 'notify');
    const receiver = spawn(
      'python3',
      [
        '-c',
        `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
while True: open(sys.argv[2], 'a').write(s.recv(4096).decode() + '\\n')
`,
        socket,
        heard,
      ],
      { stdio: 'inherit' },
    );
    process.on('exit', () => receiver.kill());
    await sleep(500);
    process.env['NOTIFY_SOCKET'] = socket;
    process.env['WATCHDOG_USEC'] = '2000000';
    const daemon = await startDotstub(configuration([`192.168.7.1:${PORT}`, `127.0.0.1:${PORT}`]));
    const fed = (): number => readFileSync(heard, 'utf8').split('WATCHDOG=1').length;
    result['before'] = await until(() => fed() > 2);
    ip('addr', 'del', '192.168.7.1/24', 'dev', 'veth0');
    const already = fed();
    result['after'] = await until(() => fed() > already + 3);
    return daemon;
  },
};

const run = SITUATIONS[situation];
if (run === undefined) throw new Error(`no situation ${situation}`);
const daemon = await run();
result['log'] = daemon.log();
result['ended'] = (await daemon.stop()).code;
console.log(JSON.stringify(result));
directory.remove();
process.exit(0);
