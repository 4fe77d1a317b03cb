// What a command says of a daemon that does not answer it.

import { createServer } from 'node:net';
import { join } from 'node:path';

import t from 'tap';

import { askDaemon } from '../../src/control/client.js';
import { temporaryDirectory } from '../fixtures/program.js';

await t.test(
  'a daemon that closes the connection is busy, and one that talks something else is no dotstub',
  async t => {
    const directory = temporaryDirectory();
    const path = join(directory.path, 'control.sock');
    let says = '';
    const server = createServer(socket => {
      socket.on('error', () => undefined);
      if (says === '') socket.destroy();
      else socket.end(says);
    });
    await new Promise<void>(resolve => void server.listen(path, resolve));
    t.teardown(() => {
      server.close();
      directory.remove();
    });
    for (let i = 0; i < 5; i++)
      t.match(await askDaemon(path, { command: 'status', args: [] }), { ok: false, problem: /too busy/ });
    says = 'HTTP/1.1 400 Bad Request\r\n';
    t.match(await askDaemon(path, { command: 'status', args: [] }), { ok: false, problem: /not dotstub/ });
    says = Buffer.alloc(20 << 20, 'a').toString();
    t.match(await askDaemon(path, { command: 'status', args: [] }), { ok: false, problem: /not dotstub/ });
    server.close();
    t.match(await askDaemon(path, { command: 'status', args: [] }), { ok: false, problem: /there is no such socket/ });
  },
);
