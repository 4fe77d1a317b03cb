// What the service manager hears. Python receives: Node.js has no Unix datagrams.

import { spawn } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import t, { type Test } from 'tap';

import { systemClock } from '../../src/os/clock.js';
import { loadLibc } from '../../src/os/libc.js';
import type { ListenAddress } from '../../src/os/listen-address.js';
import { Heartbeat, serviceManager, unixAddress } from '../../src/os/notify.js';
import { startDotstub, temporaryDirectory } from '../fixtures/program.js';
import { freePort } from '../fixtures/free-port.js';
import { recordedLog } from '../fixtures/recorder.js';
import { missing } from '../fixtures/servers.js';

const found = loadLibc();
const libc = 'unavailable' in found ? undefined : found;
const skip = libc === undefined ? 'no system calls here' : missing('python3');

/** A socket that writes down what it hears. */
async function listener(t: Pick<Test, 'teardown'>): Promise<{ readonly path: string; heard(): string[] }> {
  const directory = temporaryDirectory();
  const path = join(directory.path, 'notify');
  const child = spawn(
    'python3',
    [
      '-u',
      '-c',
      `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print('bound')
while True: print(repr(s.recv(4096).decode()))
`,
      path,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  t.teardown(() => {
    child.kill();
    directory.remove();
  });
  while (!text.includes('bound')) await sleep(20);
  return {
    path,
    heard: () =>
      text
        .split('\n')
        .slice(1, -1)
        .map(line => line.slice(1, -1).replaceAll('\\n', '\n')),
  };
}

await t.test('addresses as NOTIFY_SOCKET has them', async t => {
  t.same(unixAddress('/run/x'), Buffer.from('\x01\0/run/x', 'latin1'));
  t.same(unixAddress('@abstract'), Buffer.from('\x01\0\0abstract', 'latin1'));
  t.equal(unixAddress('relative'), undefined);
  t.equal(unixAddress('/'), undefined);
  t.equal(unixAddress(`/${'x'.repeat(200)}`), undefined);
});

await t.test('without a service manager nothing is sent; without system calls the reason is logged', async t => {
  const log = recordedLog();
  t.equal(serviceManager({}, 1, libc, log), undefined);
  t.same(log.lines, []);
  t.equal(serviceManager({ NOTIFY_SOCKET: '/run/x' }, 1, undefined, log), undefined);
  t.match(log.lines, [/system calls are not available/]);
  t.equal(serviceManager({ NOTIFY_SOCKET: 'x' }, 1, libc, log), undefined);
});

await t.test(
  'the watchdog is meant for one process',
  { skip: libc === undefined ? 'no system calls here' : false },
  async t => {
    const watchdog = (more: object): number | undefined =>
      serviceManager({ NOTIFY_SOCKET: '/run/x', WATCHDOG_USEC: '30000000', ...more }, 7, libc, recordedLog())
        ?.watchdogMs;
    t.equal(watchdog({}), 30_000);
    t.equal(watchdog({ WATCHDOG_PID: '7' }), 30_000);
    t.equal(watchdog({ WATCHDOG_PID: '8' }), undefined);
    t.equal(watchdog({ WATCHDOG_USEC: '0' }), undefined);
  },
);

await t.test(
  'the watchdog is fed while queries to ourselves are answered, and not when they are not',
  { skip },
  async t => {
    const at = await listener(t);
    const log = recordedLog();
    const manager = serviceManager({ NOTIFY_SOCKET: at.path, WATCHDOG_USEC: '400000' }, process.pid, libc, log);
    if (manager === undefined) throw new Error('there is one');
    let answers = true;
    const server = createSocket('udp4');
    server.on('message', (query, from) => {
      if (answers) server.send(query, from.port, from.address);
    });
    await new Promise<void>(resolve => server.bind(0, '127.0.0.1', resolve));
    let beats = 0;
    const alive = new Heartbeat({
      manager,
      at: () => [{ address: '127.0.0.1', port: server.address().port }],
      query: Buffer.alloc(17),
      clock: systemClock,
      log,
      beat: () => void beats++,
    });
    await sleep(350);
    t.ok(beats >= 2, `${beats} beats`);
    answers = false;
    await sleep(150);
    const before = at.heard().length;
    t.ok(before >= 2);
    await sleep(350);
    t.equal(at.heard().length, before);
    t.ok(log.lines.some(line => line.includes('was not answered within 1000 ms: the watchdog is not fed')));
    alive.close();
    server.close();
  },
);

await t.test('the watchdog is fed while any of our addresses answers, and by no other machine', { skip }, async t => {
  const at = await listener(t);
  const log = recordedLog();
  const manager = serviceManager({ NOTIFY_SOCKET: at.path, WATCHDOG_USEC: '400000' }, process.pid, libc, log);
  if (manager === undefined) throw new Error('there is one');
  const asked: string[] = [];
  const open = async (address: string, answers: boolean): Promise<Socket> => {
    const socket = createSocket('udp4');
    socket.on('message', (query, from) => {
      asked.push(address);
      if (answers) socket.send(query, from.port, from.address);
    });
    await new Promise<void>(resolve => socket.bind(0, address, resolve));
    t.teardown(() => void socket.close());
    return socket;
  };
  const place = (socket: Socket): ListenAddress => socket.address();
  const [silent, answering] = [await open('127.0.0.2', false), await open('127.0.0.3', true)];
  // Not an address of this machine.
  const gone = { address: '192.0.2.1', port: place(answering).port };
  let addresses: readonly ListenAddress[] = [];
  const beatsWith = async (now: readonly ListenAddress[]): Promise<number> => {
    addresses = now;
    let beats = 0;
    asked.length = 0;
    const alive = new Heartbeat({
      manager,
      at: () => addresses,
      query: Buffer.alloc(17),
      clock: systemClock,
      log,
      beat: () => void beats++,
    });
    await sleep(450);
    alive.close();
    return beats;
  };
  t.ok((await beatsWith([gone, place(answering)])) > 0, 'the first one has gone');
  t.ok((await beatsWith([place(silent), place(answering)])) > 1, 'the first one is silent');
  const askedAt = (address: string): number => asked.filter(each => each === address).length;
  t.ok(askedAt('127.0.0.2') < askedAt('127.0.0.3'), 'then the one that answered is asked first');
  t.equal(await beatsWith([place(silent)]), 0, 'none answers');
  t.equal(await beatsWith([gone]), 0, 'none is ours');
  t.ok((await beatsWith([])) > 0, 'there is none over UDP');
});

await t.test(
  'the program: READY with a line for people, WATCHDOG, RELOADING and READY, STOPPING',
  { skip },
  async t => {
    const at = await listener(t);
    process.env['NOTIFY_SOCKET'] = at.path;
    process.env['WATCHDOG_USEC'] = '2000000';
    const program = await startDotstub(`
listen: ["127.0.0.1:${await freePort()}"]
metrics: { listen: off }
upstream: { mode: strict, servers: [{ name: dns.test, addresses: ["127.0.0.1:1"] }] }
`);
    delete process.env['NOTIFY_SOCKET'];
    delete process.env['WATCHDOG_USEC'];
    await sleep(1200);
    t.match(at.heard()[0], /^READY=1\nSTATUS=strict: /);
    t.ok(at.heard().includes('WATCHDOG=1'));
    program.child.kill('SIGHUP');
    await sleep(300);
    t.ok(at.heard().some(each => /^RELOADING=1\nMONOTONIC_USEC=\d+$/.test(each)));
    await program.stop();
    await sleep(100);
    t.equal(at.heard().at(-1), 'STOPPING=1');
  },
);
