// Commands of nft: with a program of that name that writes down what it gets, and with the real one in a network namespace.

import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import t, { type Test } from 'tap';

import { Nft } from '../../src/os/nft.js';
import { commandsOf } from '../../src/policy/firewall-sets.js';
import { temporaryDirectory } from '../fixtures/program.js';

const PATH = process.env['PATH'] ?? '';

/** Puts a program in the place of nft for the test; returns the directory that it is in. */
function instead(t: Test, script: (directory: string) => string): string {
  const directory = temporaryDirectory();
  writeFileSync(join(directory.path, 'nft'), `#!/bin/sh\n${script(directory.path)}\n`, { mode: 0o755 });
  process.env['PATH'] = `${directory.path}:${PATH}`;
  t.teardown(() => {
    process.env['PATH'] = PATH;
    directory.remove();
  });
  return directory.path;
}

function nftFor(t: Test): (commands: string) => Promise<string | undefined> {
  const nft = new Nft();
  t.teardown(() => nft.close());
  return async commands => new Promise(resolve => nft.run(commands, resolve));
}

const pids = (directory: string): readonly number[] =>
  existsSync(join(directory, 'pids'))
    ? readFileSync(join(directory, 'pids'), 'utf8').trim().split('\n').map(Number)
    : [];

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

await t.test('each batch goes to a process of its own, and the next one waits already', async t => {
  const directory = instead(t, at => `echo started >>${at}/log; cat >>${at}/log`);
  const run = nftFor(t);
  const log = (): string => readFileSync(join(directory, 'log'), 'utf8');
  t.equal(await run('one\n'), undefined);
  for (let i = 0; i < 500 && log() !== 'started\none\nstarted\n'; i++) await sleep(10);
  t.equal(log(), 'started\none\nstarted\n');
  t.equal(await run('two\n'), undefined);
  t.match(log(), /^started\none\nstarted\ntwo\n/);
});

await t.test('what nft says is the problem, in one line without the place in the commands', async t => {
  instead(
    t,
    () => "cat >/dev/null; printf '/dev/stdin:1:18-21: Error: No such file or directory\\nadd element\\n' >&2; exit 1",
  );
  const run = nftFor(t);
  t.equal(await run('x\n'), 'No such file or directory');
  t.equal(await run('x\n'), 'No such file or directory', 'and again');
});

await t.test('a process that ended while it waited is not given commands', async t => {
  const directory = instead(t, at => `echo $$ >>${at}/pids; exec cat >/dev/null`);
  const run = nftFor(t);
  t.equal(await run('one\n'), undefined);
  for (let i = 0; i < 500 && pids(directory).length < 2; i++) await sleep(10);
  const waiting = pids(directory)[1] ?? NaN;
  process.kill(waiting);
  for (let i = 0; i < 500 && isAlive(waiting); i++) await sleep(10);
  t.equal(await run('two\n'), undefined);
  t.ok(pids(directory).length >= 3, 'another one was started');
});

await t.test('without nft there is a clear word', async t => {
  const directory = temporaryDirectory();
  t.teardown(() => {
    process.env['PATH'] = PATH;
    directory.remove();
  });
  const isThere = ['/usr/sbin/nft', '/sbin/nft'].some(existsSync);
  process.env['PATH'] = directory.path;
  if (isThere) t.comment('nft is where it is looked for beside PATH');
  else t.equal(await nftFor(t)('x\n'), 'nft is not installed');
});

await t.test('closed, it runs nothing, and leaves no process behind', async t => {
  const directory = instead(t, at => `echo $$ >>${at}/pids; exec cat >/dev/null`);
  const nft = new Nft();
  t.equal(await new Promise(resolve => nft.run('x\n', resolve)), undefined);
  for (let i = 0; i < 500 && pids(directory).length < 2; i++) await sleep(10);
  t.equal(pids(directory).length, 2);
  nft.close();
  for (let i = 0; i < 500 && pids(directory).some(isAlive); i++) await sleep(10);
  t.notOk(pids(directory).some(isAlive));
  t.match(await new Promise(resolve => nft.run('x\n', resolve)), 'closed');
});

/** Why the real nft cannot be used; false: it can. */
function withoutNft(): string | false {
  const { status, error } = spawnSync('unshare', ['-rn', 'sh', '-c', `PATH=$PATH:/usr/sbin:/sbin nft list ruleset`]);
  return status === 0
    ? false
    : `no nft in a network namespace (unshare -rn): ${error?.message ?? `status ${status ?? ''}`}`;
}

await t.test(
  'the real nft: elements come with their time, which an answer prolongs',
  { skip: withoutNft() },
  async t => {
    const holder: ChildProcess = spawn('unshare', ['-rn', 'sh', '-c', 'echo ready; exec sleep 60'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    t.teardown(() => holder.kill());
    await new Promise(resolve => holder.stdout?.once('data', resolve));
    const inside = ['-t', String(holder.pid), '-U', '-n', '--preserve-credentials'];
    const env = { ...process.env, PATH: `${PATH}:/usr/sbin:/sbin` };
    const real = execFileSync('sh', ['-c', 'command -v nft'], { env, encoding: 'utf8' }).trim();
    const asked = (...args: string[]): string =>
      execFileSync('nsenter', [...inside, real, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
    instead(t, () => `exec nsenter ${inside.join(' ')} ${real} "$@"`);
    asked('add table inet fw4');
    asked('add set inet fw4 v4 { type ipv4_addr; flags timeout; }');
    asked('add set inet fw4 v6 { type ipv6_addr; flags timeout; }');
    asked('add set inet fw4 many { type ipv4_addr; flags interval,timeout; }');
    asked('add set inet fw4 plain { type ipv4_addr; }');
    const run = nftFor(t);
    const into = async (set: string, address: string, seconds: number): Promise<string | undefined> =>
      run(commandsOf(`inet fw4 ${set}`, new Map([[address, seconds]])));
    const time = (set: string, address: string): number => {
      const found = new RegExp(`${address} timeout (?:(\\d+)m)?(?:(\\d+)s)?`).exec(
        asked('list', 'set', 'inet', 'fw4', set),
      );
      return found === null ? NaN : 60 * Number(found[1] ?? 0) + Number(found[2] ?? 0);
    };
    for (const set of ['v4', 'many']) {
      t.equal(await into(set, '192.0.2.1', 20), undefined);
      t.equal(time(set, '192.0.2.1'), 20, set);
      t.equal(await into(set, '192.0.2.1', 300), undefined);
      t.equal(time(set, '192.0.2.1'), 300, `${set}: a longer time counts`);
    }
    t.equal(await into('v6', '2001:db8::1', 60), undefined);
    t.equal(time('v6', '2001:db8::1'), 60);
    t.equal(await into('nowhere', '192.0.2.1', 60), 'No such file or directory');
    t.match(await into('plain', '192.0.2.1', 60), /\S/, 'a set without timeouts');
    t.match(await into('v4', '2001:db8::1', 60), /\S/, 'the wrong family');
    const began = performance.now();
    for (let i = 0; i < 10; i++) await into('v4', `192.0.2.${i + 2}`, 60);
    t.comment(`${((performance.now() - began) / 10).toFixed(1)} ms a batch`);
  },
);
