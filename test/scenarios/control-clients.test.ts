// Clients of the control socket that say nothing, or never stop: commands and queries go on, and memory stays as it is.

import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';

import t from 'tap';

import { askDaemon } from '../../src/control/client.js';
import { ask } from '../fixtures/client.js';
import { freePort } from '../fixtures/free-port.js';
import { residentMib } from '../fixtures/memory.js';
import { startDotstub, temporaryDirectory } from '../fixtures/program.js';
import { until } from '../fixtures/until.js';

const MOST_MIB = 16;

await t.test('lines without an end, of gigabytes, and clients that say nothing', async t => {
  const port = await freePort();
  const daemon = await startDotstub(`
listen: ["127.0.0.1:${port}"]
metrics: { listen: off }
upstream: { servers: [{ name: dns.test, addresses: [127.0.0.1] }] }
`);
  t.teardown(async () => daemon.stop());
  const { controlSocket: path } = daemon;
  const rssMib = (): number => residentMib(daemon.child.pid ?? 0);
  const answers = async (what: string): Promise<void> => {
    t.match(await askDaemon(path, { command: 'status', args: [] }), { ok: true }, `status beside ${what}`);
    t.equal((await ask({ address: '127.0.0.1', port }, '.', { type: 'ANY' })).text.rcode, 'NOERROR');
  };
  await answers('nobody');
  const before = rssMib();
  const open = () => {
    const socket = connect(path);
    socket.on('error', () => undefined);
    t.teardown(() => socket.destroy());
    return socket.resume();
  };
  for (let i = 0; i < 40; i++) open();
  await answers('those that say nothing');
  let written = 0;
  for (const first of ['', 'x\n', '{"command":"status","args":[]}\n', '{"command":"', '\x16\x03\x01']) {
    for (let i = 0; i < 4; i++) {
      const socket = open();
      socket.write(first);
      const more = (): unknown => {
        written += 1 << 16;
        return socket.writable && socket.write(Buffer.alloc(1 << 16, 'a'), more);
      };
      more();
    }
  }
  let last = -1;
  await until(() => last === (last = written), 'they have to wait');
  t.ok(written < 64 << 20, `${written} octets were sent`);
  await answers('those that never stop');
  t.ok(rssMib() - before < MOST_MIB, `they take ${(rssMib() - before).toFixed(1)} MiB`);
});

await t.test('state files that are no files, or are not ours, keep no daemon from starting', async t => {
  const directory = temporaryDirectory();
  t.teardown(() => directory.remove());
  const plantings: Readonly<Record<string, (path: string) => unknown>> = {
    'not a regular file': path => execFileSync('mkfifo', [path]),
    'it is a symbolic link': path => symlinkSync('/dev/zero', path),
    'it is a directory': path => mkdirSync(path),
    'others may write it': path => {
      writeFileSync(path, '{}');
      chmodSync(path, 0o666);
    },
    'it is larger than': path => writeFileSync(path, Buffer.alloc(8 << 20)),
  };
  let i = 0;
  for (const [words, plant] of Object.entries(plantings)) {
    const state = join(directory.path, `state${i++}`);
    mkdirSync(state);
    for (const name of ['networks.json', 'trust-anchors.json']) plant(join(state, name));
    const port = await freePort();
    const daemon = await startDotstub(`
listen: ["127.0.0.1:${port}"]
metrics: { listen: off }
state_directory: ${state}
upstream: { servers: [{ name: dns.test, addresses: [127.0.0.1] }] }
`);
    for (const name of ['networks', 'trust-anchors'])
      t.match(daemon.log(), new RegExp(`${name}\\.json is not used: .*${words}`));
    t.equal((await daemon.stop()).code, 0, words);
  }
});
