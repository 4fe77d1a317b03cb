// The certificate of a listener changes while the daemon runs, in the ways in which programs renew certificates, and in
// those in which that goes wrong. What is in force is seen from a client, in status, in metrics and in the log.

import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { setTimeout as sleep } from 'node:timers/promises';

import t, { type Test } from 'tap';

import { certificate, type Identity } from '../fixtures/certificates.js';
import { queryMessage } from '../fixtures/client.js';
import { freePort } from '../fixtures/free-port.js';
import { eventually, Rig } from '../fixtures/rig.js';
import { until } from '../fixtures/until.js';
import { framed } from '../../src/wire/frame.js';

const DAY_MS = 86_400_000;

/** A daemon whose certificate is in a directory of its own. */
async function serving(t: Test, first: (rig: Rig) => Identity = rig => rig.issued('one.test')) {
  const rig = await Rig.make(t);
  const server = await rig.server('dns.test');
  const port = await freePort();
  mkdirSync(rig.path('live'));
  const at = { certificate: rig.path('live/fullchain.pem'), key: rig.path('live/privkey.pem') };
  const put = ({ cert, key }: Identity): void => {
    writeFileSync(at.certificate, cert);
    writeFileSync(at.key, key);
  };
  const start = async (): Promise<void> => {
    await rig.start({
      upstream: { servers: [server.entry] },
      listen_tls: { addresses: [`127.0.0.1:${port}`], ...at },
    });
  };
  put(first(rig));
  return { rig, port, at, put, start };
}

async function secured(t: Test, port: number): Promise<TLSSocket> {
  const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false });
  t.teardown(() => socket.destroy());
  await new Promise<void>((resolve, reject) => socket.once('secureConnect', () => resolve()).once('error', reject));
  return socket.on('error', () => undefined);
}

/** The name in the certificate that is shown. */
async function shown(t: Test, port: number): Promise<unknown> {
  const socket = await secured(t, port);
  const { CN: name } = socket.getPeerCertificate().subject;
  socket.destroy();
  return name;
}

/** The same, once that name should be in force. */
async function shownSoon(t: Test, rig: Rig, port: number, name: string): Promise<unknown> {
  await eventually(() => rig.overview().certificates?.[0]?.names, [name]);
  return shown(t, port);
}

const findings = (rig: Rig): readonly string[] =>
  rig
    .overview()
    .findings.map(({ id }) => id)
    .filter(id => id.startsWith('certificate'));

await t.test('a new pair comes into force, whatever way it takes, and no session is cut', async t => {
  const { rig, port, at, put, start } = await serving(t);
  // As certbot keeps them: links in one directory to files in another.
  const archive = (version: number, { cert, key }: Identity): void => {
    mkdirSync(rig.path('archive'), { recursive: true });
    writeFileSync(rig.path(`archive/fullchain${version}.pem`), cert);
    writeFileSync(rig.path(`archive/privkey${version}.pem`), key);
    for (const name of ['privkey', 'fullchain']) {
      rmSync(rig.path(`live/${name}.pem`));
      symlinkSync(`../archive/${name}${version}.pem`, rig.path(`live/${name}.pem`));
    }
  };
  archive(1, rig.issued('one.test'));
  await start();
  const session = await secured(t, port);
  const renewals: readonly [string, (next: Identity) => void][] = [
    ['links to other files', next => archive(2, next)],
    ['files that are written in place', put],
    [
      'files that are renamed over those of before',
      ({ cert, key }) => {
        writeFileSync(`${at.key}.new`, key);
        writeFileSync(`${at.certificate}.new`, cert);
        renameSync(`${at.key}.new`, at.key);
        renameSync(`${at.certificate}.new`, at.certificate);
      },
    ],
    [
      'a directory in place of the one before',
      ({ cert, key }) => {
        mkdirSync(rig.path('next'));
        writeFileSync(rig.path('next/fullchain.pem'), cert);
        writeFileSync(rig.path('next/privkey.pem'), key);
        renameSync(rig.path('live'), rig.path('before'));
        renameSync(rig.path('next'), rig.path('live'));
      },
    ],
  ];
  for (const [i, [title, renew]] of renewals.entries()) {
    const name = `renewed${i}.test`;
    const began = performance.now();
    renew(rig.issued(name));
    t.equal(await shownSoon(t, rig, port, name), name, title);
    t.comment(`after ${Math.round(performance.now() - began)} ms`);
    t.same(rig.overview().certificates?.[0]?.names, [name]);
  }
  t.same(findings(rig), []);
  const answered = new Promise(resolve => session.once('data', resolve));
  session.write(framed(queryMessage('www.example')));
  await answered;
  t.equal(rig.lines.filter(line => line.includes('is in force')).length, renewals.length, 'each is logged once');
});

await t.test('a key that follows its certificate later is waited for without a word', async t => {
  const { rig, port, at, start } = await serving(t);
  await start();
  const next = rig.issued('two.test');
  writeFileSync(at.certificate, next.cert);
  await sleep(1500);
  t.equal(await shown(t, port), 'one.test');
  writeFileSync(at.key, next.key);
  t.equal(await shownSoon(t, rig, port, 'two.test'), 'two.test');
  t.same(rig.lines.filter(line => line.includes('is not used')).length, 0);
});

/** What files may hold that cannot be used. */
const BROKEN: readonly [string, RegExp, (files: Awaited<ReturnType<typeof serving>>) => void][] = [
  ['the key of another', /cannot be used/, ({ rig, at }) => writeFileSync(at.key, rig.issued('other.test').key)],
  [
    'half of a certificate',
    /cannot be used/,
    ({ rig, at }) => writeFileSync(at.certificate, rig.issued('two.test').cert.slice(0, 300)),
  ],
  [
    'nothing that can be read',
    /cannot be read/,
    ({ at }) => {
      rmSync(at.certificate);
      mkdirSync(at.certificate);
    },
  ],
  [
    'a certificate that has expired',
    /has expired on/,
    ({ rig, put }) =>
      put(certificate({ common: 'old.test', names: ['old.test'], issuer: rig.ca, notAfter: new Date(Date.now() - 1) })),
  ],
];

for (const [title, words, spoil] of BROKEN)
  await t.test(`${title}: the certificate before stays, and everybody is told`, async t => {
    const files = await serving(t);
    const { rig, port, at, put, start } = files;
    await start();
    spoil(files);
    await until(() => findings(rig).length > 0, 'it is told');
    t.same(findings(rig), ['certificate_refused']);
    t.match(rig.overview().findings.find(({ id }) => id === 'certificate_refused')?.words, words);
    t.match(rig.overview().certificates?.[0]?.refused, words);
    t.equal((await rig.metrics()).get('dotstub_findings{finding="certificate_refused"}'), 1);
    t.equal(await shown(t, port), 'one.test');
    writeFileSync(join(at.key, '..', 'other'), 'x');
    await sleep(1000);
    t.equal(rig.lines.filter(line => line.includes('is not used')).length, 1, 'it is logged once');
    rmSync(at.certificate, { recursive: true });
    put(rig.issued('two.test'));
    t.equal(await shownSoon(t, rig, port, 'two.test'), 'two.test');
    t.same(await eventually(() => findings(rig), []), []);
  });

await t.test('a certificate that ends soon or has expired is served and told; a new one ends that', async t => {
  for (const [leftMs, words] of [
    [3 * DAY_MS + 60_000, /ends in 3 d/],
    [-DAY_MS, /has expired on/],
  ] as const) {
    const { rig, port, put, start } = await serving(t, made => {
      const dates = { notBefore: new Date(Date.now() - 60 * DAY_MS), notAfter: new Date(Date.now() + leftMs) };
      return certificate({ common: 'one.test', names: ['one.test'], issuer: made.ca, ...dates });
    });
    await start();
    t.equal(await shown(t, port), 'one.test');
    t.match(rig.health, words);
    t.same(findings(rig), ['certificate_dates']);
    await until(() => rig.lines.some(line => line.includes('the certificate ')), 'it is logged');
    const ends =
      (await rig.metrics()).get('dotstub_listener_certificate_expiry_timestamp_seconds{listener="tls"}') ?? 0;
    t.ok(Math.abs(ends * 1000 - Date.now() - leftMs) < 60_000, 'the metric says when it ends');
    put(rig.issued('two.test'));
    t.equal(await shownSoon(t, rig, port, 'two.test'), 'two.test');
    t.same(findings(rig), []);
  }
});

await t.test('a reload that changes something else keeps the certificate that came into force by itself', async t => {
  const { rig, port, at, put, start } = await serving(t);
  await start();
  put(rig.issued('two.test'));
  t.equal(await shownSoon(t, rig, port, 'two.test'), 'two.test');
  const tls = { addresses: [`127.0.0.1:${port}`], ...at };
  const { now } = await rig.reload({ listen_tls: tls, cache: { max_ttl: '100s' } });
  t.ok(now.includes('cache.max_ttl') && !now.includes('listen_tls.certificate'), now.join(', '));
  t.equal(await shown(t, port), 'two.test');
});
