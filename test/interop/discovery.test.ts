// Clients that are told one address find DNS over TLS there by themselves (RFC 9462), in a namespace of their own.
// Debian packages: iproute2 knot-dnsutils systemd-resolved (see UNPACKED in test/fixtures/servers.ts) util-linux.

import { execFile } from 'node:child_process';

import t, { type Test } from 'tap';

import { mayMount } from '../fixtures/mounts.js';
import { missing } from '../fixtures/servers.js';

const isRoot = process.getuid?.() === 0;
const skip = isRoot && mayMount ? missing('unshare', 'ip') : 'needs root for namespaces';

/** Runs a client; returns what it has found. */
async function found(client: string): Promise<unknown> {
  const script = `
    set -e
    ip link set lo up
    ip addr add 192.168.77.1/32 dev lo
    ${process.execPath} --import=tsx test/interop/discovering.ts ${client}`;
  const out = await new Promise<string>(resolve => {
    execFile('unshare', ['--net', '--mount', 'sh', '-c', script], { timeout: 90_000 }, (_error, stdout, stderr) =>
      resolve(stdout + stderr),
    );
  });
  const line = out.split('\n').find(each => each.startsWith('{"found'));
  if (line === undefined) throw new Error(out);
  return (JSON.parse(line) as { found: unknown }).found;
}

const HINT = '1 dns.home.test. alpn=dot port=8853 ipv4hint=192.168.77.1';

await t.test('kdig reads what is told, and gets answers there', { skip: skip || missing('kdig') }, async (t: Test) => {
  t.match(await found('kdig'), {
    hint: `${HINT}\n`,
    whole: /ADDITIONAL SECTION:\s+dns\.home\.test\.\s+300\s+IN\s+A\s+192\.168\.77\.1/,
    tls: /TLS session[^]*192\.0\.2\.80/,
  });
});

await t.test('another dotstub moves to DNS over TLS, and the listener proves who it is', { skip }, async (t: Test) => {
  t.match(await found('dotstub'), {
    tls: true,
    upstreams: { data: [{ origin: 'designated', port: 8853, state: 'private', authenticated: true }] },
  });
});

await t.test('it does not where the certificate does not hold the address (§4.2)', { skip }, async (t: Test) => {
  t.match(await found('dotstub-unverified'), {
    tls: false,
    upstreams: {
      data: [{ origin: 'designated', state: 'failed', failure: /192\.168\.77\.9, not for 192\.168\.77\.1/ }],
    },
  });
});

await t.test(
  'systemd-resolved with DNSOverTLS=yes uses the listener under its name, and under no other',
  { skip: skip || missing('kdig', 'systemd-resolved') },
  async (t: Test) => {
    const { tls, after, ...said } = (await found('resolved')) as { readonly tls: number; readonly after: number };
    t.match(said, { good: /127\.0\.0\.1[^]*NOERROR[^]*192\.0\.2\.80/, bad: /127\.0\.0\.1[^]*(?:SERVFAIL|silence)/ });
    t.ok(tls > 0);
    t.equal(after, tls, 'nothing was asked under the other name');
  },
);
