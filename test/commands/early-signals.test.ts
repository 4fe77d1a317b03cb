// Signals in the first moments: SIGHUP must not end the daemon, SIGUSR1 must not open Node's inspector.

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';

import t from 'tap';

import { tryAsk } from '../fixtures/client.js';
import { freePort } from '../fixtures/free-port.js';
import { temporaryDirectory } from '../fixtures/program.js';

const CLI = new URL('../../dist/cli.js', import.meta.url).pathname;
const BITS = { SIGHUP: 1n << 0n, SIGUSR1: 1n << 9n } as const;

const attempt = <T>(read: () => T, otherwise: T): T => {
  try {
    return read();
  } catch {
    return otherwise;
  }
};

/** Signals that a process catches. Before that, no program in Node.js can do anything about them. */
const caught = (pid: number): bigint =>
  attempt(() => BigInt(`0x${/^SigCgt:\s*(\w+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '0'}`), 0n);

/** As a person or a service manager starts it: the test runner would have each Node.js load handlers of its own first. */
const started = (args: readonly string[]): ChildProcessByStdio<null, Readable, Readable> =>
  spawn('/bin/sh', ['-c', 'unset NODE_OPTIONS; exec "$@"', 'sh', process.execPath, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });

/** TCP ports that a process listens on. */
function listeningPorts(pid: number): number[] {
  const inodes = new Set(
    readdirSync(`/proc/${pid}/fd`).map(fd => attempt(() => readlinkSync(`/proc/${pid}/fd/${fd}`), '')),
  );
  return ['tcp', 'tcp6']
    .flatMap(table => readFileSync(`/proc/${pid}/net/${table}`, 'utf8').split('\n').slice(1))
    .map(line => line.trim().split(/\s+/))
    .filter(([, , , state, , , , , , inode]) => state === '0A' && inodes.has(`socket:[${inode ?? ''}]`))
    .map(([, local = '']) => parseInt(local.split(':')[1] ?? '', 16));
}

await t.test(
  'SIGUSR1 and SIGHUP every 10 ms from the start on: it lives, answers, and no inspector is open',
  async t => {
    for (let round = 0; round < 3; round++) {
      const directory = temporaryDirectory();
      const port = await freePort();
      const file = join(directory.path, 'dotstub.yaml');
      writeFileSync(
        file,
        `listen: ["127.0.0.1:${port}"]\nmetrics: { listen: off }\ncontrol: { socket: ${join(directory.path, 's')} }\nupstream: { servers: [{ name: dns.test, addresses: [127.0.0.1] }] }\n`,
      );
      const child = started([CLI, 'run', '--config', file]);
      let said = '';
      for (const stream of [child.stdout, child.stderr])
        stream.on('data', (chunk: Buffer) => (said += chunk.toString()));
      const pid = child.pid ?? 0;
      const lives = (): boolean => child.exitCode === null && child.signalCode === null;
      const sent = { SIGHUP: 0, SIGUSR1: 0 };
      // Half a second of it, however slow the machine is.
      while (sent.SIGHUP < 50 && lives()) {
        const now = caught(pid);
        for (const signal of ['SIGUSR1', 'SIGHUP'] as const) {
          if ((now & BITS[signal]) === 0n) continue;
          child.kill(signal);
          sent[signal]++;
        }
        await sleep(10);
      }
      t.ok(sent.SIGUSR1 >= sent.SIGHUP, 'Node.js takes that one before we do');
      let reply: Awaited<ReturnType<typeof tryAsk>>;
      while (lives() && (reply === undefined || !said.includes('taken over'))) {
        reply = await tryAsk({ address: '127.0.0.1', port }, '.', { type: 'ANY' }).catch(() => undefined);
        await sleep(20);
      }
      t.ok(lives(), `${child.signalCode ?? ''} ${said}`);
      t.match(reply?.text, { rcode: 'NOERROR' });
      t.match(said, /taken over/, 'what came early was done as soon as it could be');
      t.same(listeningPorts(pid), [port], 'nothing but what was configured');
      child.kill('SIGUSR1');
      await sleep(50);
      t.same(listeningPorts(pid), [port]);
      const ended = new Promise(resolve => child.once('close', resolve));
      child.kill('SIGTERM');
      t.equal(await ended, 0);
      directory.remove();
    }
  },
);

await t.test('an inspector that was asked for stays', async t => {
  const directory = temporaryDirectory();
  t.teardown(() => directory.remove());
  const [port, inspector] = [await freePort(), await freePort()];
  const file = join(directory.path, 'dotstub.yaml');
  writeFileSync(
    file,
    `listen: ["127.0.0.1:${port}"]\nmetrics: { listen: off }\ncontrol: { socket: ${join(directory.path, 's')} }\n`,
  );
  const child = started([`--inspect=127.0.0.1:${inspector}`, CLI, 'run', '--config', file]);
  await new Promise<void>(resolve => child.stdout.on('data', (chunk: Buffer) => chunk.includes('(TCP)') && resolve()));
  child.kill('SIGUSR1');
  await sleep(100);
  t.same(listeningPorts(child.pid ?? 0).sort(), [port, inspector].sort());
  const ended = new Promise(resolve => child.once('close', resolve));
  child.kill('SIGKILL');
  await ended;
});
