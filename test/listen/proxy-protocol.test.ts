// Connections of proxies that begin with a PROXY header, with real sockets: over TCP, TLS and HTTPS. Who the client is, what
// is counted for whom, and what is never believed.

import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as tlsConnect, type TLSSocket } from 'node:tls';

import t, { type Test } from 'tap';

import type { Front } from '../../src/front/front.js';
import { Memory } from '../../src/listen/memory.js';
import { SessionTable, type TableParts } from '../../src/listen/sessions.js';
import { tcpListener } from '../../src/listen/stream.js';
import { Turns } from '../../src/listen/turns.js';
import { systemClock } from '../../src/os/clock.js';
import type { Client } from '../../src/pipeline/query.js';
import { framed } from '../../src/wire/frame.js';
import { authority, certificate } from '../fixtures/certificates.js';
import { queryMessage } from '../fixtures/client.js';
import { binaryBlock, binaryHeader, lineHeader, LOCAL_HEADER } from '../fixtures/proxy-header.js';
import { recorder } from '../fixtures/recorder.js';
import { until } from '../fixtures/until.js';
import { connected, http2Client, httpsListening } from './http-clients.js';
import { TLS_PATHS } from './tls-paths.js';

const PROXY = '127.0.0.9';
const OUTSIDE = '203.0.113.66';
const QUERY = framed(queryMessage('www.example'));
const identity = certificate({ common: 'x', names: ['dns.test'], issuer: authority() });

/** Over TLS in each way that there is here. */
const OVER_TLS = Object.keys(TLS_PATHS).filter(each => TLS_PATHS[each]?.skip === false);

type Bounds = Partial<Pick<TableParts, 'idleMs' | 'max' | 'maxPerClient'>>;

/** A listener with a front that answers everything with the query itself. */
async function listening(t: Test, over: string, bounds: Bounds = {}) {
  const clients: Client[] = [];
  const front: Front = {
    handle(message, client, respond) {
      clients.push(client);
      respond(message);
      return false;
    },
    inflight: 0,
    stop: () => undefined,
    giveUp: () => undefined,
  };
  const { observer, count } = recorder();
  const table = new SessionTable({ max: 1000, ...bounds, observer, clock: systemClock });
  const parts = {
    ...{ front, observer, table, clock: systemClock, turns: new Turns(), memory: new Memory() },
    mayAsk: (address: string) => address !== OUTSIDE && address !== PROXY,
    sendsProxyHeader: (address: string) => address === PROXY,
  };
  const listener = TLS_PATHS[over]?.listener(t, parts, identity) ?? tcpListener(parts);
  await listener.set([{ address: '127.0.0.1', port: 0 }]);
  t.teardown(() => listener.destroy());
  const port = listener.bound[0]?.port ?? 0;
  return { clients, count, table, port, listener };
}

/** What comes back over a connection, and whether it is closed. */
interface Opened {
  readonly socket: Socket;
  readonly received: () => Buffer;
  readonly closed: () => boolean;
}

function watched<S extends Socket>(t: Test, socket: S): Opened & { readonly socket: S } {
  const chunks: Buffer[] = [];
  let closed = false;
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => undefined);
  socket.on('end', () => (closed = true)).on('close', () => (closed = true));
  t.teardown(() => socket.destroy());
  return { socket, received: () => Buffer.concat(chunks), closed: () => closed };
}

/** A connection; by default from the proxy. */
async function opened(t: Test, port: number, from = PROXY): Promise<Opened> {
  const socket = connect({ port, host: '127.0.0.1', localAddress: from, allowHalfOpen: true, noDelay: true });
  await new Promise<void>((resolve, reject) => socket.once('connect', () => resolve()).once('error', reject));
  return watched(t, socket);
}

/** TLS over a connection. */
async function secured(t: Test, socket: Socket): Promise<Opened & { readonly socket: TLSSocket }> {
  socket.removeAllListeners('data');
  const secure = tlsConnect({ socket, rejectUnauthorized: false, ALPNProtocols: ['dot'] });
  await new Promise<void>((resolve, reject) => secure.once('secureConnect', () => resolve()).once('error', reject));
  return watched(t, secure);
}

const isAnswered = async ({ received }: Opened, times = 1): Promise<void> =>
  until(() => received().length >= times * QUERY.length, 'an answer');
const isClosed = async ({ closed }: Opened): Promise<void> => until(closed, 'the end of the connection');

const HEADERS = { 'version 1': lineHeader, 'version 2': binaryHeader };
for (const [version, header] of Object.entries(HEADERS)) {
  await t.test(
    `${version}: the client is the address in the header, at the address that the proxy came to`,
    async t => {
      const { clients, port } = await listening(t, 'tcp');
      for (const [from, address, family] of [
        ['192.0.2.1', '192.0.2.1', 4],
        ['2001:db8::7', '2001:db8::7', 6],
        ['::ffff:192.0.2.8', '192.0.2.8', 4],
      ] as const) {
        const proxy = await opened(t, port);
        proxy.socket.write(Buffer.concat([header({ from, port: 999 }), QUERY, QUERY]));
        await isAnswered(proxy, 2);
        const at = { address: '127.0.0.1', port };
        t.match(clients.splice(0), [{ address, port: 999, family, transport: 'tcp', at }, { address }]);
      }
    },
  );

  await t.test(`${version}: octet by octet, together with a query, and closed on one side`, async t => {
    const { clients, port } = await listening(t, 'tcp');
    const slow = await opened(t, port);
    for (const octet of Buffer.concat([header({ from: '192.0.2.1' }), QUERY])) {
      slow.socket.write(Buffer.from([octet]));
      await new Promise(setImmediate);
    }
    await isAnswered(slow);
    const half = await opened(t, port);
    half.socket.end(Buffer.concat([header({ from: '192.0.2.2' }), QUERY]));
    await isAnswered(half);
    await isClosed(half);
    t.same(
      clients.map(({ address }) => address),
      ['192.0.2.1', '192.0.2.2'],
    );
    t.same(half.received(), QUERY);
  });

  for (const over of OVER_TLS)
    await t.test(`${version}: before the TLS handshake, and over TLS as dnsdist sends it: ${over}`, async t => {
      const { clients, port, count } = await listening(t, over);
      const before = await opened(t, port);
      before.socket.write(header({ from: '192.0.2.1' }));
      const one = await secured(t, before.socket);
      one.socket.write(QUERY);
      await isAnswered(one);
      const inside = await secured(t, (await opened(t, port)).socket);
      const [first = 0, ...others] = header({ from: '192.0.2.2' });
      inside.socket.write(Buffer.from([first]));
      await sleep(20);
      inside.socket.write(Buffer.concat([Buffer.from(others), QUERY]));
      await isAnswered(inside);
      t.match(clients, [
        { address: '192.0.2.1', transport: 'tls' },
        { address: '192.0.2.2', transport: 'tls' },
      ]);
      const none = await secured(t, (await opened(t, port)).socket);
      none.socket.write(QUERY);
      await isClosed(none);
      const twice = await opened(t, port);
      twice.socket.write(header({ from: '192.0.2.3' }));
      const again = await secured(t, twice.socket);
      again.socket.write(Buffer.concat([header({ from: '192.0.2.4' }), QUERY]));
      await sleep(50);
      t.equal(clients.filter(({ address }) => address === '192.0.2.4').length, 0, 'only one header counts');
      t.equal(count('dropped', 'proxy_header'), 1);
    });
}

await t.test('a header from anybody else changes nothing', async t => {
  const { clients, port, count } = await listening(t, 'tcp');
  const client = await opened(t, port, '127.0.0.1');
  client.socket.write(QUERY);
  await isAnswered(client);
  client.socket.write(lineHeader({ from: '192.0.2.1' }));
  const forging = await opened(t, port, '127.0.0.1');
  forging.socket.write(Buffer.concat([binaryHeader({ from: '192.0.2.1' }), QUERY]));
  await sleep(100);
  t.ok(clients.length > 0);
  t.ok(clients.every(({ address }) => address === '127.0.0.1'));
  t.equal(count('dropped', 'proxy_header'), 0);
  for (const over of OVER_TLS) {
    const overTls = await listening(t, over);
    const refused = await opened(t, overTls.port, '127.0.0.1');
    refused.socket.write(lineHeader({ from: '192.0.2.1' }));
    await isClosed(refused);
    t.same(overTls.clients, []);
  }
});

await t.test('without a header a proxy is not served, and that is counted', async t => {
  const { clients, port, count, table } = await listening(t, 'tcp');
  const without = [QUERY, binaryBlock(0x21, 0x11, Buffer.alloc(0), 0xffff), Buffer.from('PROXY TCP4 1 2 3 4\r\n')];
  for (const [i, octets] of without.entries()) {
    const proxy = await opened(t, port);
    proxy.socket.write(Buffer.concat([octets, QUERY]));
    await isClosed(proxy);
    t.equal(count('dropped', 'proxy_header'), i + 1);
  }
  const early = await opened(t, port);
  early.socket.end(lineHeader({ from: '192.0.2.1' }).subarray(0, 20));
  await isClosed(early);
  t.equal(count('dropped', 'proxy_header'), 4);
  const nothing = await opened(t, port);
  nothing.socket.end();
  await isClosed(nothing);
  t.equal(count('dropped', 'proxy_header'), 4, 'a check that only connects is none');
  t.same(clients, []);
  await until(() => table.open === 0, 'no place');
});

await t.test('a client that may not ask is refused behind a proxy, which need not be allowed itself', async t => {
  for (const over of ['tcp', ...OVER_TLS]) {
    const { clients, port, count } = await listening(t, over);
    const proxy = await opened(t, port);
    proxy.socket.write(Buffer.concat([lineHeader({ from: OUTSIDE }), QUERY]));
    await isClosed(proxy);
    t.equal(count('dropped', 'not_allowed'), 1);
    t.equal(count('dropped', 'proxy_header'), 0);
    t.same(clients, []);
  }
});

await t.test('a proxy that asks for itself, or does not know for whom, is the client', async t => {
  const { clients, port } = await listening(t, 'tcp');
  const unnamed = [LOCAL_HEADER, Buffer.from('PROXY UNKNOWN\r\n'), binaryBlock(0x21, 0x31, Buffer.alloc(216))];
  const own = [...unnamed, lineHeader({ from: PROXY }), binaryHeader({ from: PROXY })];
  for (const header of own) {
    const proxy = await opened(t, port);
    proxy.socket.write(Buffer.concat([header, QUERY]));
    await isAnswered(proxy);
    t.match(clients.splice(0), [{ address: PROXY, port: proxy.socket.localPort }]);
  }
  for (const over of OVER_TLS) {
    const overTls = await listening(t, over);
    const proxy = await opened(t, overTls.port);
    proxy.socket.write(LOCAL_HEADER);
    const secure = await secured(t, proxy.socket);
    secure.socket.write(QUERY);
    await isAnswered(secure);
    t.match(overTls.clients, [{ address: PROXY }]);
  }
});

await t.test('sessions are counted for the clients, not for the proxy', async t => {
  const { port, count, table } = await listening(t, 'tcp', { max: 20, maxPerClient: 2 });
  const session = async (from: string): Promise<Opened> => {
    const proxy = await opened(t, port);
    proxy.socket.write(Buffer.concat([binaryHeader({ from }), QUERY]));
    await isAnswered(proxy);
    return proxy;
  };
  const many: Opened[] = [];
  for (let i = 1; i <= 15; i++) many.push(await session(`192.0.2.${i}`));
  t.equal(table.open, 15, 'more than one address may have');
  t.equal(count('dropped', 'displaced'), 0);
  const first = await session('192.0.2.100');
  await session('192.0.2.100');
  await session('192.0.2.100');
  await isClosed(first);
  t.equal(count('dropped', 'displaced'), 1);
  t.ok(many.every(each => !each.closed()));
});

for (const over of ['tcp', ...OVER_TLS])
  await t.test(`connections whose header has not come have bounds and their time: ${over}`, async t => {
    const { port, count, table } = await listening(t, over, { max: 10, maxPerClient: 2, idleMs: 400 });
    const waiting: Opened[] = [];
    for (let i = 0; i < 8; i++) waiting.push(await opened(t, port));
    await until(() => count('dropped', 'displaced') === 3, 'three that made room');
    t.equal(table.open, 5, 'half of the table');
    const trickling = waiting.at(-1);
    for (const octet of lineHeader({ from: '192.0.2.1' }).subarray(0, 30)) {
      if (trickling?.closed() === true) break;
      trickling?.socket.write(Buffer.from([octet]));
      await sleep(50);
    }
    for (const each of waiting) await isClosed(each);
    t.equal(table.open, 0, 'octets of a header that is never complete keep no connection open');
  });

for (const over of OVER_TLS)
  await t.test(`a listener that closes leaves no connection without a header: ${over}`, async t => {
    const { port, listener, table } = await listening(t, over);
    const before = await opened(t, port);
    const inside = await secured(t, (await opened(t, port)).socket);
    await until(() => table.open === 2, 'two connections');
    listener.close();
    await isClosed(before);
    await isClosed(inside);
  });

const TARGET = `/dns-query?dns=${queryMessage('www.example').toString('base64url')}`;
for (const cleartext of [true, false]) {
  await t.test(`over HTTPS${cleartext ? ' in cleartext' : ''}, of either version of HTTP`, async t => {
    const sendsProxyHeader = (address: string) => address === PROXY;
    const { port, clients, count } = await httpsListening(t, { cleartext, sendsProxyHeader });
    for (const version of ['http/1.1', 'h2'] as const) {
      for (const place of cleartext ? ['before'] : ['before', 'over']) {
        const socket = connect({ port, host: '127.0.0.1', localAddress: PROXY });
        t.teardown(() => socket.destroy());
        if (place === 'before') socket.write(binaryHeader({ from: '192.0.2.1', port: 77 }));
        const over = cleartext ? socket : await connected(t, port, version, socket);
        if (place === 'over')
          await new Promise(resolve => over.write(binaryHeader({ from: '192.0.2.1', port: 77 }), resolve));
        if (version === 'h2') {
          const session = await http2Client(t, port, cleartext, over);
          const stream = session.request({ ':path': TARGET });
          await new Promise(resolve => stream.once('response', resolve));
        } else {
          over.write(`GET ${TARGET} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
          await new Promise(resolve => over.once('data', resolve));
        }
        t.match(clients.splice(0), [{ address: '192.0.2.1', port: 77, family: 4, transport: 'https' }], place);
      }
    }
    t.equal(count('dropped', 'proxy_header'), 0);
  });
}
