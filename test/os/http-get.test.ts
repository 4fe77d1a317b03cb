// The HttpGet port in front of real servers, some of which mean no good.

import { createServer as plainServer } from 'node:http';
import { createServer as tlsServer } from 'node:https';
import { type AddressInfo, createServer as tcpServer, type Server, type Socket } from 'node:net';

import t, { type Test } from 'tap';

import type { HttpRequest } from '../../src/base/ports.js';
import { httpGet } from '../../src/os/http-get.js';
import { authority, certificate } from '../fixtures/certificates.js';

const TIMEOUT_MS = 400;
const get = httpGet(TIMEOUT_MS);

const to = (port: number, more: Partial<HttpRequest> = {}): HttpRequest => ({
  ...{ address: '127.0.0.1', port, host: 'probe.example', path: '/generate_204?a=b', tls: undefined, accept: '*/*' },
  ...more,
});

async function listening(t: Test, server: Server): Promise<number> {
  await new Promise<void>(resolve => void server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => void server.close());
  return (server.address() as AddressInfo).port;
}

/** A server that sends these octets, whatever it is asked. */
async function raw(t: Test, octets: string | undefined, then?: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server = tcpServer(socket => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('data', () => {
      if (octets !== undefined) socket.write(octets);
      then?.(socket);
    });
  });
  t.teardown(() => sockets.forEach(each => each.destroy()));
  return listening(t, server);
}

await t.test('a request names the host, asks for no kept connection, and is told what came', async t => {
  const seen: unknown[] = [];
  const server = plainServer(({ url, method, headers }, response) => {
    seen.push([method, url, headers.host, headers.connection, headers.cookie, headers['user-agent']]);
    response.writeHead(302, { location: 'http://login.hotel.test/', 'content-type': 'text/html' }).end('page');
  });
  const port = await listening(t, server);
  t.same(await get(to(port)), {
    status: 302,
    location: 'http://login.hotel.test/',
    contentType: 'text/html',
    body: Buffer.from('page'),
  });
  t.same(
    seen,
    [['GET', '/generate_204?a=b', `probe.example:${port}`, 'close', undefined, 'dotstub']],
    'a redirect is not followed',
  );
  await get(to(port, { host: '2001:db8::1' }));
  t.match(seen[1], { 2: `[2001:db8::1]:${port}` });
});

await t.test('204 without a body', async t => {
  const server = plainServer((_request, response) => void response.writeHead(204).end());
  t.match(await get(to(await listening(t, server))), { status: 204, body: Buffer.alloc(0), location: undefined });
});

await t.test('over TLS, the certificate must be for the host, from a trusted authority', async t => {
  const ca = authority();
  const { cert, key } = certificate({ common: 'portal.example', names: ['portal.example'], issuer: ca });
  const port = await listening(
    t,
    tlsServer({ cert, key }, (_request, response) => void response.end('{}')),
  );
  const ask = async (host: string, roots: string | undefined) => get(to(port, { host, tls: { roots } }));
  t.match(await ask('portal.example', ca.cert), { status: 200 });
  t.equal(await ask('other.example', ca.cert), undefined);
  t.equal(await ask('portal.example', undefined), undefined);
  t.equal(await ask('portal.example', authority().cert), undefined);
  t.equal(await ask('127.0.0.1', ca.cert), undefined, 'the certificate does not hold the address');
});

await t.test('a server that is not there, says nothing, or says it slowly: no response, in time', async t => {
  const closed = await listening(t, plainServer());
  const drip = (socket: Socket): void => {
    const timer = setInterval(() => void socket.write('x'), 20);
    socket.on('close', () => clearInterval(timer));
  };
  const cases: Readonly<Record<string, number>> = {
    silent: await raw(t, undefined),
    'slow header': await raw(t, 'HTTP/1.1 200 OK\r\nx: ', drip),
    'slow body': await raw(t, 'HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n', drip),
    'no HTTP': await raw(t, 'SSH-2.0-OpenSSH_9.2\r\n'),
    'huge header': await raw(t, `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`),
    'closes at once': await raw(t, undefined, socket => socket.destroy()),
    'closes in the body': await raw(t, 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nab', socket => socket.end()),
    upgrade: await raw(t, 'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n'),
    'two lengths': await raw(t, 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab'),
    'plain HTTP where TLS was asked for': closed,
  };
  for (const [what, port] of Object.entries(cases)) {
    const tls = what.startsWith('plain') ? { roots: undefined } : undefined;
    const from = performance.now();
    t.equal(await get(to(port, { tls })), undefined, what);
    t.ok(performance.now() - from < 10 * TIMEOUT_MS, `${what}: in time`);
  }
  t.equal(await get(to(1)), undefined, 'refused');
  t.equal(await get(to(closed, { address: 'localhost' })), undefined, 'a name is never looked up');
});

await t.test('a long body is cut', async t => {
  const port = await raw(t, 'HTTP/1.1 200 OK\r\n\r\n', socket => {
    const more = (): void => {
      while (!socket.destroyed && socket.write('x'.repeat(16_384)));
      socket.once('drain', more);
    };
    more();
  });
  t.equal((await get(to(port)))?.body.length, 65_536);
});
