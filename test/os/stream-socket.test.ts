// What a session may have in the kernel.

import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

import t from 'tap';

import { loadLibc } from '../../src/os/libc.js';
import { openTcp } from '../../src/os/stream-socket.js';
import { portOf } from '../../src/os/datagrams.js';

const libc = loadLibc();
const skip = 'unavailable' in libc ? libc.unavailable : false;

const CHUNK_BYTES = 1 << 14;
const CHUNKS = 1 << 9;

await t.test('what a client does not take waits here and not in the kernel', { skip }, async t => {
  if ('unavailable' in libc) return;
  const fd = openTcp(libc, { address: '127.0.0.1', port: 0 });
  const port = portOf(libc, fd);
  const server = createServer({ noDelay: true });
  await new Promise<void>(resolve => void server.listen({ fd }, resolve));
  const accepted = new Promise<Socket>(resolve => void server.once('connection', resolve));
  // Paused: it reads what fits into its own room in the kernel.
  const client = connect({ host: '127.0.0.1', port });
  client.pause();
  const socket = await accepted;
  socket.on('error', () => undefined);
  let taken = 0;
  for (let i = 0; i < CHUNKS; i++) socket.write(Buffer.alloc(CHUNK_BYTES), error => void (error ?? taken++));
  for (let before = -1; taken > before;) {
    before = taken;
    await sleep(200);
  }
  // The room of both sides; without a bound it is megabytes.
  t.ok(taken * CHUNK_BYTES < 1 << 20, `${taken * CHUNK_BYTES} octets`);
  client.destroy();
  socket.destroy();
  server.close();
});
