// The cache over a restart: orderly, and with a process that is killed while it writes.

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import t, { type Test } from 'tap';

import { ageSec, wallMs } from '../../src/base/time.js';
import { snapshotPieces, SnapshotReader } from '../../src/cache/snapshot.js';
import { CacheSnapshot } from '../../src/run/cache-snapshot.js';
import { askDaemon } from '../../src/control/client.js';
import { systemClock } from '../../src/os/clock.js';
import { stateStore } from '../../src/os/state-store.js';
import { ask } from '../fixtures/client.js';
import { freePort } from '../fixtures/free-port.js';
import { manyAnswers, snapshotOf } from '../fixtures/many-answers.js';
import { planFor } from '../fixtures/plans.js';
import { startDotstub, temporaryDirectory } from '../fixtures/program.js';
import { recordedLog } from '../fixtures/recorder.js';
import { eventually, Rig } from '../fixtures/rig.js';
import { partsIn } from '../fixtures/snapshot-records.js';

/** How many answers a large snapshot has. */
const ANSWERS = 100_000;
/** How many processes are killed. */
const KILLS = Number(process.env['KILLS'] ?? 12);

const digestOf = (settings: string): string => createHash('sha256').update(settings).digest('hex');

t.setTimeout(120_000 + KILLS * 10_000);

/** A daemon that has answered for www.example, and the file for its cache. */
async function answering(t: Test) {
  const rig = await Rig.make(t);
  const main = await rig.server('dns.test');
  const upstream = { servers: [main.entry] };
  await rig.start({ upstream });
  t.equal(await rig.answer('www.example'), 'NOERROR 192.0.2.80');
  return { rig, main, upstream, file: rig.path('state/cache.snapshot') };
}

await t.test('what was asked before a restart is answered after it without a server', async t => {
  const { rig, main, upstream, file } = await answering(t);
  await rig.daemon.stop();
  t.equal(statSync(file).mode & 0o777, 0o600, 'it is private');
  main.asked.splice(0);

  await rig.start({ upstream });
  t.equal(await eventually(() => rig.overview().cache.entries, 1), 1);
  t.equal(await rig.answer('www.example'), 'NOERROR 192.0.2.80');
  t.notOk(main.asked.includes('www.example'));

  const flushed = await askDaemon(rig.path('control.sock'), { command: 'cache', args: ['flush', '--all'] });
  t.match(flushed, { ok: true, text: '1 answer forgotten: all.' });
  t.match(await askDaemon(rig.path('control.sock'), { command: 'cache', args: ['save'] }), { ok: true });
  t.notOk(readFileSync(file).includes('\x03www\x07example'), 'what was forgotten is gone from the file, too');

  await rig.reload({ upstream, cache: { persist: false } });
  t.equal(await eventually(() => existsSync(file), false), false, 'and with cache.persist off there is no file');
  t.match(await askDaemon(rig.path('control.sock'), { command: 'cache', args: ['save'] }), { ok: false });
  await rig.daemon.stop();
  t.notOk(existsSync(file));
});

await t.test('a start that fails leaves the files of the daemon that runs as they are', async t => {
  const { rig, upstream, file } = await answering(t);
  t.match(await askDaemon(rig.path('control.sock'), { command: 'cache', args: ['save'] }), { ok: true });
  const before = readFileSync(file);
  const listen = [`127.0.0.1:${await freePort()}`];
  for (const persist of [true, false])
    for (const other of [{}, { listen }]) {
      await t.rejects(rig.start({ upstream, cache: { persist }, ...other }), /in use by another program/);
      t.ok(existsSync(file) && readFileSync(file).equals(before), `${JSON.stringify(other)}, persist: ${persist}`);
    }
});

await t.test('a file that is damaged is said to be, and the daemon starts', async t => {
  const rig = await Rig.make(t);
  const main = await rig.server('dns.test');
  const upstream = { servers: [main.entry] };
  for (const octets of [Buffer.from('something else'), Buffer.alloc(100_000, 7), Buffer.from('dotstub cache 9\n')]) {
    writeFileSync(rig.path('state/cache.snapshot'), octets, { mode: 0o600 });
    rig.lines.splice(0);
    await rig.start({ upstream });
    await eventually(() => rig.lines.some(line => line.includes('cache.snapshot is not used any further')), true);
    t.ok(rig.lines.some(line => line.includes('cache.snapshot is not used any further')));
    t.equal(await rig.answer('www.example'), 'NOERROR 192.0.2.80');
    await rig.daemon.stop();
  }
});

await t.test('answers that were cached under other settings are not used', async t => {
  const rig = await Rig.make(t);
  const main = await rig.server('dns.test');
  const upstream = { servers: [main.entry] };
  await rig.start({ upstream, dnssec: { mode: 'off' } });
  t.equal(await rig.answer('www.example'), 'NOERROR 192.0.2.80');
  await rig.daemon.stop();
  main.asked.splice(0);
  // Nobody has checked them, and from now on somebody does.
  await rig.start({ upstream, dnssec: { mode: 'require' } });
  await eventually(() => rig.lines.some(each => each.includes('written under other settings')), true);
  await rig.answer('www.example');
  t.ok(main.asked.includes('www.example'));
  await rig.reload({ upstream, dnssec: { mode: 'off' } });
  t.equal(await rig.answer('www.example'), 'NOERROR 192.0.2.80');
  await rig.daemon.stop();
  main.asked.splice(0);
  await rig.start({ upstream, dnssec: { mode: 'off' } });
  t.equal(await eventually(() => rig.overview().cache.entries > 0, true), true, 'those of after a reload are');
  t.equal(await rig.answer('www.example'), 'NOERROR 192.0.2.80');
  t.notOk(main.asked.includes('www.example'));
});

await t.test(`${ANSWERS} answers are read after listening has begun, and questions are answered meanwhile`, async t => {
  const directory = temporaryDirectory();
  t.teardown(() => directory.remove());
  mkdirSync(join(directory.path, 'state'));
  const file = join(directory.path, 'state/cache.snapshot');
  const at = { address: '127.0.0.1', port: await freePort() };
  const config = `
listen: ["127.0.0.1:${at.port}"]
metrics: { listen: off }
front: { threads: 0 }
cache: { size: 128MiB }
state_directory: ${join(directory.path, 'state')}
dnssec: { mode: off }
upstream: { mode: strict, servers: [{ name: dns.test, addresses: ["127.0.0.1:${await freePort()}"] }] }
`;
  const settings = digestOf(planFor(config).snapshot.settings);
  const snapshot = snapshotOf(manyAnswers(ANSWERS, 64 << 20), settings);
  writeFileSync(file, snapshot, { mode: 0o600 });
  const daemon = await startDotstub(config);
  const startedAt = performance.now();
  const isRead = (): boolean => daemon.log().includes(`the cache has ${ANSWERS} records`);
  let [asked, slowestMs] = [0, 0];
  while (!isRead() && performance.now() - startedAt < 20_000) {
    // An answer that the daemon makes itself, at once.
    const { ms, text } = await ask(at, `n${asked}.example`, { type: 'ANY' });
    t.equal(text.rcode, 'NOERROR');
    asked++;
    slowestMs = Math.max(slowestMs, ms);
  }
  const tookMs = performance.now() - startedAt;
  t.comment(
    `${(snapshot.length / 2 ** 20).toFixed(1)} MiB read within ${tookMs.toFixed(0)} ms; ${asked} answers meanwhile, the slowest after ${slowestMs.toFixed(1)} ms`,
  );
  t.ok(asked > 0, 'questions were answered meanwhile');
  t.ok(daemon.log().indexOf('listening on') < daemon.log().indexOf('the cache has'));
  t.match((await ask(at, `s${ANSWERS - 1}.example`)).text.answers, [{ data: '192.0.2.7' }]);
  t.match((await ask(at, 's0.example')).text.answers, [{ data: '192.0.2.7' }]);
  await daemon.stop();
  t.ok(statSync(file).size >= snapshot.length, 'and it is written again');

  const again = await startDotstub(config);
  const wasRead = again.log().includes('the cache has');
  const stoppedAt = performance.now();
  await again.stop();
  t.comment(
    `stopped ${wasRead ? 'after' : 'while'} it was read, within ${(performance.now() - stoppedAt).toFixed(0)} ms`,
  );
  t.ok(statSync(file).size >= snapshot.length, 'a stop meanwhile takes nothing from the file');
});

await t.test('a name that is flushed while the snapshot is read takes nothing else with it', async t => {
  const rig = await Rig.make(t);
  const main = await rig.server('dns.test');
  const options = { upstream: { servers: [main.entry] }, cache: { size: '128MiB' }, dnssec: { mode: 'off' } };
  await rig.start(options);
  await rig.daemon.stop();
  // It has written one under its settings.
  const file = rig.path('state/cache.snapshot');
  const settings = /\n([0-9a-f]{64})/.exec(readFileSync(file, 'latin1'))?.[1] ?? '';
  writeFileSync(file, snapshotOf(manyAnswers(ANSWERS, 64 << 20), settings), { mode: 0o600 });
  rig.lines.splice(0);
  await rig.start(options);
  const isRead = (): boolean => rig.lines.some(line => line.includes('the cache has'));
  t.comment(isRead() ? 'it was read before' : 'it is still being read');
  const last = `s${ANSWERS - 1}.example`;
  for (const args of [[last], ['--zone', 's5.example'], ['--negative']])
    t.match(await askDaemon(rig.path('control.sock'), { command: 'flush', args }), { ok: true });
  t.equal(await eventually(isRead, true), true);
  t.ok(rig.overview().cache.entries >= ANSWERS - 2, `${rig.overview().cache.entries}`);
  t.match(await rig.answer(`s${ANSWERS - 2}.example`), 'NOERROR 192.0.2.7');
  t.same(main.asked, []);
  for (const name of [last, 's5.example']) t.not(await rig.answer(name), 'NOERROR 192.0.2.7');
  t.same(main.asked, [last, 's5.example']);
});

await t.test('to read and to write a large snapshot leaves the loop to others', async t => {
  const directory = temporaryDirectory();
  t.teardown(() => directory.remove());
  const answers = manyAnswers(ANSWERS, 64 << 20);
  const store = stateStore(directory.path, { clock: systemClock, log: recordedLog() });
  store.begin();
  const now = { ageNow: ageSec(1), wallNow: wallMs(Date.now()) };
  const settings = digestOf(planFor('').snapshot.settings);
  /** How long others had to wait for their turn, each time. */
  const turnsOf = async (work: () => Promise<unknown>): Promise<number[]> => {
    const turns: number[] = [];
    let isOver = false;
    const ended = work().finally(() => (isOver = true));
    for (let before = performance.now(); !(isOver as boolean);) {
      await new Promise(resolve => setImmediate(resolve));
      const after = performance.now();
      turns.push(after - before);
      before = after;
    }
    await ended;
    return turns.sort((a, b) => a - b);
  };
  const told = (turns: readonly number[]): string =>
    `${turns.length} turns, 99 % within ${turns[Math.floor(0.99 * turns.length)]?.toFixed(2) ?? ''} ms, the longest ${turns.at(-1)?.toFixed(1) ?? ''} ms`;
  const writing = await turnsOf(async () => {
    store.write('cache.snapshot', () => snapshotPieces(answers.blocks(ageSec(1), 86_400), now, settings), 'a test');
    await store.flush();
  });
  const restored = manyAnswers(0, 64 << 20);
  const snapshot = new CacheSnapshot(
    {
      ...{ clock: systemClock, log: recordedLog(), store, ageNow: () => ageSec(1), epoch: () => 0 },
      ...{ cached: () => [], changed: () => undefined, restored: () => undefined, scheduled: () => [] },
      restore: part => (part.kind === 'block' ? restored.restore(part, ageSec(1)) : 0),
    },
    planFor(''),
  );
  const reading = await turnsOf(async () => {
    snapshot.start();
    await snapshot.whole();
  });
  t.comment(`written: ${told(writing)}; read: ${told(reading)}`);
  t.equal(restored.entries, ANSWERS);
  t.ok(writing.length > 50 && reading.length > 30, 'in many turns');
  await store.close();
});

await t.test(`${KILLS} processes killed while they write: the file is the older or the newer one`, async t => {
  const directory = temporaryDirectory();
  t.teardown(() => directory.remove());
  const writer = fileURLToPath(new URL('../fixtures/snapshot-writer.ts', import.meta.url));
  for (let kill = 0; kill < KILLS; kill++) {
    const child = spawn(process.execPath, ['--import=tsx', writer, directory.path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    await sleep(Math.random() * 40);
    child.kill('SIGKILL');
    await once(child, 'exit');
    const reader = new SnapshotReader({ ageNow: ageSec(0), wallNow: wallMs(0) });
    const parts = [...partsIn(reader, readFileSync(join(directory.path, 'cache.snapshot')))];
    t.doesNotThrow(() => reader.finish());
    const rounds = parts.map(part =>
      part.kind === 'block' ? part.octets[0]?.[0] : Number(part.key.split(' ')[0]) & 255,
    );
    t.equal(new Set(rounds).size, 1, 'all of one round');
    t.equal(parts.length, 2050);
  }
});
