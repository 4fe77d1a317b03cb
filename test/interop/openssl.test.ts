// OpenSSL's server with certificates that are good, expired, for another name, self-signed, or without their intermediate. The test
// is which of them is accepted, in a full handshake and with a ticket. Debian package: openssl.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import t from 'tap';

import { systemClock } from '../../src/os/clock.js';
import { dialer } from '../../src/upstream/dial.js';
import { authority, certificate, type Identity } from '../fixtures/certificates.js';
import { freePort } from '../fixtures/free-port.js';
import { bench, missing, start } from '../fixtures/servers.js';

const DAY_MS = 86_400_000;
const ca = authority();
const past = { notBefore: new Date(Date.now() - 3 * DAY_MS), notAfter: new Date(Date.now() - DAY_MS) };
const middle = certificate({ common: 'middle', ca: true, issuer: ca });
const leaf = certificate({ common: 'x', names: ['dns.test'], issuer: middle });
const cases: readonly (readonly [what: string, identity: Identity, outcome: RegExp])[] = [
  ['good', certificate({ common: 'x', names: ['dns.test'], issuer: ca }), /^full, then resumed$/],
  ['good, with its intermediate', { ...leaf, cert: leaf.cert + middle.cert }, /^full, then resumed$/],
  ['without its intermediate', leaf, /intermediate/],
  ['expired', certificate({ common: 'x', names: ['dns.test'], issuer: ca, ...past }), /expired/],
  [
    'for another name',
    certificate({ common: 'x', names: ['other.test'], issuer: ca }),
    /for other\.test, not for dns\.test/,
  ],
  ['self-signed', certificate({ common: 'x', names: ['dns.test'] }), /self-signed/],
];

for (const [what, identity, outcome] of cases) {
  await t.test(what, { skip: missing('openssl') }, async t => {
    const on = bench(t);
    const port = await freePort();
    writeFileSync(join(on.path, 'chain.pem'), identity.cert);
    writeFileSync(join(on.path, 'own.key'), identity.key);
    // -rev sends each line back reversed. That proves that the line was sent, and that tickets have arrived.
    await start(
      on,
      'openssl',
      [
        's_server',
        '-accept',
        `127.0.0.1:${port}`,
        '-cert_chain',
        'chain.pem',
        '-cert',
        'chain.pem',
        '-key',
        'own.key',
        '-rev',
        '-quiet',
      ],
      port,
    );
    const dial = dialer({ ca: ca.cert, client: undefined, clock: systemClock });
    const once = async (): Promise<string> =>
      new Promise(resolve => {
        let how = '';
        const stream = dial(
          {
            address: '127.0.0.1',
            port,
            security: { at: 'authenticated', name: 'dns.test', pins: [], pinPolicy: 'pin_and_pkix' },
          },
          {
            connected({ resumed }) {
              how = resumed ? 'resumed' : 'full';
              stream.send(Buffer.from('hello\n'));
            },
            bytes() {
              stream.close();
              resolve(how);
            },
            closed: why => resolve(why?.detail ?? 'closed'),
          },
        );
      });
    const first = await once();
    t.match(`${first}${first === 'full' ? `, then ${await once()}` : ''}`, outcome);
  });
}
