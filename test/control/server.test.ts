// The control socket under clients and commands that misbehave.

import { spawn } from 'node:child_process';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import t, { type Test } from 'tap';

import type { Clock } from '../../src/base/ports.js';
import { BUILT_IN_ANCHORS, readAnchors } from '../../src/dnssec/anchors.js';
import { trustPoints } from '../../src/dnssec/rollover.js';
import { askDaemon } from '../../src/control/client.js';
import { type ControlCommands, listenControl } from '../../src/control/server.js';
import { trustAnchorCommand } from '../../src/control/trust-anchor.js';
import { systemClock } from '../../src/os/clock.js';
import { fakeClock } from '../fixtures/clock.js';
import { temporaryDirectory } from '../fixtures/program.js';
import { recordedLog } from '../fixtures/recorder.js';
import { until } from '../fixtures/until.js';

const COMMANDS: ControlCommands = {
  echo: { run: args => ({ ok: true, text: args.join(' '), data: args }) },
  slow: { run: async () => new Promise(() => undefined) },
  throws: {
    run() {
      throw new Error('a bug');
    },
  },
  rejects: { run: async () => Promise.reject(new Error('another')) },
  unspeakable: { run: () => ({ ok: true, text: '', data: 1n }) },
};

const NO_GROUP = { group: undefined, maxSessions: 16, commands: COMMANDS } as const;

async function listening(t: Test, path = join(directoryOf(t), 'control.sock'), clock: Clock = systemClock) {
  const log = recordedLog();
  const control = await listenControl({ ...NO_GROUP, path, clock, log });
  t.teardown(() => control.close());
  const open = async (): Promise<Socket> => {
    const socket = connect({ path, allowHalfOpen: true });
    socket.on('error', () => undefined);
    t.teardown(() => socket.destroy());
    await new Promise<void>(resolve => socket.once('connect', () => resolve()));
    return socket;
  };
  return { path, log, open, tell: async (command: string, ...args: string[]) => askDaemon(path, { command, args }) };
}

function directoryOf(t: Test): string {
  const directory = temporaryDirectory();
  t.teardown(() => directory.remove());
  return directory.path;
}

const heard = async (socket: Socket): Promise<string> => {
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
  await new Promise(resolve => socket.once('end', resolve));
  return text;
};

await t.test(
  'a command that throws, rejects or says what JSON has no form for: an answer, and a line in the log',
  async t => {
    const { tell, log } = await listening(t);
    for (const [command, words] of [
      ['throws', 'a bug'],
      ['rejects', 'another'],
      ['unspeakable', 'BigInt'],
    ] as const) {
      t.match(await tell(command), { ok: false, problem: words });
      t.match(log.lines.at(-1), new RegExp(`^error: the command "${command}" failed: .*${words}`));
    }
    t.match(await tell('echo', 'a', 'b'), { ok: true, text: 'a b' }, 'it lives on');
    t.match(await tell('toString'), { ok: false, problem: 'knows no command "toString"; it knows: echo' });
  },
);

await t.test('clients that went away, say nothing or say nonsense keep no place', async t => {
  const { tell, open } = await listening(t);
  for (let i = 0; i < 40; i++) {
    const socket = await open();
    if (i % 2 === 0) socket.end();
    else socket.end('{"command":');
    await new Promise(resolve => socket.resume().once('end', resolve));
    socket.destroy();
  }
  t.match(await tell('echo', 'still'), { ok: true, text: 'still' });
  const half = await open();
  half.end('{"command":"echo","args":["half"]}\n');
  t.match(await heard(half), '"text":"half"', 'one that has closed its side after the line still gets the answer');
  for (const nonsense of [
    '\n',
    'x\n',
    'null\n',
    '{"command":1,"args":[]}\n',
    '{"command":"echo","args":[1]}\nmore\n',
  ]) {
    const socket = await open();
    socket.write(nonsense);
    t.match(await heard(socket), 'the request is not a line of JSON', JSON.stringify(nonsense));
  }
});

await t.test('a line that never ends is refused at a bound', async t => {
  const { tell, open } = await listening(t);
  const socket = await open();
  for (let i = 0; i < 40; i++) socket.write(Buffer.alloc(1 << 16, 'a'));
  t.match(await heard(socket), 'longer than');
  t.match(await tell('echo', 'still'), { ok: true });
});

await t.test('a client that writes without an end is not read without an end, and keeps no place', async t => {
  const clock = fakeClock();
  const { tell, open } = await listening(t, undefined, clock);
  const writers: Socket[] = [];
  for (const first of ['', 'x\n', '{"command":"echo","args":[]}\n', '{"command":"slow","args":[]}\n']) {
    const socket = await open();
    socket.resume().write(first);
    const more = (): unknown => socket.writable && socket.write(Buffer.alloc(1 << 16, 'a'), more);
    more();
    writers.push(socket);
  }
  let before = -1;
  const written = (): number => writers.reduce((sum, { bytesWritten }) => sum + bytesWritten, 0);
  await until(() => before === (before = written()), 'all have to wait');
  t.ok(before < 4 << 20, `${before} octets were taken`);
  await clock.advance(15_000);
  await until(() => writers.every(({ destroyed }) => destroyed), 'closed in time');
  t.match(await tell('echo', 'still'), { ok: true });
});

await t.test('a line must come whole in time, whatever comes meanwhile', async t => {
  const clock = fakeClock();
  const { open } = await listening(t, undefined, clock);
  const slow = await open();
  slow.resume();
  for (let i = 0; i < 9; i++) {
    slow.write('x');
    await clock.advance(500);
  }
  t.notOk(slow.destroyed);
  await clock.advance(1000);
  await until(() => slow.readableEnded, 'five seconds');
});

await t.test('connections that say nothing make room for others', async t => {
  const { tell, open } = await listening(t);
  const silent = [];
  for (let i = 0; i < 100; i++) silent.push(await open());
  t.match(await tell('echo', 'room'), { ok: true, text: 'room' });
});

await t.test('commands of clients that are gone keep no place, but have a bound', async t => {
  const { tell, open } = await listening(t);
  for (let i = 0; i < 31; i++) {
    const socket = await open();
    socket.write('{"command":"slow","args":[]}\n', () => socket.destroy());
    await new Promise(resolve => socket.once('close', resolve));
    t.match(await tell('echo', 'room'), { ok: true, text: 'room' });
  }
  const last = await open();
  last.write('{"command":"slow","args":[]}\n');
  await until(async () => !(await tell('echo')).ok, 'as many as may run');
  t.match(await tell('echo'), { ok: false, problem: /16 commands are being answered already/ });
});

await t.test('more commands than may run are told so, and room is made when clients go', async t => {
  const { tell, open } = await listening(t);
  const waiting = [];
  for (let i = 0; i < 16; i++) {
    const socket = await open();
    socket.write('{"command":"slow","args":[]}\n');
    waiting.push(socket);
  }
  await sleep(50);
  t.match(await tell('echo'), { ok: false, problem: /16 commands are being answered already/ });
  waiting.forEach(each => each.destroy());
  await sleep(50);
  t.match(await tell('echo', 'room'), { ok: true, text: 'room' });
});

await t.test('a socket of a daemon that ended is replaced, one of a daemon that lives is not', async t => {
  const path = join(directoryOf(t), 'control.sock');
  const script = `require('net').createServer().listen({ path: ${JSON.stringify(path)}, backlog: 1 }, () => console.log('up'))`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  await new Promise(resolve => child.stdout.once('data', resolve));
  child.kill('SIGSTOP');
  // Nobody takes connections now: the backlog fills, and the next one is told EAGAIN.
  const codes: (string | undefined)[] = [];
  for (let i = 0; i < 8; i++) {
    const socket = connect(path);
    t.teardown(() => socket.destroy());
    socket.on('error', ({ code }: NodeJS.ErrnoException) => codes.push(code));
  }
  await sleep(100);
  t.ok(codes.includes('EAGAIN'), 'the backlog is full');
  const refused = listenControl({ ...NO_GROUP, path, clock: systemClock, log: recordedLog() });
  await t.rejects(refused, { code: 'EADDRINUSE' });
  t.ok(existsSync(path), 'it is still there');
  t.match(await askDaemon(path, { command: 'echo', args: [] }), { ok: false, problem: /too busy/ });
  child.kill('SIGKILL');
  await new Promise(resolve => child.once('close', resolve));
  t.ok(statSync(path).isSocket(), 'left behind');
  const { tell } = await listening(t, path);
  t.match(await tell('echo', 'new'), { ok: true, text: 'new' });
});

await t.test('a file that is no socket is not removed', async t => {
  const path = join(directoryOf(t), 'control.sock');
  writeFileSync(path, 'mine');
  await t.rejects(listenControl({ ...NO_GROUP, path, clock: systemClock, log: recordedLog() }), {
    code: 'EADDRINUSE',
  });
  t.ok(statSync(path).isFile());
});

await t.test('trust-anchor status cannot throw, whatever a state file holds', async t => {
  const saved = JSON.stringify({
    version: 1,
    points: [
      { zone: '.', checkedSec: 1e300, dueSec: 1e300, keys: [{ dnskey: '', state: 'pending', untilSec: 1e300 }] },
    ],
  });
  const points = trustPoints(readAnchors(BUILT_IN_ANCHORS), saved);
  t.match(await trustAnchorCommand(() => points).run([]), { ok: true });
});
