// The status for every user: what one who may not use the control socket gets, and what not.

import { chmodSync, statSync } from 'node:fs';
import { join } from 'node:path';

import t, { type Test } from 'tap';

import { askDaemon, askStatus } from '../../src/control/client.js';
import { statusSocketOf } from '../../src/control/protocol.js';
import { type ControlCommands, listenControl } from '../../src/control/server.js';
import { systemClock } from '../../src/os/clock.js';
import { freePort } from '../fixtures/free-port.js';
import { dotstub, startDotstub, temporaryDirectory } from '../fixtures/program.js';
import { recordedLog } from '../fixtures/recorder.js';

const NOBODY = 65534;
const says = (text: string): ControlCommands => ({ status: { run: () => ({ ok: true, text, data: {} }) } });

/** Does something as a user who may not use a file; root, who may use all, is somebody else meanwhile. */
async function unprivileged<T>(file: string, run: () => Promise<T>): Promise<T> {
  chmodSync(file, 0);
  if (process.getuid?.() !== 0) return run();
  process.seteuid?.(NOBODY);
  try {
    return await run();
  } finally {
    process.seteuid?.(0);
  }
}

async function sockets(t: Test, which: readonly ('control' | 'status')[]): Promise<string> {
  const directory = temporaryDirectory();
  t.teardown(() => directory.remove());
  chmodSync(directory.path, 0o755);
  const path = join(directory.path, 'control.sock');
  const common = { clock: systemClock, log: recordedLog(), maxSessions: 4 };
  for (const each of which) {
    const opened = await listenControl(
      each === 'control'
        ? { ...common, path, group: undefined, commands: says('for its owner') }
        : { ...common, path: statusSocketOf(path), group: 'everyone', commands: says('for everybody') },
    );
    t.teardown(() => opened.close());
  }
  return path;
}

await t.test('who may use the control socket asks there, and everybody else at the one for the status', async t => {
  const path = await sockets(t, ['control', 'status']);
  const request = { command: 'status', args: [] };
  t.match(await askStatus(path, request), { ok: true, text: 'for its owner' });
  const [status, command] = await unprivileged(path, async () => [
    await askStatus(path, request),
    await askDaemon(path, request),
  ]);
  t.match(status, { ok: true, text: 'for everybody' });
  t.match(command, { ok: false, problem: /control\.sock: no permission/ });
});

await t.test('where the status is for the group only, the permission is what is missing', async t => {
  const path = await sockets(t, ['control']);
  const reply = await unprivileged(path, async () => askStatus(path, { command: 'status', args: [] }));
  t.match(reply, { ok: false, problem: /control\.sock: no permission: be root/ });
});

await t.test(
  'a daemon: everybody may read the status, and nothing about queries; nobody may command there',
  async t => {
    const port = await freePort();
    const config = `listen: ["127.0.0.1:${port}"]\nmetrics: { listen: off }\nlog: { queries: full }\nupstream: { mode: off, servers: [{ addresses: ["127.0.0.1:1"] }] }`;
    const daemon = await startDotstub(config);
    t.teardown(async () => daemon.stop());
    const open = statusSocketOf(daemon.controlSocket);
    t.equal(statSync(open).mode & 0o777, 0o666);
    t.equal(statSync(daemon.controlSocket).mode & 0o777, 0o660);
    await dotstub(['query', 'secret.example', '--server', `127.0.0.1:${port}`]);
    const status = await askDaemon(open, { command: 'status', args: [] });
    t.match(status, {
      ok: true,
      data: { version: /./, listeners: [{ transport: 'udp', address: '127.0.0.1', port }] },
    });
    t.notMatch(JSON.stringify(status), 'secret');
    t.match(await askDaemon(open, { command: 'upstreams', args: [] }), { ok: true });
    for (const command of ['flush', 'top', 'trace', 'metrics', 'reload', 'drain', 'cache', 'log'])
      t.match(await askDaemon(open, { command, args: [] }), {
        ok: false,
        problem: /knows no command .*; it knows: status, upstreams$/,
      });
  },
);

await t.test('control.status: group opens no socket for everybody', async t => {
  const directory = temporaryDirectory();
  t.teardown(() => directory.remove());
  const socket = join(directory.path, 'c.sock');
  const daemon = await startDotstub(
    `listen: ["127.0.0.1:${await freePort()}"]\nmetrics: { listen: off }\ncontrol: { socket: ${socket}, status: group }`,
  );
  t.teardown(async () => daemon.stop());
  t.match(await askDaemon(socket, { command: 'status', args: [] }), { ok: true });
  t.equal(statSync(statusSocketOf(socket), { throwIfNoEntry: false }), undefined);
});

await t.test('query and health find the daemon that runs with a file, wherever it listens', async t => {
  const ports = [await freePort(), await freePort()];
  const daemon = await startDotstub(
    `listen: ["127.0.0.1:${ports[0] ?? 0}"]\nmetrics: { listen: off }\nupstream: { mode: off, servers: [{ addresses: ["127.0.0.1:1"] }] }`,
  );
  t.teardown(async () => daemon.stop());
  const { code, stdout } = await dotstub(['health', '--config', daemon.configFile]);
  t.equal(code, 0);
  t.match(stdout, `127.0.0.1:${ports[0] ?? 0} answers`);
});
