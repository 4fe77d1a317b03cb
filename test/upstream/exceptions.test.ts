// A broken invariant ends the process the same way wherever it happens; a failure of the system never does.

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import t from 'tap';

import type { DialTarget } from '../../src/base/ports.js';
import { systemClock } from '../../src/os/clock.js';
import { dialer } from '../../src/upstream/dial.js';
import { dialDatagram } from '../../src/upstream/plain.js';

const run = async (command: string, file: string): Promise<string[]> => {
  const path = fileURLToPath(new URL(`../fixtures/${file}`, import.meta.url));
  const { stdout } = await promisify(execFile)('/bin/sh', ['-c', command, process.execPath, path]);
  return stdout.trim().split('\n');
};

await t.test('an exception while an answer is handled reaches the process, in every way that answers come', async t => {
  const lines = await run('exec "$0" --import=tsx "$1"', 'broken-invariants.ts');
  t.same(lines.toSorted(), [
    'outcome: connect',
    'uncaughtException: broken: a designation',
    'uncaughtException: broken: an answer over HTTPS',
    'uncaughtException: broken: an answer over TCP',
    'uncaughtException: broken: an answer over TLS',
    'uncaughtException: broken: an answer over UDP',
    'uncaughtException: broken: no address',
    'uncaughtException: broken: no answer over UDP',
    'uncaughtException: broken: no connection',
    'uncaughtException: broken: the port itself',
  ]);
});

await t.test('a process that has no file descriptor left: every way of asking fails, and none throws', async t => {
  const lines = await run('ulimit -n 128 && exec "$0" --import=tsx "$1"', 'out-of-files.ts');
  t.match(lines, [/^TLS: .*too many files open/, /^TCP: .*too many files open/, /^UDP: unreachable/]);
});

await t.test('what sockets throw at once is a failed attempt: an odd port, an odd address', async t => {
  const dial = dialer({ ca: undefined, client: undefined, clock: systemClock }, { tcpMs: 300, totalMs: 600 });
  const odd: readonly Pick<DialTarget, 'address' | 'port'>[] = [
    { address: '127.0.0.1', port: 70_000 },
    { address: '127.0.0.1', port: -1 },
    { address: 'fe80::1%nowhere', port: 853 },
    { address: '\0', port: 853 },
  ];
  for (const target of odd) {
    for (const security of [{ at: 'cleartext' }, { at: 'encrypted', name: undefined }] as const) {
      const events: string[] = [];
      const code = await new Promise(resolve => {
        const stream = dial(
          { ...target, security },
          {
            connected: () => events.push('connected'),
            bytes: () => undefined,
            closed: why => resolve(why?.code),
          },
        );
        events.push('returned');
        stream.send(Buffer.from([0, 0]));
        stream.acknowledge();
      });
      t.match(code, /^connect/, JSON.stringify(target));
      t.same(events, ['returned'], 'told after dial has returned');
    }
    t.equal(await dialDatagram(target, Buffer.alloc(12), () => true, 300), 'unreachable', JSON.stringify(target));
  }
});

await t.test('a stream that the system gave no socket can be closed and cut', async t => {
  const dial = dialer({ ca: undefined, client: undefined, clock: systemClock });
  let closed = 0;
  for (const end of ['close', 'destroy'] as const) {
    const stream = dial(
      { address: '127.0.0.1', port: 70_000, security: { at: 'cleartext' } },
      { connected: () => undefined, bytes: () => undefined, closed: () => closed++ },
    );
    stream[end]();
    stream[end]();
  }
  await new Promise(resolve => setTimeout(resolve, 20));
  t.equal(closed, 0, 'and says nothing more');
});
