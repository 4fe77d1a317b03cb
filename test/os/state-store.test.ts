// State files: replaced as a whole, tried again when they cannot be written, and read with distrust.

import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import t, { type Test } from 'tap';

import { stateStore } from '../../src/os/state-store.js';
import { mayMount } from '../fixtures/mounts.js';
import { fakeClock } from '../fixtures/clock.js';
import { temporaryDirectory } from '../fixtures/program.js';
import { recordedLog } from '../fixtures/recorder.js';

function setUp(t: Test, inside = '.', isStarted = true) {
  const directory = temporaryDirectory();
  t.teardown(() => directory.remove());
  const path = join(directory.path, inside);
  const clock = fakeClock();
  const log = recordedLog();
  const store = stateStore(path, { clock, log });
  if (isStarted) store.begin();
  return { path, clock, log, store };
}

await t.test('until the start has succeeded no file changes, and then each one once', async t => {
  const { path, store } = setUp(t, '.', false);
  for (const name of ['a', 'b', 'c']) writeFileSync(join(path, name), 'of another', { mode: 0o600 });
  const change = (): void => {
    store.write('a', 'older', 'it is lost');
    store.write('a', 'newer', 'it is lost');
    store.write('b', 'written', 'it is lost');
    store.remove('b', 'it is kept');
    store.remove('c', 'it is kept');
    store.write('c', 'written', 'it is lost');
  };
  const texts = () => ['a', 'b', 'c'].map(name => store.read(name, 100));
  change();
  await store.flush();
  t.same(texts(), ['of another', 'of another', 'of another']);
  store.begin();
  await store.flush();
  t.same(texts(), ['newer', '', 'written']);

  const failed = stateStore(path, { clock: fakeClock(), log: recordedLog() });
  failed.write('a', 'of the failed start', 'it is lost');
  failed.remove('c', 'it is kept');
  await failed.close();
  t.same(texts(), ['newer', '', 'written']);
});

await t.test('what was written is read, and only this user may', async t => {
  const { path, store, log } = setUp(t);
  t.equal(store.read('a.json', 100), '');
  store.write('a.json', 'one', 'it is lost');
  await store.flush();
  t.equal(store.read('a.json', 100), 'one');
  t.equal(statSync(join(path, 'a.json')).mode & 0o777, 0o600);
  t.same(readdirSync(path), ['a.json']);
  t.same(log.lines, []);
});

await t.test('of many texts the newest is written; pieces are asked for when they are written', async t => {
  const { path, store } = setUp(t);
  for (let i = 0; i < 100; i++) store.write('a', `text ${i}`, 'it is lost');
  store.write('b', () => [Buffer.from('one '), Buffer.alloc(0), Buffer.from('two')], 'it is lost');
  store.write('c', 'é'.repeat(500_000), 'it is lost');
  await store.flush();
  t.equal(readFileSync(join(path, 'a'), 'utf8'), 'text 99');
  t.equal(readFileSync(join(path, 'b'), 'utf8'), 'one two');
  t.equal(readFileSync(join(path, 'c'), 'utf8'), 'é'.repeat(500_000));
});

await t.test('a write holds up nothing: it begins a little later, with what is newest then', async t => {
  const { path, store, clock } = setUp(t);
  const file = join(path, 'a');
  store.write('a', 'one', 'it is lost');
  await sleep(50);
  t.same(readdirSync(path), [], 'nothing has begun');
  store.write('a', 'two', 'it is lost');
  await clock.advance(250);
  while (!existsSync(file)) await sleep(1);
  t.equal(readFileSync(file, 'utf8'), 'two');
  store.write('a', 'three', 'it is lost');
  await clock.advance(250);
  while (readFileSync(file, 'utf8') !== 'three') await sleep(1);
});

await t.test(
  'a failed write is said once, tried again ever more rarely, and the newest text is what counts',
  async t => {
    const { path, store, log, clock } = setUp(t, 'not/there');
    store.write('a', 'one', 'keys are forgotten');
    await store.flush();
    t.match(log.lines, [
      /^warn: .*not\/there\/a cannot be written \(there is no such file\): keys are forgotten\. It is tried again\./,
    ]);
    t.match(store.unwritten, [/cannot be written .* keys are forgotten$/]);
    const tries: number[] = [];
    const started = clock.monotonicMs();
    const after = clock.after.bind(clock);
    clock.after = (ms, then) => {
      tries.push(ms);
      return after(ms, then);
    };
    for (let i = 0; i < 400; i++) {
      store.write('a', `two ${i}`, 'keys are forgotten');
      await clock.advance(10_000);
      await sleep(1);
    }
    t.ok(clock.monotonicMs() - started > 3_900_000);
    t.same(
      tries.slice(0, 9),
      [2, 4, 8, 16, 32, 64, 128, 256, 512].map(sec => 1000 * sec),
    );
    t.ok(
      tries.slice(9).every(ms => ms === 600_000),
      'at most ten minutes apart',
    );
    t.equal(log.lines.length, 1);

    mkdirSync(path, { recursive: true });
    await clock.advance(600_000);
    await store.flush();
    t.match(log.lines[1], /^info: .*not\/there\/a is written again$/);
    t.same(store.unwritten, []);
    t.equal(store.read('a', 100), 'two 399');
  },
);

await t.test('what cannot be removed is said once, tried again, and no error', async t => {
  const { path, store, log, clock } = setUp(t);
  // Root may remove any file, but not a directory in its place.
  mkdirSync(join(path, 'a'));
  writeFileSync(join(path, 'a', 'inside'), '');
  for (let i = 0; i < 3; i++) {
    store.remove('a', 'it takes up space');
    await store.flush();
  }
  t.match(log.lines, [/^warn: .*\/a cannot be removed \(.*\): it takes up space\. It is tried again\./]);
  t.match(store.unwritten, [/cannot be removed .* it takes up space$/]);
  rmSync(join(path, 'a'), { recursive: true });
  writeFileSync(join(path, 'a'), 'a file');
  await clock.advance(600_000);
  await store.flush();
  t.notOk(existsSync(join(path, 'a')));
  t.same(store.unwritten, []);
  t.match(log.lines.slice(1), [/^info: .*\/a is removed$/]);
});

await t.test('what is left to somebody else is not removed after all', async t => {
  const { path, store, log, clock } = setUp(t);
  mkdirSync(join(path, 'a'));
  store.remove('a', 'it takes up space');
  await store.flush();
  store.leave('a');
  rmSync(join(path, 'a'), { recursive: true });
  writeFileSync(join(path, 'a'), 'new');
  await clock.advance(600_000);
  await store.close();
  t.equal(readFileSync(join(path, 'a'), 'utf8'), 'new');
  t.same([store.unwritten, log.lines.length], [[], 1]);
});

await t.test('a file is removed although its last write has failed, and not written later', async t => {
  const { path, store } = setUp(t);
  mkdirSync(join(path, 'a.new'));
  writeFileSync(join(path, 'a'), 'old', { mode: 0o600 });
  store.write('a', 'new', 'it is lost');
  await store.flush();
  t.match(store.unwritten, [/cannot be written/]);
  store.remove('a', 'it takes up space');
  await store.flush();
  t.notOk(existsSync(join(path, 'a')));
  t.same(store.unwritten, []);
});

await t.test('what waits is tried when the store closes, and nothing is written afterwards', async t => {
  const { path, store, clock } = setUp(t, 'later');
  store.write('a', 'one', 'it is lost');
  await store.flush();
  mkdirSync(path);
  await store.close();
  t.equal(readFileSync(join(path, 'a'), 'utf8'), 'one');
  store.write('a', 'two', 'it is lost');
  await store.flush();
  await clock.advance(1e6);
  t.equal(readFileSync(join(path, 'a'), 'utf8'), 'one');
});

await t.test(
  'a read-only directory that becomes writable',
  { skip: process.getuid?.() === 0 && 'root may write anywhere' },
  async t => {
    const { path, store, clock } = setUp(t);
    chmodSync(path, 0o500);
    store.write('a', 'one', 'it is lost');
    await store.flush();
    t.equal(store.unwritten.length, 1);
    chmodSync(path, 0o700);
    await clock.advance(2000);
    await store.flush();
    t.equal(store.read('a', 100), 'one');
  },
);

await t.test('only a regular file of a sensible size is read', async t => {
  const { path, store, log } = setUp(t);
  writeFileSync(join(path, 'long'), 'x'.repeat(101));
  symlinkSync('long', join(path, 'link'));
  mkdirSync(join(path, 'directory'));
  execFileSync('mkfifo', [join(path, 'fifo')]);
  for (const name of ['long', 'link', 'directory', 'fifo']) t.equal(store.read(name, 100), '', name);
  t.match(log.lines, [/larger than 100 octets/, /symbolic link/, /it is a directory/, /not a regular file/]);
  t.equal(store.read('long', 101).length, 101);
});

await t.test('a file that others may write, or that belongs to another user, is not used, and replaced', async t => {
  const { path, store, log } = setUp(t);
  for (const mode of [0o620, 0o602, 0o666]) {
    writeFileSync(join(path, 'a'), 'planted');
    chmodSync(join(path, 'a'), mode);
    t.equal(store.read('a', 100), '', mode.toString(8));
    t.match(
      log.lines.at(-1),
      new RegExp(`/a is not used: others may write it \\(mode ${mode.toString(8)}\\): make that 600`),
    );
  }
  for (const mode of [0o600, 0o644, 0o640]) {
    chmodSync(join(path, 'a'), mode);
    t.equal(store.read('a', 100), 'planted', mode.toString(8));
  }
  if (process.getuid?.() === 0) {
    chownSync(join(path, 'a'), 65534, 65534);
    t.equal(store.read('a', 100), '');
    t.match(log.lines.at(-1), /belongs to another user/);
  }
  store.write('a', 'ours', 'it is lost');
  await store.flush();
  t.equal(store.read('a', 100), 'ours');
  t.equal(statSync(join(path, 'a')).mode & 0o777, 0o600);
});

await t.test('a symbolic link in the way is replaced, not followed', async t => {
  const { path, store } = setUp(t);
  writeFileSync(join(path, 'precious'), 'precious');
  symlinkSync('precious', join(path, 'a'));
  symlinkSync('precious', join(path, 'a.new'));
  store.write('a', 'one', 'it is lost');
  await store.flush();
  t.equal(readFileSync(join(path, 'precious'), 'utf8'), 'precious');
  t.equal(store.read('a', 100), 'one');
});

/** A process of its own that uses the store. */
const scriptFor = (directory: string, body: string): string[] => [
  '--import=tsx',
  '--input-type=module',
  '--eval',
  `const { stateStore } = await import(${JSON.stringify(new URL('../../src/os/state-store.ts', import.meta.url).href)});
   const { systemClock } = await import(${JSON.stringify(new URL('../../src/os/clock.ts', import.meta.url).href)});
   const log = { debug() {}, info: (f, words) => console.log(words), warn: (f, words) => console.log(words), error() {} };
   const store = stateStore(${JSON.stringify(directory)}, { clock: systemClock, log });
   store.begin();
   ${body}`,
];

await t.test('killed between write and rename: the old text stays, and the next process writes', async t => {
  const { path, store } = setUp(t);
  store.write('a', 'old', 'it is lost');
  await store.flush();
  const child = spawn(
    process.execPath,
    scriptFor(
      path,
      `function* pieces() { yield Buffer.alloc(1000, 'x'); process.kill(process.pid, 'SIGKILL'); yield Buffer.alloc(1000, 'x'); }
       store.write('a', pieces, 'it is lost');
       await store.flush();`,
    ),
  );
  t.equal(await new Promise(resolve => child.on('close', (_code, signal) => resolve(signal))), 'SIGKILL');
  t.ok(existsSync(join(path, 'a.new')), 'what was begun');
  t.equal(store.read('a', 100), 'old');
  store.write('a', 'new', 'it is lost');
  await store.flush();
  t.same(readdirSync(path), ['a']);
  t.equal(store.read('a', 100), 'new');
});

await t.test(
  'a full disk: the old text stays, and the new one is written when there is room',
  { skip: !mayMount && 'needs root' },
  async t => {
    const { path } = setUp(t);
    const script = scriptFor(
      path,
      `const { readFileSync, rmSync, writeFileSync } = await import('node:fs');
     store.write('a', 'old', 'it is lost');
     await store.flush();
     try { writeFileSync(${JSON.stringify(join(path, 'ballast'))}, Buffer.alloc(1 << 20)); } catch {}
     store.write('a', 'y'.repeat(100_000), 'it is lost');
     await store.flush();
     store.write('b', 'z'.repeat(100_000), 'it is lost', 'leave');
     await store.flush();
     console.log(store.read('a', 1e6), store.unwritten.length);
     rmSync(${JSON.stringify(join(path, 'ballast'))});
     await new Promise(resolve => setTimeout(resolve, 1500));
     await store.flush();
     console.log(store.read('a', 1e6).length, store.read('b', 1e6).length, store.unwritten.length);
     store.write('b', 'z'.repeat(1000), 'it is lost', 'leave');
     await store.flush();
     console.log(store.read('b', 1e6).length, store.unwritten.length);`,
    );
    const quoted = script.map(each => `'${each.replaceAll("'", "'\\''")}'`).join(' ');
    const out = execFileSync(
      'unshare',
      ['-m', 'sh', '-c', `mount -t tmpfs -o size=256k none ${path} && exec '${process.execPath}' ${quoted}`],
      { encoding: 'utf8' },
    );
    t.match(
      out,
      /cannot be written \(the disk is full\): it is lost\.(.|\n)*\nold 2\n(.|\n)*\n100000 0 1\n.*\/b is written again\n1000 0\n$/,
    );
  },
);
