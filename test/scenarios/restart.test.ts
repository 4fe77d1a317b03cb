// The cache over a restart: orderly, and with a process that is killed while it writes.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import t from 'tap';

import { ageSec, wallMs } from '../../src/base/time.js';
import { SnapshotReader } from '../../src/cache/snapshot.js';
import { askDaemon } from '../../src/control/client.js';
import { temporaryDirectory } from '../fixtures/program.js';
import { eventually, Rig } from '../fixtures/rig.js';

/** How many processes are killed. */
const KILLS = Number(process.env['KILLS'] ?? 12);

await t.test('what was asked before a restart is answered after it without a server', async t => {
  const rig = await Rig.make(t);
  const main = await rig.server('dns.test');
  const upstream = { servers: [main.entry] };
  const file = rig.path('state/cache.snapshot');
  await rig.start({ upstream });
  t.equal(await rig.answer('www.example'), 'NOERROR 192.0.2.80');
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
  t.notOk(existsSync(file), 'and with cache.persist off there is no file');
  t.match(await askDaemon(rig.path('control.sock'), { command: 'cache', args: ['save'] }), { ok: false });
  await rig.daemon.stop();
  t.notOk(existsSync(file));
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
    const records = reader.read(readFileSync(join(directory.path, 'cache.snapshot')));
    t.doesNotThrow(() => reader.finish());
    t.equal(new Set(records.map(({ key }) => key.split(' ')[0])).size, 1, 'all of one round');
    t.equal(records.length, 5000);
  }
});
