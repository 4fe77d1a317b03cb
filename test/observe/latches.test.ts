// A failure that passes must not be the end: what could not be written is counted, said once, and tried again.

import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import t from 'tap';

import { CONTROL, controlFrame } from '../../src/observe/dnstap.js';
import { DnstapStream } from '../../src/observe/dnstap-stream.js';
import { LogFile } from '../../src/observe/log-file.js';
import { mayMount } from '../fixtures/mounts.js';
import { fakeClock } from '../fixtures/clock.js';
import { temporaryDirectory } from '../fixtures/program.js';
import { recordedLog } from '../fixtures/recorder.js';
import { until } from '../fixtures/until.js';

await t.test('a query log that cannot be written is tried again, and what was lost is said once', async t => {
  const directory = temporaryDirectory();
  t.teardown(() => directory.remove());
  const path = join(directory.path, 'query.log');
  const breaks: Readonly<Record<string, () => unknown>> = {
    'a full disk': () => symlinkSync('/dev/full', path),
    'a directory in its place': () => mkdirSync(path),
  };
  for (const [what, broken] of Object.entries(breaks)) {
    const clock = fakeClock();
    const log = recordedLog();
    broken();
    const file = new LogFile({ path, option: 'log.query_file', clock, log });
    for (let i = 0; i < 5; i++) file.write(`${i}\n`);
    await until(() => clock.pending === 1 && log.lines.length === 1, `${what}: word of it`);
    t.match(log.lines[0], /^warn: .*query\.log: (ENOSPC|EISDIR).*\(log\.query_file\): lines are lost/);
    file.write('5\n');
    // Still broken: again and again, ever more rarely, and without another word.
    for (let i = 0; i < 12; i++) {
      await clock.advance(60_000);
      file.write('x\n');
      await until(() => clock.pending === 1, 'the next try');
    }
    t.equal(log.lines.length, 1, what);
    t.match(file.unwritten, /query\.log cannot be written \(.*\): 1\d lines were lost/);
    rmSync(path, { recursive: true });
    await clock.advance(60_000);
    await until(() => existsSync(path), 'the file');
    file.write('good\n');
    await until(() => log.lines.length === 2, 'the way back');
    t.match(log.lines[1], /is written again: 1\d lines were lost/);
    t.equal(file.unwritten, undefined);
    t.equal(readFileSync(path, 'utf8'), 'good\n');
    file.write('more\n');
    file.close();
    await until(() => readFileSync(path, 'utf8') === 'good\nmore\n', 'what was waiting');
    t.equal(clock.pending, 0);
    rmSync(path);
  }
});

await t.test(
  'a disk that becomes full in the middle of a line: the lines after that are whole',
  { skip: !mayMount && 'needs root' },
  async t => {
    const directory = temporaryDirectory();
    t.teardown(() => directory.remove());
    const module = (file: string): string => JSON.stringify(new URL(`../../src/${file}`, import.meta.url).href);
    const script = `
      const { readFileSync, rmSync, writeFileSync } = await import('node:fs');
      const { LogFile } = await import(${module('observe/log-file.ts')});
      const { systemClock } = await import(${module('os/clock.ts')});
      const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));
      process.chdir(${JSON.stringify(directory.path)});
      writeFileSync('ballast', Buffer.alloc(100_000));
      const log = { debug() {}, info() {}, warn() {}, error() {} };
      const file = new LogFile({ path: 'query.log', option: 'log.query_file', clock: systemClock, log });
      for (let i = 0; i < 3000; i++) file.write(JSON.stringify({ i, more: 'x'.repeat(40) }) + '\\n');
      while (file.unwritten === undefined) await sleep(10);
      rmSync('ballast');
      for (let i = 0; i < 300 && !readFileSync('query.log', 'utf8').includes('late'); i++) {
        file.write('{"late":true}\\n');
        await sleep(20);
      }
      console.log(readFileSync('query.log', 'utf8'));
      process.exit();`;
    const args = ['--import=tsx', '--input-type=module', '--eval', script];
    const quoted = [process.execPath, ...args].map(each => `'${each.replaceAll("'", "'\\''")}'`).join(' ');
    const mounted = `mount -t tmpfs -o size=200k none ${directory.path} && exec ${quoted}`;
    const lines = execFileSync('unshare', ['-m', 'sh', '-c', mounted], { encoding: 'utf8' }).trim().split('\n');
    const late = lines.indexOf('{"late":true}');
    t.ok(late > 100, 'written again');
    t.throws(() => void JSON.parse(lines[late - 1] ?? ''), 'a part of a line');
  },
);

await t.test('a FIFO in place of the query log is not waited for, and written when somebody reads', async t => {
  const directory = temporaryDirectory();
  t.teardown(() => directory.remove());
  const path = join(directory.path, 'query.log');
  execFileSync('mkfifo', [path]);
  const clock = fakeClock();
  const log = recordedLog();
  const file = new LogFile({ path, option: 'log.query_file', clock, log });
  file.write('lost\n');
  await until(() => clock.pending === 1, 'nobody reads');
  t.match(file.unwritten, /query\.log cannot be written \(ENXIO.*\): 1 line was lost/);
  const reader = spawn('cat', [path]);
  t.teardown(() => reader.kill());
  let heard = '';
  reader.stdout.on('data', (chunk: Buffer) => (heard += chunk.toString()));
  await until(async () => {
    await clock.advance(60_000);
    file.write('good\n');
    return heard.includes('good');
  }, 'the reader');
  file.close();
});

await t.test('a query log is opened anew when asked to, also while it waits to be tried again', async t => {
  const directory = temporaryDirectory();
  t.teardown(() => directory.remove());
  const path = join(directory.path, 'query.log');
  const clock = fakeClock();
  symlinkSync('/dev/full', path);
  const file = new LogFile({ path, option: 'log.query_file', clock, log: recordedLog() });
  file.write('lost\n');
  await until(() => clock.pending === 1, 'the failure');
  rmSync(path);
  file.reopen();
  t.equal(clock.pending, 0);
  file.write('first\n');
  await until(() => existsSync(path) && readFileSync(path, 'utf8') === 'first\n', 'the line');
  renameSync(path, `${path}.1`);
  file.reopen();
  file.write('second\n');
  await until(() => existsSync(path) && readFileSync(path, 'utf8') === 'second\n', 'the line in the new file');
  t.equal(readFileSync(`${path}.1`, 'utf8'), 'first\n');
  file.close();
});

await t.test('dnstap finds its listener again, whatever it did: absent, silent, talking nonsense, gone', async t => {
  const directory = temporaryDirectory();
  t.teardown(() => directory.remove());
  const path = join(directory.path, 'tap.sock');
  const clock = fakeClock();
  const log = recordedLog();
  let lost = 0;
  const stream = new DnstapStream({ path, clock, log, lost: () => lost++ });
  const frame = Buffer.from('00000001ff', 'hex');
  const sockets: Socket[] = [];
  let heard = Buffer.alloc(0);
  const listen = async (onReady: (socket: Socket) => void): Promise<Server> => {
    const server = createServer(socket => {
      sockets.push(socket);
      socket.on('error', () => undefined);
      socket.once('data', () => {
        onReady(socket);
        socket.on('data', chunk => (heard = Buffer.concat([heard, chunk])));
      });
    });
    await new Promise<void>(resolve => void server.listen(path, resolve));
    return server;
  };
  const gone = async (server: Server): Promise<void> => {
    sockets.forEach(each => each.destroy());
    await new Promise(resolve => server.close(resolve));
    await sleep(30);
  };
  await until(() => log.lines.length === 1, 'word that nobody listens');
  stream.send(frame);
  stream.send(frame);
  t.equal(lost, 2);
  t.same(log.lines, [`warn: nobody takes dnstap at ${path} (log.dnstap): frames are lost until somebody does`]);
  const silent = await listen(() => undefined);
  await clock.advance(1000);
  await until(() => sockets.length === 1, 'a connection');
  await clock.advance(5000);
  await until(() => sockets[0]?.destroyed === true, 'given up');
  await gone(silent);
  const nonsense = await listen(socket => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'));
  await clock.advance(30_000);
  await until(() => sockets[1]?.destroyed === true, 'given up');
  await gone(nonsense);
  const good = await listen(socket => {
    // ACCEPT has READY's form.
    const accept = controlFrame(CONTROL.READY);
    accept.writeUInt32BE(CONTROL.ACCEPT, 8);
    socket.write(accept);
  });
  await clock.advance(30_000);
  await until(() => log.lines.length === 2, 'the listener');
  t.equal(log.lines[1], `info: dnstap goes to ${path}; 2 frames were lost`);
  stream.send(frame);
  await until(() => heard.includes(frame), 'the frame');
  await gone(good);
  await until(() => log.lines.length === 3, 'word of the next outage');
  stream.close();
  await clock.advance(60_000);
  t.equal(clock.pending, 0);
});
