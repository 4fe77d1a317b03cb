// Limits of client sessions, with real sockets and small numbers.

import { connect, createServer, type Socket } from 'node:net';
import { connect as tlsConnect, type TLSSocket } from 'node:tls';
import { setTimeout as sleep } from 'node:timers/promises';

import t, { type Test } from 'tap';

import type { Front } from '../../src/front/front.js';
import { Memory } from '../../src/listen/memory.js';
import { SessionTable, type TableParts } from '../../src/listen/sessions.js';
import type { SessionLimits } from '../../src/listen/session.js';
import { SESSION_LIMITS, tcpListener } from '../../src/listen/stream.js';
import { Turns } from '../../src/listen/turns.js';
import { systemClock } from '../../src/os/clock.js';
import { framed, frameReader } from '../../src/wire/frame.js';
import { authority, certificate } from '../fixtures/certificates.js';
import { freePort } from '../fixtures/free-port.js';
import { recorder } from '../fixtures/recorder.js';
import { until } from '../fixtures/until.js';
import { TLS_PATHS } from './tls-paths.js';

/** A front that holds every message until told; sizes of replies are the test's. */
function heldFront() {
  const held: { message: Buffer; respond: (reply: Buffer) => void }[] = [];
  let most = 0;
  let handled = 0;
  const front: Front = {
    handle(message, _client, respond) {
      handled++;
      if (message[0] === 1) {
        respond(Buffer.alloc(message.readUInt16BE(1)));
        return false;
      }
      held.push({ message: Buffer.from(message), respond });
      most = Math.max(most, held.length);
      return true;
    },
    inflight: 0,
    stop: () => undefined,
    giveUp: () => undefined,
  };
  return { front, held, most: () => most, handled: () => handled };
}

/** Bounds that differ from the usual ones. */
type Bounds = Partial<SessionLimits & Pick<TableParts, 'idleMs' | 'max' | 'maxPerClient'>>;

const room = () => ({ turns: new Turns(), memory: new Memory() });

async function listening(t: Test, bounds: Bounds) {
  const held = heldFront();
  const { observer, count } = recorder();
  const table = new SessionTable({ max: 1000, ...bounds, observer, clock: systemClock });
  let allowed: (address: string) => boolean = () => true;
  const listener = tcpListener({
    front: held.front,
    observer,
    clock: systemClock,
    table,
    ...room(),
    mayAsk: address => allowed(address),
    limits: { ...SESSION_LIMITS, ...bounds },
  });
  await listener.set([{ address: '127.0.0.1', port: 0 }]);
  t.teardown(() => listener.destroy());
  const port = listener.bound[0]?.port ?? 0;
  const open = async (from = '127.0.0.1'): Promise<{ socket: Socket; replies: Buffer[]; closed: () => boolean }> => {
    const replies: Buffer[] = [];
    const frames = frameReader();
    let closed = false;
    const socket = connect({ port, host: '127.0.0.1', localAddress: from, allowHalfOpen: true });
    socket.on('data', (chunk: Buffer) => frames.push(chunk, message => replies.push(Buffer.from(message))));
    socket.on('error', () => undefined);
    socket.on('end', () => (closed = true));
    socket.on('close', () => (closed = true));
    await new Promise<void>(resolve => socket.once('connect', () => resolve()));
    t.teardown(() => socket.destroy());
    return { socket, replies, closed: () => closed };
  };
  const allow = (test: typeof allowed): void => void (allowed = test);
  return { ...held, count, listener, table, port, open, allow };
}

async function connected(port: number, host: string): Promise<Socket> {
  const socket = connect({ port, host });
  await new Promise<void>((resolve, reject) => socket.once('connect', () => resolve()).once('error', reject));
  return socket.on('error', () => undefined);
}

const query = (n: number): Buffer => framed(Buffer.from([0, n]));
/** Answered at once with so many octets. */
const wants = (bytes: number): Buffer => framed(Buffer.from([1, bytes >> 8, bytes & 255]));

await t.test('an idle session is closed, one that waits for an answer is not', async t => {
  const { open, held } = await listening(t, { idleMs: 150 });
  const idle = await open();
  const waiting = await open();
  waiting.socket.write(query(1));
  await sleep(500);
  t.ok(idle.closed());
  t.notOk(waiting.closed());
  held[0]?.respond(Buffer.from('answer'));
  await sleep(50);
  t.same(waiting.replies, [Buffer.from('answer')]);
});

await t.test('a frame that is begun and never finished ends the session, however slowly it trickles', async t => {
  const { open } = await listening(t, { idleMs: 200 });
  const { socket, closed } = await open();
  socket.write(Buffer.from([0, 100]));
  for (let i = 0; i < 8 && !closed(); i++) {
    await sleep(50);
    if (!closed()) socket.write(Buffer.from([1]));
  }
  await sleep(50);
  t.ok(closed());
});

await t.test('queries over the limit wait their turn, none is lost', async t => {
  const { open, held, most } = await listening(t, { inflightPerSession: 5 });
  const { socket, replies } = await open();
  socket.write(Buffer.concat(Array.from({ length: 50 }, (_, i) => query(i))));
  await sleep(50);
  t.equal(held.length, 5);
  for (let answered = 0; answered < 50;) {
    for (const { message, respond } of held.splice(0)) {
      respond(Buffer.from([message[1] ?? 0]));
      answered++;
    }
    await sleep(1);
  }
  await sleep(50);
  t.same(
    replies.map(reply => reply[0]),
    Array.from({ length: 50 }, (_, i) => i),
  );
  t.ok(most() <= 5);
});

await t.test('a client with too many sessions loses the one that was idle longest', async t => {
  const { open, count, table, held } = await listening(t, { maxPerClient: 3 });
  const sessions = [await open(), await open(), await open()];
  sessions[0]?.socket.write(wants(10));
  await sleep(50);
  sessions.push(await open());
  await sleep(50);
  const closed = (): boolean[] => sessions.map(each => each.closed());
  t.same(closed(), [false, true, false, false], 'the first one has just asked');
  t.equal(count('dropped', 'displaced'), 1);
  t.equal(table.open, 3);
  for (const each of sessions) each.socket.write(query(1));
  await sleep(50);
  t.equal(held.length, 3);
  sessions.push(await open());
  await sleep(50);
  t.same(closed(), [false, true, false, false, true], 'those that wait for an answer are not idle');
  t.equal(count('dropped', 'connections'), 1);
  sessions[0]?.socket.destroy();
  for (const each of held) each.respond(Buffer.from('answer'));
  await until(() => table.open === 2, 'the place of a closed session');
});

await t.test('a client of another address has its own share', async t => {
  const { open, table } = await listening(t, { max: 4, maxPerClient: 2 });
  const sessions = [await open(), await open(), await open('127.0.0.2'), await open('127.0.0.2')];
  await sleep(50);
  t.same(
    sessions.map(each => each.closed()),
    [false, false, false, false],
  );
  sessions[0]?.socket.write(wants(10));
  await sleep(50);
  const late = await open('127.0.0.3');
  await sleep(50);
  t.same(
    sessions.map(each => each.closed()),
    [false, true, false, false],
    'the idlest of all makes room',
  );
  late.socket.write(wants(10));
  await sleep(50);
  t.equal(late.replies.length, 1);
  t.equal(table.open, 4);
});

await t.test('if no session is idle, the client with the most of them makes room', async t => {
  const { open, table } = await listening(t, { max: 4, maxPerClient: 3 });
  const many = [await open('127.0.0.2'), await open('127.0.0.2'), await open('127.0.0.2')];
  const one = await open('127.0.0.3');
  for (const each of [one, ...many]) each.socket.write(query(1));
  await sleep(50);
  const late = await open('127.0.0.4');
  late.socket.write(query(1));
  await sleep(50);
  t.same(
    many.map(each => each.closed()),
    [true, false, false],
  );
  t.notOk(one.closed());
  t.notOk(late.closed());
  const later = await open('127.0.0.5');
  later.socket.write(query(1));
  await sleep(50);
  t.notOk(later.closed());
  const last = await open('127.0.0.6');
  await sleep(50);
  t.ok(last.closed(), 'where everybody has one, nobody makes room');
  t.equal(table.open, 4);
});

await t.test('connections of addresses that may not ask are closed before anything else', async t => {
  const { open, count, table, allow, held } = await listening(t, {});
  allow(address => address !== '127.0.0.2');
  const [inside, outside] = [await open(), await open('127.0.0.2')];
  outside.socket.write(query(1));
  await sleep(50);
  t.ok(outside.closed());
  t.notOk(inside.closed());
  t.equal(table.open, 1);
  t.equal(held.length, 0);
  t.equal(count('dropped', 'not_allowed'), 1);
});

await t.test('a client that closes its side still gets its answers', async t => {
  const { open, held } = await listening(t, {});
  const { socket, replies, closed } = await open();
  socket.end(query(1));
  await sleep(50);
  t.notOk(closed());
  held[0]?.respond(Buffer.from('late'));
  await sleep(50);
  t.same(replies, [Buffer.from('late')]);
  t.ok(closed());
});

await t.test('a client that asks and never reads is cut, and memory stays bounded', async t => {
  const { open, count } = await listening(t, { idleMs: 300, unreadBytes: 100_000 });
  const { socket } = await open();
  socket.pause();
  const flood = Buffer.concat(Array.from({ length: 500 }, () => wants(60_000)));
  socket.write(flood);
  await sleep(1500);
  t.equal(count('dropped', 'slow_client'), 1);
});

await t.test('answers that come at once count, too: nothing more is handled while they are not read', async t => {
  const { open, handled } = await listening(t, {});
  const { socket, replies } = await open();
  socket.pause();
  socket.write(Buffer.concat(Array.from({ length: 2000 }, () => wants(60_000))));
  await until(() => handled() > 0, 'the first reply');
  let before = 0;
  // Until the buffers of the kernel are full.
  while (handled() > before) {
    before = handled();
    await sleep(200);
  }
  t.ok(before < 400, `${before} of 2,000 were handled`);
  socket.resume();
  await until(() => replies.length === 2000, 'the rest');
  t.equal(handled(), 2000);
});

await t.test('the sessions of one client together are owed no more than their bound', async t => {
  const { open, held, count } = await listening(t, { inflightPerSession: 1000 });
  const sessions = await Promise.all(Array.from({ length: 5 }, async () => open()));
  for (const { socket } of sessions) {
    socket.pause();
    socket.write(Buffer.concat(Array.from({ length: 200 }, (_, i) => query(i))));
  }
  await until(() => held.length === 1000, 'all queries');
  for (const each of held) each.respond(Buffer.alloc(60_000));
  t.equal(count('dropped', 'slow_client'), 5, '60 MB were owed');
});

await t.test('few queries are handled in one turn, so that others have theirs', async t => {
  const { open, handled } = await listening(t, {});
  const { socket, replies } = await open();
  socket.write(Buffer.concat(Array.from({ length: 2000 }, () => wants(10))));
  const turns: number[] = [];
  for (let before = 0; replies.length < 2000; before = handled()) {
    turns.push(handled() - before);
    await new Promise(resolve => setImmediate(resolve));
  }
  t.ok(Math.max(...turns) <= 2 * 256, turns.join(' '));
});

await t.test('replies that are ready together leave in one piece', async t => {
  const { open } = await listening(t, {});
  const { socket, replies } = await open();
  let chunks = 0;
  socket.on('data', () => chunks++);
  socket.write(Buffer.concat(Array.from({ length: 40 }, () => wants(100))));
  await sleep(100);
  t.equal(replies.length, 40);
  t.equal(chunks, 1);
});

await t.test('closing: no new sessions, idle ones end, those that wait are answered first', async t => {
  const { open, held, listener } = await listening(t, {});
  const idle = await open();
  const waiting = await open();
  waiting.socket.write(query(1));
  await sleep(50);
  listener.close();
  listener.close();
  await sleep(50);
  t.ok(idle.closed());
  t.notOk(waiting.closed());
  held[0]?.respond(Buffer.from('answer'));
  await sleep(50);
  t.same(waiting.replies, [Buffer.from('answer')]);
  t.ok(waiting.closed());
});

await t.test('addresses come and go while sessions last', async t => {
  const { open, held, listener, port, table } = await listening(t, {});
  const [old, other] = [await open(), await freePort('127.0.0.2')];
  old.socket.write(query(1));
  await sleep(50);
  await listener.set([{ address: '127.0.0.2', port: other }]);
  t.same(listener.bound, [{ address: '127.0.0.2', port: other }]);
  await t.rejects(connected(port, '127.0.0.1'), { code: 'ECONNREFUSED' });
  (await connected(other, '127.0.0.2')).destroy();
  held[0]?.respond(Buffer.from('answer'));
  old.socket.write(query(2));
  await sleep(50);
  held[1]?.respond(Buffer.from('and another'));
  await sleep(50);
  t.same(old.replies, [Buffer.from('answer'), Buffer.from('and another')]);
  await listener.set([]);
  await t.rejects(connected(other, '127.0.0.2'), { code: 'ECONNREFUSED' });
  t.equal(table.open, 1);
});

await t.test(
  'an address that cannot be bound changes nothing; a wildcard takes the place of its addresses',
  async t => {
    const { listener } = await listening(t, {});
    const port = await freePort();
    const at = (address: string) => ({ address, port });
    await listener.set([at('127.0.0.1')]);
    const other = createServer();
    await new Promise<void>(resolve => void other.listen(port, '127.0.0.9', resolve));
    await t.rejects(listener.set([at('127.0.0.2'), at('127.0.0.9')]), { code: 'EADDRINUSE' });
    await t.rejects(listener.set([at('0.0.0.0')]), { code: 'EADDRINUSE' });
    t.same(listener.bound, [at('127.0.0.1')]);
    (await connected(port, '127.0.0.1')).destroy();
    await t.rejects(connected(port, '127.0.0.2'));
    await new Promise(resolve => other.close(resolve));
    await listener.set([at('0.0.0.0')]);
    (await connected(port, '127.0.0.2')).destroy();
    await listener.set([at('127.0.0.2'), at('127.0.0.3')]);
    (await connected(port, '127.0.0.3')).destroy();
    await t.rejects(connected(port, '127.0.0.1'));
  },
);

for (const [path, { skip, listener: by }] of Object.entries(TLS_PATHS)) {
  await t.test(`${path}: a certificate is exchanged without touching a session`, { skip }, async t => {
    const held = heldFront();
    const { observer } = recorder();
    const table = new SessionTable({ observer, clock: systemClock, max: 1000 });
    const ca = authority();
    const named = (name: string) => certificate({ common: name, names: [name], issuer: ca });
    const listener = by(
      t,
      { ...{ front: held.front, observer, table, clock: systemClock }, mayAsk: () => true, ...room() },
      named('one.example'),
    );
    await listener.set([{ address: '127.0.0.1', port: 0 }]);
    t.teardown(() => listener.destroy());
    const port = listener.bound[0]?.port ?? 0;
    const secured = async (): Promise<TLSSocket> => {
      const socket = tlsConnect({ port, host: '127.0.0.1', ca: ca.cert, checkServerIdentity: () => undefined });
      await new Promise<void>((resolve, reject) => socket.once('secureConnect', () => resolve()).once('error', reject));
      t.teardown(() => socket.destroy());
      return socket;
    };
    const nameOf = (socket: TLSSocket): unknown => socket.getPeerCertificate().subject.CN;
    const before = await secured();
    t.equal(nameOf(before), 'one.example');
    listener.setCredentials(named('two.example'));
    t.throws(() => listener.setCredentials({ cert: named('x').cert, key: named('y').key }), 'a key of another');
    const after = await secured();
    t.equal(nameOf(after), 'two.example');
    t.equal(table.open, 2);
    const replies: Buffer[] = [];
    before.on('data', (chunk: Buffer) => replies.push(chunk));
    before.write(wants(5));
    await sleep(50);
    t.same(Buffer.concat(replies), framed(Buffer.alloc(5)));
    await listener.set([]);
    t.same(listener.bound, []);
    t.notOk(before.destroyed);
  });

  await t.test(
    `${path}: handshakes that are not finished count as sessions, and have their time, too`,
    { skip },
    async t => {
      const { observer, count } = recorder();
      const held = heldFront();
      const table = new SessionTable({ observer, clock: systemClock, max: 5, maxPerClient: 5, idleMs: 600 });
      const tls = by(
        t,
        { ...{ front: held.front, observer, table, clock: systemClock }, mayAsk: () => true, ...room() },
        certificate({ common: 'a', names: ['a'], issuer: authority() }),
      );
      await tls.set([{ address: '127.0.0.1', port: 0 }]);
      const sockets: Socket[] = [];
      t.teardown(() => {
        tls.destroy();
        for (const each of sockets) each.destroy();
      });
      const port = tls.bound[0]?.port ?? 0;
      for (let i = 0; i < 7; i++) sockets.push(await connected(port, '127.0.0.1'));
      await sleep(50);
      t.equal(table.open, 5);
      t.equal(count('dropped', 'displaced'), 2);
      const secured = tlsConnect({ port, host: '127.0.0.1', rejectUnauthorized: false });
      t.teardown(() => secured.destroy());
      secured.on('error', () => undefined);
      const replies: Buffer[] = [];
      secured.on('data', (chunk: Buffer) => replies.push(chunk));
      secured.write(wants(5));
      await until(() => replies.length > 0, 'a newcomer is served');
      await until(() => table.open === 0, 'all are closed');
    },
  );

  await t.test(`${path}: a client of TLS 1.2 that renegotiates gets no second handshake`, { skip }, async t => {
    const { observer } = recorder();
    const table = new SessionTable({ observer, clock: systemClock, max: 5 });
    const tls = by(
      t,
      { ...{ front: heldFront().front, observer, table, clock: systemClock }, mayAsk: () => true, ...room() },
      certificate({ common: 'a', names: ['a'], issuer: authority() }),
    );
    await tls.set([{ address: '127.0.0.1', port: 0 }]);
    t.teardown(() => tls.destroy());
    const port = tls.bound[0]?.port ?? 0;
    const socket = tlsConnect({ port, host: '127.0.0.1', rejectUnauthorized: false, maxVersion: 'TLSv1.2' });
    t.teardown(() => socket.destroy());
    await new Promise(resolve => socket.once('secureConnect', resolve));
    const renegotiated = await new Promise<string>(resolve => {
      socket.on('error', (error: Error) => resolve(error.message));
      socket.renegotiate({ rejectUnauthorized: false }, (error: Error | null) => resolve(error?.message ?? 'done'));
    });
    t.match(renegotiated, /no renegotiation/i);
  });
}
