// TLSA records of zones that BIND's tools have signed and NSD serves, for an Unbound that speaks DNS over TLS: it passes
// them on to whoever asks, before it is authenticated by them. Debian packages: unbound nsd bind9-utils ldnsutils.

import { createHash, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';

import t from 'tap';

import { ask, type At } from '../fixtures/client.js';
import { freePort } from '../fixtures/free-port.js';
import { startDotstub } from '../fixtures/program.js';
import { bench, missing } from '../fixtures/servers.js';
import { recursor, serveWorld, signWorld, WORLD_PROGRAMS, type ZoneSpec } from '../fixtures/signed-world.js';

const ECDSA = 'ECDSAP256SHA256';
const ZONES: readonly ZoneSpec[] = [
  { name: '.', algorithm: 'RSASHA256' },
  { name: 'nsec.', algorithm: ECDSA },
  { name: 'nsec3.', algorithm: ECDSA, denial: 'nsec3' },
  { name: 'plain.' },
  { name: 'expired.nsec.', algorithm: ECDSA, signing: ['-s', '20240101000000', '-e', '20240201000000'] },
];

/** The records of each zone. The port of the server is not known yet, so a wildcard stands for it. */
const recordsWith = (digest: string): string => `
www 300 A 192.0.2.80
ns 300 A 127.0.0.1
*._tcp.dns 300 TLSA 3 1 1 ${digest}
*._tcp.rolling 300 TLSA 3 1 1 ${'ab'.repeat(32)}
*._tcp.rolling 300 TLSA 3 1 1 ${digest}
*._tcp.wrong 300 TLSA 3 1 1 ${'ab'.repeat(32)}
*._tcp.useless 300 TLSA 9 1 1 ${digest}
alias 300 CNAME dns
none 300 A 127.0.0.1
`;

/** Asks a daemon whose only server has this name, and says what the client and the log say. */
async function asked(upstream: At, anchors: readonly string[], name: string): Promise<string> {
  const port = await freePort();
  const program = await startDotstub(`
listen: ["127.0.0.1:${port}"]
metrics: { listen: off }
log: { level: info, format: text }
upstream: { servers: [{ name: ${name}, addresses: ["127.0.0.1:${upstream.port}"], dane: true }] }
dnssec: { trust_anchors: [${anchors.map(each => JSON.stringify(each)).join(', ')}] }
`);
  const { text } = await ask({ address: '127.0.0.1', port }, 'www.nsec', { dnssec: true, timeoutMs: 8000 });
  const how = /identity proved by DANE/.test(program.log()) ? ', proved by DANE' : '';
  const why = text.extendedErrors.map(each => each.text).join('; ');
  await program.stop();
  return `${text.rcode}${text.flags.includes('ad') ? ' secure' : ''}${how}${why}`;
}

await t.test('TLSA records from Unbound and NSD', { skip: missing(...WORLD_PROGRAMS) }, async t => {
  const on = bench(t);
  const { publicKey } = new X509Certificate(readFileSync(on.certFile));
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const anchors = await signWorld(on.path, ZONES, () => recordsWith(createHash('sha256').update(spki).digest('hex')));
  const upstream = await recursor(on, await serveWorld(on, on.path, ZONES));

  const proved = 'NOERROR secure, proved by DANE';
  for (const name of ['dns.nsec', 'dns.nsec3', 'rolling.nsec', 'rolling.nsec3', 'alias.nsec', 'alias.nsec3'])
    t.equal(await asked(upstream, anchors, name), proved, name);
  const refusals: readonly (readonly [string, RegExp])[] = [
    ['wrong.nsec', /^SERVFAIL.*no TLSA record of _\d+\._tcp\.wrong\.nsec\. matches/],
    ['useless.nsec3', /^SERVFAIL.*none of the 1 TLSA records of _\d+\._tcp\.useless\.nsec3\. can be used/],
    ['none.nsec', /^SERVFAIL.*there are no TLSA records at _\d+\._tcp\.none\.nsec\./],
    ['none.nsec3', /^SERVFAIL.*there are no TLSA records at _\d+\._tcp\.none\.nsec3\./],
    ['dns.plain', /^SERVFAIL.*_\d+\._tcp\.dns\.plain\. is in a zone that is not signed/],
    ['dns.expired.nsec', /^SERVFAIL.*are bogus: a signature has expired/],
  ];
  const seen = await Promise.all(refusals.map(async ([name]) => asked(upstream, anchors, name)));
  for (const [i, [name, why]] of refusals.entries()) t.match(seen[i], why, name);
});
