// Heads of HTTP requests: those of browsers, scrapers and probes, and those of nobody.

import t from 'tap';

import { readHead } from '../../src/observe/http-head.js';

const head = (...lines: string[]): string => lines.join('\r\n');

await t.test('what a request asks for (RFC 9112)', async t => {
  t.match(readHead(head('GET /metrics?x=1 HTTP/1.1', 'Host: router.lan:9153', 'accept:text/plain', 'Accept: b')), {
    method: 'GET',
    path: '/metrics',
    host: 'router.lan:9153',
    accept: 'text/plain,b',
    isPersistent: true,
    hasContent: false,
  });
  t.match(readHead(head('', 'GET / HTTP/1.1', 'HOST:\t [::1]:80 ')), { path: '/', host: '[::1]:80' });
  t.match(readHead(head('GET http://evil.example:80/metrics#f HTTP/1.1', 'Host: localhost')), {
    path: '/metrics',
    host: 'evil.example:80',
  });
  t.match(readHead('GET /livez HTTP/1.0'), { path: '/livez', host: undefined, isPersistent: false });
  t.match(readHead(head('OPTIONS * HTTP/1.1', 'Host: a')), { method: 'OPTIONS', path: '*' });
});

await t.test('whether more may come over the connection', async t => {
  const persists = (version: string, ...lines: string[]): boolean | undefined =>
    readHead(head(`GET / HTTP/${version}`, 'Host: a', ...lines))?.isPersistent;
  t.equal(persists('1.1', 'Connection: x, Close'), false);
  t.equal(persists('1.1', 'Connection: keep-alive', 'Connection: close'), false);
  t.equal(persists('1.0', 'Connection: Keep-Alive'), true);
  const content = (...lines: string[]): boolean | undefined =>
    readHead(head('POST / HTTP/1.1', 'Host: a', ...lines))?.hasContent;
  t.equal(content('Content-Length: 0'), false);
  t.equal(content('Content-Length: 1'), true);
  t.equal(content('Content-Length: 0', 'Content-Length: 5'), true);
  t.equal(content('Transfer-Encoding: chunked'), true);
});

await t.test('what is no request is read by no guess', async t => {
  for (const each of [
    '',
    'GET /',
    'GET / HTTP/2.0',
    'GET  / HTTP/1.1',
    'GET /a b HTTP/1.1',
    'GET /\x1b[2J HTTP/1.1',
    'G\x00T / HTTP/1.1',
    head('GET / HTTP/1.1'),
    head('GET / HTTP/1.1', 'Host: a', 'Host: b'),
    head('GET / HTTP/1.1', 'Host : a'),
    head('GET / HTTP/1.1', 'Host: a', ' folded'),
    head('GET / HTTP/1.1', 'Host: a', 'x'),
    head('GET / HTTP/1.1', 'Host: a', ': x'),
    head('GET / HTTP/1.1', 'Host: a\nb'),
    head('GET / HTTP/1.1', 'Host: a', 'X: \0'),
    head('GET / HTTP/1.1', 'Host: a', ...Array.from({ length: 100 }, (_, i) => `x${i}: y`)),
  ])
    t.equal(readHead(each), undefined, JSON.stringify(each.slice(0, 60)));
});

await t.test('the work for a head is bounded by its length', async t => {
  const started = performance.now();
  const blanks = ' '.repeat(16_000);
  for (const each of [`X: a${blanks}b${blanks}`, `X:${blanks}`, `Connection: ${','.repeat(16_000)}`, blanks])
    readHead(head('GET / HTTP/1.1', 'Host: a', each));
  readHead(`GET ${'/'.repeat(16_000)} HTTP/1.1\r\nHost: a`);
  readHead('\r\n'.repeat(8000));
  t.ok(performance.now() - started < 200);
});
