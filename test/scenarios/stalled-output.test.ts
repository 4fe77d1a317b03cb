// The query log goes to standard output, and nobody reads it: a pipe, or a terminal after Ctrl-S.

import { execFileSync, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import t from 'tap';

import { askDaemon } from '../../src/control/client.js';
import { type At, queryMessage, tryAsk } from '../fixtures/client.js';
import { freePort } from '../fixtures/free-port.js';
import { residentMib } from '../fixtures/memory.js';
import { PROGRAM, temporaryDirectory } from '../fixtures/program.js';
import { until } from '../fixtures/until.js';

const QUERIES = 12_000;
/** A question that is answered without a server. */
const ANY = { type: 'ANY' } as const;
const MOST_MIB = 14;

const hasScript = ((): boolean => {
  try {
    execFileSync('script', ['-qec', 'true', '/dev/null'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();

const OUTPUTS: Readonly<Record<string, readonly [program: string, ...before: string[]] | undefined>> = {
  'a pipe': ['sh', '-c', 'exec "$@"', 'sh'],
  // The terminal is stalled, because nobody reads what `script` copies from it.
  'a terminal': hasScript ? ['sh', '-c', 'exec script -qec "$*" /dev/null', 'sh'] : undefined,
};

for (const [what, command] of Object.entries(OUTPUTS))
  await t.test(
    `queries are answered while nobody reads ${what}; lines beyond a bound are lost, and counted`,
    { skip: command === undefined && 'there is no script(1)' },
    async t => {
      const [program = '', ...before] = command ?? [];
      const directory = temporaryDirectory();
      t.teardown(() => directory.remove());
      const file = join(directory.path, 'dotstub.yaml');
      const socket = join(directory.path, 'control.sock');
      const port = await freePort();
      writeFileSync(
        file,
        `listen: ["127.0.0.1:${port}"]
metrics: { listen: off }
control: { socket: ${socket} }
state_directory: ${directory.path}
upstream: { mode: strict, servers: [{ name: dns.test, addresses: [127.0.0.1] }] }
log: { queries: full }
`,
      );
      const child = spawn(program, [...before, ...PROGRAM, 'run', '--config', file], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const ended = new Promise(resolve => child.once('close', resolve));
      t.teardown(() => child.kill('SIGKILL'));
      const at = { address: '127.0.0.1', port };
      await until(async () => (await tryAsk(at, '.', { ...ANY, timeoutMs: 100 })) !== undefined, 'the daemon');
      const pid = daemonOf(child.pid ?? 0);
      const rssMib = (): number => residentMib(pid);
      await queries(at, QUERIES);
      const earlier = rssMib();
      await queries(at, 3 * QUERIES);
      t.ok(rssMib() - earlier < MOST_MIB, `it takes ${(rssMib() - earlier).toFixed(1)} MiB`);
      const status = await askDaemon(socket, { command: 'status', args: [] });
      t.match(status, {
        ok: true,
        text: /standard output cannot be written \(its reader is too slow\): \d+ lines were lost/,
      });
      process.kill(pid, 'SIGTERM');
      child.stdout.resume();
      await ended;
      t.pass('and SIGTERM ends it');
    },
  );

/** Sends queries from one socket, some at a time, and waits for all replies. */
async function queries(at: At, count: number): Promise<void> {
  const socket = createSocket('udp4');
  await new Promise<void>(resolve => socket.connect(at.port, at.address, resolve));
  const AT_ONCE = 50;
  for (let sent = 0; sent < count; sent += AT_ONCE) {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('a query got no answer')), 5000);
      let left = AT_ONCE;
      socket.removeAllListeners('message').on('message', () => {
        if (--left > 0) return;
        clearTimeout(timer);
        resolve();
      });
      for (let i = 0; i < AT_ONCE; i++) socket.send(queryMessage('.', ANY));
    });
  }
  socket.close();
}

/** The process of the daemon: this one, or the last of its descendants. */
function daemonOf(pid: number): number {
  const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .split(' ')
    .filter(each => each !== '');
  return child === undefined ? pid : daemonOf(Number(child));
}
