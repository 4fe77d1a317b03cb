// What "dotstub install" finds out before the system depends on it.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import t from 'tap';

import { type ServerRow, serverWords, verdictWords, wayOut } from '../../src/commands/way-out.js';
import { authority, certificate } from '../fixtures/certificates.js';
import { answering } from '../fixtures/daemon.js';
import { dotServer, type Handler } from '../fixtures/dot-server.js';
import { freePort } from '../fixtures/free-port.js';
import { responseTo } from '../fixtures/messages.js';
import { startDotstub, temporaryDirectory } from '../fixtures/program.js';

const row = (more: Partial<ServerRow>): ServerRow => ({
  upstream: '192.0.2.1',
  address: '192.0.2.1',
  state: 'private',
  path: 'tls',
  transport: 'dot',
  authenticated: true,
  failure: undefined,
  ...more,
});

await t.test('by which way names go, a sentence for each kind of way', t => {
  const quad9 = row({ upstream: 'dns.quad9.net', address: '9.9.9.9' });
  const second = row({ upstream: 'dns.quad9.net', address: '149.112.112.112' });
  t.same(serverWords([quad9]), ['Names go over TLS to dns.quad9.net (9.9.9.9), proved to be that.']);
  t.same(serverWords([quad9, second]), [
    'Names go over TLS to dns.quad9.net (9.9.9.9, 149.112.112.112), proved to be those.',
  ]);
  t.same(serverWords([row({ authenticated: false })]), [
    'Names go over TLS to 192.0.2.1, which has not proved to be that.',
  ]);
  t.same(serverWords([row({ transport: 'https' })]), ['Names go over HTTPS to 192.0.2.1, proved to be that.']);
  const clear = row({ state: 'failed', path: 'cleartext', transport: 'cleartext', failure: 'connection refused' });
  t.same(serverWords([clear]), ['192.0.2.1 does not speak TLS (connection refused): names go in cleartext to it.']);
  t.same(serverWords([quad9, clear]), serverWords([quad9]), 'beside a private one, no other is asked in cleartext');
  t.same(serverWords([row({ path: 'cleartext', transport: 'cleartext' })]), [
    'Names go in cleartext to 192.0.2.1 (upstream.mode).',
  ]);
  t.same(serverWords([row({ state: 'failed', path: 'refuse', failure: 'no route' })]), [
    '192.0.2.1 is not reached: no route.',
  ]);
  t.match(serverWords([]), [/There is no server to ask/]);
  t.match(verdictWords('secure', 'require'), 'are validated here');
  t.match(verdictWords('unchecked', 'off'), 'dnssec.mode off');
  t.match(verdictWords('unchecked', undefined), 'Signatures do not get here');
  t.end();
});

await t.test('a name is asked for through the servers: found only if it is answered as it is', async t => {
  const ca = authority();
  const directory = temporaryDirectory();
  t.teardown(() => directory.remove());
  writeFileSync(join(directory.path, 'ca.pem'), ca.cert);
  const cases: readonly (readonly [string, Handler, boolean, RegExp])[] = [
    [
      'a server that knows it',
      answering('example.com. 300 A 192.0.2.80'),
      true,
      /^Names go over TLS to dns\.test \(127\.0\.0\.1\), proved to be that\. Answers are not validated here \(dnssec\.mode off\)\.$/,
    ],
    ['a network that denies all', answering('other.example. 300 A 192.0.2.80'), false, /^example\.com exists, but/],
    [
      'an answer without an address',
      answering('example.com. 300 MX 0 .'),
      false,
      /has an address, but this network says/,
    ],
    [
      'a server that refuses',
      (query, session) => session.reply(responseTo(query, { rcode: 5 })),
      false,
      /^example\.com was answered with SERVFAIL \(.*\)\. Names go over TLS/,
    ],
  ];
  for (const [what, handler, found, words] of cases) {
    const server = await dotServer({
      identity: certificate({ common: 'x', names: ['dns.test'], issuer: ca }),
      handler,
    });
    const port = await freePort();
    const daemon = await startDotstub(`
listen: ["127.0.0.1:${port}"]
metrics: { listen: off }
upstream: { ca_file: ${join(directory.path, 'ca.pem')}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${server.port}"] }] }
`);
    const result = await wayOut({ address: '127.0.0.1', port }, { socket: daemon.controlSocket, dnssecMode: 'off' });
    t.equal(result.found, found, what);
    t.match(result.words.join(' '), words, what);
    await daemon.stop();
    await server.close();
  }
});
