// The rules of HTTP/2 (RFC 9113) that a client may break, or that a response must keep.

import { once } from 'node:events';
import type { IncomingHttpHeaders } from 'node:http2';

import t, { type Test } from 'tap';

import type { Connection } from '../../src/listen/connection.js';
import { Http2Session, Http2Shared } from '../../src/listen/http2-session.js';
import { Memory } from '../../src/listen/memory.js';
import { SessionTable } from '../../src/listen/sessions.js';
import { SESSION_LIMITS } from '../../src/listen/stream.js';
import { Turns } from '../../src/listen/turns.js';
import { systemClock } from '../../src/os/clock.js';
import { queryMessage } from '../fixtures/client.js';
import { recorder } from '../fixtures/recorder.js';
import { until } from '../fixtures/until.js';
import {
  HOLD,
  http2Client,
  LARGE_ANSWER,
  LENT_ANSWER,
  type Listening,
  message,
  onBothPaths,
  POST,
  request,
} from './http-clients.js';
import {
  asking,
  CONTINUATION,
  END_HEADERS,
  END_STREAM,
  field,
  frame,
  framesIn,
  framesOf,
  GOAWAY,
  HEADERS,
  headers,
  PING,
  PREFACE,
  raw,
  RST_STREAM,
  SETTINGS,
  u32,
  WINDOW_UPDATE,
} from './raw-http2.js';

const QUERY = queryMessage('www.example');
const [DATA, PRIORITY, PUSH_PROMISE, PADDED] = [0, 2, 5, 8];
const ACK = 1;
const NOTHING = Buffer.alloc(0);

const post = (...more: readonly Buffer[]): Buffer =>
  Buffer.concat([
    field(':method', 'POST'),
    field(':scheme', 'https'),
    field(':path', '/dns-query'),
    field('content-type', 'application/dns-message'),
    ...more,
  ]);
const opened = (stream: number, fields: Buffer, flags = END_HEADERS): Buffer => frame(HEADERS, flags, stream, fields);
const setting = (id: number, value: number): Buffer => Buffer.concat([Buffer.from([0, id]), u32(value)]);

await onBothPaths(t, 'an error of the connection ends it, and says why', async (t, listening) => {
  const { port } = await listening();
  for (const [title, octets, code] of [
    ['a stream of ours', headers(2, QUERY), 1],
    ['DATA of no stream', frame(DATA, 0, 0, NOTHING), 1],
    ['DATA of a stream that is not open', frame(DATA, 0, 1, NOTHING), 1],
    ['more padding than octets', Buffer.concat([opened(1, post()), frame(DATA, PADDED, 1, Buffer.from([2, 0]))]), 1],
    ['a reset of a stream that is not open', frame(RST_STREAM, 0, 1, u32(8)), 1],
    ['a short reset', frame(RST_STREAM, 0, 1, NOTHING), 6],
    ['a short priority', frame(PRIORITY, 0, 1, NOTHING), 6],
    ['a push', frame(PUSH_PROMISE, END_HEADERS, 1, u32(2)), 1],
    ['a short PING', frame(PING, 0, 0, u32(0)), 6],
    ['PING of a stream', frame(PING, 0, 1, Buffer.alloc(8)), 1],
    ['half a setting', frame(SETTINGS, 0, 0, u32(0)), 6],
    ['settings of a stream', frame(SETTINGS, 0, 1, NOTHING), 1],
    ['a window that is too large', frame(SETTINGS, 0, 0, setting(4, 0x8000_0000)), 3],
    ['frames that are too small', frame(SETTINGS, 0, 0, setting(5, 100)), 1],
    ['a push to clients', frame(SETTINGS, 0, 0, setting(2, 2)), 1],
    ['a window of 0 more', frame(WINDOW_UPDATE, 0, 0, u32(0)), 1],
    ['a window of a stream of ours', Buffer.concat([headers(3, QUERY), frame(WINDOW_UPDATE, 0, 2, u32(1))]), 1],
    ['a window above all', frame(WINDOW_UPDATE, 0, 0, u32(0x7fff_ffff)), 3],
    ['GOAWAY of a stream', frame(GOAWAY, 0, 1, Buffer.alloc(8)), 1],
    ['CONTINUATION of nothing', frame(CONTINUATION, END_HEADERS, 1, NOTHING), 1],
    [
      'a frame within header fields',
      Buffer.concat([opened(1, asking(QUERY), 0), frame(PING, 0, 0, Buffer.alloc(8))]),
      1,
    ],
    ['fields that are malformed', opened(1, Buffer.from([0x80])), 9],
    [
      'header fields without end',
      Buffer.concat([opened(1, NOTHING, 0), ...Array.from({ length: 5 }, () => frame(9, 0, 1, Buffer.alloc(16_000)))]),
      11,
    ],
  ] as const) {
    const socket = await raw(t, port);
    const frames = framesOf(socket);
    socket.write(octets);
    await until(() => frames.some(({ type }) => type === GOAWAY), `${title}: GOAWAY`);
    t.equal(frames.find(({ type }) => type === GOAWAY)?.payload.readUInt32BE(4), code, title);
    await until(() => socket.destroyed, 'the end of the connection');
  }
});

await onBothPaths(t, 'a malformed request is reset, and the next one is answered', async (t, listening) => {
  const { port, clients } = await listening();
  const socket = await raw(t, port);
  const frames = framesOf(socket);
  const get = asking(QUERY);
  const all: readonly (readonly [title: string, octets: (stream: number) => Buffer, code: number])[] = [
    ['capital letters', n => opened(n, Buffer.concat([get, field('Accept', 'a')]), 5), 1],
    ['a field of the connection', n => opened(n, Buffer.concat([get, field('connection', 'close')]), 5), 1],
    ['the method twice', n => opened(n, Buffer.concat([field(':method', 'GET'), get]), 5), 1],
    ['the path behind others', n => opened(n, Buffer.concat([field('accept', 'a'), get]), 5), 1],
    ['no path', n => opened(n, Buffer.concat([field(':method', 'GET'), field(':scheme', 'https')]), 5), 1],
    ['two lengths', n => opened(n, post(field('content-length', '1'), field('content-length', '2')), 5), 1],
    [
      'another length than it says',
      n => Buffer.concat([opened(n, post(field('content-length', '5'))), frame(DATA, END_STREAM, n, Buffer.alloc(4))]),
      1,
    ],
    ['the end of a line in a value', n => opened(n, Buffer.concat([get, field('x-a', 'a\r\nb')]), 5), 1],
    ['NUL in a path', n => opened(n, Buffer.concat([field(':method', 'GET'), field(':path', '/\0')]), 5), 1],
    ['spaces around a value', n => opened(n, Buffer.concat([get, field('x-a', ' a')]), 5), 1],
    ['a length without a body', n => opened(n, Buffer.concat([get, field('content-length', '5')]), 5), 1],
    ['a path in trailers', n => Buffer.concat([opened(n, post()), opened(n, field(':path', '/'), 5)]), 1],
    ['trailers that do not end it', n => Buffer.concat([opened(n, post()), opened(n, NOTHING)]), 1],
    ['a window of 0 more', n => Buffer.concat([opened(n, post()), frame(WINDOW_UPDATE, 0, n, u32(0))]), 1],
    [
      'a body behind its end',
      n => Buffer.concat([headers(n, message(HOLD)), frame(DATA, END_STREAM, n, Buffer.alloc(4))]),
      5,
    ],
  ];
  let stream = 1;
  for (const [title, octets, code] of all) {
    const [n, next] = [stream, stream + 2];
    stream += 4;
    socket.write(Buffer.concat([octets(n), headers(next, QUERY)]));
    await until(() => frames.some(each => each.type === DATA && each.stream === next), `${title}: an answer`);
    const reset = frames.find(each => each.type === RST_STREAM && each.stream === n);
    t.equal(reset?.payload.readUInt32BE(0), code, title);
  }
  t.equal(clients.length, all.length + 1, 'none of them reached the front but the last, which was complete at first');
});

await onBothPaths(t, 'a body comes in padded pieces, with trailers and unknown frames', async (t, listening) => {
  const { port } = await listening();
  const socket = await raw(t, port);
  const frames = framesOf(socket);
  const padded = (octets: Buffer): Buffer => Buffer.concat([Buffer.from([3]), octets, Buffer.alloc(3)]);
  const priority = Buffer.concat([Buffer.from([2]), u32(0), Buffer.from([9]), post(), Buffer.alloc(2)]);
  socket.write(
    Buffer.concat([
      frame(HEADERS, END_HEADERS | 0x20 | PADDED, 1, priority),
      frame(DATA, PADDED, 1, padded(QUERY.subarray(0, 10))),
      frame(99, 0, 1, Buffer.alloc(3)),
      frame(DATA, 0, 1, QUERY.subarray(10)),
      opened(1, field('x-checksum', '1'), END_HEADERS | END_STREAM),
    ]),
  );
  await until(() => frames.some(({ type }) => type === DATA), 'an answer');
  t.match(frames.find(({ type }) => type === HEADERS)?.payload[0], 0x88);
  t.ok(frames.some(({ type, stream, payload }) => type === WINDOW_UPDATE && stream === 1 && payload.equals(u32(4))));
});

await onBothPaths(
  t,
  'a response that has to wait is its own, whatever its memory is used for',
  async (t, listening) => {
    const { port } = await listening();
    const socket = await raw(t, port, setting(4, 0));
    const frames = framesOf(socket);
    const asked = [1, 3, 5].map(stream => {
      const octets = Buffer.from(LENT_ANSWER);
      octets[1] = stream;
      return { stream, octets };
    });
    socket.write(Buffer.concat(asked.map(({ stream, octets }) => headers(stream, octets))));
    await until(() => frames.filter(({ type }) => type === HEADERS).length === 3, 'header fields');
    for (const { stream, octets } of asked) {
      socket.write(frame(WINDOW_UPDATE, 0, stream, u32(1000)));
      const isBody = (each: { type: number; stream: number }): boolean => each.type === DATA && each.stream === stream;
      await until(() => frames.some(isBody), 'the body');
      t.same(frames.find(isBody)?.payload, octets);
    }
  },
);

await onBothPaths(t, 'a response leaves as far as the windows allow', async (t, listening) => {
  const { port } = await listening();
  const socket = await raw(t, port, setting(4, 1000));
  const frames = framesOf(socket);
  const sent = (): number => frames.reduce((sum, { type, payload }) => sum + (type === DATA ? payload.length : 0), 0);
  socket.write(headers(1, LARGE_ANSWER));
  await until(() => sent() === 1000, 'the window of the stream');
  socket.write(frame(WINDOW_UPDATE, 0, 1, u32(500)));
  await until(() => sent() === 1500, 'a larger one');
  socket.write(frame(SETTINGS, 0, 0, setting(4, 2000)));
  await until(() => sent() === 2500, 'that of all streams');
  socket.write(Buffer.concat([frame(WINDOW_UPDATE, 0, 1, u32(100_000)), headers(3, LARGE_ANSWER)]));
  await until(
    () => frames.some(({ type, flags, stream }) => type === DATA && stream === 1 && flags === END_STREAM),
    'all',
  );
  t.ok(frames.every(({ payload }) => payload.length <= 16_384));
  socket.write(frame(WINDOW_UPDATE, 0, 3, u32(100_000)));
  await until(() => sent() === 65_535, 'the window of the connection');
});

await onBothPaths(t, 'a client may send as much on a stream as we let it, and no more', async (t, listening) => {
  const { port } = await listening();
  const socket = await raw(t, port);
  const frames = framesOf(socket);
  const data = (stream: number, bytes: number): Buffer => frame(DATA, 0, stream, Buffer.alloc(bytes));
  // The window of the stream: 65,536 octets.
  socket.write(Buffer.concat([opened(1, post()), ...[1, 2, 3].map(() => data(1, 16_384))]));
  await until(() => frames.some(({ type, stream }) => type === WINDOW_UPDATE && stream === 0), 'a new window');
  socket.write(Buffer.concat([data(1, 16_000), data(1, 16_000)]));
  await until(() => frames.some(({ type }) => type === RST_STREAM), 'the end of the stream');
  const reset = frames.find(({ type }) => type === RST_STREAM);
  t.same([reset?.stream, reset?.payload.readUInt32BE(0)], [1, 3]);
});

/** A session over a connection whose kernel takes nothing, or all, and whose turns come when it is told. */
function conversation(answers = false) {
  const { observer } = recorder();
  const clock = { ...systemClock, after: () => () => undefined };
  const due: (() => void)[] = [];
  const on: { data?: (octets: Buffer) => void } = {};
  const state = { writableLength: 0, takes: true, hasEnded: false };
  const sent: Buffer[] = [];
  const asked: Buffer[] = [];
  const connection: Connection = {
    destroyed: false,
    get writableLength() {
      return state.writableLength;
    },
    on: (event: string, then: ((octets: Buffer) => void) | (() => void)) => event === 'data' && (on.data = then),
    once: () => undefined,
    isPaused: () => false,
    pause: () => undefined,
    resume: () => undefined,
    write: octets => {
      if (!state.takes) state.writableLength += octets.length;
      sent.push(Buffer.from(octets));
    },
    end: () => (state.hasEnded = true),
    destroy: () => (state.hasEnded = true),
  };
  const occupant = { owedBytes: 0, close: () => undefined };
  const table = new SessionTable({ max: 3, maxPerClient: 3, observer, clock });
  const place = table.admit('192.0.2.1', occupant);
  if (place === undefined) throw new Error('there is no place');
  const peer = { address: '192.0.2.1', port: 1, at: { address: '192.0.2.2', port: 443 }, overTls: true };
  const turns = new Turns({ soon: then => due.push(then) });
  const parts = {
    ...{ observer, clock, memory: new Memory(), limits: SESSION_LIMITS, path: () => '/dns-query' },
    ...{ isProxy: () => false, isShared: () => true, turns },
    front: {
      handle(query: Buffer, _client: unknown, respond: (reply: Buffer) => void) {
        asked.push(Buffer.from(query));
        if (answers) respond(Buffer.from(query));
        return false;
      },
    },
  };
  const session = new Http2Session(connection, peer, place, parts, new Http2Shared());
  return {
    ...{
      session,
      turns,
      asked,
      table,
      place,
      state,
      give: (octets: Buffer) => on.data?.(octets),
      sent: () => framesIn(Buffer.concat(sent)),
    },
    turn: () => due.splice(0).forEach(each => each()),
  };
}

for (const takes of [true, false])
  void t.test(`a client that ${takes ? 'reads' : 'does not read'} gets ${takes ? 'new windows' : 'none'}`, async t => {
    const { state, give, sent, turn } = conversation();
    const piece = frame(DATA, 0, 1, Buffer.alloc(16_384));
    give(Buffer.concat([PREFACE, frame(SETTINGS, 0, 0, NOTHING), opened(1, post())]));
    turn();
    state.takes = takes;
    give(frame(PING, 0, 0, Buffer.alloc(8)));
    // On a stream that is closed they count, too.
    for (let i = 0; i < 12; i++) {
      turn();
      give(piece);
    }
    turn();
    const windows = sent().filter(({ type, stream }) => type === WINDOW_UPDATE && stream === 0);
    t.equal(windows.length, takes ? 6 : 0);
    t.equal(state.hasEnded, !takes, 'beyond the window of 65,535 octets');
  });

const BEGIN = Buffer.concat([PREFACE, frame(SETTINGS, 0, 0, NOTHING)]);

void t.test('a query that waits for its turn keeps its connection open, and what is no query does not', t => {
  for (const [what, waits] of [
    [QUERY, true],
    [Buffer.alloc(5), false],
    [Buffer.alloc(100, 0xff), false],
  ] as const) {
    const { table, place, give, asked, turn, turns } = conversation();
    const others = ['192.0.2.3', '192.0.2.4'].map(from => table.admit(from, { owedBytes: 0, close: () => undefined }));
    // Others have worked in this turn.
    turns.spend(1000);
    give(Buffer.concat([BEGIN, headers(1, what)]));
    t.same(asked, [], 'it has not had its turn');
    // Nobody else has a place to spare: the idlest makes room.
    table.admit('192.0.2.5', { owedBytes: 0, close: () => undefined });
    t.equal(place.left, !waits);
    t.equal(others[0]?.left, waits);
    turn();
  }
  t.end();
});

void t.test('a connection that has failed works on nothing more', t => {
  const { give, asked, state, turn, turns } = conversation();
  turns.spend(1000);
  // WINDOW_UPDATE with nothing in it.
  give(Buffer.concat([BEGIN, headers(1, QUERY), headers(3, QUERY), frame(WINDOW_UPDATE, 0, 0, u32(0))]));
  turn();
  t.same(asked, []);
  t.ok(state.hasEnded);
  t.end();
});

void t.test('one that takes no more requests ends with its last response, also if that leaves within a read', t => {
  const { session, give, turn, state, sent } = conversation(true);
  give(Buffer.concat([BEGIN, opened(1, post()), frame(DATA, 0, 1, QUERY.subarray(0, 5))]));
  turn();
  session.finish();
  turn();
  const ping = sent().find(({ type }) => type === PING);
  give(frame(PING, ACK, 0, ping?.payload ?? NOTHING));
  turn();
  t.notOk(state.hasEnded, 'a body is not complete');
  give(frame(DATA, END_STREAM, 1, QUERY.subarray(5)));
  turn();
  t.ok(sent().some(({ type, stream }) => type === DATA && stream === 1));
  t.ok(state.hasEnded);
  t.end();
});

for (const perRead of [1, 4, 20])
  void t.test(`requests that are cancelled in the same read earn nothing: ${perRead} at once`, t => {
    const { give, turn, state } = conversation(true);
    give(BEGIN);
    turn();
    let requests = 0;
    for (; requests < 1000 && !state.hasEnded; requests += perRead) {
      const streams = Array.from({ length: perRead }, (_, i) => 2 * (requests + i) + 1);
      give(Buffer.concat(streams.flatMap(each => [headers(each, QUERY), frame(RST_STREAM, 0, each, u32(8))])));
      turn();
    }
    t.ok(state.hasEnded, 'the connection is ended');
    // Some more are earned by the time that the test takes.
    t.ok(requests >= 95 && requests < 200, `after ${requests} requests`);
    t.end();
  });

/** A connection with a query that waits, which was told that the listener closes. */
async function leaving(t: Test, listening: Listening) {
  const listened = await listening();
  const socket = await raw(t, listened.port);
  const frames = framesOf(socket);
  socket.write(headers(1, message(HOLD)));
  await until(() => listened.held.length === 1, 'a query that waits');
  listened.listener.close();
  await until(() => frames.some(({ type }) => type === PING), 'GOAWAY and PING');
  return { ...listened, socket, frames };
}

await onBothPaths(
  t,
  'after GOAWAY, streams that were under way are answered, and later ones ignored',
  async (t, listening) => {
    const { held, clients, socket, frames } = await leaving(t, listening);
    const goaways = (): readonly Buffer[] => frames.filter(({ type }) => type === GOAWAY).map(({ payload }) => payload);
    t.same(goaways(), [Buffer.concat([u32(0x7fff_ffff), u32(0)])]);
    // This one was under way.
    const [ping] = frames.filter(({ type }) => type === PING);
    socket.write(Buffer.concat([headers(3, QUERY), frame(PING, ACK, 0, ping?.payload ?? NOTHING)]));
    await until(() => frames.some(({ type, stream }) => type === DATA && stream === 3), 'its answer');
    await until(() => goaways().length === 2, 'the last one that counts');
    t.same(goaways()[1], Buffer.concat([u32(3), u32(0)]));
    socket.write(
      Buffer.concat([opened(5, post()), frame(DATA, END_STREAM, 5, QUERY), frame(PING, 0, 0, Buffer.alloc(8))]),
    );
    await until(() => frames.filter(({ type }) => type === PING).length === 2, 'the answer to PING');
    held[0]?.();
    await until(() => frames.some(({ type, stream }) => type === DATA && stream === 1), 'the answer');
    t.equal(clients.length, 2);
  },
);

await onBothPaths(t, 'one that never answers our PING is told the end, too', async (t, listening) => {
  const { held, later, socket, frames } = await leaving(t, listening);
  later.ms += 60_000;
  socket.write(headers(3, QUERY));
  await until(() => frames.filter(({ type }) => type === GOAWAY).length === 2, 'the last one that counts');
  held[0]?.();
  await until(() => socket.destroyed, 'the end of the connection');
  t.notOk(frames.some(({ type, stream }) => type === DATA && stream === 3));
});

await onBothPaths(t, 'a client may have a smaller table for header fields, or none', async (t, listening) => {
  const { port } = await listening();
  for (const headerTableSize of [0, 1024, 4096]) {
    const client = await http2Client(t, port, false, undefined, { headerTableSize });
    t.equal((await request(client, POST, QUERY)).status, 200, `${headerTableSize}`);
    const settled = new Promise(resolve => client.once('localSettings', resolve));
    client.settings({ headerTableSize: 512 });
    await settled;
    t.equal((await request(client, POST, QUERY)).status, 200, `512 after ${headerTableSize}`);
    t.equal((await request(client, POST, QUERY)).status, 200);
    client.destroy();
  }
});

await onBothPaths(t, 'a client that waits to be told sends its body then', async (t, listening) => {
  const { port } = await listening();
  const client = await http2Client(t, port, false, undefined, { headerTableSize: 0 });
  const stream = client.request({ ...POST, expect: '100-continue' });
  await new Promise<void>(resolve => stream.once('continue', () => resolve()));
  stream.end(QUERY);
  const [fields] = (await once(stream, 'response')) as [IncomingHttpHeaders];
  t.equal(fields[':status'], 200);
  stream.resume();
});
