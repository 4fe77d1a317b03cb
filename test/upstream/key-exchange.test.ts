// The key exchange of connections: what is said about it, and what is required of it.

import { randomBytes } from 'node:crypto';
import type { TlsOptions } from 'node:tls';

import t from 'tap';

import type { Connected } from '../../src/base/ports.js';
import { groupLabel, groupName, HYBRID_GROUPS, TLS_GROUPS } from '../../src/base/tls-groups.js';
import { systemClock } from '../../src/os/clock.js';
import { systemFiles } from '../../src/run/files.js';
import { dialer, hybridGroups } from '../../src/upstream/dial.js';
import { authority, certificate } from '../fixtures/certificates.js';
import { dotServer } from '../fixtures/dot-server.js';

const ca = authority();
const identity = certificate({ common: 'x', names: ['dns.test'], issuer: ca });
const security = { at: 'authenticated', name: 'dns.test', pins: [], pinPolicy: 'pin_and_pkix' } as const;
const hasPq = hybridGroups().length > 0;
const withoutPq = !hasPq && 'this OpenSSL has no post-quantum key exchange';

/** Dials a server with each of these options in turn, at one port; tickets go from one to the next. */
async function shown(
  servers: readonly TlsOptions[],
  requirePq = false,
): Promise<(Partial<Connected> & { readonly detail?: string })[]> {
  const dial = dialer({ ca: ca.cert, client: undefined, clock: systemClock, requirePq });
  const found: (Partial<Connected> & { readonly detail?: string })[] = [];
  const ticketKeys = randomBytes(48);
  let port = 0;
  for (const tls of servers) {
    const server = await dotServer({
      identity,
      handler: (query, session) => session.reply(query),
      port,
      tls: { ticketKeys, ...tls },
    });
    ({ port } = server);
    found.push(
      await new Promise(resolve => {
        let told: Partial<Connected> = {};
        const stream = dial(
          { address: '127.0.0.1', port, security },
          {
            connected: info => void (told = info),
            bytes: () => {
              stream.close();
              resolve(told);
            },
            closed: why => resolve({ detail: why?.detail ?? 'closed' }),
          },
        );
        stream.send(Buffer.from([0, 1, 42]));
      }),
    );
    await server.close();
  }
  return found;
}

await t.test('the group of each connection is shown, also of one whose session is resumed', async t => {
  const [full, resumed, other] = await shown([
    { ecdhCurve: 'X25519' },
    { ecdhCurve: 'X25519' },
    { ecdhCurve: 'P-256' },
  ]);
  t.match(full, { protocol: 'TLSv1.3', resumed: false, group: 'x25519' });
  t.match(resumed, { protocol: 'TLSv1.3', resumed: true, group: 'x25519' });
  t.match(other, { resumed: true, group: 'secp256r1' }, 'a resumed session has a key exchange of its own');
  const [first, second] = await shown([{ maxVersion: 'TLSv1.2' }, { maxVersion: 'TLSv1.2' }]);
  t.match(first, { protocol: 'TLSv1.2', resumed: false, group: 'x25519' });
  t.match(second, { protocol: 'TLSv1.2', resumed: true });
  t.equal(second?.group, undefined, 'and one of TLS 1.2 has none');
});

await t.test('a post-quantum group is negotiated where both sides know it', { skip: withoutPq }, async t => {
  for (const [i, { resumed, group }] of (await shown([{}, {}])).entries()) {
    t.equal(group, 'X25519MLKEM768');
    t.equal(resumed, i === 1);
  }
});

await t.test('require_pq: every hybrid group will do, and nothing else', { skip: withoutPq }, async t => {
  for (const group of hybridGroups())
    for (const info of await shown([{ ecdhCurve: group }, { ecdhCurve: group }], true)) t.match(info, { group });
  for (const tls of [{ ecdhCurve: 'X25519' }, { ecdhCurve: 'P-256' }, { maxVersion: 'TLSv1.2' }] as const)
    t.match(
      await shown([tls], true),
      [{ detail: /it offers no post-quantum key exchange in TLS 1\.3, and upstream\.tls\.require_pq allows no other/ }],
      JSON.stringify(tls),
    );
  const [, downgraded] = await shown([{}, { ecdhCurve: 'X25519' }], true);
  t.match(downgraded, { detail: /require_pq/ }, 'a ticket does not help a server that has lost it');
});

await t.test('require_pq is refused at start where OpenSSL has no such group', async t => {
  const check = (): void => systemFiles.checkPq('upstream.tls.require_pq');
  if (hasPq) t.doesNotThrow(check);
  else
    t.throws(
      check,
      /^upstream\.tls\.require_pq: Node\.js \S+ with OpenSSL \S+ has no post-quantum key exchange\. Run dotstub with a Node\.js that has OpenSSL 3\.5/,
    );
  t.end();
});

await t.test('metrics have a bounded number of groups', async t => {
  for (const group of HYBRID_GROUPS) t.equal(groupLabel(group), group);
  t.equal(groupLabel(groupName('prime256v1')), 'secp256r1');
  t.equal(groupLabel('ffdhe2048'), 'other');
  t.equal(groupLabel('invented by a server'), 'other');
  t.ok(TLS_GROUPS.length <= 9);
  t.end();
});
