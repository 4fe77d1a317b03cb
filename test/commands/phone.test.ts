// `dotstub phone`: what phones accept, the profile, and the page that is there for some minutes and for some clients.

import { execFileSync, spawn } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createServer } from 'node:tls';

import t, { type Test } from 'tap';

import { wallMs } from '../../src/base/time.js';
import { ledTo, nameFor, obstaclesOf, type ShownToPhones } from '../../src/commands/phone-checks.js';
import { look } from '../../src/commands/phone-look.js';
import { areOnlyAtHome, profile } from '../../src/commands/phone-profile.js';
import { PAGE_MS, PhoneSite } from '../../src/commands/phone-site.js';
import { networkMatcher } from '../../src/policy/access.js';
import { judgeChain } from '../../src/upstream/fetch-chain.js';
import { authority, certificate, type CertificateOptions, type Identity } from '../fixtures/certificates.js';
import { fakeClock } from '../fixtures/clock.js';
import { setting } from '../fixtures/daemon.js';
import { freePort } from '../fixtures/free-port.js';
import { dotstub, PROGRAM, startDotstub, temporaryDirectory } from '../fixtures/program.js';
import { missing } from '../fixtures/servers.js';

const NAME = 'dns.test';
const DAY_MS = 86_400_000;
const directory = temporaryDirectory();
t.teardown(() => directory.remove());
const at = (name: string): string => join(directory.path, name);

const root = authority('root');
const between = certificate({ common: 'between', ca: true, issuer: root });
const leaf = (more: Partial<CertificateOptions> = {}): Identity =>
  certificate({ common: NAME, names: [NAME], issuer: between, usages: ['serverAuth'], ...more });
const lasting = (days: number): Partial<CertificateOptions> => {
  const startsMs = Math.floor(Date.now() / 1000) * 1000 - 3_600_000;
  return { notBefore: new Date(startsMs), notAfter: new Date(startsMs + days * DAY_MS) };
};
const chained = (identity: Identity): Pick<Identity, 'cert' | 'key'> => ({
  cert: identity.cert + between.cert,
  key: identity.key,
});

/** A self-signed authority and leaf in one, as OpenSSL makes it. */
function byOpenssl(kind: string, ...args: string[]): Pick<Identity, 'cert' | 'key'> {
  const [key, cert] = [at(`${kind}.key`), at(`${kind}.pem`)];
  const more = [
    '-subj',
    `/CN=${NAME}`,
    '-addext',
    `subjectAltName=DNS:${NAME}`,
    '-addext',
    'extendedKeyUsage=serverAuth',
  ];
  execFileSync('openssl', ['req', '-x509', '-nodes', ...args, '-keyout', key, '-out', cert, '-days', '30', ...more], {
    stdio: 'ignore',
  });
  return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') };
}

/** What a server with this certificate shows, judged by these roots. */
async function shown(t: Test, { cert, key }: Pick<Identity, 'cert' | 'key'>, roots: string): Promise<ShownToPhones> {
  // Newer OpenSSL does not even take a short key.
  const server = createServer({ cert, key, ciphers: 'DEFAULT@SECLEVEL=0' }, socket =>
    socket.on('error', () => undefined).end(),
  );
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const address = server.address();
  const port = address !== null && typeof address === 'object' ? address.port : 0;
  const judged = await judgeChain({ host: '127.0.0.1', port, name: NAME, alpn: ['dot'] }, [roots]);
  if (typeof judged === 'string') throw new Error(judged);
  return { ...judged, name: NAME, option: 'listen_tls.certificate', isOwnAuthority: false, nowMs: Date.now() };
}

/** Whether OpenSSL takes a chain for the server, by these roots, at the level that phones ask for. */
function opensslTakes(cert: string, roots: string): boolean {
  const [own = '', ...others] = cert.match(/-----BEGIN[\s\S]+?-----END CERTIFICATE-----\n?/g) ?? [];
  writeFileSync(at('leaf'), own);
  writeFileSync(at('others'), others.join(''));
  writeFileSync(at('roots'), roots);
  const untrusted = others.length === 0 ? [] : ['-untrusted', at('others')];
  const args = ['-purpose', 'sslserver', '-auth_level', '2', '-verify_hostname', NAME, '-no-CApath', '-no-CAstore'];
  try {
    execFileSync('openssl', ['verify', ...args, '-CAfile', at('roots'), ...untrusted, at('leaf')], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

await t.test(
  'what OpenSSL refuses, phones refuse, and the reason is told; what it takes, only rules of theirs can refuse',
  { skip: missing('openssl') },
  async t => {
    const one = leaf();
    const stranger = authority('stranger');
    const selfSigned = certificate({ common: NAME, names: [NAME], usages: ['serverAuth'] });
    const sha1 = byOpenssl('sha1', '-newkey', 'rsa:2048', '-sha1');
    const short = byOpenssl('short', '-newkey', 'rsa:1024');
    const p521 = byOpenssl('p521', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-521');
    const ed25519 = byOpenssl('ed25519', '-newkey', 'ed25519');
    const rsa = byOpenssl('rsa', '-newkey', 'rsa:2048');
    type Case = [
      what: string,
      Pick<Identity, 'cert' | 'key'>,
      roots: string,
      phones: string,
      words: RegExp | undefined,
    ];
    const cases: Case[] = [
      ['whole chain', chained(one), root.cert, '', undefined],
      ['398 days', chained(leaf(lasting(398))), root.cert, '', undefined],
      ['RSA', rsa, rsa.cert, '', undefined],
      ['leaf alone', one, root.cert, 'android apple', /comes alone, and its issuer \(CN=between\)/],
      [
        'stranger',
        chained(one),
        stranger.cert,
        'android apple',
        /\(from CN=between\) leads to none of the authorities/,
      ],
      ['self-signed', selfSigned, root.cert, 'android apple', /is self-signed/],
      [
        'expired',
        chained(leaf({ notAfter: new Date(Date.now() - 1000) })),
        root.cert,
        'android apple',
        /has expired on/,
      ],
      [
        'early',
        chained(leaf({ notBefore: new Date(Date.now() + DAY_MS), notAfter: new Date(Date.now() + 2 * DAY_MS) })),
        root.cert,
        'android apple',
        /is not valid before/,
      ],
      [
        'another name',
        chained(leaf({ names: ['x.test'] })),
        root.cert,
        'android apple',
        /is for x\.test, not for dns\.test/,
      ],
      ['for clients', chained(leaf({ usages: ['clientAuth'] })), root.cert, 'android apple', /not for TLS servers/],
      ['forged', chained(leaf({ signer: stranger })), root.cert, 'android apple', /a signature in the chain/],
      ['399 days', chained(leaf(lasting(399))), root.cert, 'apple', /valid for 399 days, and iPhones accept 398/],
      [
        'no usage',
        chained(certificate({ common: NAME, names: [NAME], issuer: between })),
        root.cert,
        'apple',
        /does not say that it is for TLS/,
      ],
      ['SHA-1', sha1, root.cert, 'android apple', /signed in a way that phones do not accept/],
      ['short key', short, short.cert, 'android apple', /too short: RSA with 1024 bits/],
      ['P-521', p521, p521.cert, 'android', /curve P-521/],
      ['Ed25519', ed25519, ed25519.cert, 'android apple', /kind of key of the certificate \(ed25519\)/],
    ];
    const OWN_RULES = new Set(['399 days', 'no usage', 'P-521', 'Ed25519']);
    for (const [what, identity, roots, phones, words] of cases) {
      const obstacles = obstaclesOf(await shown(t, identity, roots));
      const kept = [...new Set(obstacles.flatMap(each => each.phones))].sort().join(' ');
      t.equal(kept, phones, what);
      if (words !== undefined) t.match(obstacles.map(each => each.words).join('; '), words, what);
      for (const each of obstacles) t.not(each.advice, '', what);
      t.equal(opensslTakes(identity.cert, roots), phones === '' || OWN_RULES.has(what), `OpenSSL: ${what}`);
    }
  },
);

await t.test('certificates of an authority of one’s own may be valid for 825 days', async t => {
  for (const [days, count] of [
    [825, 0],
    [826, 1],
  ] as const) {
    const judged = await shown(t, chained(leaf(lasting(days))), root.cert);
    t.equal(obstaclesOf({ ...judged, isOwnAuthority: true }).length, count, `${days} days`);
  }
});

await t.test('the name is the one that was given, else the first of the certificate that is no wildcard', async t => {
  t.equal(nameFor({ names: ['*.a.test', 'b.test'] }, undefined), 'b.test');
  t.equal(nameFor({ names: ['b.test'] }, 'c.a.test'), 'c.a.test');
  t.match(nameFor({ names: ['*.a.test'] }, undefined), { advice: /dotstub phone dns\.a\.test/ });
  t.match(nameFor({ names: [] }, undefined), { words: /no DNS name/ });
  const wildcard = await shown(t, chained(leaf({ names: ['*.dns.test'] })), root.cert);
  t.same(obstaclesOf({ ...wildcard, name: 'a.dns.test' }), [], 'a wildcard is for the names in it');
});

await t.test('addresses lead here in whatever form they are written', async t => {
  t.same(ledTo(['192.0.2.1', 'fd00:0::2'], ['192.0.2.2', 'fd00::2']), ['fd00::2']);
  t.same(ledTo([], ['192.0.2.2']), []);
  t.ok(areOnlyAtHome(['192.168.1.2', 'fd00::2']));
  t.ok(areOnlyAtHome(['192.168.1.2', '2001:470:1:2::5']), 'one of them leads nowhere elsewhere');
  t.notOk(areOnlyAtHome(['9.9.9.9', '2001:470:1:2::5']));
});

const FACTS = { host: 'box', name: NAME, addresses: ['192.168.1.2', 'fd00::2'], url: undefined, authorities: [] };

/** A property list, as Python reads it. */
function plist(text: string): Record<string, unknown> {
  const program =
    'import json,plistlib,sys; print(json.dumps(plistlib.loads(sys.stdin.buffer.read()), default=lambda o: o.hex()))';
  return JSON.parse(execFileSync('python3', ['-c', program], { input: text, encoding: 'utf8' })) as Record<
    string,
    unknown
  >;
}

await t.test('a profile is a property list with the DNS settings of Apple', { skip: missing('python3') }, async t => {
  const overTls = plist(profile(FACTS));
  t.match(overTls, {
    PayloadType: 'Configuration',
    PayloadVersion: 1,
    PayloadContent: [
      {
        PayloadType: 'com.apple.dnsSettings.managed',
        DNSSettings: { DNSProtocol: 'TLS', ServerName: NAME, ServerAddresses: FACTS.addresses },
        OnDemandRules: [{ Action: 'Connect', DNSServerAddressMatch: FACTS.addresses }, { Action: 'Disconnect' }],
      },
    ],
  });
  t.equal(profile(FACTS), profile({ ...FACTS }), 'a new one takes the place of the old one');
  const url = `https://${NAME}:8443/dns-query`;
  const overHttps = plist(profile({ ...FACTS, url, addresses: ['2001:db8::2'] }));
  t.match(overHttps, { PayloadContent: [{ DNSSettings: { DNSProtocol: 'HTTPS', ServerURL: url } }] });
  t.notMatch(JSON.stringify(overHttps), /OnDemandRules|ServerName/, 'a public address is asked everywhere');
  t.not(overHttps['PayloadUUID'], overTls['PayloadUUID']);
  const strange = 'a<b>&"c"\u0001';
  const der = new X509Certificate(root.cert).raw;
  t.match(plist(profile({ ...FACTS, host: strange, authorities: [der] })), {
    PayloadDisplayName: 'Private DNS of a<b>&"c"',
    PayloadContent: [{}, { PayloadType: 'com.apple.security.root', PayloadContent: der.toString('hex') }],
  });
});

interface Got {
  readonly status: number;
  readonly fields: NodeJS.Dict<string | string[]>;
  readonly body: string;
}

/** @returns undefined: the connection was closed without a reply */
async function fetched(url: string, from?: string): Promise<Got | undefined> {
  return new Promise(resolve => {
    const request = get(url, { ...(from === undefined ? {} : { localAddress: from }), agent: false }, response => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, fields: response.headers, body }));
    });
    request.on('error', () => resolve(undefined));
  });
}

await t.test('the page is there for ten minutes, under its path, for clients that may ask', async t => {
  const clock = fakeClock();
  const told: string[] = [];
  const mayAsk = networkMatcher([{ address: '127.0.0.1', prefix: 32 }]);
  const site = new PhoneSite(
    { clock, mayAsk, tell: words => void told.push(words) },
    { page: 'the page', profiles: new Map([['x.mobileconfig', 'the profile']]) },
  );
  t.teardown(() => site.close());
  const url = await site.open('127.0.0.1', 0);
  t.match(url, /^http:\/\/127\.0\.0\.1:\d+\/[\w-]{22}\/$/);
  const got = async (path: string): Promise<Got | undefined> => {
    const reply = fetched(path);
    // Replies of one connection have a pace, by this clock.
    await clock.advance(30);
    return reply;
  };
  t.match(await got(url), { status: 200, body: 'the page' });
  t.match(await got(url), { fields: { 'content-security-policy': /default-src 'none'/, 'cache-control': 'no-store' } });
  t.match(await got(`${url}x.mobileconfig`), {
    ...{ status: 200, body: 'the profile' },
    fields: { 'content-type': 'application/x-apple-aspen-config' },
  });
  const origin = new URL(url).origin;
  for (const path of ['/', '/x.mobileconfig', `/${'A'.repeat(22)}/`, `${new URL(url).pathname}y`, '/..//'])
    t.match(await got(origin + path), { status: 404 }, path);
  t.equal(await fetched(url, '127.0.0.2'), undefined, 'no client of access.allow');
  t.same(told, [
    '127.0.0.1 has opened the page.',
    '127.0.0.1 has taken the profile x.mobileconfig.',
    '127.0.0.2 was turned away: it is in no network of access.allow.',
  ]);
  const kept = connect(Number(new URL(url).port), '127.0.0.1');
  kept.on('error', () => undefined);
  const closed = new Promise(resolve => kept.once('close', resolve));
  await new Promise(resolve => kept.once('connect', resolve));
  await clock.advance(PAGE_MS - 60_000);
  t.match(await got(url), { status: 200 }, 'a minute before its end');
  await clock.advance(60_000);
  await site.over;
  await closed;
  t.equal(await fetched(url), undefined, 'it is over');
});

const daemonText = (port: number, file: string, more = ''): string => `
listen: ["127.0.0.1:${port}"]
metrics: { listen: off }
upstream: { mode: off, servers: [{ addresses: ["127.0.0.1:9"] }] }
access: { allow: ["127.0.0.1/32"] }
local: { records: ["${NAME}. 300 A 127.0.0.1"] }
${more.replaceAll('PAIR', `certificate: ${file}.pem, key: ${file}.key`)}
`;

function written(name: string, { cert, key }: Pick<Identity, 'cert' | 'key'>): string {
  writeFileSync(at(`${name}.pem`), cert);
  writeFileSync(at(`${name}.key`), key);
  return at(name);
}

await t.test('the command serves page and profile over HTTP until it is ended', async t => {
  const httpsPort = await freePort();
  writeFileSync(at('root.pem'), root.cert);
  const more = `listen_https: { addresses: ["127.0.0.1:${httpsPort}"], path: /dns, PAIR }`;
  const daemon = await startDotstub(daemonText(await freePort(), written('pair', chained(leaf())), more));
  t.teardown(async () => daemon.stop());
  const common = ['phone', '--config', daemon.configFile, '--address', '127.0.0.1'];
  const alone = await dotstub([...common.slice(0, 3), '--check']);
  t.match(alone, { code: 1, stderr: /listens for TLS and HTTPS at 127\.0\.0\.1 only, which no phone reaches/ });
  const unknown = await dotstub(common);
  t.match(unknown, { code: 1, stderr: /leads to none of the authorities that phones come with.*\n {2}to do: / });
  t.notMatch(unknown.stdout, /http:/, 'nothing is served');
  const ca = ['--ca', at('root.pem')];
  t.match(await dotstub([...common, ...ca, '--check']), {
    code: 0,
    stdout: /iPhones accept dns\.test at 127\.0\.0\.1/,
  });
  const [program = '', ...args] = PROGRAM;
  const port = await freePort();
  const child = spawn(program, [...args, ...common, ...ca, '--json', '--port', String(port)]);
  t.teardown(() => child.kill('SIGKILL'));
  const line = await new Promise<string>(resolve =>
    child.stdout.once('data', (chunk: Buffer) => resolve(String(chunk))),
  );
  const data = JSON.parse(line) as { url: string; until_ms: number };
  t.match(data, {
    ok: true,
    url: `http://127.0.0.1:${port}/`,
    services: [{ transport: 'https', name: NAME, own_authority: true, url: `https://${NAME}:${httpsPort}/dns` }],
  });
  t.ok(Math.abs(data.until_ms - Date.now() - PAGE_MS) < 30_000);
  const page = await fetched(data.url);
  t.match(page, {
    status: 200,
    fields: { 'content-type': 'text/html; charset=utf-8' },
    body: /dns\.test at 127\.0\.0\.1/,
  });
  const [, href = ''] = /href="([^"]+)"/.exec(page?.body ?? '') ?? [];
  if (missing('python3') === false)
    t.match(plist((await fetched(data.url + href))?.body ?? ''), {
      PayloadContent: [
        { DNSSettings: { DNSProtocol: 'HTTPS', ServerURL: `https://${NAME}:${httpsPort}/dns` } },
        { PayloadType: 'com.apple.security.root' },
      ],
    });
  t.equal(await fetched(data.url, '127.0.0.2'), undefined, 'no client of access.allow');
  const ended = new Promise(resolve => child.once('exit', resolve));
  child.kill('SIGINT');
  t.equal(await ended, 0);
  t.equal(await fetched(data.url), undefined);
});

await t.test('where nothing listens for phones, or usage is bad, the exit code says so', async t => {
  const nowhere = ['--socket', at('no.sock')];
  t.match(await dotstub(['phone', ...nowhere]), { code: 1, stderr: /no\.sock: there is no such socket/ });
  const daemon = await startDotstub(daemonText(await freePort(), 'x'));
  t.teardown(async () => daemon.stop());
  const plain = await dotstub(['phone', '--config', daemon.configFile, '--json']);
  t.match(plain, { code: 1, stdout: /"ok":false.*listens for neither TLS nor HTTPS/ });
  for (const [args, words] of [
    [['a', 'b'], /unexpected argument: b/],
    [['a..b'], /not a host name/],
    [['--address', 'x'], /not an IP address/],
    [['--port', '0'], /1 to 65535/],
    [['--ca', '/dev/null'], /cannot be used/],
    [['--ca', written('leaf', leaf()) + '.pem'], /not that of an authority/],
    [['--minutes', '5'], /Unknown option/],
  ] as const)
    t.match(await dotstub(['phone', ...nowhere, ...args]), { code: 2, stderr: words }, args.join(' '));
});

await t.test('with a public certificate, Android needs the port, and a name that leads here', async t => {
  const file = written('public', chained(leaf()));
  const [tls, https] = [await freePort(), await freePort()];
  const setUp = await setting(t, {
    config: `
listen_tls: { addresses: ["127.0.0.1:${tls}"], certificate: ${file}.pem, key: ${file}.key }
listen_https: { addresses: ["127.0.0.1:${https}"] }
local: { records: ["${NAME}. 300 A 192.0.2.7"], own_zones: [test] }
`,
  });
  const seen = async (listeners = setUp.overview().listening, name?: string) =>
    look({
      ...{ listeners, address: '127.0.0.1', name, authorities: [], roots: [root.cert] },
      ...{ path: '/dns-query', nowMs: wallMs(Date.now()) },
    });
  const words = ({ obstacles }: Awaited<ReturnType<typeof seen>>): string =>
    obstacles.map(each => `${each.phones.join(' ')}: ${each.words}`).join('\n');
  const wrong = await seen();
  t.match(words(wrong), `android apple: listen_tls listens on port ${tls}, and phones ask port 853 alone`);
  t.match(words(wrong), `android: ${NAME} leads to 192.0.2.7, and not to 127.0.0.1`);
  t.match(wrong.obstacles.at(-1)?.advice, `"${NAME}. 300 A 127.0.0.1" to local.records`);
  t.match(words(await seen(undefined, 'none.test')), /android: none\.test has no address/);
  t.match(words(await seen(undefined, 'none.test')), /is for dns\.test, not for none\.test/);
  await setUp.reload(`
listen_tls: { addresses: ["127.0.0.1:${tls}"], certificate: ${file}.pem, key: ${file}.key }
listen_https: { addresses: ["127.0.0.1:${https}"] }
local: { records: ["${NAME}. 300 A 127.0.0.1"], own_zones: [test] }
`);
  t.match(words(await seen()), /^android apple: listen_tls listens on port \d+[^\n]*$/, 'the name leads here');
  const overHttps = await seen(setUp.overview().listening.filter(({ transport }) => transport !== 'tls'));
  t.match(words(overHttps), /^android: Android asks a host name over TLS alone[^\n]*$/);
  t.match(overHttps.services, [{ url: `https://${NAME}:${https}/dns-query`, isOwnAuthority: false, obstacles: [] }]);
});

const ADDRESS = '127.53.85.3';

await t.test(
  'with port 853, a public certificate and a name that leads here, nothing keeps any phone',
  { skip: process.getuid?.() === 0 ? false : 'port 853 takes root' },
  async t => {
    const file = written('right', chained(leaf()));
    const { overview } = await setting(t, {
      config: `
listen_tls: { addresses: ["${ADDRESS}:853"], certificate: ${file}.pem, key: ${file}.key }
local: { records: ["${NAME}. 300 A ${ADDRESS}"], own_zones: [test] }
access: { allow: ["127.0.0.0/8"] }
`,
    });
    const found = await look({
      ...{ listeners: overview().listening, address: ADDRESS, name: undefined, authorities: [], roots: [root.cert] },
      ...{ path: '/dns-query', nowMs: wallMs(Date.now()) },
    });
    t.same(found.obstacles, []);
    t.match(found.services, [{ transport: 'tls', name: NAME, addresses: [ADDRESS], url: undefined }]);
  },
);
