// The compiled code that is kept between starts: where, and what is not believed.

import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import t, { type Test } from 'tap';

import { type At, tryAsk } from './fixtures/client.js';
import { freePort } from './fixtures/free-port.js';
import { startDotstub, temporaryDirectory } from './fixtures/program.js';

/** It is written 3 s after the line that the start waits for. */
const WRITTEN_MS = 4500;
const ROOT = new URL('..', import.meta.url).pathname;

/** A copy of the program, which has not been started yet. */
function installation(t: Test) {
  const directory = temporaryDirectory();
  t.teardown(() => directory.remove());
  const dist = join(directory.path, 'dist');
  for (const name of ['dist', 'package.json'])
    cpSync(join(ROOT, name), join(directory.path, name), { recursive: true });
  const compiled = join(dist, 'main.compiled');
  rmSync(compiled, { force: true });
  const state = join(directory.path, 'state');
  mkdirSync(state, 0o700);
  /** Starts it once, and returns what it said. @param meanwhile what is done before it ends */
  const start = async (
    env: Readonly<Record<string, string>> = {},
    meanwhile?: (at: At) => Promise<void>,
  ): Promise<string> => {
    const port = await freePort();
    const settings = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    const running = await startDotstub(
      `listen: ["127.0.0.1:${port}"]\nmetrics: { listen: off }\n`,
      [],
      [...['/usr/bin/env', '-u', 'STATE_DIRECTORY', ...settings, process.execPath], join(dist, 'cli.js')],
    );
    await sleep(WRITTEN_MS);
    await meanwhile?.({ address: '127.0.0.1', port });
    const { code } = await running.stop();
    t.equal(code, 0);
    return running.log();
  };
  return { dist, compiled, state, inState: join(state, 'main.compiled'), start };
}

/** Whether two moments see the same file. */
const written = (path: string): string => `${statSync(path).ino} ${statSync(path).mtimeMs}`;

await t.test('the first start keeps what was compiled, and the next one uses it', async t => {
  const { compiled, start } = installation(t);
  await start();
  t.ok(statSync(compiled).size > 100_000);
  const before = written(compiled);
  await start();
  t.equal(written(compiled), before, 'V8 took it');
});

await t.test('code for the first question is kept, too, however late that comes', async t => {
  const { compiled, start } = installation(t);
  await start({}, async at => {
    const { size } = statSync(compiled);
    const ask = async (): Promise<void> => {
      await tryAsk(at, 'www.example.com.', { timeoutMs: 100 });
      await sleep(WRITTEN_MS);
    };
    await ask();
    t.ok(statSync(compiled).size > size + 10_000);
    const before = written(compiled);
    await ask();
    t.equal(written(compiled), before, 'once');
  });
  const before = written(compiled);
  await start();
  t.equal(written(compiled), before, 'V8 takes it');
});

await t.test('a damaged file is not believed, but replaced', async t => {
  const { compiled, start } = installation(t);
  await start();
  const good = readFileSync(compiled);
  const bad = Buffer.from(good);
  bad.fill(0x55, bad.length >> 1, (bad.length >> 1) + 1000);
  for (const octets of [bad, good.subarray(0, 1000), Buffer.alloc(0)]) {
    writeFileSync(compiled, octets);
    const before = written(compiled);
    await start();
    t.not(written(compiled), before);
    t.ok(statSync(compiled).size > 100_000);
  }
});

await t.test('what is compiled from another main.js is not kept, though it is as long', async t => {
  const { dist, compiled, start } = installation(t);
  const main = join(dist, 'main.js');
  const ours = readFileSync(main, 'latin1');
  const other = ours.replace('configuration', 'Configuration');
  t.not(other, ours);
  writeFileSync(main, other, 'latin1');
  await start();
  t.notOk(existsSync(compiled));
  writeFileSync(main, ours, 'latin1');
  await start();
  t.ok(existsSync(compiled));
});

await t.test('nothing is read or written where others can write', async t => {
  const { dist, compiled, state, inState, start } = installation(t);
  await start();
  const before = written(compiled);
  chmodSync(compiled, 0o666);
  await start();
  t.not(written(compiled), before, 'a file that others could have written is replaced');
  t.equal(statSync(compiled).mode & 0o022, 0);

  chmodSync(dist, 0o777);
  const untouched = written(compiled);
  await start({ STATE_DIRECTORY: state });
  t.equal(written(compiled), untouched);
  t.ok(existsSync(inState), 'the directory of the service is used instead');

  chmodSync(state, 0o777);
  const inOpen = written(inState);
  chmodSync(inState, 0o666);
  await start({ STATE_DIRECTORY: state });
  t.equal(written(inState), inOpen, 'and without any such directory it starts all the same');
});

await t.test('modules of Node.js that the first answer does not need are not loaded by the start', async t => {
  const directory = temporaryDirectory();
  t.teardown(() => directory.remove());
  const [tell, list] = [join(directory.path, 'tell.cjs'), join(directory.path, 'list')];
  writeFileSync(
    tell,
    `process.once('SIGUSR2', () => require('node:fs').writeFileSync(${JSON.stringify(list)}, process.moduleLoadList.join()));`,
  );
  const running = await startDotstub(
    `listen: ["127.0.0.1:${await freePort()}"]\nfront: { threads: 0 }\nmetrics: { listen: off }\n`,
    [],
    // The test runner has what it loads in NODE_OPTIONS.
    ['/usr/bin/env', '-u', 'NODE_OPTIONS', process.execPath, '--require', tell, join(ROOT, 'dist', 'cli.js')],
  );
  await sleep(500);
  running.child.kill('SIGUSR2');
  for (let look = 0; look < 50 && !existsSync(list); look++) await sleep(100);
  const loaded = new Set(readFileSync(list, 'utf8').split(','));
  await running.stop();
  t.ok(loaded.has('NativeModule tls'));
  const others = ['inspector', 'worker_threads', 'v8', 'dns/promises', 'timers/promises'];
  for (const name of ['fs/promises', 'perf_hooks', 'assert', 'http', 'http2', 'zlib', ...others])
    t.notOk(loaded.has(`NativeModule ${name}`), name);
});
