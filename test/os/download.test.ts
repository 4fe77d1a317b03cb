// Downloads of lists: what counts as a whole file of a server that hangs, lies, or sends without end.

import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

import t, { type Test } from 'tap';

import { download, type Downloaded } from '../../src/os/download.js';
import { authority, certificate } from '../fixtures/certificates.js';

const ca = authority();
const identity = certificate({ common: 'lists.example', names: ['lists.example'], issuer: ca });
const OLD = 'old.example\n';

/** What a download gives, and the file afterwards, which was there before. */
async function fetched(
  t: Test,
  handler: (request: IncomingMessage, response: ServerResponse) => void,
  mostBytes = 1000,
): Promise<{ readonly result: Downloaded; readonly text: string }> {
  const server = createServer({ cert: identity.cert, key: identity.key }, handler);
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const path = join(t.testdir({ list: OLD }), 'list');
  writeFileSync(path, OLD);
  const result = await download({
    ...{ address: '127.0.0.1', url: new URL(`https://lists.example:${port}/ads?x=1`), roots: ca.cert },
    ...{ etag: '"1"', lastModified: undefined, path, mostBytes },
  });
  return { result, text: readFileSync(path, 'utf8') };
}

await t.test('a whole file replaces the one before, and its tags are remembered', async t => {
  const { result, text } = await fetched(t, ({ url, headers }, response) => {
    t.equal(url, '/ads?x=1');
    t.equal(headers['if-none-match'], '"1"');
    response.writeHead(200, { etag: '"2"' }).end('new.example\n');
  });
  t.same(result, { at: 'new', etag: '"2"', lastModified: undefined });
  t.equal(text, 'new.example\n');
});

await t.test('an unchanged file, and one that is elsewhere, are told apart', async t => {
  const same = await fetched(t, (_, response) => response.writeHead(304).end());
  t.same(same, { result: { at: 'same' }, text: OLD });
  const moved = await fetched(t, (_, response) => response.writeHead(301, { location: 'http://a.example/' }).end());
  t.same(moved, { result: { at: 'moved', to: 'http://a.example/' }, text: OLD });
});

const BROKEN: readonly (readonly [string, (response: ServerResponse) => void, RegExp])[] = [
  ['more than fits', response => response.end('x'.repeat(1001)), /larger than 1000 octets/],
  [
    'without an end',
    response => {
      const more = (): void => void (response.destroyed || response.write('x'.repeat(100), () => setImmediate(more)));
      more();
    },
    /larger than 1000 octets/,
  ],
  [
    'less than announced',
    response => {
      response.writeHead(200, { 'content-length': 100 });
      response.write('new.example\n', () => response.destroy());
    },
    /closed|reset|aborted/,
  ],
  [
    'a half of its pieces',
    response => void response.write('new.example\n', () => response.destroy()),
    /closed|reset|aborted/,
  ],
  [
    'a body whose end is that of the connection',
    response => {
      response.useChunkedEncodingByDefault = false;
      response.writeHead(200, { connection: 'close' });
      response.end('new.example\n');
    },
    /did not say how long it is/,
  ],
  ['an error', response => response.writeHead(503).end('new.example\n'), /status 503/],
  ['a part', response => response.writeHead(206).end('new.example\n'), /status 206/],
  ['a redirect to nowhere', response => response.writeHead(302).end(), /status 302/],
  ['gzip', response => response.writeHead(200, { 'content-encoding': 'gzip' }).end('x'), /compressed/],
  ['a page', response => response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end('x'), /web page/],
  ['headers without end', response => response.writeHead(200, { 'x-long': 'x'.repeat(20_000) }).end('x'), /./],
  ['no HTTP', response => void response.socket?.end('hello\r\n\r\n'), /./],
];
for (const [what, handler, why] of BROKEN)
  await t.test(`${what}: the file of before stays`, async t => {
    const { result, text } = await fetched(t, (_, response) => {
      handler(response);
    });
    t.match(result, { at: 'failed', why });
    t.equal(text, OLD);
  });
