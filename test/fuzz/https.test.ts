// Octets without sense over HTTPS: frames of HTTP/2 and lines of HTTP/1.1 in any order, cut anywhere. The process must not
// throw, no session must stay, and others must be answered.

import fc from 'fast-check';
import t from 'tap';

import { queryMessage } from '../fixtures/client.js';
import { until } from '../fixtures/until.js';
import { connected, http2Client, LARGE_ANSWER, message, onBothPaths, POST, request } from '../listen/http-clients.js';

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const QUERY = message(0);

/** Sends pieces, ends or breaks the connection, and waits until it is closed. */
async function converse(port: number, pieces: readonly Buffer[], breaks: boolean): Promise<void> {
  const socket = await connected(t, port);
  for (const piece of pieces) {
    if (socket.destroyed) break;
    socket.write(piece);
    await new Promise(resolve => setImmediate(resolve));
  }
  if (breaks) socket.destroy();
  else socket.end();
  socket.resume();
  await until(() => socket.destroyed, 'the end of a connection');
}

const u24 = (value: number): Buffer => Buffer.from([value >> 16, (value >> 8) & 255, value & 255]);

/** Fields of requests, without indexing and without Huffman codes (RFC 7541 §6.2.2). */
const fields = (values: Readonly<Record<string, string>>): Buffer =>
  Buffer.concat(
    Object.entries(values).map(([name, value]) =>
      Buffer.concat([
        Buffer.from([0, name.length]),
        Buffer.from(name),
        Buffer.from([value.length]),
        Buffer.from(value),
      ]),
    ),
  );
const target = (octets: Buffer): string => `/dns-query?dns=${octets.toString('base64url')}`;
const common = { ':scheme': 'http', ':authority': '127.0.0.1' };
const asked = fc.constantFrom(
  fields({ ':method': 'GET', ':path': target(QUERY), ...common }),
  fields({ ':method': 'GET', ':path': target(LARGE_ANSWER), ...common }),
  fields({ ...POST, ...common }),
  fields({ ...POST, ...common, 'content-length': '3' }),
  fields({ ':method': 'CONNECT', ':authority': 'a:1' }),
  fields({ ':method': 'GET', ':path': '/', ...common, te: 'x', 'x-forwarded-for': ',' }),
);

const frame = fc
  .record({
    type: fc.oneof(fc.constantFrom(0, 1, 1, 1, 3, 4, 8, 9), fc.nat(255)),
    flags: fc.oneof(fc.constantFrom(0, 1, 4, 5), fc.nat(255)),
    stream: fc.oneof(fc.constantFrom(0, 1, 3, 5, 7), fc.nat(40)),
    payload: fc.oneof(asked, asked, fc.uint8Array({ maxLength: 20 }).map(Buffer.from), fc.constant(QUERY)),
    claims: fc.oneof(fc.constant(0), fc.constant(0), fc.constant(0), fc.nat(70_000)),
  })
  .map(({ type, flags, stream, payload, claims }) =>
    Buffer.concat([u24(claims === 0 ? payload.length : claims), Buffer.from([type, flags, 0, 0, 0, stream]), payload]),
  );

const line = fc.oneof(
  fc.constantFrom(
    `GET ${target(QUERY)} HTTP/1.1\r\n`,
    `GET ${target(LARGE_ANSWER)} HTTP/1.1\r\n`,
    'POST /dns-query HTTP/1.1\r\n',
    'HEAD / HTTP/1.0\r\n',
    'Host: 127.0.0.1\r\n',
    'Content-Type: application/dns-message\r\n',
    'Content-Length: 3\r\n',
    'Transfer-Encoding: chunked\r\n',
    'Expect: 100-continue\r\n',
    'Connection: Upgrade\r\nUpgrade: h2c\r\n',
    '3\r\nabc\r\n',
    '0\r\n\r\n',
    '\r\n',
    '\r\n',
    '\r\n',
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  ),
  fc.string({ maxLength: 20 }),
);

const cut = (octets: Buffer, size: number): Buffer[] =>
  Array.from({ length: Math.ceil(octets.length / size) }, (_, i) => octets.subarray(i * size, (i + 1) * size));

for (const [title, begins, piece] of [
  ['frames of HTTP/2', PREFACE, frame],
  ['lines of HTTP/1.1', Buffer.alloc(0), line.map(text => Buffer.from(text))],
] as const) {
  await onBothPaths(t, `${title} in any order harm nobody`, async (t, listening) => {
    const { port, table } = await listening({ cleartext: true });
    const pieces = fc.array(piece, { minLength: 1, maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(pieces, fc.integer({ min: 1, max: 2000 }), fc.boolean(), async (all, size, breaks) =>
        converse(port, cut(Buffer.concat([begins, ...all]), size).slice(0, 100), breaks),
      ),
      { numRuns: 200 },
    );
    const session = await http2Client(t, port, true);
    t.equal((await request(session, POST, queryMessage('www.example', { id: 0 }))).status, 200);
    await until(() => table.open === 1, 'the end of all other sessions');
    t.equal(table.open, 1);
  });
}
