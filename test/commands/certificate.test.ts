// Self-signed certificates: what they say, and who takes them.

import { execFileSync } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { connect, createServer } from 'node:tls';

import t from 'tap';

import { selfSigned } from '../../src/commands/self-signed.js';
import { certificateFacts } from '../../src/policy/server-certificate.js';
import { dotstub, temporaryDirectory } from '../fixtures/program.js';
import { missing } from '../fixtures/servers.js';

const directory = temporaryDirectory();
t.teardown(() => directory.remove());
const at = (name: string): string => join(directory.path, name);
const DAY_MS = 86_400_000;

await t.test('a certificate and its key are written, and fit each other', async t => {
  mkdirSync(at('one'));
  const args = ['dns.home.arpa', 'Second.test', '--address', '192.168.1.2', '--address', 'fd00::2', '--days', '30'];
  const { code, stdout } = await dotstub(['certificate', 'self-signed', ...args, '--out', at('one')]);
  t.equal(code, 0);
  t.match(stdout, /listen_tls:\n {2}addresses: \["192\.168\.1\.2:853", "\[fd00::2\]:853"\]\n {2}certificate: \//);
  const [file, keyFile] = [at('one/certificate.pem'), at('one/key.pem')];
  t.same(
    [file, keyFile].map(each => statSync(each).mode & 0o777),
    [0o644, 0o600],
  );
  const read = new X509Certificate(readFileSync(file));
  t.ok(read.verify(read.publicKey) && read.checkPrivateKey(createPrivateKey(readFileSync(keyFile))));
  t.match(certificateFacts(readFileSync(file)), {
    names: ['dns.home.arpa', 'second.test'],
    addresses: ['192.168.1.2', 'fd00::2'],
  });
  const days = (Date.parse(read.validTo) - Date.parse(read.validFrom)) / DAY_MS;
  t.equal(days, 30, 'not a minute more: some clients have a limit');
  const again = await dotstub(['certificate', 'self-signed', 'x.test', '--out', at('one')]);
  t.match(again, { code: 1, stderr: /key\.pem exists already, and is not replaced/ });
  t.equal(readFileSync(file, 'utf8'), read.toString(), 'nothing was replaced');
  mkdirSync(at('two'));
  mkdirSync(at('two/certificate.pem'));
  t.equal((await dotstub(['certificate', 'self-signed', 'x.test', '--out', at('two')])).code, 1);
  t.notOk(existsSync(at('two/key.pem')), 'both are written, or none');
});

await t.test('bad usage is told', async t => {
  for (const [args, words] of [
    [[], /self-signed NAME/],
    [['self-signed'], /needs a NAME/],
    [['self-signed', '192.168.1.2'], /not a host name; addresses go after --address/],
    [['self-signed', 'x.test', '--address', 'y.test'], /--address "y\.test" is not an IP address/],
    [['self-signed', 'x.test', '--days', '0'], /--days "0" is not allowed: 1 to 3650/],
    [['self-signed', 'x.test', '--out', '/nowhere/at/all'], /\/nowhere\/at\/all\/key\.pem cannot be written/],
  ] as const)
    t.match((await dotstub(['certificate', ...args])).stderr, words);
});

await t.test(
  'OpenSSL takes it for its names and addresses, by the strictest rules',
  { skip: missing('openssl') },
  t => {
    for (const [i, addresses] of [[], ['192.168.1.2'], ['fd00::2'], ['192.168.1.2', 'fd00::2']].entries()) {
      mkdirSync(at(`strict${i}`));
      const args = ['certificate', 'self-signed', 'dns.test', '--out', at(`strict${i}`)];
      execFileSync(process.execPath, ['dist/cli.js', ...args, ...addresses.flatMap(each => ['--address', each])]);
      const file = at(`strict${i}/certificate.pem`);
      const verified = (option: string, value: string): string =>
        execFileSync(
          'openssl',
          ['verify', '-x509_strict', '-purpose', 'sslserver', '-CAfile', file, option, value, file],
          { encoding: 'utf8' },
        );
      t.match(verified('-verify_hostname', 'dns.test'), /: OK/);
      for (const each of addresses) t.match(verified('-verify_ip', each), /: OK/, each);
    }
    t.end();
  },
);

await t.test('a client that trusts it is served; its time may be after 2050', async t => {
  const made = selfSigned({
    names: ['dns.test'],
    addresses: ['127.0.0.1'],
    startsMs: Date.parse('2020-01-01T00:00:00Z'),
    endsMs: Date.parse('2051-02-03T04:05:06Z'),
  });
  t.equal(certificateFacts(made.certificate).endsMs, Date.parse('2051-02-03T04:05:06Z'));
  const server = createServer({ cert: made.certificate, key: made.key }, socket => socket.end());
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const address = server.address();
  const port = address !== null && typeof address === 'object' ? address.port : 0;
  for (const servername of ['dns.test', undefined]) {
    const options = servername === undefined ? {} : { servername };
    const socket = connect({ host: '127.0.0.1', port, ca: made.certificate, ...options });
    await new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject));
    t.ok(socket.authorized, servername ?? 'by its address');
    socket.destroy();
  }
});
