// DNS over TLS for clients, with the program as it runs: Stubby and dnsdist as forwarders in front of it. Discovery of designated
// resolvers (autoUpgrade) came with dnsdist 1.8. Debian packages: stubby dnsdist.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import t, { type Test } from 'tap';

import { certificate, type Identity } from '../fixtures/certificates.js';
import { ask, type At, tryAsk } from '../fixtures/client.js';
import { answering } from '../fixtures/daemon.js';
import { dotServer } from '../fixtures/dot-server.js';
import { freePort } from '../fixtures/free-port.js';
import { startDotstub } from '../fixtures/program.js';
import { type Bench, bench, missing, start } from '../fixtures/servers.js';
import { until } from '../fixtures/until.js';

const HOST = '127.0.0.1';
const NAME = 'dns.home.test';
/** Below what any of them gives up after. */
const REFUSED_MS = 4000;

/** The program, with a certificate for NAME, and the transports over which it was asked so far. */
async function serving(on: Bench) {
  const server = await dotServer({
    identity: certificate({ common: 'x', names: ['dns.test'], issuer: on.ca }),
    handler: answering(),
  });
  on.onEnd(async () => server.close());
  const own: Identity = certificate({ common: 'x', names: [NAME], issuer: on.ca });
  const [cert, key] = [join(on.path, 'own.pem'), join(on.path, 'own.key')];
  writeFileSync(cert, own.cert);
  writeFileSync(key, own.key);
  const ports = { plain: await freePort(), tls: await freePort(), https: await freePort() };
  const pair = `certificate: ${cert}, key: ${key}`;
  const daemon = await startDotstub(`
listen: ["${HOST}:${ports.plain}"]
listen_tls: { addresses: ["${HOST}:${ports.tls}"], ${pair} }
listen_https: { addresses: ["${HOST}:${ports.https}"], ${pair} }
metrics: { listen: off }
log: { queries: full }
upstream: { ca_file: ${on.caFile}, servers: [{ name: dns.test, addresses: ["${HOST}:${server.port}"] }] }
`);
  on.onEnd(async () => void (await daemon.stop()));
  return { daemon, own, ports };
}

const ADDRESS = [{ data: '192.0.2.80' }];

/** Asks a forwarder, and says what came of it. */
async function outcome(at: At): Promise<unknown> {
  const told = await tryAsk(at, 'www.example', { timeoutMs: REFUSED_MS });
  return told?.text.answers ?? 'nothing';
}

await t.test('Stubby, strict', { skip: missing('stubby') }, async t => {
  const on = bench(t);
  const { daemon, own, ports } = await serving(on);
  let number = 0;
  /** Starts it with what it knows of the server. */
  const stubby = async (t: Test, ca: boolean, known: string): Promise<At> => {
    const port = await freePort();
    const file = join(on.path, `stubby-${number++}.yml`);
    writeFileSync(
      file,
      `
resolution_type: GETDNS_RESOLUTION_STUB
dns_transport_list: [GETDNS_TRANSPORT_TLS]
tls_authentication: GETDNS_AUTHENTICATION_REQUIRED
tls_query_padding_blocksize: 128
listen_addresses: [ ${HOST}@${port} ]
appdata_dir: "${on.path}"
${ca ? `tls_ca_file: "${on.caFile}"` : ''}
upstream_recursive_servers:
  - address_data: ${HOST}
    tls_port: ${ports.tls}
${known}
`,
    );
    const running = await start(on, 'stubby', ['-C', file], port);
    t.teardown(async () => running.stop());
    return { address: HOST, port };
  };
  const pinOf = (pin: string): string => `    tls_pubkey_pinset: [ { digest: "sha256", value: ${pin} } ]`;
  const name = `    tls_auth_name: "${NAME}"`;

  await t.test('with the name', async t => {
    t.match(await outcome(await stubby(t, true, name)), ADDRESS);
    await until(() => daemon.log().includes('"transport":"tls"'), 'a line of the query log');
  });
  await t.test('with another name', async t =>
    t.notMatch(await outcome(await stubby(t, true, '    tls_auth_name: "other.test"')), ADDRESS),
  );
  await t.test('with the pin', async t => t.match(await outcome(await stubby(t, false, pinOf(own.pin))), ADDRESS));
  await t.test('with another pin', async t =>
    t.notMatch(await outcome(await stubby(t, false, pinOf(on.ca.pin))), ADDRESS),
  );
});

await t.test('dnsdist in front, which verifies us', { skip: missing('dnsdist') }, async t => {
  const on = bench(t);
  const { daemon, ports } = await serving(on);
  let number = 0;
  const dnsdist = async (t: Test, port: number, more: string): Promise<At> => {
    const at = await freePort();
    const file = join(on.path, `in-front-${number++}.conf`);
    writeFileSync(
      file,
      `
setLocal('${HOST}:${at}')
newServer({ address = '${HOST}:${port}', tls = 'openssl', caStore = '${on.caFile}', validateCertificates = true,
  checkName = 'www.example.', checkInterval = 1, ${more} })
`,
    );
    const running = await start(on, 'dnsdist', ['--supervised', '--disable-syslog', '-C', file], at);
    t.teardown(async () => running.stop());
    return { address: HOST, port: at };
  };
  const https = `dohPath = '/dns-query'`;
  const cases = [
    { over: 'tls', port: ports.tls, more: '' },
    { over: 'https', port: ports.https, more: `${https}, ` },
  ];
  for (const { over, port, more } of cases)
    await t.test(over, async t => {
      const good = await dnsdist(t, port, `${more}subjectName = '${NAME}'`);
      for (let i = 0; i < 20; i++)
        t.match((await ask(good, `n${i}.wild.example`)).text.answers, [{ data: '192.0.2.99' }]);
      await until(() => new RegExp(`n1\\.wild.*"transport":"${over}"`).test(daemon.log()), 'a line of the query log');
      const bad = await dnsdist(t, port, `${more}subjectName = 'other.test'`);
      t.notMatch(await outcome(bad), ADDRESS, 'another name');
    });
});
