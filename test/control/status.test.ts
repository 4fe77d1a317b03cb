// What "private" means at a glance.

import t from 'tap';

import { type EndpointReport, privacyOf, statusCommands, statusLine } from '../../src/control/status.js';

const endpoint = (more: Partial<EndpointReport>): EndpointReport => ({
  upstream: 'one',
  address: '192.0.2.1',
  port: 853,
  state: 'private',
  path: 'tls',
  authenticated: true,
  connections: 1,
  rttMs: 12.3,
  idleLimitMs: 8000,
  certificateEndsMs: undefined,
  failure: undefined,
  ...more,
});

await t.test('one word for how queries travel now', async t => {
  t.equal(privacyOf([]), 'none');
  t.equal(privacyOf([endpoint({})]), 'authenticated');
  t.equal(privacyOf([endpoint({ authenticated: false })]), 'encrypted');
  t.equal(
    privacyOf([endpoint({}), endpoint({ state: 'failed', path: 'refuse', authenticated: false })]),
    'authenticated',
  );
  t.equal(privacyOf([endpoint({ state: 'failed', path: 'refuse', authenticated: false })]), 'none');
  t.equal(
    privacyOf([endpoint({ state: 'failed', path: 'tls', authenticated: false })]),
    'none',
    'strict: it may be tried, but was not reached',
  );
  t.equal(privacyOf([endpoint({ state: 'looking', path: 'refuse', address: undefined })]), 'none');
  t.equal(
    privacyOf([endpoint({ state: 'failed', path: 'cleartext', authenticated: false })]),
    'cleartext',
    'opportunistic',
  );
  t.equal(privacyOf([endpoint({ state: 'probing', path: 'cleartext', authenticated: false })]), 'cleartext');
  t.equal(
    privacyOf([endpoint({}), endpoint({ state: 'failed', path: 'cleartext', authenticated: false })]),
    'authenticated',
    'a private server keeps others from being asked in cleartext',
  );
  t.equal(
    privacyOf([
      endpoint({ state: 'suspect', path: 'tls' }),
      endpoint({ state: 'failed', path: 'cleartext', authenticated: false }),
    ]),
    'partly',
  );
});

await t.test('a line for the service manager', async t => {
  t.equal(
    statusLine('strict', [endpoint({}), endpoint({ state: 'failed', path: 'refuse', authenticated: false })]),
    'strict: queries go over TLS, to servers that have proved who they are (1 of 2 server addresses reached)',
  );
  t.equal(
    statusLine('opportunistic', [endpoint({ path: 'cleartext', state: 'failed', authenticated: false })]),
    'opportunistic: queries go in cleartext (1 of 1 server address reached)',
  );
});

await t.test('why a server is not reached stands below the table', async t => {
  const { upstreams } = statusCommands({
    version: '1',
    mode: () => 'strict',
    dnssec: 'require',
    upMs: () => 0,
    cache: () => ({ entries: 0, bytes: 0 }),
    cacheBytes: 1,
    inflight: () => 0,
    listening: () => [],
    portalMs: () => 0,
    troubles: () => ['the clock is wrong'],
    report: () => [
      endpoint({}),
      endpoint({
        upstream: 'two',
        address: undefined,
        state: 'looking',
        path: 'refuse',
        authenticated: false,
        connections: 0,
        rttMs: undefined,
        failure: 'no address',
      }),
    ],
  });
  const reply = await upstreams.run([]);
  t.match(
    reply.ok && reply.text,
    /^server +address +state +identity +RTT +connections\none +192\.0\.2\.1 port 853 +over TLS +proved +12 ms +1\ntwo +address unknown +0\n\ntwo: no address$/,
  );
});
