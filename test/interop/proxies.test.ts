// Proxies that say in a PROXY header for whom they connect, in front of the program as it runs: dnsdist over TCP and TLS,
// HAProxy over TCP, TLS and HTTPS, nginx over TCP and TLS. Debian packages: dnsdist haproxy nginx-light
// libnginx-mod-stream knot-dnsutils.

import { execFile } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import t, { type Test } from 'tap';

import { certificate } from '../fixtures/certificates.js';
import { answering } from '../fixtures/daemon.js';
import { dotServer } from '../fixtures/dot-server.js';
import { freePort } from '../fixtures/free-port.js';
import { startDotstub } from '../fixtures/program.js';
import { bench, missing, program, start } from '../fixtures/servers.js';
import { until } from '../fixtures/until.js';

const on = bench(t);
const server = await dotServer({
  identity: certificate({ common: 'x', names: ['dns.test'], issuer: on.ca }),
  handler: answering(),
});
on.onEnd(async () => server.close());

/** The address from which proxies connect. Only clients at ALLOWED get answers. */
const PROXY = '127.0.0.2';
const ALLOWED = '127.0.0.5';
const ports = { tcp: await freePort(), tls: await freePort(), https: await freePort() };
const pair = `certificate: ${on.certFile}, key: ${on.keyFile}`;
const metrics = await freePort();
const daemon = await startDotstub(`
listen: ["127.0.0.1:${ports.tcp}"]
listen_tls: { addresses: ["127.0.0.1:${ports.tls}"], ${pair} }
listen_https: { addresses: ["127.0.0.1:${ports.https}"] }
metrics: { listen: "127.0.0.1:${metrics}" }
access: { allow: [${ALLOWED}], proxy_protocol: [${PROXY}] }
log: { queries: full }
upstream: { ca_file: ${on.caFile}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${server.port}"] }] }
`);
on.onEnd(async () => void (await daemon.stop()));

type Over = keyof typeof ports | 'udp';

async function kdig(port: number, from: string, over: Over): Promise<string> {
  const more = { udp: '+notcp', tcp: '+tcp', tls: '+tls', https: '+https=/dns-query' }[over];
  const secure = over === 'tls' || over === 'https' ? [`+tls-ca=${on.caFile}`, '+tls-hostname=dns.test'] : [];
  const args = ['@127.0.0.1', '-p', String(port), '-b', from, '+timeout=3', '+retry=0', more, ...secure, 'www.example'];
  return new Promise(resolve => {
    execFile(program('kdig') ?? 'kdig', args, { timeout: 30_000 }, (_error, stdout, stderr) =>
      resolve(stdout + stderr),
    );
  });
}

const dropped = async (reason: string): Promise<number> => {
  const text = await (await fetch(`http://127.0.0.1:${metrics}/metrics`)).text();
  return Number(new RegExp(`^dotstub_dropped_total\\{reason="${reason}"\\} (\\d+)`, 'm').exec(text)?.[1]);
};

/** Asks a proxy for clients that may ask and that may not. */
async function servesByClient(t: Test, port: number, over: Over, transport: Over = over): Promise<void> {
  const before = { refused: await dropped('not_allowed'), malformed: await dropped('proxy_header') };
  const seen = daemon.log().length;
  t.match(await kdig(port, ALLOWED, over), /status: NOERROR[\s\S]*192\.0\.2\.80/);
  const line = (): string | undefined =>
    daemon
      .log()
      .slice(seen)
      .split('\n')
      .find(each => each.includes(`"client":"${ALLOWED}"`));
  await until(() => line() !== undefined, 'a line of the query log about the client');
  t.match(line(), `"transport":"${transport}"`);
  t.notMatch(await kdig(port, '127.0.0.77', over), /192\.0\.2\.80/);
  await until(async () => (await dropped('not_allowed')) > before.refused, 'a connection that was refused');
  t.equal(await dropped('proxy_header'), before.malformed, 'no header is malformed');
}

await t.test('without a proxy, the option changes nothing', { skip: missing('kdig') }, async t => {
  for (const over of ['tcp', 'tls'] as const) {
    t.match(await kdig(ports[over], ALLOWED, over), /status: NOERROR[\s\S]*192\.0\.2\.80/, over);
    t.notMatch(await kdig(ports[over], '127.0.0.77', over), /192\.0\.2\.80/, over);
    t.notMatch(await kdig(ports[over], PROXY, over), /192\.0\.2\.80/, 'a proxy without a header');
  }
});

for (const over of ['tcp', 'tls'] as const) {
  const skip = missing('dnsdist', 'kdig');
  await t.test(`dnsdist, for clients over UDP and TCP, over ${over.toUpperCase()}`, { skip }, async t => {
    const port = await freePort();
    const file = join(on.path, `proxy-${over}.conf`);
    const secure = over === 'tls' ? `, tls='openssl', subjectName='dns.test', caStore='${on.caFile}'` : '';
    writeFileSync(
      file,
      `setLocal('127.0.0.1:${port}')
newServer({ address='127.0.0.1:${ports[over]}', source='${PROXY}', tcpOnly=true, useProxyProtocol=true,
  checkInterval=1${secure} })
`,
    );
    await start(on, 'dnsdist', ['--supervised', '--disable-syslog', '-C', file], port);
    // Its checks of health are refused: the proxy may not ask itself. That is an answer to them.
    await servesByClient(t, port, 'tcp', over);
    await servesByClient(t, port, 'udp', over);
  });
}

const VERSIONS = {
  'version 1': 'send-proxy',
  'version 2': 'send-proxy-v2',
  'version 2 with type-length-values':
    'send-proxy-v2 proxy-v2-options ssl,cert-cn,ssl-cipher,cert-sig,crc32c,unique-id,authority',
};
for (const [version, words] of Object.entries(VERSIONS)) {
  await t.test(`HAProxy, ${version}`, { skip: missing('haproxy', 'kdig') }, async t => {
    const fronts = { tcp: await freePort(), tls: await freePort(), https: await freePort() };
    const file = join(on.path, 'haproxy.cfg');
    const listens = (['tcp', 'tls', 'https'] as const).map(
      over => `
listen ${over}
  bind 127.0.0.1:${fronts[over]}
  unique-id-format %[uuid()]
  source ${PROXY}
  server dotstub 127.0.0.1:${ports[over]} ${words} check check-send-proxy inter 300`,
    );
    writeFileSync(
      file,
      `defaults
  mode tcp
  timeout connect 3s
  timeout client 20s
  timeout server 20s
${listens.join('\n')}
`,
    );
    await start(on, 'haproxy', ['-db', '-f', file], fronts.tcp);
    for (const over of ['tcp', 'tls', 'https'] as const) await servesByClient(t, fronts[over], over);
    const before = [await dropped('not_allowed'), await dropped('proxy_header')];
    await sleep(1000);
    t.same([await dropped('not_allowed'), await dropped('proxy_header')], before, 'checks of health are taken');
  });
}

const NGINX_STREAM = '/usr/lib/nginx/modules/ngx_stream_module.so';
const noNginx = missing('nginx', 'kdig') || (!existsSync(NGINX_STREAM) && 'not installed: libnginx-mod-stream');
await t.test('nginx, over TCP and TLS', { skip: noNginx }, async t => {
  const fronts = { tcp: await freePort(), tls: await freePort() };
  const file = join(on.path, 'nginx-stream.conf');
  const servers = (['tcp', 'tls'] as const).map(
    over =>
      `server { listen 127.0.0.1:${fronts[over]}; proxy_bind ${PROXY}; proxy_protocol on; proxy_pass 127.0.0.1:${ports[over]}; }`,
  );
  writeFileSync(
    file,
    `load_module ${NGINX_STREAM}; daemon off; master_process off; pid ${on.path}/nginx.pid; error_log stderr;
events {}
stream { ${servers.join('\n')} }
`,
  );
  await start(on, 'nginx', ['-c', file, '-e', 'stderr'], fronts.tcp);
  for (const over of ['tcp', 'tls'] as const) await servesByClient(t, fronts[over], over);
});
