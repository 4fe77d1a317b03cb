import { createSocket, type Socket } from 'node:dgram';

import t, { type Test } from 'tap';

import { dialDatagram } from '../../src/upstream/plain.js';
import { freePort } from '../fixtures/free-port.js';

/** A UDP server on 127.0.0.1 that does as told. */
async function server(
  t: Test,
  react: (message: Buffer, from: { port: number }, socket: Socket) => void,
): Promise<number> {
  const socket = createSocket('udp4');
  socket.on('message', (message, from) => react(message, from, socket));
  await new Promise<void>(resolve => socket.bind(0, '127.0.0.1', () => resolve()));
  t.teardown(() => void socket.close());
  return socket.address().port;
}
const query = Buffer.from('query');

await t.test('the first acceptable reply is taken, what else comes is not', async t => {
  const port = await server(t, (_message, from, socket) => {
    for (const reply of ['wrong', 'right', 'late']) socket.send(reply, from.port, '127.0.0.1');
  });
  t.same(
    await dialDatagram({ address: '127.0.0.1', port }, query, reply => reply.toString() !== 'wrong', 1000),
    Buffer.from('right'),
  );
});

await t.test('RFC 5452 §9.2: every query from another port; §9.1: only the asked address is heard', async t => {
  const ports = new Set<number>();
  const stranger = createSocket('udp4');
  const port = await server(t, (message, from, socket) => {
    ports.add(from.port);
    stranger.send('forged', from.port, '127.0.0.1', () =>
      setTimeout(() => socket.send(message, from.port, '127.0.0.1'), 20),
    );
  });
  for (let i = 0; i < 8; i++)
    t.same(await dialDatagram({ address: '127.0.0.1', port }, query, () => true, 1000), query);
  stranger.close();
  t.ok(ports.size >= 7);
});

await t.test('no answer, and no server', async t => {
  const port = await server(t, () => undefined);
  t.equal(await dialDatagram({ address: '127.0.0.1', port }, query, () => true, 50), 'timeout');
  t.equal(await dialDatagram({ address: '127.0.0.1', port: await freePort() }, query, () => true, 1000), 'unreachable');
  // The kernel lets nobody connect to it, as it does where there is no network.
  t.equal(
    await dialDatagram({ address: '255.255.255.255', port: 53 }, query, () => true, 1000),
    'unreachable',
    'not even connected',
  );
});
