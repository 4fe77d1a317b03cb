// What clients can do to connections by OpenSSL: octets that are no TLS, or not all of it, ends and resets at any moment, and
// many at once. Whoever comes afterwards is served, no place is left taken, and no descriptor open.

import { randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls, type SecureVersion, type TLSSocket } from 'node:tls';

import t, { type Test } from 'tap';

import type { Front } from '../../src/front/front.js';
import type { DoorEvents } from '../../src/listen/connection.js';
import { EventLoop } from '../../src/listen/event-loop.js';
import { Memory } from '../../src/listen/memory.js';
import type { NativeConnection } from '../../src/listen/native-connection.js';
import { nativeStreams } from '../../src/listen/native-streams.js';
import { SessionTable, type TableParts } from '../../src/listen/sessions.js';
import { DOT_ALPN } from '../../src/listen/stream.js';
import { Turns } from '../../src/listen/turns.js';
import { systemClock } from '../../src/os/clock.js';
import { LINUX, loadLibc } from '../../src/os/libc.js';
import { loadOpenSsl } from '../../src/os/openssl.js';
import { framed, frameReader } from '../../src/wire/frame.js';
import { authority, certificate } from '../fixtures/certificates.js';
import { recorder } from '../fixtures/recorder.js';
import { until } from '../fixtures/until.js';
import { Gate } from './gate.js';
import { TLS_PATHS } from './tls-paths.js';

const HOST = '127.0.0.1';
const VERSIONS: readonly SecureVersion[] = ['TLSv1.2', 'TLSv1.3'];
const identity = certificate({ common: 'a', names: ['a'], issuer: authority() });
const { OpenSSL } = TLS_PATHS;
const skip = OpenSSL?.skip ?? 'there is no such way';

/** A listener whose front answers with the message; one that begins with a 1 has to wait for `answer`. */
async function listening(t: Test, bounds: Partial<Pick<TableParts, 'idleMs' | 'max' | 'maxPerClient'>> = {}) {
  const held: (() => void)[] = [];
  const front: Front = {
    handle(message, _client, respond) {
      const reply = Buffer.from(message);
      if (message[0] !== 1) {
        respond(reply);
        return false;
      }
      held.push(() => respond(reply));
      return true;
    },
    inflight: 0,
    stop: () => undefined,
    giveUp: () => undefined,
  };
  const { observer, count } = recorder();
  const clock = systemClock;
  const table = new SessionTable({ observer, clock, max: 3000, maxPerClient: 3000, idleMs: 60_000, ...bounds });
  const parts = { front, observer, table, turns: new Turns(), memory: new Memory(), clock, mayAsk: () => true };
  const listener = OpenSSL?.listener(t, parts, identity);
  if (listener === undefined) throw new Error('there is no such way');
  await listener.set([{ address: HOST, port: 0 }]);
  t.teardown(() => listener.destroy());
  return { table, count, held, listener, port: listener.bound[0]?.port ?? 0 };
}

const quiet = <S extends Socket>(t: Test, socket: S): S => {
  t.teardown(() => socket.destroy());
  return socket.on('error', () => undefined);
};
const raw = (t: Test, port: number): Socket => quiet(t, connect({ port, host: HOST, allowHalfOpen: true }));

const secure = (t: Test, port: number, version: SecureVersion = 'TLSv1.3', over?: Socket): TLSSocket => {
  const how = { rejectUnauthorized: false, minVersion: version, maxVersion: version, allowHalfOpen: true };
  const at = over === undefined ? { port, host: HOST } : { socket: over };
  return quiet(t, connectTls({ ...how, ...at, ALPNProtocols: ['dot'] }));
};
const isSecured = async (socket: TLSSocket): Promise<void> =>
  new Promise((resolve, reject) => {
    socket.once('secureConnect', () => resolve()).once('error', reject);
    socket.once('close', () => reject(new Error('closed')));
  });

/** Passes octets on to a port, and keeps the last that come back. */
async function relay(t: Test, port: number) {
  const chunks: Buffer[] = [];
  let hasEnded = false;
  const server = createServer({ allowHalfOpen: true }, client => {
    const to = raw(t, port);
    quiet(t, client).pipe(to).pipe(client);
    to.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => (hasEnded = true));
  });
  await new Promise<void>(resolve => server.listen(0, HOST, resolve));
  t.teardown(() => server.close());
  const at = server.address();
  return {
    port: at !== null && typeof at === 'object' ? at.port : 0,
    last: () => chunks.at(-1) ?? Buffer.alloc(0),
    hasEnded: () => hasEnded,
  };
}

/** A client behind a gate. */
function gated(t: Test, port: number, version: SecureVersion, session?: Buffer) {
  const gate = new Gate(raw(t, port));
  // Newer Node.js binds a session to the host that it was made with.
  const how = {
    ...{ host: HOST, rejectUnauthorized: false, ALPNProtocols: ['dot'] },
    ...{ minVersion: version, maxVersion: version },
  };
  const socket = quiet(t, connectTls({ ...how, socket: gate, ...(session === undefined ? {} : { session }) }));
  return { gate, socket, messages: messagesOf(socket) };
}

/** Sends each message in a record of its own. */
async function sendEach(socket: TLSSocket, messages: readonly Buffer[]): Promise<void> {
  for (const each of messages) await new Promise(resolve => socket.write(framed(each), resolve));
}

/** The messages that come over a connection. */
function messagesOf(socket: Socket): Buffer[] {
  const messages: Buffer[] = [];
  const frames = frameReader();
  socket.on('data', (chunk: Buffer) => frames.push(chunk, message => messages.push(Buffer.from(message))));
  return messages;
}

/** A newcomer is served, and then nobody has a place. */
async function isWell(t: Test, port: number, table: SessionTable): Promise<void> {
  const socket = secure(t, port);
  const messages = messagesOf(socket);
  socket.write(framed(Buffer.from([0, 1])));
  await until(() => messages.length === 1, 'a reply to a newcomer');
  socket.destroy();
  await until(() => table.open === 0, 'no places');
}

/** What a real client sends first. */
async function helloOf(t: Test, version: SecureVersion): Promise<Buffer> {
  const server = createServer();
  await new Promise<void>(resolve => server.listen(0, HOST, resolve));
  const at = server.address();
  const came = new Promise<Buffer>(resolve =>
    server.once('connection', socket => quiet(t, socket).once('data', resolve)),
  );
  const client = secure(t, at !== null && typeof at === 'object' ? at.port : 0, version);
  const hello = await came;
  client.destroy();
  server.close();
  return hello;
}

await t.test('random octets at any moment of a handshake close the connection', { skip }, async t => {
  const { port, table } = await listening(t);
  for (const version of VERSIONS) {
    const hello = await helloOf(t, version);
    for (const begin of [Buffer.alloc(0), hello.subarray(0, 5), hello.subarray(0, 60), hello])
      for (let i = 0; i < 10; i++) {
        const socket = raw(t, port).resume();
        socket.write(Buffer.concat([begin, randomBytes(1 + 300 * i)]));
        // What looks like the beginning of a record is waited for.
        await sleep(2);
        socket.end();
      }
    for (let i = 0; i < 40; i++) {
      const changed = Buffer.from(hello);
      for (let octet = 0; octet < 3; octet++)
        changed.writeUInt8(randomBytes(1)[0] ?? 0, (5 + 12 * i + octet) % hello.length);
      raw(t, port).resume().end(changed);
    }
  }
  await until(() => table.open === 0, 'all are closed');
  await isWell(t, port, table);
});

await t.test('octets that are changed within a session close it, and no other', { skip }, async t => {
  const { port, table } = await listening(t);
  for (const version of VERSIONS) {
    const kept = secure(t, port, version);
    await isSecured(kept);
    const messages = messagesOf(kept);
    for (let i = 0; i < 10; i++) {
      const over = raw(t, port);
      const socket = secure(t, port, version, over);
      await isSecured(socket);
      over.write(Buffer.concat([Buffer.from([23, 3, 3, 0, 40]), randomBytes(40 + 300 * i)]));
      await until(() => table.open === 1, 'its end');
    }
    kept.write(framed(Buffer.from([0, 2])));
    await until(() => messages.length === 1, 'a reply over the other');
    kept.destroy();
  }
  await isWell(t, port, table);
});

await t.test('a handshake that is cut anywhere, by an end or by a reset, leaves nothing', { skip }, async t => {
  const { port, table } = await listening(t);
  for (const version of VERSIONS) {
    const hello = await helloOf(t, version);
    for (let bytes = 1; bytes <= hello.length; bytes += 23)
      for (const ends of ['end', 'resetAndDestroy'] as const) {
        const socket = raw(t, port).resume();
        socket.write(hello.subarray(0, bytes), () => socket[ends]());
      }
    for (let i = 0; i < 10; i++) {
      const socket = raw(t, port);
      socket.write(hello);
      socket.once('data', () => socket.resetAndDestroy());
    }
  }
  await sleep(50);
  await until(() => table.open === 0, 'all are closed');
  await isWell(t, port, table);
});

await t.test('2,000 connections that are opened and cut leave no place and no descriptor', { skip }, async t => {
  const { port, table } = await listening(t);
  await isWell(t, port, table);
  const before = readdirSync('/proc/self/fd').length;
  for (let i = 0; i < 20; i++) {
    await Promise.all(
      Array.from({ length: 100 }, async (_, n) => {
        const socket = raw(t, port);
        const over = n % 4 === 0 ? secure(t, port, 'TLSv1.3', socket) : undefined;
        await new Promise(resolve => socket.once('connect', resolve));
        if (over !== undefined && n % 8 === 0) await isSecured(over);
        if (n % 3 === 0) socket.resetAndDestroy();
        else socket.destroy();
      }),
    );
  }
  await isWell(t, port, table);
  await until(() => readdirSync('/proc/self/fd').length <= before, 'no more descriptors than before');
});

for (const version of VERSIONS) {
  await t.test(`${version}: a client that ends its side in any form gets its reply`, { skip }, async t => {
    const { port, table, held } = await listening(t);
    for (const form of ['close_notify', 'an end without one', 'an end before its query is read'] as const) {
      const over = raw(t, port);
      const socket = secure(t, port, version, over);
      await isSecured(socket);
      const messages = messagesOf(socket);
      const isEarly = form === 'an end before its query is read';
      await new Promise(resolve => socket.write(framed(Buffer.from([1, 7])), resolve));
      if (!isEarly) await until(() => held.length === 1, 'the query');
      if (form === 'close_notify') socket.end();
      else over.end();
      await until(() => held.length === 1, 'the query');
      await sleep(20);
      held.splice(0)[0]?.();
      await until(() => messages.length === 1, `the reply after ${form}`);
      await until(() => table.open === 0, `the end after ${form}`);
    }
  });

  await t.test(`${version}: a session that is closed here says so before its end`, { skip }, async t => {
    const { port, table, listener } = await listening(t, { idleMs: 200 });
    for (const closes of ['idle', 'closing'] as const) {
      const between = await relay(t, port);
      const socket = secure(t, between.port, version);
      const messages = messagesOf(socket);
      socket.write(framed(Buffer.from([0, 3])));
      await until(() => messages.length === 1, 'the session');
      if (closes === 'closing') listener.close();
      await until(between.hasEnded, 'the end');
      const last = between.last();
      // An alert; in TLS 1.3 it looks like any other record, and has 2 octets, a type and a tag of 16.
      if (version === 'TLSv1.2') t.equal(last.at(-31), 21, closes);
      else t.same([...last.subarray(-24, -19)], [23, 3, 3, 0, 19], closes);
      await until(() => table.open === 0, 'the end');
    }
  });

  await t.test(`${version}: replies that are not read wait, and then come in order and whole`, { skip }, async t => {
    const { port, table } = await listening(t);
    const socket = secure(t, port, version);
    await isSecured(socket);
    const messages = messagesOf(socket);
    socket.pause();
    const sent = Array.from({ length: 200 }, (_, i) => Buffer.concat([Buffer.from([0, i]), Buffer.alloc(50_000, i)]));
    socket.write(Buffer.concat(sent.map(framed)));
    await sleep(300);
    t.ok(messages.length < 200);
    socket.resume();
    await until(() => messages.length === 200, 'all replies');
    t.ok(messages.every((message, i) => message.equals(sent[i] ?? Buffer.alloc(0))));
    socket.destroy();
    await until(() => table.open === 0, 'the end');
  });
}

const numbered = (count: number): Buffer[] => Array.from({ length: count }, (_, i) => Buffer.from([0, i]));

/** A session that a client can resume. */
async function ticketFrom(t: Test, port: number, version: SecureVersion): Promise<Buffer> {
  const socket = secure(t, port, version);
  const ticket = await new Promise<Buffer>(resolve => socket.once('session', resolve));
  socket.destroy();
  return ticket;
}

for (const version of VERSIONS) {
  await t.test(`${version}: records that come in one segment are answered, all and in order`, { skip }, async t => {
    const { port } = await listening(t);
    const { gate, socket, messages } = gated(t, port, version);
    await isSecured(socket);
    gate.hold();
    await sendEach(socket, numbered(50));
    gate.release()();
    await until(() => messages.length === 50, 'all replies');
    t.same(messages, numbered(50));
  });

  await t.test(
    `${version}: a record that has come in part is waited for, and nobody waits with it`,
    { skip },
    async t => {
      const { port, table } = await listening(t);
      const { gate, socket, messages } = gated(t, port, version);
      const other = secure(t, port, version);
      const ofOther = messagesOf(other);
      await Promise.all([isSecured(socket), isSecured(other)]);
      for (const without of [1, 20, 24]) {
        gate.hold();
        await sendEach(socket, numbered(2));
        const rest = gate.release(without);
        await until(() => messages.length === 1, 'the reply to the whole record before it');
        other.write(framed(Buffer.from([0, 9])));
        await until(() => ofOther.length === 1, 'a reply to another');
        t.equal(messages.length, 1);
        rest();
        await until(() => messages.length === 2, 'the reply to the other');
        t.same(messages.splice(0), numbered(2));
        ofOther.splice(0);
      }
      t.equal(table.open, 2);
    },
  );

  await t.test(`${version}: queries that come with the client's Finished are answered`, { skip }, async t => {
    const { port } = await listening(t);
    // In TLS 1.2, the client's comes last only if it resumes.
    const ticket = version === 'TLSv1.2' ? await ticketFrom(t, port, version) : undefined;
    for (const without of [0, 10]) {
      const { gate, socket, messages } = gated(t, port, version, ticket);
      gate.hold(1);
      await isSecured(socket);
      t.equal(socket.isSessionReused(), ticket !== undefined);
      await sendEach(socket, numbered(3));
      const rest = gate.release(without);
      if (without > 0) await until(() => messages.length === 2, 'replies to those that are whole');
      rest();
      await until(() => messages.length === 3, 'all replies');
      t.same(messages, numbered(3));
    }
  });
}

await t.test('a client that offers other protocols only is refused, and told so', { skip }, async t => {
  const { port, table } = await listening(t);
  const refused = async (protocols: string[]): Promise<string> =>
    new Promise(resolve => {
      const socket = connectTls({ port, host: HOST, rejectUnauthorized: false, ALPNProtocols: protocols });
      t.teardown(() => socket.destroy());
      socket.once('secureConnect', () => {
        resolve(`chose ${socket.alpnProtocol}`);
        socket.destroy();
      });
      socket.once('error', (error: Error) => resolve(error.message));
    });
  t.match(await refused(['h2', 'http/1.1']), /no application protocol/);
  t.equal(await refused(['h2', 'dot']), 'chose dot');
  const without = connectTls({ port, host: HOST, rejectUnauthorized: false });
  await isSecured(quiet(t, without));
  t.equal(without.alpnProtocol, false);
  without.destroy();
  await isWell(t, port, table);
});

await t.test('the cheapest suite is preferred, and the others are there for clients without it', { skip }, async t => {
  const { port } = await listening(t);
  const chosen = async (ciphers: string): Promise<string> => {
    const how = { rejectUnauthorized: false, ciphers, ALPNProtocols: ['dot'] };
    const socket = quiet(t, connectTls({ port, host: HOST, ...how }));
    await isSecured(socket);
    return socket.getCipher().name;
  };
  const [cheapest, ...others] = ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'];
  t.equal(await chosen([...others, cheapest].join(':')), cheapest);
  for (const other of others) t.equal(await chosen(other), other);
});

await t.test('what is written when the kernel has taken the last write leaves before the end', { skip }, async t => {
  const libc = loadLibc();
  const openssl = loadOpenSsl(DOT_ALPN);
  if ('unavailable' in libc || 'unavailable' in openssl) throw new Error('they were there before');
  let room = 0;
  const send: typeof libc.send = (fd, octets) => {
    if (room === 0) return -LINUX.EAGAIN;
    const bytes = libc.send(fd, octets.subarray(0, room));
    room -= Math.max(0, bytes);
    return bytes;
  };
  const loop = new EventLoop(libc);
  const accepted: NativeConnection[] = [];
  const accept = (connection: NativeConnection): void => void accepted.push(connection);
  const streams = nativeStreams({ libc: { ...libc, send }, loop, openssl });
  const door = await streams.open({ address: HOST, port: 0 }, { accept, lost: () => undefined });
  const socket = raw(t, door.port);
  const came: Buffer[] = [];
  let hasEnded = false;
  socket.on('data', octets => came.push(octets)).on('end', () => (hasEnded = true));
  const rounds = async (isEnough: () => boolean): Promise<void> => {
    for (let round = 0; round < 1000 && !isEnough(); round++) {
      loop.runRound(0);
      await sleep(1);
    }
  };
  await rounds(() => accepted.length === 1);
  const [connection] = accepted;
  connection?.on('data', () => undefined);
  room = 50;
  connection?.write(Buffer.alloc(100, 1), () => {
    connection.write(Buffer.alloc(17, 2), () => undefined);
    connection.end();
  });
  // The rest of the first, and a part of the second.
  room = 55;
  await rounds(() => Buffer.concat(came).length === 105);
  for (let round = 0; round < 20; round++) loop.runRound(0);
  room = 100;
  await rounds(() => hasEnded);
  t.ok(hasEnded);
  t.same(Buffer.concat(came), Buffer.concat([Buffer.alloc(100, 1), Buffer.alloc(17, 2)]));
  connection?.destroy();
  loop.runRound(0);
  door.close();
  loop.close();
});

await t.test('without descriptors no connection is accepted for a while, which is counted', { skip }, async t => {
  const libc = loadLibc();
  const openssl = loadOpenSsl(DOT_ALPN);
  if ('unavailable' in libc || 'unavailable' in openssl) throw new Error('they were there before');
  let isFull = true;
  let asked = 0;
  const accept: typeof libc.accept = (...given) => {
    asked++;
    return isFull ? -LINUX.EMFILE : libc.accept(...given);
  };
  const loop = new EventLoop(libc);
  const streams = nativeStreams({ libc: { ...libc, accept }, loop, openssl });
  const accepted: NativeConnection[] = [];
  let lost = 0;
  const events: DoorEvents<NativeConnection> = {
    accept: connection => void accepted.push(connection),
    lost: () => void lost++,
  };
  const door = await streams.open({ address: HOST, port: 0 }, events);
  const sockets = [raw(t, door.port), raw(t, door.port)];
  await Promise.all(sockets.map(async each => new Promise(resolve => each.once('connect', resolve))));
  const startedAt = loop.monotonicMs();
  for (let round = 0; round < 1000 && loop.monotonicMs() - startedAt < 450; round++) {
    loop.runRound(0);
    await sleep(1);
  }
  t.ok(lost >= 3 && lost <= 6, `${lost} times in 450 ms`);
  t.equal(asked, lost);
  isFull = false;
  for (let round = 0; round < 500 && accepted.length < 2; round++) {
    loop.runRound(0);
    await sleep(1);
  }
  t.same(accepted.map(each => each.remotePort).sort(), sockets.map(each => each.localPort).sort());
  for (const each of accepted) each.destroy();
  loop.runRound(0);
  door.close();
  loop.close();
});
