// Clients that harm over HTTPS: floods of frames (RFC 9113 §10.5), requests without end, responses that nobody reads. One
// that does must not cost the others anything.

import { constants } from 'node:http2';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

import t from 'tap';

import { IDLE_MS } from '../../src/listen/sessions.js';
import { queryMessage } from '../fixtures/client.js';
import { until } from '../fixtures/until.js';
import {
  connected,
  getOf,
  HOLD,
  http2Client,
  LARGE_ANSWER,
  message,
  onBothPaths,
  POST,
  request,
  rest,
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

/** The error code of the GOAWAY frame in octets that a server has sent; undefined: there is none. */
const goaway = (text: string): number | undefined =>
  framesIn(Buffer.from(text, 'latin1'))
    .find(({ type }) => type === GOAWAY)
    ?.payload.readUInt32BE(4);

/** Sends pieces until the server closes, or all are sent. */
async function flood(socket: Socket, pieces: Iterable<Buffer>): Promise<string> {
  const all = rest(socket);
  for (const piece of pieces) {
    if (socket.destroyed) break;
    if (!socket.write(piece)) await Promise.race([new Promise(resolve => socket.once('drain', resolve)), sleep(100)]);
  }
  return all;
}

/** @param make makes the n-th piece */
function* times(count: number, make: (n: number) => Buffer): Iterable<Buffer> {
  for (let i = 0; i < count; i++) yield make(i);
}

await onBothPaths(
  t,
  'floods of frames end the connection before they cost much, and others go on',
  async (t, listening) => {
    const { port, count, clients } = await listening();
    const other = await http2Client(t, port);
    const ask = async (): Promise<number> => (await request(other, POST, QUERY)).status;
    const ping = Buffer.alloc(8);
    const floods: Readonly<Record<string, (n: number) => Buffer>> = {
      'requests that are cancelled at once': n =>
        Buffer.concat([headers(2 * n + 1, QUERY), frame(RST_STREAM, 0, 2 * n + 1, u32(8))]),
      PING: () => frame(PING, 0, 0, ping),
      SETTINGS: () => frame(SETTINGS, 0, 0, Buffer.alloc(0)),
      'windows in small pieces': () => frame(WINDOW_UPDATE, 0, 0, u32(1)),
      'header fields without end': n =>
        n === 0 ? frame(HEADERS, END_STREAM, 1, asking(QUERY)) : frame(CONTINUATION, 0, 1, field('a', 'b')),
      'empty fragments of header fields': n =>
        n === 0 ? frame(HEADERS, END_STREAM, 1, asking(QUERY)) : frame(CONTINUATION, 0, 1, Buffer.alloc(0)),
      'unknown frames': () => frame(99, 0, 0, Buffer.alloc(1)),
    };
    for (const [title, make] of Object.entries(floods)) {
      const before = clients.length;
      const socket = await raw(t, port);
      await flood(socket, times(20_000, make));
      t.ok(socket.destroyed, title);
      t.ok(clients.length - before <= 110, `${title}: ${clients.length - before} queries`);
      t.equal(await ask(), 200, 'another connection is answered');
    }
    t.ok(count('dropped', 'http_flood') >= 5, `counted: ${count('dropped', 'http_flood')}`);
  },
);

await onBothPaths(t, 'whoever is closed for a flood is told to be calm', async (t, listening) => {
  const { port } = await listening();
  const socket = await raw(t, port);
  const text = await flood(socket, [Buffer.concat([...times(600, () => frame(PING, 0, 0, Buffer.alloc(8)))])]);
  t.equal(goaway(text), constants.NGHTTP2_ENHANCE_YOUR_CALM);
});

await onBothPaths(t, 'octets that are no HTTP/2 end the connection', async (t, listening) => {
  const { port, table } = await listening();
  for (const octets of [
    'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
    `${PREFACE.toString('latin1')}${'\xff'.repeat(2000)}`,
    '\0'.repeat(64),
  ]) {
    const socket = await connected(t, port, 'h2');
    socket.write(octets, 'latin1');
    await rest(socket);
  }
  await until(() => table.open === 0, 'open sessions: 0');
  t.equal(table.open, 0);
});

await onBothPaths(
  t,
  'more requests at once than a connection may have are refused, and none is lost',
  async (t, listening) => {
    const { port, held, clients } = await listening({ inflightPerSession: 5 });
    const session = await http2Client(t, port);
    const all = Array.from({ length: 40 }, async () => request(session, POST, message(HOLD)));
    await until(() => held.length === 5, 'queries that wait');
    await sleep(100);
    t.equal(clients.length, 5);
    const answer = setInterval(() => held.splice(0).forEach(each => each()), 5);
    t.teardown(() => clearInterval(answer));
    const responses = await Promise.all(all);
    t.ok(responses.every(({ status, code }) => status === 200 || code === constants.NGHTTP2_REFUSED_STREAM));
    t.ok(responses.filter(({ status }) => status === 200).length >= 5);
  },
);

await onBothPaths(t, 'a query that the client cancels counts until it is answered', async (t, listening) => {
  const { port, held, clients } = await listening({ inflightPerSession: 5 });
  const session = await http2Client(t, port);
  for (let i = 0; i < 20; i++) {
    const stream = session.request(getOf(message(HOLD)));
    stream.on('error', () => undefined);
    await sleep(2);
    stream.close(constants.NGHTTP2_CANCEL);
    await sleep(2);
  }
  t.ok(clients.length <= 5, `${clients.length} queries`);
  held.splice(0).forEach(each => each());
  await until(async () => (await request(session, POST, QUERY)).status === 200, 'an answer');
});

await onBothPaths(t, 'pipelined requests over HTTP/1.1 are bounded', async (t, listening) => {
  const { port, clients, count } = await listening({ inflightPerSession: 20 });
  const socket = await connected(t, port, 'http/1.1');
  const one = `GET /dns-query?dns=${message(HOLD).toString('base64url')} HTTP/1.1\r\nHost: a\r\n\r\n`;
  await flood(socket, [Buffer.from(one.repeat(1000))]);
  t.ok(clients.length <= 20);
  t.equal(count('dropped', 'http_flood'), 1);
});

await onBothPaths(
  t,
  'bodies that are not complete take little memory, however many there are',
  async (t, listening) => {
    const { port } = await listening();
    const session = await http2Client(t, port);
    let cancelled = 0;
    for (let i = 0; i < 20; i++) {
      const stream = session.request(POST);
      stream.on('error', () => cancelled++);
      stream.write(Buffer.alloc(60_000));
    }
    await until(() => cancelled >= 15, 'streams that are reset');
    await sleep(100);
    t.ok(cancelled < 20, `${cancelled} of 20`);
    t.equal((await request(session, POST, QUERY)).status, 200);
  },
);

await onBothPaths(
  t,
  'a body without end ends after the idle time, however much else is asked',
  async (t, listening) => {
    const { port, later } = await listening();
    const session = await http2Client(t, port);
    const stream = session.request(POST);
    stream.on('error', () => undefined);
    stream.write('a');
    t.equal((await request(session, POST, QUERY)).status, 200);
    t.notOk(stream.closed);
    later.ms = IDLE_MS + 1;
    t.equal((await request(session, POST, QUERY)).status, 200);
    await until(() => stream.closed, 'the end of the stream');
    t.equal(stream.rstCode, constants.NGHTTP2_CANCEL);
  },
);

await onBothPaths(t, 'many large answers at once reach a client that reads', async (t, listening) => {
  const { port } = await listening();
  const session = await http2Client(t, port);
  let answered = 0;
  const ask = async (): Promise<void> => {
    // Refused ones are asked again, as clients do.
    while ((await request(session, POST, LARGE_ANSWER)).status !== 200);
    answered++;
  };
  void Promise.all(Array.from({ length: 90 }, ask));
  await until(() => answered === 90, 'all answers');
  t.equal(answered, 90);
});

await onBothPaths(t, 'responses that nobody reads are bounded over HTTP/2', async (t, listening) => {
  const { port, clients, table, count } = await listening({ idleMs: 500 });
  // A window of 0 for each stream: not even one octet of a body may leave.
  const socket = await raw(t, port, Buffer.from([0, 4, 0, 0, 0, 0]));
  socket.pause();
  for (let i = 0; i < 100; i++) socket.write(headers(2 * i + 1, LARGE_ANSWER));
  await until(() => clients.length > 0, 'a query');
  await sleep(200);
  t.ok(clients.length <= 2, `${clients.length} queries were answered`);
  await until(() => table.open === 0, 'open sessions: 0');
  t.equal(count('dropped', 'slow_client'), 1, 'and then the connection closes');
});

await onBothPaths(t, 'a client that takes an answer octet by octet is idle', async (t, listening) => {
  const { port, table, count } = await listening({ idleMs: 600 });
  const socket = await raw(t, port, Buffer.from([0, 4, 0, 0, 0, 0]));
  socket.write(headers(1, LARGE_ANSWER));
  const timer = setInterval(() => socket.destroyed || socket.write(frame(WINDOW_UPDATE, 0, 1, u32(1))), 50);
  t.teardown(() => clearInterval(timer));
  const frames = framesOf(socket);
  await until(() => table.open === 0, 'open sessions: 0');
  t.ok(frames.some(({ type, payload }) => type === 0 && payload.length === 1));
  t.equal(count('dropped', 'slow_client'), 1);
});

await onBothPaths(t, 'a client that takes an answer in larger pieces is not', async (t, listening) => {
  const { port } = await listening({ idleMs: 600 });
  const socket = await raw(t, port, Buffer.from([0, 4, 0, 0, 0, 0]));
  socket.write(headers(1, LARGE_ANSWER));
  const timer = setInterval(() => socket.destroyed || socket.write(frame(WINDOW_UPDATE, 0, 1, u32(3000))), 50);
  t.teardown(() => clearInterval(timer));
  const frames = framesOf(socket);
  await until(() => frames.some(({ type, flags }) => type === 0 && flags === END_STREAM), 'all of the answer');
});

await onBothPaths(t, 'requests that ask nothing keep no connection open', async (t, listening) => {
  for (const alpn of ['h2', 'http/1.1']) {
    const { port, table } = await listening({ idleMs: 600 });
    const socket = alpn === 'h2' ? await raw(t, port) : await connected(t, port, alpn);
    const fields = [field(':method', 'GET'), field(':scheme', 'https'), field(':path', '/other')];
    const other = (n: number): Buffer =>
      alpn === 'h2'
        ? frame(HEADERS, END_STREAM | END_HEADERS, n, Buffer.concat(fields))
        : Buffer.from('GET /other HTTP/1.1\r\nHost: a\r\n\r\n');
    const stream = { next: 1 };
    const timer = setInterval(() => {
      if (!socket.destroyed) socket.write(other(stream.next));
      stream.next += 2;
    }, 50);
    t.teardown(() => clearInterval(timer));
    t.match(await rest(socket), '/dns-query', `${alpn}: 404 says where to ask`);
    await until(() => table.open === 0, 'open sessions: 0');
  }
});

await onBothPaths(t, 'queries keep a connection open for as long as they are answered', async (t, listening) => {
  const { port, table } = await listening({ idleMs: 600 });
  const session = await http2Client(t, port);
  for (let i = 0; i < 20; i++) {
    t.equal((await request(session, POST, QUERY)).status, 200);
    await sleep(60);
  }
  t.equal(table.open, 1);
});

await onBothPaths(t, 'a client sees why its connection ends, whatever it has sent beside', async (t, listening) => {
  const { port, table } = await listening();
  const socket = await raw(t, port);
  const ping = frame(PING, 0, 0, Buffer.alloc(8));
  const text = await flood(socket, [Buffer.concat([...times(600, () => ping)]), Buffer.alloc(60_000)]);
  t.equal(goaway(text), constants.NGHTTP2_ENHANCE_YOUR_CALM);
  await until(() => table.open === 0, 'open sessions: 0');
});

await onBothPaths(t, 'a client that goes on after the end is cut off', async (t, listening) => {
  const { port, table } = await listening();
  const socket = await raw(t, port);
  socket.write(frame(PING, 0, 1, Buffer.alloc(8)));
  const timer = setInterval(() => socket.destroyed || socket.write(Buffer.alloc(16_000)), 1);
  t.teardown(() => clearInterval(timer));
  await until(() => table.open === 0, 'open sessions: 0');
});

await onBothPaths(t, 'responses that nobody reads are bounded over HTTP/1.1', async (t, listening) => {
  const { port, clients, table, count } = await listening({ idleMs: 2000 });
  const socket = await connected(t, port, 'http/1.1');
  socket.pause();
  const one = Buffer.from(`GET /dns-query?dns=${LARGE_ANSWER.toString('base64url')} HTTP/1.1\r\nHost: a\r\n\r\n`);
  const timer = setInterval(() => socket.destroyed || socket.write(Buffer.concat([one, one, one])), 2);
  t.teardown(() => clearInterval(timer));
  await until(() => table.open === 1, 'open sessions: 1');
  await until(() => table.open === 0, 'open sessions: 0');
  t.ok(clients.length < 400, `${clients.length} answers of 60,000 octets, most of which the kernel holds`);
  // It depends on the buffers of node:http whether it reads on until there are too many requests.
  t.equal(count('dropped', 'slow_client') + count('dropped', 'http_flood'), 1);
});

await onBothPaths(
  t,
  'another certificate is shown to new connections, and an open one loses no query',
  async (t, listening) => {
    const { port, listener } = await listening();
    const session = await http2Client(t, port);
    const { authority, certificate } = await import('../fixtures/certificates.js');
    const next = certificate({ common: 'next', names: ['dns.test'], issuer: authority('next') });
    let failed = 0;
    for (let i = 0; i < 200; i++) {
      if (i === 100) listener.setCredentials(next);
      if ((await request(session, POST, QUERY)).status !== 200) failed++;
    }
    t.equal(failed, 0);
    await t.rejects(http2Client(t, port), /verify|self-signed|unable/i, 'a new one sees the other certificate');
  },
);

await onBothPaths(t, 'a client that sends no more still gets the response that it waits for', async (t, listening) => {
  const { port, held, table } = await listening();
  const socket = await raw(t, port);
  socket.write(headers(1, message(HOLD)));
  await until(() => held.length === 1, 'a query that waits');
  socket.end();
  await sleep(50);
  held[0]?.();
  t.match(await rest(socket), 'www\x07example');
  await until(() => table.open === 0, 'open sessions: 0');
});

await onBothPaths(t, 'at the end, requests that wait are answered, and nothing new is taken', async (t, listening) => {
  for (const alpn of ['h2', 'http/1.1']) {
    const { port, listener, held, table } = await listening();
    const session = alpn === 'h2' ? await http2Client(t, port) : undefined;
    const socket = alpn === 'h2' ? undefined : await connected(t, port, alpn);
    const answered = session === undefined ? undefined : request(session, POST, message(HOLD));
    socket?.write(`GET /dns-query?dns=${message(HOLD).toString('base64url')} HTTP/1.1\r\nHost: a\r\n\r\n`);
    const text = socket === undefined ? undefined : rest(socket);
    await until(() => held.length === 1, 'queries that wait');
    listener.close();
    await sleep(50);
    held[0]?.();
    if (answered !== undefined) t.equal((await answered).status, 200);
    if (text !== undefined) t.match(await text, /^HTTP\/1\.1 200[\s\S]*connection: close/i);
    await until(() => table.open === 0, 'open sessions: 0');
    await t.rejects(http2Client(t, port), { code: 'ECONNREFUSED' });
  }
});
