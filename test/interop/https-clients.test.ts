// DNS over HTTPS for clients, with the program as it runs: curl, kdig and h2load directly, nginx over HTTP/1.1 and nghttpx over
// HTTP/2 in cleartext as reverse proxies. Debian packages: curl knot-dnsutils nghttp2-client nginx-light nghttp2-proxy.

import { execFile } from 'node:child_process';
import { createServer } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import t from 'tap';

import { certificate } from '../fixtures/certificates.js';
import { queryMessage } from '../fixtures/client.js';
import { answering } from '../fixtures/daemon.js';
import { dotServer } from '../fixtures/dot-server.js';
import { freePort } from '../fixtures/free-port.js';
import { dotstub, type RunningProgram, startDotstub } from '../fixtures/program.js';
import { bench, missing, nghttpx, program, start } from '../fixtures/servers.js';
import { until } from '../fixtures/until.js';

const NOERROR = 0;
const NXDOMAIN = 3;

async function run(name: string, ...args: string[]): Promise<string> {
  return new Promise(resolve => {
    const path = program(name) ?? name;
    execFile(path, args, { timeout: 60_000 }, (_error, stdout, stderr) => resolve(stdout + stderr));
  });
}

const on = bench(t);
const server = await dotServer({
  identity: certificate({ common: 'x', names: ['dns.test'], issuer: on.ca }),
  handler: answering(),
});
on.onEnd(async () => server.close());

/** Starts the program. */
async function dotstubWith(https: string, more = ''): Promise<RunningProgram> {
  const daemon = await startDotstub(`
listen: ["127.0.0.1:${await freePort()}"]
special_names: { forward: [test] }
listen_https: ${https}
metrics: { listen: off }
local: { records: ["web.home.arpa. 60 A 127.0.0.1"] }
log: { queries: full }
upstream: { ca_file: ${on.caFile}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${server.port}"] }] }
${more}`);
  on.onEnd(async () => void (await daemon.stop()));
  return daemon;
}

const port = await freePort();
const pair = `certificate: ${on.certFile}, key: ${on.keyFile}`;
const direct = await dotstubWith(`{ addresses: ["127.0.0.1:${port}"], ${pair} }`);

await t.test('curl finds a host through it, over HTTP/2', { skip: missing('curl') }, async t => {
  const web = createServer((_request, response) => response.end('found\n')).listen(0, '127.0.0.1');
  t.teardown(() => web.close());
  await until(() => web.listening, 'the web server');
  const at = web.address();
  const webPort = at !== null && typeof at === 'object' ? at.port : 0;
  const url = `https://127.0.0.1:${port}/dns-query`;
  const out = await run('curl', '-sv', '--cacert', on.caFile, '--doh-url', url, `http://web.home.arpa:${webPort}/`);
  t.match(out, /^found$/m);
  await until(() => /"name":"web\.home\.arpa\.?"/.test(direct.log()), 'a line of the query log');
  t.match(direct.log(), /"transport":"https"/);
});

await t.test('curl sees the page and the status of what is not there', { skip: missing('curl') }, async t => {
  const curl = async (...args: string[]): Promise<string> => run('curl', '-s', '-i', '--cacert', on.caFile, ...args);
  for (const version of ['--http1.1', '--http2']) {
    t.match(await curl(version, `https://127.0.0.1:${port}/`), /^HTTP\/[12.]+ 200[\s\S]*DNS queries over HTTPS/);
    t.match(await curl(version, `https://127.0.0.1:${port}/none`), /^HTTP\/[12.]+ 404/);
    t.match(
      await curl(version, '-X', 'PUT', `https://127.0.0.1:${port}/dns-query`),
      /^HTTP\/[12.]+ 405[\s\S]*allow: GET/i,
    );
  }
  t.match(await curl(`http://127.0.0.1:${port}/`), /^$/, 'nothing in cleartext where there is a certificate');
});

await t.test('kdig, with GET and POST, padded where it asks for that', { skip: missing('kdig') }, async t => {
  const kdig = async (...args: string[]): Promise<string> =>
    run('kdig', '@127.0.0.1', '-p', String(port), `+tls-ca=${on.caFile}`, '+tls-hostname=dns.test', ...args);
  const posted = await kdig('+https=/dns-query', '+padding', 'www.example');
  t.match(posted, /HTTP session \(HTTP\/2-POST\)[\s\S]*192\.0\.2\.80[\s\S]*Received 468 B/, 'padded to 468 octets');
  t.match(await kdig('+https=/dns-query', '+https-get', 'www.example'), /HTTP\/2-GET[\s\S]*192\.0\.2\.80/);
  t.match(await kdig('+https=/dns-query', 'nobody.example'), /status: NXDOMAIN/);
  t.match(await kdig('+https=/dns-query', 'big.example', 'TXT'), /ANSWER: 1/);
});

await t.test('a certificate is exchanged while a client keeps asking, and no query is lost', async t => {
  const session = connectHttp2(`https://127.0.0.1:${port}`, { ca: on.ca.cert, servername: 'dns.test' });
  t.teardown(() => session.destroy());
  const seen = { answered: 0, lost: 0 };
  const query = queryMessage('www.example').toString('base64url');
  const asking = async (): Promise<void> =>
    new Promise(resolve => {
      const stream = session.request({ ':path': `/dns-query?dns=${query}` });
      let status = 0;
      stream.on('response', headers => (status = headers[':status'] ?? 0));
      stream.on('error', () => undefined);
      stream.on('close', () => {
        if (status === 200) seen.answered++;
        else seen.lost++;
        resolve();
      });
      stream.resume();
    });
  const state = { ends: false };
  const all = Array.from({ length: 5 }, async () => {
    while (!state.ends) await asking();
  });
  for (let i = 1; i <= 3; i++) {
    const { cert, key } = certificate({ common: `${i}`, names: ['dns.test'], ips: ['127.0.0.1'], issuer: on.ca });
    writeFileSync(on.certFile, cert + on.ca.cert);
    writeFileSync(on.keyFile, key);
    direct.child.kill('SIGHUP');
    await until(() => direct.log().split('listen_https.certificate').length > i, `reload ${i}`);
    const { answered } = seen;
    await until(() => seen.answered > answered + 20, 'answers after it');
  }
  state.ends = true;
  await Promise.all(all);
  t.equal(seen.lost, 0);
});

await t.test('h2load: 100 connections, 10,000 requests, and none fails', { skip: missing('h2load') }, async t => {
  const at = await freePort();
  const program = await dotstubWith(
    `{ addresses: ["127.0.0.1:${at}"], ${pair} }`,
    'access: { sessions_per_client: 100 }',
  );
  const query = queryMessage('web.home.arpa');
  const file = join(on.path, 'query');
  writeFileSync(file, query);
  const url = `https://127.0.0.1:${at}/dns-query`;
  const ways = {
    'GET over HTTP/2': [`${url}?dns=${query.toString('base64url')}`],
    'POST over HTTP/2': ['-d', file, '-H', 'content-type: application/dns-message', url],
    'GET over HTTP/1.1': ['--h1', `${url}?dns=${query.toString('base64url')}`],
  };
  for (const [way, args] of Object.entries(ways)) {
    const out = await run('h2load', '-c', '100', '-n', '10000', '-m', '10', ...args);
    t.match(out, /10000 total, 10000 started, 10000 done, 10000 succeeded, 0 failed, 0 errored, 0 timeout/, way);
    t.match(out, /status codes: 10000 2xx/, way);
  }
  const { stdout } = await dotstub(['metrics', '--socket', program.controlSocket]);
  t.match(stdout, /^dotstub_queries_total\{[^}]*"https"[^}]*\} 30000$/m);
});

/** nginx in front of an address of the program, over HTTP/1.1. */
async function nginx(backend: number): Promise<number> {
  const front = await freePort();
  const file = join(on.path, 'nginx.conf');
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    kind => `${kind}_temp_path ${on.path}/${kind};`,
  );
  writeFileSync(
    file,
    `daemon off; master_process off; pid ${on.path}/nginx.pid; error_log stderr;
events {}
http {
  access_log off; ${temporary.join(' ')}
  upstream dotstub { server 127.0.0.1:${backend}; keepalive 8; keepalive_timeout 5s; }
  server {
    listen 127.0.0.1:${front} ssl http2;
    ssl_certificate ${on.certFile}; ssl_certificate_key ${on.keyFile};
    location /dns-query {
      proxy_pass http://dotstub;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }
  }
}
`,
  );
  await start(on, 'nginx', ['-c', file, '-e', 'stderr'], front);
  return front;
}

const behind = { skip: missing('nginx', 'kdig', 'curl') };
await t.test('behind nginx, access.allow and the query log are about the client', behind, async t => {
  const backend = await freePort();
  const proxied = await dotstubWith(
    `{ addresses: ["127.0.0.1:${backend}"], proxies: [127.0.0.1] }`,
    'access: { allow: [127.0.0.1, 127.0.0.5] }',
  );
  const front = await nginx(backend);
  const from = async (client: string): Promise<string> =>
    run(
      'kdig',
      '@127.0.0.1',
      '-p',
      String(front),
      '-b',
      client,
      `+tls-ca=${on.caFile}`,
      '+https=/dns-query',
      'www.example',
    );
  t.match(await from('127.0.0.5'), /status: NOERROR[\s\S]*192\.0\.2\.80/);
  t.match(await from('127.0.0.77'), /status: REFUSED/);
  await until(() => proxied.log().includes('"client":"127.0.0.77"'), 'a line of the query log');
  t.match(proxied.log(), /"client":"127\.0\.0\.5"/);
  const forged = await run(
    'curl',
    ...['-s', '--cacert', on.caFile, '--interface', '127.0.0.78', '-H', 'X-Forwarded-For: 127.0.0.5', '-o', '-'],
    `https://127.0.0.1:${front}/dns-query?dns=${queryMessage('www.example').toString('base64url')}`,
  );
  t.not(forged, '');
  await until(() => proxied.log().includes('"client":"127.0.0.78"'), 'the client that nginx has seen');
});

await t.test('behind nginx, the group is that of the client, and an unnamed peer names nobody', behind, async t => {
  const backend = await freePort();
  const list = join(on.path, 'games.txt');
  writeFileSync(list, 'www.example\n');
  const proxied = await dotstubWith(
    // It listens where a peer that is no proxy can come, too.
    `{ addresses: ["127.0.0.1:${backend}"], proxies: [127.0.0.1] }`,
    `lists: [{ name: games, sources: [${list}], action: nxdomain }]
clients: [{ name: kids, networks: [127.0.0.5], lists: [games] }]
access: { allow: [127.0.0.0/8] }`,
  );
  const front = await nginx(backend);
  const url = `dns-query?dns=${queryMessage('www.example').toString('base64url')}`;
  /** The RCODE for a client, over one version of HTTP. */
  const rcode = async (...args: string[]): Promise<number> => {
    const file = join(on.path, 'answer');
    writeFileSync(file, '');
    await run('curl', '-s', '--cacert', on.caFile, '-o', file, ...args);
    const answer = readFileSync(file);
    return answer.length < 12 ? -1 : answer.readUInt16BE(2) & 15;
  };
  for (const version of ['--http1.1', '--http2']) {
    const from = async (client: string, ...args: string[]): Promise<number> =>
      rcode(version, '--interface', client, ...args, `https://127.0.0.1:${front}/${url}`);
    t.equal(await from('127.0.0.5'), NXDOMAIN, `${version}: one of the group`);
    t.equal(await from('127.0.0.6'), NOERROR, `${version}: another`);
    t.equal(await from('127.0.0.6', '-H', 'X-Forwarded-For: 127.0.0.5'), NOERROR, `${version}: who says that it is`);
    t.equal(await from('127.0.0.5', '-H', 'X-Forwarded-For: 127.0.0.6'), NXDOMAIN, `${version}: who says that not`);
  }
  const direct = async (client: string, claimed: string): Promise<number> =>
    rcode('--interface', client, '-H', `X-Forwarded-For: ${claimed}`, `http://127.0.0.1:${backend}/${url}`);
  t.equal(await direct('127.0.0.5', '127.0.0.6'), NXDOMAIN, 'around nginx: one of the group who says not');
  t.equal(await direct('127.0.0.6', '127.0.0.5'), NOERROR, 'around nginx: another who says that it is');
  t.equal(await direct('127.0.0.1', '127.0.0.5'), NXDOMAIN, 'the proxy itself is believed');
  t.notMatch(proxied.log(), /"level":"(?:warn|error)".*x-forwarded/i);
});

await t.test('behind nghttpx, over HTTP/2 in cleartext', { skip: missing('nghttpx', 'kdig') }, async t => {
  const backend = await freePort();
  await dotstubWith(`{ addresses: ["127.0.0.1:${backend}"], proxies: [127.0.0.1] }`);
  const { port: front } = await nghttpx(on, { address: '127.0.0.1', port: backend });
  for (const method of ['+https-get', '+nohttps-get'])
    t.match(
      await run(
        'kdig',
        '@127.0.0.1',
        '-p',
        String(front),
        `+tls-ca=${on.caFile}`,
        '+https=/dns-query',
        method,
        'www.example',
      ),
      /status: NOERROR[\s\S]*192\.0\.2\.80/,
      method,
    );
});
