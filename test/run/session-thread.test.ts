// The session thread, as it was built, in front of a front that the test answers for.

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { get } from 'node:https';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { setTimeout as sleep } from 'node:timers/promises';

import t, { type Test } from 'tap';

import type { FrontCounts } from '../../src/base/front-counts.js';
import { ageSec } from '../../src/base/time.js';
import { PacketCache, packetCacheMemory } from '../../src/fastpath/packet-cache.js';
import { PacketReplies } from '../../src/fastpath/ready-replies.js';
import type { Entrance, Respond } from '../../src/front/front.js';
import { Turns } from '../../src/listen/turns.js';
import { systemClock } from '../../src/os/clock.js';
import { loadLibc } from '../../src/os/libc.js';
import type { Client } from '../../src/pipeline/query.js';
import { RateLimit } from '../../src/policy/rate-limit.js';
import { ServerCookies } from '../../src/policy/server-cookies.js';
import { SharedNetworks } from '../../src/policy/shared-networks.js';
import { SessionThread } from '../../src/run/session-thread.js';
import type { ThreadTransport } from '../../src/run/session-messages.js';
import { OPTION } from '../../src/wire/edns.js';
import { frameReader, framed } from '../../src/wire/frame.js';
import { messageToText } from '../../src/wire/message.js';
import { certificate } from '../fixtures/certificates.js';
import { queryMessage } from '../fixtures/client.js';
import { freePort } from '../fixtures/free-port.js';
import { responseTo } from '../fixtures/messages.js';
import { recordedLog } from '../fixtures/recorder.js';
import { until } from '../fixtures/until.js';
import { Gate } from '../listen/gate.js';

const libc = loadLibc();
const skip = 'unavailable' in libc ? libc.unavailable : false;
const SCRIPT = new URL('../../dist/session-worker.js', import.meta.url);
const LARGE = Buffer.alloc(60_000, 7);

interface Asked {
  readonly message: Buffer;
  readonly client: Client;
  readonly respond: Respond;
  readonly missed: boolean | undefined;
}

/** A thread with one listener. */
async function serving(t: Test, transport: ThreadTransport, handle?: (asked: Asked) => boolean) {
  if ('unavailable' in libc) throw new Error(libc.unavailable);
  const asked: Asked[] = [];
  const front: Entrance = {
    handle(lent, client, respond, missed) {
      const each = { message: Buffer.from(lent), client, respond, missed };
      asked.push(each);
      return handle?.(each) ?? true;
    },
  };
  const packets = packetCacheMemory(1 << 16);
  const networks = new SharedNetworks(SharedNetworks.memory([{ address: '127.0.0.1', prefix: 32 }]));
  const limits = new RateLimit(RateLimit.memory(Buffer.alloc(16)));
  const thread = new SessionThread(transport, SCRIPT);
  t.teardown(async () => thread.close());
  const opened = await thread.open(
    { log: recordedLog(), libc, front, turns: new Turns() },
    {
      packets,
      admission: { networks: networks.memory, limits: limits.memory, cookies: ServerCookies.memory(Buffer.alloc(16)) },
      table: { max: 10, maxPerClient: 5 },
      rules: { path: '/dns-query', proxies: [] },
      age: ageSec(1000),
      at: systemClock.wallMs(),
    },
  );
  t.equal(opened, true);
  const identity = certificate({ common: 'one.test', names: ['one.test'] });
  const listener = await thread.listener(identity);
  const port = await freePort();
  await listener.set([{ address: '127.0.0.1', port }]);
  const open = async (): Promise<{ socket: TLSSocket; replies: Buffer[] }> => {
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ALPNProtocols: ['dot'] });
    t.teardown(() => socket.destroy());
    const replies: Buffer[] = [];
    const frames = frameReader();
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => frames.push(chunk, reply => replies.push(Buffer.from(reply))));
    await once(socket, 'secureConnect');
    return { socket, replies };
  };
  const ready = new PacketReplies(
    new PacketCache(packets),
    () => ageSec(1000),
    () => 0,
  );
  return { asked, thread, listener, limits, networks, ready, port, open };
}

const sum = (counts: readonly FrontCounts[], of: (each: FrontCounts) => number): number =>
  counts.reduce((all, each) => all + of(each), 0);

await t.test('a message is handed over with its client, and its reply comes back', { skip }, async t => {
  const { asked, thread, port, open } = await serving(t, 'tls');
  const { socket, replies } = await open();
  socket.write(framed(queryMessage('a.example', { id: 7 })));
  await until(() => asked.length === 1, 'the message');
  t.match(asked[0]?.client, { address: '127.0.0.1', port: socket.localPort, transport: 'tls', family: 4 });
  t.same(asked[0]?.client.at, { address: '127.0.0.1', port });
  t.equal(asked[0]?.missed, true, 'ruled on, and looked up, already');
  t.equal(thread.waiting, 1);
  t.equal(thread.sessions, 1);
  asked[0]?.respond(responseTo(asked[0].message, { answers: 'a.example. 300 A 192.0.2.1' }));
  await until(() => replies.length === 1, 'the reply');
  t.equal(replies[0]?.readUInt16BE(0), 7);
  t.equal(thread.waiting, 0);
  socket.destroy();
  await until(() => thread.sessions === 0, 'the end of the session');
});

await t.test(
  'what a ready reply answers is answered in the thread, and counted for its transport',
  { skip },
  async t => {
    const { asked, thread, ready, open } = await serving(t, 'tls');
    const keep = (name: string, canBePadded: boolean): Buffer => {
      const message = queryMessage(name, { id: 1, options: [] });
      ready.read(message, false, 0);
      const query = ready.query(message);
      const reply = responseTo(message, { answers: `${name}. 300 A 192.0.2.1` });
      const kept = { ttlOffsets: [], elapsedSec: 0, storedAt: ageSec(1000), ttlSec: 300, negative: false };
      ready.keep(query, 0, { ...kept, reply, canBePadded });
      return reply;
    };
    const reply = keep('known.example', true);
    keep('other.example', false);
    const { socket, replies } = await open();
    socket.write(framed(queryMessage('KNOWN.example', { id: 2, options: [] })));
    await until(() => replies.length === 1, 'the reply');
    t.equal(replies[0]?.readUInt16BE(0), 2);
    t.ok(replies[0]?.includes('KNOWN'), 'in the letters of the client');
    const options = [{ code: OPTION.PADDING, data: Buffer.alloc(9) }];
    socket.write(framed(queryMessage('known.example', { id: 1, options })));
    await until(() => replies.length === 2, 'the padded reply');
    const padded = messageToText(replies[1] ?? Buffer.alloc(0));
    t.equal(replies[1]?.length, 468);
    t.ok(replies[1]?.subarray(0, reply.length - 2).equals(reply.subarray(0, -2)), 'the same but for padding');
    t.equal(padded?.answers[0]?.data, '192.0.2.1');
    t.equal(asked.length, 0);
    const counts = thread.counted().filter(({ transport }) => transport === 'tls');
    t.same([counts[0]?.queries(4, 1), counts[0]?.hits('positive')], [2, 2]);
    socket.write(framed(queryMessage('other.example', { id: 3, options })));
    await until(() => asked.length === 1, 'one to which no padding can be added');
  },
);

await t.test('a client over its rate is ruled on where it is answered', { skip }, async t => {
  const { asked, limits, open } = await serving(t, 'tls');
  limits.set({ perSecond: 1, burst: 2 });
  const { socket } = await open();
  for (let id = 0; id < 4; id++) socket.write(framed(queryMessage('a.example', { id })));
  await until(() => asked.length >= 2, 'two');
  for (const { message, respond } of [...asked]) respond(responseTo(message));
  await until(() => asked.length === 4, 'the others');
  t.same(
    asked.map(({ missed }) => missed),
    [true, true, false, false],
  );
});

await t.test('who may not ask has no connection, whatever changes', { skip }, async t => {
  const { thread, networks, open } = await serving(t, 'tls');
  await open();
  networks.write({ allow: [], unlimited: [], proving: [], announcing: [], classes: [], atOurs: [] });
  const refused = open();
  refused.catch(() => undefined);
  await until(() => thread.counted().some(each => each.closes('not_allowed') === 1), 'the count');
});

await t.test('messages that must not be answered are counted, and others not waited for', { skip }, async t => {
  const { asked, thread, open } = await serving(t, 'tls');
  const { socket } = await open();
  const response = queryMessage('a.example', { id: 1 });
  response.writeUInt16BE(0x8000, 2);
  socket.write(
    Buffer.concat([framed(response), framed(Buffer.alloc(3)), framed(queryMessage('a.example', { id: 2 }))]),
  );
  await until(() => asked.length === 1, 'the query');
  const counts = thread.counted();
  t.equal(
    sum(counts, each => each.closes('response')),
    1,
  );
  t.equal(
    sum(counts, each => each.closes('short')),
    1,
  );
});

await t.test('few messages of a session are handed over before they are taken', { skip }, async t => {
  const held: Asked[] = [];
  const { asked, open } = await serving(t, 'tls', each => {
    held.push(each);
    each.respond(LARGE);
    return false;
  });
  const { socket, replies } = await open();
  socket.pause();
  socket.write(Buffer.concat(Array.from({ length: 1000 }, (_, id) => framed(queryMessage('a.example', { id })))));
  let before = -1;
  while (asked.length > before) {
    before = asked.length;
    await sleep(300);
  }
  t.ok(before < 400, `${before} of 1,000 were handed over while the client read nothing`);
  socket.resume();
  await until(() => replies.length === 1000, 'all replies');
  t.ok(
    replies.every(each => each.equals(LARGE)),
    'in one piece each',
  );
});

await t.test('replies to sessions that are gone go nowhere, and nothing waits for them', { skip }, async t => {
  const { asked, thread, listener, open } = await serving(t, 'tls');
  const { socket } = await open();
  socket.write(framed(queryMessage('a.example', { id: 7 })));
  await until(() => asked.length === 1, 'the message');
  listener.destroy();
  await until(() => thread.sessions === 0, 'the end of the session');
  t.equal(thread.waiting, 1);
  asked[0]?.respond(LARGE);
  await until(() => thread.waiting === 0, 'its reply');
});

await t.test('a session that is to end has its replies first', { skip }, async t => {
  const { asked, listener, open } = await serving(t, 'tls');
  const [idle, { socket, replies }] = [await open(), await open()];
  socket.write(framed(queryMessage('a.example', { id: 7 })));
  await until(() => asked.length === 1, 'the message');
  listener.close();
  await once(idle.socket, 'close');
  asked[0]?.respond(LARGE);
  await once(socket, 'close');
  t.equal(replies.length, 1);
});

await t.test('another certificate and other addresses cut no session', { skip }, async t => {
  const { asked, listener, port, open } = await serving(t, 'tls');
  const before = await open();
  listener.setCredentials(certificate({ common: 'two.test', names: ['two.test'] }));
  await listener.set([
    { address: '127.0.0.1', port },
    { address: '127.0.0.2', port },
  ]);
  t.equal(listener.bound.length, 2);
  const { socket } = await open();
  t.equal(socket.getPeerCertificate().subject.CN, 'two.test');
  listener.keep([{ address: '127.0.0.2', port }]);
  await listener.settled?.();
  t.same(
    listener.bound.map(({ address }) => address),
    ['127.0.0.2'],
  );
  before.socket.write(framed(queryMessage('a.example', { id: 7 })));
  await until(() => asked.length === 1, 'a message of the first session');
  asked[0]?.respond(LARGE);
  await until(() => before.replies.length === 1, 'its reply');
});

await t.test('a listener that is not in force is forgotten when another one is made', { skip }, async t => {
  const { thread, port, open } = await serving(t, 'tls');
  t.equal(thread.idleMs, undefined, 'how long its sessions may be idle is nothing to tell clients of');
  await open();
  const other = await thread.listener(certificate({ common: 'two.test', names: ['two.test'] }));
  await t.rejects(once(connectTcp({ port, host: '127.0.0.1' }), 'connect'), { code: 'ECONNREFUSED' });
  t.equal(thread.idleMs, undefined);
  const at = [{ address: '127.0.0.1', port }];
  await other.set(at);
  await open();
  other.keep(at);
  t.ok(thread.idleMs !== undefined && thread.idleMs > 0);
});

await t.test('an address that is taken is the error of the system, and the others stay', { skip }, async t => {
  const { listener, port } = await serving(t, 'tls');
  const taken = await serving(t, 'tls');
  await t.rejects(
    listener.set([
      { address: '127.0.0.2', port },
      { address: '127.0.0.1', port: taken.port },
    ]),
    { code: 'EADDRINUSE' },
  );
  t.same(
    listener.bound.map(at => at.port),
    [port],
  );
});

await t.test('over HTTPS a message without a reply has a response', { skip }, async t => {
  const { port } = await serving(t, 'https', ({ message, respond }) => {
    respond(responseTo(message, { answers: 'a.example. 300 A 192.0.2.1' }));
    return false;
  });
  const status = async (message: Buffer): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      const path = `/dns-query?dns=${message.toString('base64url')}`;
      get({ host: '127.0.0.1', port, path, rejectUnauthorized: false, agent: false }, response => {
        response.resume();
        resolve(response.statusCode);
      }).on('error', reject);
    });
  t.equal(await status(queryMessage('a.example')), 200);
  const response = queryMessage('a.example');
  response.writeUInt16BE(0x8000, 2);
  t.equal(await status(response), 400);
});

/** The first octets of a record, and a ClientHello of TLS 1.0 in it. */
const OLD_HELLO = Buffer.concat([
  Buffer.from([22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 1]),
  Buffer.alloc(32, 5),
  Buffer.from([0, 0, 2, 0xc0, 0x13, 1, 0]),
]);
const HOST = '127.0.0.1';

const clientOf = (t: Test, options: ConnectionOptions): TLSSocket => {
  const socket = connect({ host: HOST, rejectUnauthorized: false, ALPNProtocols: ['dot'], ...options });
  t.teardown(() => socket.destroy());
  return socket.on('error', () => undefined);
};

const raw = (t: Test, port: number): Socket => {
  const socket = connectTcp({ port, host: HOST });
  t.teardown(() => socket.destroy());
  return socket.on('error', () => undefined);
};

const isClosed = async (socket: Socket): Promise<unknown> => new Promise(resolve => socket.once('close', resolve));

/** What leaves errors behind in OpenSSL: each closes one connection, or is overcome. */
const FAILURES: Readonly<Record<string, (t: Test, port: number) => Promise<void>>> = {
  'a handshake of random octets': async (t, port) => {
    const socket = raw(t, port).resume();
    socket.write(Buffer.concat([Buffer.from([22, 3, 1, 0, 60, 1, 0, 0, 56]), randomBytes(56)]));
    await isClosed(socket);
  },
  'a version that is too old': async (t, port) => {
    const socket = raw(t, port).resume();
    socket.write(OLD_HELLO);
    await isClosed(socket);
  },
  'a record of random octets': async (t, port) => {
    const over = raw(t, port);
    const socket = clientOf(t, { socket: over });
    await once(socket, 'secureConnect');
    over.write(Buffer.concat([Buffer.from([23, 3, 3, 0, 40]), randomBytes(40)]));
    await isClosed(socket);
  },
  'a certificate that the client refuses': async (t, port) => {
    await isClosed(clientOf(t, { port, rejectUnauthorized: true }));
  },
  'no common protocol': async (t, port) => {
    await isClosed(clientOf(t, { port, ALPNProtocols: ['h2'] }));
  },
  'a ticket of another server': async (t, port) => {
    const { port: elsewhere } = await serving(t, 'tls');
    const [session] = (await once(clientOf(t, { port: elsewhere, maxVersion: 'TLSv1.2' }), 'session')) as [Buffer];
    const socket = clientOf(t, { port, maxVersion: 'TLSv1.2', session });
    await once(socket, 'secureConnect');
    t.equal(socket.isSessionReused(), false);
    socket.destroy();
  },
};

// In a thread of its own: Node.js, as the client, empties the queue of errors of this one.
for (const [failure, cause] of Object.entries(FAILURES))
  await t.test(`${failure} is not taken for an error of another connection`, { skip }, async t => {
    const { port, thread, asked } = await serving(t, 'tls');
    const gate = new Gate(raw(t, port));
    const socket = clientOf(t, { socket: gate });
    await once(socket, 'secureConnect');
    await until(() => thread.sessions === 1, 'its session');
    gate.hold();
    await new Promise(resolve => socket.write(framed(queryMessage('a.example', { id: 7 })), resolve));
    await cause(t, port);
    await until(() => thread.sessions === 1, 'the end of the other');
    // OpenSSL must say that it waits for the rest; an error that is left behind would come first.
    const rest = gate.release(5);
    await sleep(20);
    rest();
    await until(() => asked.length === 1, 'the message');
    t.equal(thread.sessions, 1);
  });
