// Threads that are given up while they load native code: ended from outside at that moment, they may end the process.

import { existsSync } from 'node:fs';
import { join } from 'node:path';

import t, { type Test } from 'tap';

import { FrontWorkers } from '../../src/fastpath/threads.js';
import { loadLibc } from '../../src/os/libc.js';
import { SessionThread } from '../../src/run/session-thread.js';
import { temporaryDirectory } from '../fixtures/program.js';

const libc = loadLibc();
const skip = 'unavailable' in libc ? libc.unavailable : false;
const SLOW = new URL('../fixtures/slow-thread.js', import.meta.url);

/** Says whether the next threads have loaded their script. */
function loading(t: Test, script: string): () => boolean {
  const directory = temporaryDirectory();
  t.teardown(() => directory.remove());
  const loaded = join(directory.path, 'loaded');
  process.env['SLOW_THREAD_LOADED'] = loaded;
  process.env['SLOW_THREAD_SCRIPT'] = new URL(`../../dist/${script}`, import.meta.url).href;
  return () => existsSync(loaded);
}

await t.test('a front thread that is given up has loaded before it is ended', { skip }, async t => {
  const hasLoaded = loading(t, 'worker.js');
  const workers = new FrontWorkers(1, SLOW);
  await workers.close();
  await workers.ended;
  t.ok(hasLoaded());
});

await t.test('a session thread that is given up has loaded before it ends', { skip }, async t => {
  const hasLoaded = loading(t, 'session-worker.js');
  const thread = new SessionThread('tls', SLOW);
  thread.start();
  await thread.close();
  t.ok(hasLoaded());
});

await t.test('one that was never started has nothing to end', async () => new SessionThread('tls', SLOW).close());
