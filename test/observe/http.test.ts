// The HTTP side beside the browser: who is answered, with what around it, and what is remembered.

import { request } from 'node:http';

import t from 'tap';

import { fakeClock } from '../fixtures/clock.js';
import { recordedLog } from '../fixtures/recorder.js';
import { type History, history, STEP_MS } from '../../src/observe/history.js';
import { listenHttp } from '../../src/observe/http.js';

const PAGE = new URL('../../dist/page/', import.meta.url).pathname;

await t.test('which clients are answered, and how', async t => {
  const upstream: { missing?: string } = {};
  const log = recordedLog();
  const listener = await listenHttp(
    { address: '127.0.0.1', port: 0 },
    {
      metrics: { expose: async accept => ({ contentType: `text/plain; for=${accept ?? ''}`, body: 'a 1\n' }) },
      notReady: () => upstream.missing,
      status: () => ({ privacy: 'authenticated' }),
      history() {
        if (upstream.missing === 'a bug') throw new Error('a bug');
        return { samples: [] };
      },
      maxConnections: 64,
      pageDirectory: PAGE,
      log,
    },
  );
  t.teardown(() => listener.close());
  const get = async (path: string, headers: Record<string, string> = {}, method = 'GET') =>
    new Promise<{ status: number; headers: Record<string, unknown>; body: string }>((resolve, reject) => {
      const asked = request({ host: '127.0.0.1', port: listener.port, path, method, headers }, response => {
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
  t.equal((await get('/metrics', {}, 'POST')).status, 405);
  for (const path of ['/index.html', '/../package.json', '/%2e%2e/package.json', '//etc/passwd', '/constructor'])
    t.equal((await get(path)).status, 404, path);
  upstream.missing = 'a bug';
  t.match(await get('/history.json'), { status: 500, body: 'the log says what went wrong\n' });
  t.match(log.lines, [/^error: \/history\.json failed: a bug/], 'and it lives on');
  upstream.missing = 'no server';
  t.match(await get('/readyz'), { status: 503, body: 'not ready: no server\n' });

  for (const host of ['127.0.0.1:9153', '[::1]:9153', 'localhost:9153', 'router', 'dotstub.lan', 'box.home.arpa:80'])
    t.equal((await get('/status.json', { host })).status, 200, host);
  for (const host of ['evil.example', 'evil.example:9153', 'localhost.evil.example'])
    t.equal((await get('/status.json', { host })).status, 403, `${host}: a page from there has led a browser here`);
  t.equal((await get('/metrics', { host: 'dotstub.monitoring.svc' })).status, 200, 'scrapers have names of their own');
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
