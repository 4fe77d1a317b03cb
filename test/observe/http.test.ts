// The HTTP side beside the browser: who is answered, with what around it, and what is remembered.

import { Agent, request } from 'node:http';
import { connect, type Socket } from 'node:net';

import t, { type Test } from 'tap';

import type { Clock } from '../../src/base/ports.js';
import { systemClock } from '../../src/os/clock.js';
import { fakeClock } from '../fixtures/clock.js';
import { recordedLog } from '../fixtures/recorder.js';
import { until } from '../fixtures/until.js';
import { type History, history, STEP_MS } from '../../src/observe/history.js';
import { type HttpParts, listenHttp } from '../../src/observe/http.js';
import { PACE_MS } from '../../src/observe/http-places.js';

const PAGE = new URL('../../dist/page/', import.meta.url).pathname;

await t.test('which clients are answered, and how', async t => {
  const upstream: { missing?: string } = {};
  const log = recordedLog();
  const listener = await listenHttp(
    { address: '127.0.0.1', port: 0 },
    {
      metrics: {
        expose: async form => ({ contentType: `text/plain; form=${form}`, body: 'a 1\n' }),
        httpDropped: () => undefined,
      },
      notReady: () => upstream.missing,
      status: () => ({ privacy: 'authenticated' }),
      history() {
        if (upstream.missing === 'a bug') throw new Error('a bug');
        return { samples: [] };
      },
      hosts: () => ['dns1.corp.example', 'ns.example'],
      maxConnections: 64,
      pageDirectory: PAGE,
      clock: systemClock,
      log,
    },
  );
  t.teardown(() => listener.close());
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.teardown(() => agent.destroy());
  const get = async (path: string, headers: Record<string, string> = {}, method = 'GET') =>
    new Promise<{ status: number; headers: Record<string, unknown>; body: string }>((resolve, reject) => {
      const asked = request({ host: '127.0.0.1', port: listener.port, path, method, headers, agent }, response => {
        let body = '';
        response
          .setEncoding('utf8')
          .on('data', (chunk: string) => (body += chunk))
          .on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
      });
      asked.on('error', reject).end();
    });

  const page = await get('/');
  t.match(page, {
    status: 200,
    headers: { 'content-type': /text\/html/, 'x-content-type-options': 'nosniff', 'cache-control': 'no-store' },
  });
  t.match(page.headers['content-security-policy'], /default-src 'none'; script-src 'self'/);
  t.notMatch(page.body, /<script(?![^>]*src=)|https?:\/\/(?!www\.w3\.org)/, 'nothing inline, nothing from elsewhere');
  for (const path of ['/page.js', '/page.css', '/status.json', '/history.json', '/metrics', '/livez', '/readyz'])
    t.equal((await get(path)).status, 200, path);
  t.equal((await get('/', {}, 'HEAD')).body, '');
  t.match(await get('/metrics', {}, 'POST'), { status: 405, headers: { allow: 'GET, HEAD' } });
  for (const path of ['/index.html', '/../package.json', '/%2e%2e/package.json', '//etc/passwd', '/constructor'])
    t.equal((await get(path)).status, 404, path);
  upstream.missing = 'a bug';
  t.match(await get('/history.json'), { status: 500, body: 'the log says what went wrong\n' });
  t.match(log.lines, [/^error: \/history\.json failed: a bug/], 'and it lives on');
  upstream.missing = 'no server';
  t.match(await get('/readyz'), { status: 503, body: 'not ready: no server\n' });

  delete upstream.missing;
  const addresses = ['127.0.0.1:9153', '[::1]:9153', '192.168.1.1'];
  const locals = ['localhost:9153', 'router', 'dotstub.lan', 'box.home.arpa:80', 'localhost.'];
  const cluster = ['dotstub.monitoring.svc', 'dotstub.monitoring.svc.cluster.local:9153'];
  const configured = ['dns1.corp.example:9153', 'DNS1.corp.example.', 'ns.example', 'one.ns.example'];
  const elsewhere = ['evil.example', 'evil.example:9153', 'localhost.evil.example', 'evilns.example', 'corp.example'];
  for (const path of ['/metrics', '/status.json', '/history.json', '/']) {
    for (const host of [...addresses, ...locals, ...cluster, ...configured])
      t.equal((await get(path, { host })).status, 200, `${path} under ${host}`);
    for (const host of elsewhere)
      t.equal((await get(path, { host })).status, 403, `${host}: a page from there has led a browser to ${path}`);
  }
  for (const host of elsewhere) t.equal((await get('/livez', { host })).status, 200, 'alive for everybody');
});

/** A listener whose parts the test sees. */
async function setUp(t: Test, clock: Clock, more: Partial<HttpParts> = {}) {
  const counts = { scrapes: 0, dropped: 0 };
  const listener = await listenHttp(
    { address: '127.0.0.1', port: 0 },
    {
      metrics: {
        expose: async form => ({ contentType: 'text/plain', body: `${form} ${++counts.scrapes}\n` }),
        httpDropped: () => void counts.dropped++,
      },
      notReady: () => undefined,
      status: () => ({}),
      history: () => ({}),
      hosts: () => [],
      maxConnections: 64,
      pageDirectory: PAGE,
      log: recordedLog(),
      clock,
      ...more,
    },
  );
  t.teardown(() => listener.close());
  const open = async (): Promise<Client> => {
    const socket = connect({ port: listener.port, host: '127.0.0.1', allowHalfOpen: true });
    t.teardown(() => socket.destroy());
    await new Promise(resolve => socket.once('connect', resolve));
    return new Client(socket);
  };
  return { counts, open };
}

/** A connection that says what it is told to, and notes what it hears. */
class Client {
  heard = '';
  closed = false;

  constructor(readonly socket: Socket) {
    socket.on('data', (chunk: Buffer) => (this.heard += chunk.toString('latin1')));
    socket.on('error', () => undefined);
    socket.on('end', () => (this.closed = true));
    socket.on('close', () => (this.closed = true));
  }

  get replies(): number {
    return this.heard.split('HTTP/1.1 ').length - 1;
  }
}

const REQUEST = 'GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n';

await t.test('a connection gets one reply at a time, and requests that arrive together get one in all', async t => {
  const clock = fakeClock();
  const { counts, open } = await setUp(t, clock, {
    metrics: {
      expose: async () => {
        counts.scrapes++;
        return new Promise(resolve => {
          clock.after(100, () => resolve({ contentType: 'text/plain', body: 'x'.repeat(1 << 16) }));
        });
      },
      httpDropped: () => undefined,
    },
  });
  const client = await open();
  client.socket.write(REQUEST.repeat(3000));
  await until(() => counts.scrapes === 1, 'the request');
  await clock.advance(100);
  await until(() => client.closed, 'the end');
  t.match(client.heard.slice(0, 200), /^HTTP\/1\.1 200 OK\r\n.*\r\nconnection: close\r\n/s);
  t.ok(client.heard.endsWith(`\r\n\r\n${'x'.repeat(1 << 16)}`), 'a whole reply');
  t.same([counts.scrapes, client.replies], [1, 1]);

  await clock.advance(1000);
  const patient = await open();
  patient.socket.write(REQUEST);
  await until(() => counts.scrapes === 2, 'the request');
  patient.socket.write(REQUEST);
  await clock.advance(100);
  await until(() => patient.replies === 1, 'the first reply');
  await until(async () => {
    await clock.advance(PACE_MS);
    return patient.replies === 2;
  }, 'the one that came while the first was made');
  t.notOk(patient.closed);
});

await t.test('a scrape is made at most once in a second, and shared', async t => {
  const clock = fakeClock();
  const { counts, open } = await setUp(t, clock);
  const ask = async (accept: string): Promise<string> => {
    const client = await open();
    client.socket.write(`GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: ${accept}\r\nConnection: close\r\n\r\n`);
    await until(() => client.closed, 'the reply');
    client.socket.destroy();
    await clock.advance(PACE_MS);
    return client.heard.split('\r\n\r\n')[1] ?? '';
  };
  const OPEN_METRICS = 'application/openmetrics-text;version=1.0.0';
  for (let i = 0; i < 10; i++) t.equal(await ask('text/plain'), 'text 1\n');
  t.equal(await ask(OPEN_METRICS), 'openmetrics 2\n', 'each form for itself');
  t.equal(counts.scrapes, 2);
  await clock.advance(1000);
  t.equal(await ask('text/plain'), 'text 3\n', 'a second later');
});

await t.test('a connection that asks too slowly, or does not take its reply, is closed in time', async t => {
  const clock = fakeClock();
  const { open } = await setUp(t, clock, { status: () => 'x'.repeat(1 << 24) });
  const silent = await open();
  const slow = await open();
  for (let i = 0; i < 9; i++) {
    slow.socket.write('GET / '.charAt(i % 6));
    await clock.advance(500);
  }
  t.notOk(silent.closed || slow.closed);
  await clock.advance(600);
  await until(() => silent.closed && slow.closed, 'five seconds');
  t.equal(slow.heard, '');

  const idle = await open();
  idle.socket.write(REQUEST);
  await until(() => idle.replies === 1, 'a reply');
  await clock.advance(4900);
  t.notOk(idle.closed);
  await clock.advance(200);
  await until(() => idle.closed, 'five seconds after the reply');

  const deaf = await open();
  deaf.socket.pause();
  deaf.socket.write('GET /status.json HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await until(() => deaf.socket.bytesWritten > 0 && clock.pending > 0, 'the request');
  await clock.advance(10_100);
  deaf.socket.resume();
  await until(() => deaf.closed, 'ten seconds');
  t.ok(deaf.heard.length < 1 << 24, 'the rest is lost');
});

await t.test('what is no request, or has content, gets one reply and the end', async t => {
  const { open } = await setUp(t, systemClock);
  const replyTo = async (text: string): Promise<string> => {
    const client = await open();
    client.socket.write(text, 'latin1');
    await until(() => client.closed, 'the end');
    client.socket.destroy();
    return client.heard.split('\r\n')[0] ?? '';
  };
  t.equal(await replyTo('\x16\x03\x01\x02\0\x01\r\n\r\n'), 'HTTP/1.1 400 Bad Request');
  t.match(await replyTo(`GET / HTTP/1.1\r\nHost: a\r\nCookie: ${'x'.repeat(1 << 16)}`), / 431 /);
  t.match(await replyTo('x'.repeat(1 << 20)), / 431 /, 'a line without an end');
  t.match(await replyTo('GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc'), / 200 /);
  t.match(await replyTo('GET /livez HTTP/1.0\r\n\r\n'), / 200 /, 'HTTP/1.0, without a host');
});

await t.test('an hour is remembered, and no more', async t => {
  const clock = fakeClock();
  let sum = 0;
  const kept: History = history(clock, () => [sum++]);
  t.equal(kept.samples().length, 1, 'from the start');
  await clock.advance(10 * STEP_MS);
  t.same(
    kept.samples().map(([, value]) => value),
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
  );
  const [first, second] = kept.samples();
  t.equal((second?.[0] ?? 0) - (first?.[0] ?? 0), STEP_MS);
  await clock.advance(400 * STEP_MS);
  t.equal(kept.samples().length, 3600_000 / STEP_MS + 1);
  t.equal(kept.samples().at(-1)?.[1], 410, 'the latest');
  kept.close();
  await clock.advance(10 * STEP_MS);
  t.equal(kept.samples().at(-1)?.[1], 410, 'closed');
});
