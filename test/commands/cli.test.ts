// The program as a child process: what it says, and how it exits.

import { createSocket } from 'node:dgram';
import { chmodSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import t from 'tap';

import { authority, certificate } from '../fixtures/certificates.js';
import { ask, tryAsk } from '../fixtures/client.js';
import { answering } from '../fixtures/daemon.js';
import { dotServer } from '../fixtures/dot-server.js';
import { freePort } from '../fixtures/free-port.js';
import { dotstub, PROGRAM, startDotstub, temporaryDirectory } from '../fixtures/program.js';

const directory = temporaryDirectory();
t.teardown(() => directory.remove());
const ca = authority();
const caFile = join(directory.path, 'ca.pem');
writeFileSync(caFile, ca.cert);
const identity = certificate({ common: 'x', names: ['dns.test'], issuer: ca });

/** A configuration that works, listening on `port`. */
const configFor = (port: number, upstreamPort: number, more = ''): string => `
listen: ["127.0.0.1:${port}"]
metrics: { listen: off }
upstream: { ca_file: ${caFile}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${upstreamPort}"] }] }
${more}`;

await t.test('help and version', async t => {
  t.match(await dotstub(['--version']), { code: 0, stdout: /^\d+\.\d+\.\d+\n$/ });
  t.match(await dotstub(['--help']), { code: 0, stdout: /dotstub run .*\n(.*\n)*.*dotstub query NAME/ });
  for (const command of ['run', 'check-config', 'pins', 'portal', 'probe', 'query'])
    t.match(await dotstub([command, '--help']), { code: 0, stdout: new RegExp(`^Usage: dotstub ${command}`) });
  t.match(await dotstub([]), { code: 2, stderr: /Usage/ });
});

await t.test('bad usage: exit 2, one or two lines, never a stack trace', async t => {
  const cases: readonly (readonly [string[], RegExp])[] = [
    [['nonsense'], /there is no command "nonsense"; there are: run, check-config, .*, query/],
    [['run', '--verbose'], /Unknown option '--verbose'/],
    [['run', 'a.example', 'b.example'], /unexpected argument: b\.example/],
    [['run', '192.0.2.1'], /PROVIDER "192\.0\.2\.1" is not allowed \(not a host name\)/],
    [['run', '--config'], /--config/],
    [['run', '--config', '/nowhere/at/all.yaml'], /\/nowhere\/at\/all\.yaml: there is no such file/],
    [['check-config'], /needs a FILE/],
    [['query'], /needs a NAME/],
    [['query', 'a..b'], /"a\.\.b" is not a domain name/],
    [['query', 'example', 'NONSENSE'], /"NONSENSE" is not a record type/],
    [['query', 'example', '--server', 'nowhere'], /--server "nowhere" is not allowed/],
  ];
  for (const [args, words] of cases) {
    const { code, stderr, stdout } = await dotstub(args);
    t.equal(code, 2, args.join(' '));
    t.match(stderr, words);
    t.equal(stdout, '');
    t.notMatch(stderr, /\n\s+at /, 'no stack trace');
  }
});

await t.test('check-config: problems with exit 2, or the effective configuration with exit 0', async t => {
  t.match(await dotstub(['check-config', 'test/config/broken/several.yaml']), {
    code: 2,
    stdout: '',
    stderr: /several\.yaml:2:9: cache\.size(.*\n){3}3 problems found/,
  });
  t.match(await dotstub(['check-config', 'config/dotstub.yaml']), { code: 0, stdout: /size: 16MiB/ });
  const { stdout } = await dotstub(['check-config', 'config/dotstub.yaml', '--json']);
  t.match(JSON.parse(stdout), { ok: true, config: { cache: { max_ttl: 86_400_000 } } });
  t.match(JSON.parse((await dotstub(['check-config', 'test/config/broken/several.yaml', '--json'])).stdout), {
    ok: false,
    problems: [{ line: 2, path: 'cache.size' }, {}, {}],
  });
});

await t.test(
  'check-config warns about options that do nothing and networks with host bits, and the file is good',
  async t => {
    const file = join(directory.path, 'warned.yaml');
    writeFileSync(file, 'access:\n  allow: [192.168.1.5/24]\nlog:\n  query_file: /var/log/q\n');
    const host = 'access.allow[0]: 192.168.1.5/24 has bits set after its prefix, and is taken as 192.168.1.0/24';
    const idle = 'log.query_file: has no effect: no query log is written (log.queries off)';
    t.match(await dotstub(['check-config', file]), {
      code: 0,
      stdout: /192\.168\.1\.0\/24/,
      stderr: `${file}:2:11: warning: ${host}\n${file}:4:3: warning: ${idle}\n`,
    });
    t.match(JSON.parse((await dotstub(['check-config', file, '--json'])).stdout), {
      ok: true,
      warnings: [{ line: 2, column: 11, path: 'access.allow[0]' }, { path: 'log.query_file' }],
    });
  },
);

await t.test('check-config tells all files that run would refuse at once, each with its place', async t => {
  const own = certificate({ common: 'own', names: ['own.test'], issuer: ca });
  const files = { cert: own.cert, key: own.key, 'other-key': identity.key, text: 'nothing' };
  const at = (name: keyof typeof files): string => join(directory.path, name);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory.path, name), text);
  const check = async (upstream: string, tls: string): Promise<string> => {
    const file = join(directory.path, 'files.yaml');
    writeFileSync(file, `upstream: { servers: [{ name: dns.test, addresses: [192.0.2.1] }]${upstream} }\n${tls}`);
    return (await dotstub(['check-config', file])).stderr.replaceAll(directory.path, '');
  };
  const tls = (certificate: string, key: string): string =>
    `listen_tls:\n  addresses: ["127.0.0.1:853"]\n  certificate: ${certificate}\n  key: ${key}`;
  t.notMatch(await check('', tls(at('cert'), at('key'))), 'problem', 'they are one pair');
  t.equal(
    await check(', ca_file: /gone', tls('/gone.pem', directory.path)),
    [
      '/files.yaml:1:68: upstream.ca_file: /gone cannot be read (there is no such file)',
      '/files.yaml:4:3: listen_tls.certificate: /gone.pem cannot be read (there is no such file)',
      '/files.yaml:5:3: listen_tls.key:  cannot be read (it is a directory)',
      '3 problems found\n',
    ].join('\n'),
  );
  t.match(
    await check('', tls(at('cert'), at('other-key'))),
    '/files.yaml:5:3: listen_tls.key: /other-key with /cert cannot be used: the key does not belong to the certificate',
  );
  t.match(
    await check('', tls(at('text'), at('key'))),
    'listen_tls.certificate: /text cannot be used: no PEM was found',
  );
  t.match(await check('', tls(at('cert'), at('text'))), 'listen_tls.key: /text cannot be used: ');
  t.match(
    await check(`, client_certificate: ${at('cert')}, client_key: ${at('other-key')}`, ''),
    ': upstream.client_key: /other-key with /cert cannot be used: the key does not belong to the certificate',
  );
});

await t.test(
  'check-config as root warns about a key that the service, which is not root, could not read',
  { skip: process.getuid?.() === 0 ? false : 'only root reads such a file' },
  async t => {
    const own = certificate({ common: 'own', names: ['own.test'], issuer: ca });
    const inside = join(directory.path, 'private');
    mkdirSync(inside);
    const [cert, key, file] = [join(inside, 'cert'), join(inside, 'key'), join(directory.path, 'own.yaml')];
    writeFileSync(cert, own.cert);
    writeFileSync(key, own.key, { mode: 0o600 });
    writeFileSync(file, `listen_tls: { addresses: ["127.0.0.1:853"], certificate: ${cert}, key: ${key} }`);
    // mkdtemp makes a directory for its owner alone.
    chmodSync(directory.path, 0o755);
    const { code, stderr } = await dotstub(['check-config', file]);
    t.equal(code, 0);
    t.match(
      stderr,
      `warning: listen_tls.key: a daemon that does not run as root may not be able to read ${key}, because ${key} is`,
    );
    t.notMatch(stderr, 'listen_tls.certificate');
    chmodSync(inside, 0o700);
    t.match((await dotstub(['check-config', file])).stderr, `${cert}, because ${inside} is closed to others`);
    chmodSync(directory.path, 0o700);
  },
);

await t.test('what keeps it from starting is said in one clear sentence', async t => {
  const taken = createServer();
  const port = await freePort();
  await new Promise<void>(resolve => void taken.listen(port, '127.0.0.1', resolve));
  const free = await freePort();
  const other = createSocket('udp4');
  const takenUdp = await freePort();
  await new Promise<void>(resolve => other.bind(takenUdp, resolve));
  t.teardown(() => void other.close());
  const at = (listen: string, more = ''): string => `listen: ["${listen}"]\nmetrics: { listen: off }\n${more}`;
  const cases: readonly (readonly [string, string, number, RegExp])[] = [
    [
      'TCP port in use',
      at(`127.0.0.1:${port}`),
      1,
      new RegExp(`127\\.0\\.0\\.1:${port} \\(TCP\\) is in use by another program`),
    ],
    [
      'all addresses of a wildcard in use',
      at(`0.0.0.0:${takenUdp}`, 'front: { threads: 0 }'),
      1,
      new RegExp(`"0\\.0\\.0\\.0:${takenUdp} \\(UDP\\) is in use by another program`),
    ],
    [
      'metrics port in use',
      `listen: ["127.0.0.1:${free}"]\nmetrics: { listen: "127.0.0.1:${port}" }`,
      1,
      /\(HTTP\) is in use by another program.*metrics\.listen/,
    ],
    [
      'no CA file',
      at(`127.0.0.1:${free}`, 'upstream: { ca_file: /nowhere/ca.pem }'),
      2,
      /upstream\.ca_file: \/nowhere\/ca\.pem cannot be read \(there is no such file\)/,
    ],
    [
      'CA file without certificates',
      at(`127.0.0.1:${free}`, `upstream: { ca_file: ${process.cwd()}/package.json }`),
      2,
      /holds no PEM certificate/,
    ],
    [
      'no certificate',
      at(
        `127.0.0.1:${free}`,
        `listen_tls: { addresses: ["127.0.0.1:${port}"], certificate: /nowhere/c.pem, key: ${caFile} }`,
      ),
      2,
      /listen_tls\.certificate: \/nowhere\/c\.pem/,
    ],
    [
      'certificate that is none',
      at(
        `127.0.0.1:${free}`,
        `listen_tls: { addresses: ["127.0.0.1:${port}"], certificate: ${process.cwd()}/package.json, key: ${caFile} }`,
      ),
      2,
      /listen_tls/,
    ],
  ];
  for (const [what, config, code, words] of cases) {
    const file = join(directory.path, 'config.yaml');
    writeFileSync(file, config);
    const ended = await dotstub(['run', '--config', file]);
    t.equal(ended.code, code, what);
    const error = ended.stdout.split('\n').filter(line => line.includes('"level":"error"'));
    t.equal(error.length, 1, `${what}: one error`);
    t.match(error[0], words, what);
    if (code !== 2) continue;
    const [problem = ''] = (await dotstub(['check-config', file])).stderr.split('\n');
    t.match(problem, words, `${what}: check-config says so, too`);
    t.match(error[0], JSON.stringify(problem), 'in the same words');
    t.notMatch(ended.stdout + ended.stderr, /\n\s+at |node:internal/, 'no stack trace');
  }
  await new Promise(resolve => void taken.close(resolve));
});

await t.test(
  'a privileged port without the right to it',
  { skip: process.getuid?.() === 0 ? 'root may use any port' : false },
  async t => {
    const file = join(directory.path, 'config.yaml');
    writeFileSync(file, 'listen: ["127.0.0.1:53"]\nmetrics: { listen: off }\n');
    const words = /127\.0\.0\.1:53 \((?:UDP|TCP)\) needs a right that this user does not have/;
    const systemd = 'systemd has passed no sockets';
    const alone = await dotstub(['run', '--config', file]);
    t.match(alone, { code: 1, stdout: words });
    t.notMatch(alone.stdout, systemd);
    const asService = await dotstub(['run', '--config', file], ['env', 'NOTIFY_SOCKET=@nobody', ...PROGRAM]);
    t.match(asService, { code: 1, stdout: words });
    t.match(asService.stdout, systemd, 'a service: the real cause is the socket unit');
  },
);

await t.test('SIGTERM: queries in flight are answered, then exit 0', async t => {
  const answer = answering();
  const server = await dotServer({
    identity,
    handler: (query, session) => void setTimeout(answer, 600, query, session),
  });
  const port = await freePort();
  const at = { address: '127.0.0.1', port };
  const program = await startDotstub(configFor(port, server.port));
  const udp = ask(at, 'www.example');
  const tcp = ask(at, 'alias.example', { tcp: true });
  await new Promise(resolve => setTimeout(resolve, 250));
  const startedAt = Date.now();
  const ended = await program.stop();
  t.equal(ended.code, 0);
  t.ok(Date.now() - startedAt < 3000);
  t.match((await udp).text.answers, [{ data: '192.0.2.80' }]);
  t.match((await tcp).text.answers, [{ type: 'CNAME' }, { type: 'A' }]);
  t.match(ended.stdout, /"msg":"stopping"(.*\n)+.*"msg":"stopped"/);
  t.equal(ended.stderr, '');
  await server.close();
});

await t.test('SIGTERM with a server that never answers: SERVFAIL, and the end within the bound', async t => {
  const server = await dotServer({ identity, handler: () => undefined });
  const port = await freePort();
  const program = await startDotstub(configFor(port, server.port));
  const waiting = tryAsk({ address: '127.0.0.1', port }, 'www.example');
  await new Promise(resolve => setTimeout(resolve, 200));
  const startedAt = Date.now();
  t.match(await program.stop('SIGINT'), { code: 0 });
  t.ok(Date.now() - startedAt < 6000);
  t.match((await waiting)?.text, { rcode: 'SERVFAIL' });
  await server.close();
});

await t.test(
  'a bug that nobody catches ends the daemon at once, though a front thread waits in the kernel',
  async t => {
    const port = await freePort();
    const crash = `data:text/javascript,process.on('SIGUSR2', () => { throw new Error('a bug') })`;
    const program = await startDotstub(
      configFor(port, 1, 'front: { threads: 2 }'),
      [],
      [process.execPath, '--import', crash, 'dist/cli.js'],
    );
    t.match(await program.stop('SIGUSR2'), { code: 1, stderr: /a bug/ });
  },
);

await t.test('query: an answer as text, as JSON, over TCP; and no daemon', async t => {
  const server = await dotServer({ identity, handler: answering() });
  const port = await freePort();
  const program = await startDotstub(configFor(port, server.port));
  const to = ['--server', `127.0.0.1:${port}`];
  t.match(await dotstub(['query', 'www.example', ...to]), {
    code: 0,
    stdout:
      /^www\.example\.  300  A  192\.0\.2\.80\n\nfrom: +dns\.test \(DNS over TLS\)\nchecked: +not validated.*\ntook: +[\d.]+ ms, asked 127\.0\.0\.1:\d+\n$/,
  });
  t.match(await dotstub(['query', 'www.example', ...to]), { stdout: /from: +cache, first brought by dns\.test/ });
  t.match(await dotstub(['query', 'nobody.example', ...to]), {
    code: 0,
    stdout: /^nobody\.example\. does not exist\n/,
  });
  t.match(await dotstub(['query', 'www.example', 'MX', ...to]), { code: 0, stdout: /exists, but has no MX record/ });
  t.match(JSON.parse((await dotstub(['query', 'www.example', 'AAAA', '--json', '--tcp', ...to])).stdout), {
    rcode: 'NOERROR',
    answers: [{ data: '2001:db8::80' }],
    source: 'upstream',
    upstream: 'dns.test',
    protocol: 'dot',
    verdict: 'unchecked',
  });
  t.match(JSON.parse((await dotstub(['query', 'big.example', 'TXT', '--json', ...to])).stdout), {
    source: 'upstream',
    answers: [{ type: 'TXT' }],
  });
  await server.close();
  t.match(await dotstub(['query', 'other.example', ...to]), {
    code: 1,
    stdout: /SERVFAIL\nwhy: +Network Error: .*connection refused/,
  });
  await program.stop();
  t.match(await dotstub(['query', 'www.example', ...to]), {
    code: 1,
    stderr: /no answer from 127\.0\.0\.1:\d+.*is dotstub running there\?/,
  });
});

await t.test('cleartext without configuration is logged once at the start', async t => {
  const port = await freePort();
  const program = await startDotstub(
    `listen: ["127.0.0.1:${port}"]\nmetrics: { listen: off }\ncache: { size: 1MiB }\nlog: { format: text }\n`,
  );
  const log = program.log();
  t.match(
    log,
    /WARN +(no server is configured: using the system's resolvers, over TLS where it works, in cleartext where it does not|no server is configured, and)/,
  );
  t.match(log, /WARN +answers are not validated \(dnssec\.mode off\)/);
  t.match(log, /INFO +listening on 127\.0\.0\.1:\d+ \(UDP\)/);
  t.match(await program.stop(), { code: 0 });
});

await t.test('pins: what a server shows, as it would stand in the configuration', async t => {
  const server = await dotServer({ identity, handler: answering() });
  const shown = await dotstub(['pins', `127.0.0.1:${server.port}`]);
  t.equal(shown.code, 0);
  t.match(shown.stdout, /^dns\.test\n {2}issued by CN=.*\n {2}valid until \d{4}-\d\d-\d\d\n {2}sha256\/.{44}\n/);
  t.ok(shown.stdout.includes(`sha256/${identity.pin}`));
  const json = await dotstub(['pins', `dns.test:${server.port}`, '--at', '127.0.0.1', '--json']);
  t.match(JSON.parse(json.stdout), { host: 'dns.test', chain: [{ subject: 'dns.test', pin: identity.pin }] });
  const hex = Buffer.from(identity.pin, 'base64').toString('hex');
  const record = `_${server.port}._tcp.dns.test. IN TLSA 3 1 1 ${hex}`;
  t.match(JSON.parse(json.stdout), { tlsa: record });
  const named = await dotstub(['pins', `dns.test:${server.port}`, '--at', '127.0.0.1']);
  t.ok(named.stdout.endsWith(`:\n  ${record}\n`), 'the TLSA record to publish');
  t.notMatch(shown.stdout, /TLSA/, 'an address has no TLSA records');
  const { port } = server;
  await server.close();
  t.match(await dotstub(['pins', `127.0.0.1:${port}`]), {
    code: 1,
    stderr: /127\.0\.0\.1 port \d+: connection refused/,
  });
  for (const bad of ['', 'a b', 'host:99999', '[::1'])
    t.match(await dotstub(['pins', bad]), { code: 2, stderr: /pins/ }, bad);
});

await t.test('check-config --leaks', async t => {
  const file = join(directory.path, 'leaks.yaml');
  writeFileSync(
    file,
    'upstream: { servers: [{ name: dns.example, addresses: [192.0.2.1] }] }\nportal: { names: [] }\n',
  );
  t.match(await dotstub(['check-config', '--leaks', file]), {
    code: 0,
    stdout: 'Nothing leaves unencrypted, and nothing goes to a server that has not proved itself.\n',
  });
  writeFileSync(file, '');
  t.match(await dotstub(['check-config', '--leaks', file]), { code: 0, stdout: /every name: in cleartext/ });
  t.match(JSON.parse((await dotstub(['check-config', '--leaks', '--json', file])).stdout), {
    ok: true,
    leaks: [{ path: 'upstream.servers' }],
  });
});

await t.test('portal: over the control socket of a running daemon', async t => {
  const server = await dotServer({ identity, handler: answering() });
  const port = await freePort();
  const running = await startDotstub(configFor(port, server.port));
  const portal = async (...args: string[]) => dotstub(['portal', ...args, '--socket', running.controlSocket]);
  t.match(await portal('status'), { code: 0, stdout: 'The portal window is closed.\n' });
  t.match(await portal('start', '2m', 'login.hotel.test'), {
    code: 0,
    stdout: /open for 120 s.*\nNow open http:\/\/login\.hotel\.test\/ in a browser to sign in/,
  });
  t.match(await portal('status', '--json'), { code: 0, stdout: /"open":true,"seconds":1[12]\d/ });
  t.match(running.log(), /portal window open for 120 s/);
  t.match(await portal('start', '2h'), { code: 1, stderr: /2h is not allowed: 1s to 1h/ });
  t.match(await portal('start', '5m', 'com'), { code: 1, stderr: /"com" is neither/ });
  t.match(await portal('open'), { code: 1, stderr: /there are start, stop and status/ });
  t.match(await portal('stop'), { code: 0, stdout: /closed/ });
  // The end of the window connects anew as well.
  for (let tries = 0; tries < 100 && server.connections < 2; tries++) await sleep(20);
  const { connections } = server;
  t.match(await dotstub(['probe', '--socket', running.controlSocket]), { code: 0, stdout: /connected to anew/ });
  for (let tries = 0; tries < 100 && server.connections === connections; tries++) await sleep(20);
  t.equal(server.connections, connections + 1, 'probe');
  t.equal(statSync(running.controlSocket).mode & 0o777, 0o660);
  await running.stop();
  t.match(await portal('status'), { code: 1, stderr: /is the daemon running/ });
  t.match(await dotstub(['portal']), { code: 2 });
  await server.close();
});

await t.test(
  'B17 row 12: SIGHUP with a bad line changes nothing; with a server added, cache and connections stay',
  async t => {
    const one = await dotServer({ identity, handler: answering() });
    const two = await dotServer({ identity, handler: answering() });
    const port = await freePort();
    const at = { address: '127.0.0.1', port };
    const control = `control: { socket: ${join(directory.path, 'reload.sock')} }\n`;
    const config = `${configFor(port, one.port)}${control}dnssec: { mode: off }\n`;
    const running = await startDotstub(config);
    const hangUp = async (text: string, until: RegExp): Promise<void> => {
      writeFileSync(running.configFile, text);
      running.child.kill('SIGHUP');
      for (let tries = 0; tries < 100 && !until.test(running.log()); tries++) await sleep(20);
      t.match(running.log(), until);
    };
    await ask(at, 'www.example');
    const { queries, connections } = one;
    await hangUp(`${config}cache: { sise: 1MiB }\n`, /was not taken over \(1 problem\)/);
    t.match(running.log(), /dotstub\.yaml:\d+:\d+: cache\.sise: no such option; did you mean size\?/);
    t.match(await ask(at, 'www.example'), { text: { rcode: 'NOERROR' } });
    const more = config
      .replace('] }', `] }, { name: dns.test, addresses: ["127.0.0.1:${two.port}"] }`)
      .replace('upstream: {', 'upstream: { policy: ordered,');
    await hangUp(more, /yaml taken over/);
    t.match(running.log(), /taken over: upstream\.policy, upstream\.servers/);
    for (let tries = 0; tries < 100 && two.connections === 0; tries++) await sleep(20);
    t.equal(two.connections, 1, 'the new one is connected to');
    await ask(at, 'www.example');
    t.equal(one.queries, queries, 'from cache');
    await ask(at, 'n1.wild.example');
    t.equal(one.connections, connections, 'over the connection that was there');
    t.equal(
      two.queries,
      0,
      'by the policy that is in force now: by what was, one that nobody knows yet would be tried',
    );
    await running.stop();
    await Promise.all([one.close(), two.close()]);
  },
);
