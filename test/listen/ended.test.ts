// Clients that send no more. Whoever is owed nothing leaves its place in the table at once, whenever its end comes; and
// whoever has asked still gets its reply (RFC 7766 §6.2.4).

import { connect, createServer, type Socket } from 'node:net';
import { connect as connectTls, type SecureVersion, type TLSSocket } from 'node:tls';
import { setTimeout as sleep } from 'node:timers/promises';

import t, { type Test } from 'tap';

import type { Front } from '../../src/front/front.js';
import { httpsProtocol } from '../../src/listen/https.js';
import { Memory } from '../../src/listen/memory.js';
import { nodeStreams } from '../../src/listen/node-streams.js';
import { SessionTable } from '../../src/listen/sessions.js';
import { framedProtocol, SESSION_LIMITS, streamListener } from '../../src/listen/stream.js';
import { Turns } from '../../src/listen/turns.js';
import { systemClock } from '../../src/os/clock.js';
import { framed } from '../../src/wire/frame.js';
import { authority, certificate } from '../fixtures/certificates.js';
import { recorder } from '../fixtures/recorder.js';
import { until } from '../fixtures/until.js';
import { TLS_PATHS } from './tls-paths.js';

const HOST = '127.0.0.1';
const REPLY = Buffer.from('reply');
/** How long the front thinks. */
const THINKS_MS = 50;

const LISTENERS = {
  tcp: { over: 'tcp', tls: false },
  tls: { over: 'tls', tls: true },
  'tls by OpenSSL': { over: 'tls', tls: true, path: 'OpenSSL' },
  https: { over: 'https', tls: true },
  'https in cleartext': { over: 'https', tls: false },
} as const;

/** Everybody may be idle far longer than a test waits. */
async function listening(t: Test, how: (typeof LISTENERS)[keyof typeof LISTENERS]) {
  const { over, tls } = how;
  const { observer } = recorder();
  const front: Front = {
    handle(_message, _client, respond) {
      setTimeout(() => respond(REPLY), THINKS_MS);
      return true;
    },
    inflight: 0,
    stop: () => undefined,
    giveUp: () => undefined,
  };
  const table = new SessionTable({ observer, clock: systemClock, max: 100, idleMs: 60_000 });
  const turns = new Turns();
  const parts = { front, observer, table, turns, memory: new Memory(), clock: systemClock, mayAsk: () => true };
  const http = {
    ...parts,
    limits: SESSION_LIMITS,
    path: () => '/dns-query',
    isProxy: () => false,
    isShared: () => true,
  };
  const protocol = over === 'https' ? httpsProtocol(nodeStreams(undefined), http) : framedProtocol(over, parts);
  const credentials = tls ? certificate({ common: 'a', names: ['a'], issuer: authority() }) : undefined;
  const path = 'path' in how ? TLS_PATHS[how.path] : undefined;
  const listener =
    path !== undefined && credentials !== undefined
      ? path.listener(t, parts, credentials)
      : streamListener(protocol, parts, credentials);
  await listener.set([{ address: HOST, port: 0 }]);
  t.teardown(() => listener.destroy());
  return { table, port: listener.bound[0]?.port ?? 0 };
}

const quiet = <S extends Socket>(t: Test, socket: S): S => {
  t.teardown(() => socket.destroy());
  socket.on('error', () => undefined).resume();
  return socket;
};

const raw = (t: Test, port: number): Socket => quiet(t, connect({ port, host: HOST, allowHalfOpen: true }));

const came = async (socket: Socket, event: 'connect' | 'secureConnect'): Promise<unknown> =>
  new Promise(resolve => socket.once(event, resolve));

interface Client {
  readonly version: SecureVersion;
  readonly alpn: string;
  readonly over?: Socket;
}
const secure = (t: Test, port: number, { version, alpn, over }: Client): TLSSocket =>
  quiet(
    t,
    connectTls({
      ...{
        port,
        host: HOST,
        rejectUnauthorized: false,
        maxVersion: version,
        ALPNProtocols: [alpn],
        allowHalfOpen: true,
      },
      ...(over === undefined ? {} : { socket: over }),
    }),
  );

/** What a client sends before its end, in cleartext. */
const BEGINNINGS: Readonly<Record<string, string>> = {
  nothing: '',
  'half a length, or a letter': 'P',
  'half a message, or of a request': 'GET /dns',
  'the beginning of HTTP/2': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
};

for (const kind of ['tcp', 'https in cleartext'] as const)
  for (const [what, octets] of Object.entries(BEGINNINGS))
    await t.test(`${kind}: a client that ends after ${what}`, async t => {
      const { table, port } = await listening(t, LISTENERS[kind]);
      const socket = raw(t, port);
      await until(() => table.open === 1, 'it is accepted');
      socket.write(octets);
      await sleep(20);
      socket.end();
      await until(() => table.open === 0, 'it has left');
    });

/** Ends of a client, at each stage of its handshake. */
const ENDS: Readonly<Record<string, (t: Test, port: number, client: Client) => Promise<void>>> = {
  async 'before its ClientHello'(t, port) {
    const socket = raw(t, port);
    await came(socket, 'connect');
    socket.end();
  },
  async 'within its ClientHello'(t, port) {
    const socket = raw(t, port);
    socket.write(Buffer.from([22, 3, 1, 1, 0, 1]));
    await sleep(20);
    socket.end();
  },
  async 'with its ClientHello'(t, port, client) {
    await helloAndEnd(t, port, client, (socket, hello) => socket.end(hello));
  },
  async 'after its ClientHello'(t, port, client) {
    await helloAndEnd(t, port, client, (socket, hello) => {
      socket.write(hello);
      socket.once('data', () => socket.end());
    });
  },
  async 'instead of its Finished, or right after it'(t, port, client) {
    const over = raw(t, port);
    await came(secure(t, port, { ...client, over }), 'secureConnect');
    over.end();
  },
  async 'with a reset at the end of the handshake'(t, port, client) {
    const socket = secure(t, port, client);
    await came(socket, 'secureConnect');
    socket.destroy();
  },
  async 'before the handshake began for it'(t, port, client) {
    secure(t, port, client).end();
    return Promise.resolve();
  },
  async 'with its Finished'(t, port, client) {
    const socket = secure(t, port, client);
    await came(socket, 'secureConnect');
    socket.end();
  },
  async 'some time after the handshake'(t, port, client) {
    const socket = secure(t, port, client);
    await came(socket, 'secureConnect');
    await sleep(50);
    socket.end();
  },
  async 'with half a message, or of a request'(t, port, client) {
    const socket = secure(t, port, client);
    await came(socket, 'secureConnect');
    socket.write(BEGINNINGS['half a message, or of a request'] ?? '');
    await sleep(50);
    socket.end();
  },
};

/** Sends what a real client begins with. */
async function helloAndEnd(
  t: Test,
  port: number,
  client: Client,
  send: (socket: Socket, hello: Buffer) => void,
): Promise<void> {
  const between = createServer(socket => socket.on('error', () => undefined).once('data', hello => heard(hello)));
  let heard: (hello: Buffer) => void = () => undefined;
  const hello = new Promise<Buffer>(resolve => (heard = resolve));
  await new Promise<void>(resolve => between.listen(0, HOST, resolve));
  const at = between.address();
  const stopped = secure(t, at !== null && typeof at === 'object' ? at.port : 0, client);
  send(raw(t, port), await hello);
  stopped.destroy();
  between.close();
}

const CLIENTS = { tls: ['dot'], 'tls by OpenSSL': ['dot'], https: ['h2', 'http/1.1'] } as const;
for (const kind of ['tls', 'tls by OpenSSL', 'https'] as const)
  for (const alpn of CLIENTS[kind])
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const)
      await t.test(`${kind}, ${alpn}, ${version}: a client that ends`, async t => {
        for (const [when, ends] of Object.entries(ENDS))
          await t.test(when, async t => {
            const { table, port } = await listening(t, LISTENERS[kind]);
            const { admit } = table;
            let admitted = 0;
            table.admit = (...args) => {
              admitted++;
              return admit.apply(table, args);
            };
            await ends(t, port, { version, alpn });
            await until(() => admitted === 1 && table.open === 0, 'it has left');
          });
      });

for (const kind of ['tls', 'tls by OpenSSL'] as const)
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const)
    await t.test(`${kind}, ${version}: a client that asks and ends before the handshake gets its reply`, async t => {
      const { table, port } = await listening(t, LISTENERS[kind]);
      const socket = secure(t, port, { version, alpn: 'dot' });
      let replies = Buffer.alloc(0);
      socket.on('data', (chunk: Buffer) => (replies = Buffer.concat([replies, chunk])));
      socket.end(Buffer.concat([framed(Buffer.from('one')), framed(Buffer.from('two'))]));
      await until(() => socket.destroyed, 'the end of the other side');
      t.same(replies, Buffer.concat([framed(REPLY), framed(REPLY)]));
      await until(() => table.open === 0, 'it has left');
    });
