// DNS over HTTPS for clients, over real sockets: valid and hostile requests, over both versions of HTTP.

import { constants } from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';

import t from 'tap';

import { queryMessage } from '../fixtures/client.js';
import { until } from '../fixtures/until.js';
import {
  connected,
  DROPPED,
  getOf,
  HOLD,
  http2Client,
  message,
  onBothPaths,
  POST,
  request,
  rest,
} from './http-clients.js';

/** Its id is 0, as RFC 8484 §4.1 wants. */
const QUERY = queryMessage('www.example');
QUERY.fill(0, 0, 2);
const TARGET = `/dns-query?dns=${QUERY.toString('base64url')}`;
/** The same target, with every character of the message written as its number. */
const escaped = (message: Buffer): string =>
  `/dns-query?dns=${message.toString('base64url').replace(/./g, each => `%${Buffer.from(each).toString('hex')}`)}`;
const H1 = 'http/1.1';

/** An HTTP/1.1 request that is the last of its connection. */
const h1 = (line: string, fields = '', body: Buffer | string = ''): Buffer =>
  Buffer.concat([
    Buffer.from(`${line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${fields}\r\n`),
    Buffer.from(body),
  ]);
const posted = (body: Buffer, fields = 'Content-Type: application/dns-message\r\n'): Buffer =>
  h1('POST /dns-query', `${fields}Content-Length: ${body.length}\r\n`, body);

await onBothPaths(
  t,
  'over HTTP/1.1, each request gets its status, and only queries reach the front',
  async (t, listening) => {
    const { port, clients } = await listening();
    const table: readonly (readonly [string, Buffer, number])[] = [
      ['GET', h1(`GET ${TARGET}`), 200],
      ['HEAD', h1(`HEAD ${TARGET}`), 200],
      ['GET, escaped', h1(`GET ${escaped(QUERY)}`), 200],
      ['POST', posted(QUERY), 200],
      [
        'POST in chunks',
        Buffer.concat([
          h1('POST /dns-query', 'Content-Type: application/dns-message\r\nTransfer-Encoding: chunked\r\n'),
          Buffer.from(`${QUERY.length.toString(16)}\r\n`),
          QUERY,
          Buffer.from('\r\n0\r\n\r\n'),
        ]),
        200,
      ],
      ['the page', h1('GET /'), 200],
      ['another path', h1('GET /index.html'), 404],
      ['another method', h1('DELETE /dns-query'), 405],
      ['no query', h1('GET /dns-query'), 400],
      ['octets that are no query', h1('GET /dns-query?dns=AAAA'), 400],
      ['an empty body', posted(Buffer.alloc(0)), 400],
      ['another media type', posted(QUERY, 'Content-Type: text/plain\r\n'), 415],
      [
        'a body that says that it is too large',
        h1('POST /dns-query', 'Content-Type: application/dns-message\r\nContent-Length: 65536\r\n'),
        413,
      ],
      ['a long URL', h1(`GET /dns-query?dns=${'A'.repeat(9000)}`), 414],
      ['many header fields', h1(`GET ${TARGET}`, 'A: b\r\n'.repeat(3000)), 431],
      ['a long header field', h1(`GET ${TARGET}`, `A: ${'b'.repeat(17_000)}\r\n`), 431],
      ['no host', Buffer.from(`GET ${TARGET} HTTP/1.1\r\n\r\n`), 400],
      ['two lengths', h1('POST /dns-query', 'Content-Length: 1\r\nContent-Length: 2\r\n'), 400],
      ['a length and chunks', h1('POST /dns-query', 'Content-Length: 1\r\nTransfer-Encoding: chunked\r\n'), 400],
      ['a bare LF', Buffer.from(`GET ${TARGET} HTTP/1.1\nHost: a\nB: c\n\n`), 400],
      ['octets of nobody', Buffer.from('\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'), 400],
    ];
    for (const [title, octets, status] of table) {
      const socket = await connected(t, port, H1);
      socket.write(octets);
      t.match(await rest(socket), new RegExp(`^HTTP/1\\.1 ${status} `), title);
    }
    t.equal(clients.filter(({ transport }) => transport === 'https').length, 7, 'two of them were no queries');
  },
);

await onBothPaths(
  t,
  'a response over HTTP/1.1 has the message, its type and how long it is fresh, and names no program',
  async (t, listening) => {
    const { port } = await listening();
    const socket = await connected(t, port, H1);
    socket.write(h1(`GET ${TARGET}`));
    const [head = '', body = ''] = (await rest(socket)).split('\r\n\r\n');
    t.match(head, /^content-type: application\/dns-message\r$/m);
    t.match(head, /^cache-control: max-age=300\r$/m);
    t.match(head, /^content-length: \d+\r$/m);
    t.notMatch(head, /^(server|x-powered-by|via|set-cookie):/im);
    t.equal(body.slice(0, 2), '\0\0', 'the id of the query');
  },
);

await onBothPaths(t, 'over HTTP/2, each request gets its status', async (t, listening) => {
  const { port, clients } = await listening();
  const session = await http2Client(t, port);
  t.equal(session.alpnProtocol, 'h2');
  const large = Buffer.alloc(65_536);
  for (const [title, headers, body, status] of [
    ['GET', getOf(QUERY), undefined, 200],
    ['HEAD', { ...getOf(QUERY), ':method': 'HEAD' }, undefined, 200],
    ['GET, escaped', { ...getOf(QUERY), ':path': escaped(QUERY) }, undefined, 200],
    ['POST', POST, QUERY, 200],
    ['the page', { ':path': '/' }, undefined, 200],
    ['another path', { ':path': '/favicon.ico' }, undefined, 404],
    ['another method', { ...getOf(QUERY), ':method': 'PATCH' }, undefined, 405],
    ['octets that are no query', { ':path': '/dns-query?dns=AAAA' }, undefined, 400],
    ['no body', POST, undefined, 400],
    ['another media type', { ...POST, 'content-type': 'text/plain' }, QUERY, 415],
    ['a body that is too large', POST, large, 413],
    ['and says so', { ...POST, 'content-length': large.length }, large, 413],
    ['a long URL', { ':path': `/dns-query?dns=${'A'.repeat(9000)}` }, undefined, 414],
    ['a long header field', { ...getOf(QUERY), a: 'b'.repeat(17_000) }, undefined, 431],
    ['a header field above all limits', { ...getOf(QUERY), a: 'b'.repeat(40_000) }, undefined, 431],
    ['CONNECT', { ':method': 'CONNECT', ':authority': 'a:53' }, undefined, 404],
  ] as const) {
    const response = await request(session, headers, body);
    t.equal(response.status, status, title);
  }
  t.equal(clients.length, 6);
  const { headers, body } = await request(session, POST, QUERY);
  t.match(headers, { 'content-type': 'application/dns-message', 'cache-control': 'max-age=300' });
  t.equal(headers['content-length'], String(body.length));
  t.notOk(['server', 'x-powered-by'].some(name => name in headers));
  t.match((await request(session, { ':path': '/' })).body.toString(), /DNS queries over HTTPS/);
  t.equal((await request(session, { ...getOf(QUERY), ':method': 'HEAD' })).body.length, 0);
});

await onBothPaths(t, 'a query that a list leaves without an answer ends without a response', async (t, listening) => {
  const { port } = await listening();
  const session = await http2Client(t, port);
  t.match(await request(session, POST, DROPPED), { status: 0, code: constants.NGHTTP2_CANCEL });
  t.equal((await request(session, POST, QUERY)).status, 200, 'others go on');
  const socket = await connected(t, port, H1);
  socket.write(posted(DROPPED));
  t.equal(await rest(socket), '');
});

await onBothPaths(
  t,
  'answers come in any order over HTTP/2, and in the order of the requests over HTTP/1.1',
  async (t, listening) => {
    const { port, held } = await listening();
    const session = await http2Client(t, port);
    const order: number[] = [];
    const all = [1, 2, 3].map(async n => {
      await request(session, POST, message(HOLD));
      order.push(n);
    });
    await until(() => held.length === 3, 'three queries');
    for (const answer of held.splice(0).reverse()) {
      const before = order.length;
      answer();
      await until(() => order.length > before, 'an answer');
    }
    await Promise.all(all);
    t.same(order, [3, 2, 1]);
    const socket = await connected(t, port, H1);
    const keep = (first: number): Buffer =>
      Buffer.from(posted(message(first)).toString('latin1').replace('Connection: close\r\n', ''), 'latin1');
    socket.write(Buffer.concat([keep(HOLD), posted(message(0))]));
    await until(() => held.length === 1, 'queries that wait');
    held[0]?.();
    const text = await rest(socket);
    t.same(text.match(/HTTP\/1\.1 200/g)?.length, 2);
    t.ok(
      text.indexOf('\r\n\r\n\x01') < text.indexOf('\r\n\r\n\0') && text.includes('\r\n\r\n\x01'),
      'the first is first',
    );
  },
);

await onBothPaths(
  t,
  'in cleartext, both versions of HTTP are told apart by their first octets, however they are cut',
  async (t, listening) => {
    const { port } = await listening({ cleartext: true });
    t.equal((await request(await http2Client(t, port, true), POST, QUERY)).status, 200);
    const socket = await connected(t, port);
    for (const octet of h1(`GET ${TARGET}`)) socket.write(Buffer.from([octet]));
    t.match(await rest(socket), /^HTTP\/1\.1 200/);
    const cut = await connected(t, port);
    const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0', 'latin1');
    for (let at = 0; at < preface.length; at++) {
      cut.write(preface.subarray(at, at + 1));
      await sleep(1);
    }
    const settings = await new Promise<Buffer>(resolve => cut.once('data', resolve));
    t.equal(settings[3], 4, 'a SETTINGS frame');
    const put = await connected(t, port);
    put.write('PUT / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
    t.match(await rest(put), /^HTTP\/1\.1 405/, 'begins like PRI');
  },
);

await onBothPaths(t, 'only a proxy is believed about the client that it asks for', async (t, listening) => {
  let trusted = true;
  const { port, clients } = await listening({ cleartext: true, isProxy: () => trusted });
  const session = await http2Client(t, port, true);
  const from = async (forwarded: string): Promise<number> =>
    (await request(session, { ...POST, 'x-forwarded-for': forwarded }, QUERY)).status;
  trusted = false;
  t.equal(await from('192.0.2.1'), 200);
  t.match(clients.at(-1), { address: '127.0.0.1', family: 4, transport: 'https' });
  t.not(clients.at(-1)?.port, 0);
  trusted = true;
  t.equal(await from('nobody'), 400, 'nobody knows who asks');
  t.equal(clients.length, 1);
});

await onBothPaths(t, 'in cleartext, a page from elsewhere cannot ask under a name of its own', async (t, listening) => {
  const { port, clients } = await listening({ cleartext: true });
  const session = await http2Client(t, port, true);
  t.equal((await request(session, { ...getOf(QUERY), ':authority': 'evil.example' })).status, 421);
  t.equal((await request(session, { ...POST, ':authority': 'evil.example' }, QUERY)).status, 421);
  const socket = await connected(t, port);
  socket.write(h1(`GET ${TARGET}`).toString().replace('localhost', 'evil.example'));
  t.match(await rest(socket), /^HTTP\/1\.1 421/);
  t.equal(clients.length, 0);
  const secure = await listening();
  const named = { ...POST, ':authority': 'dns.example' };
  t.equal((await request(await http2Client(t, secure.port), named, QUERY)).status, 200, 'over TLS the name is proved');
});

await onBothPaths(t, 'a proxy asks for the client that it names', async (t, listening) => {
  const { port, clients } = await listening({ cleartext: true, isProxy: address => address === '127.0.0.1' });
  const session = await http2Client(t, port, true);
  await request(session, { ...POST, 'x-forwarded-for': '203.0.113.9, 2001:DB8::1, 127.0.0.1' }, QUERY);
  t.match(clients.at(-1), { address: '2001:db8::1', port: 0, family: 6 });
  const socket = await connected(t, port);
  socket.write(
    h1(`GET ${TARGET}`, `${'A: b\r\n'.repeat(200)}X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: 192.0.2.7\r\n`),
  );
  await rest(socket);
  t.match(clients.at(-1), { address: '192.0.2.7', family: 4 }, 'the last field, after however many others');
  await request(session, POST, QUERY);
  t.match(clients.at(-1), { address: '127.0.0.1' }, 'it asks for itself');
});

await onBothPaths(t, 'a proxy may have more sessions than a client', async (t, listening) => {
  const isProxy = (address: string): boolean => address === '127.0.0.1';
  const { port, table } = await listening({ cleartext: true, isProxy, maxPerClient: 2, max: 20 });
  for (let i = 0; i < 8; i++) await connected(t, port);
  await until(() => table.open === 8, 'open sessions: 8');
  t.equal(table.open, 8);
});

await onBothPaths(t, 'a connection closes when it is idle, also while a request never ends', async (t, listening) => {
  const { port, table } = await listening({ idleMs: 300 });
  const idle = await http2Client(t, port);
  const trickling = await http2Client(t, port);
  const body = trickling.request(POST);
  body.on('error', () => undefined);
  const timer = setInterval(() => body.destroyed || body.write('a'), 20);
  t.teardown(() => clearInterval(timer));
  const head = await connected(t, port, H1);
  const more = setInterval(() => head.write('A: b\r\n'), 20);
  t.teardown(() => clearInterval(more));
  head.write('GET / HTTP/1.1\r\n');
  await until(() => table.open === 3, 'open sessions: 3');
  await until(() => table.open === 0, 'open sessions: 0');
  t.ok(idle.destroyed || idle.closed);
});

await onBothPaths(t, 'a connection stays open as long as a query waits', async (t, listening) => {
  const { port, table, held } = await listening({ idleMs: 200 });
  const session = await http2Client(t, port);
  const response = request(session, POST, message(HOLD));
  await until(() => held.length === 1, 'queries that wait');
  await sleep(700);
  t.equal(table.open, 1);
  held[0]?.();
  t.equal((await response).status, 200);
  await until(() => table.open === 0, 'open sessions: 0');
});
