// The tree of `npm run package` for arm64, run by QEMU on x64. Debian packages: qemu-user-static libc6-arm64-cross
// libgcc-s1-arm64-cross libstdc++6-arm64-cross, installed or unpacked into the directory that UNPACKED names. They take
// 390 MB, so that most machines have none of them, and this is skipped.

import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import t from 'tap';

import { version } from '../../src/version.js';
import { authority, certificate } from '../fixtures/certificates.js';
import { ask } from '../fixtures/client.js';
import { answering } from '../fixtures/daemon.js';
import { dotServer } from '../fixtures/dot-server.js';
import { freePort } from '../fixtures/free-port.js';
import { dotstub, startDotstub, temporaryDirectory } from '../fixtures/program.js';
import { program, UNPACKED } from '../fixtures/servers.js';

const directory = temporaryDirectory();
t.teardown(() => directory.remove());
const tree = join(directory.path, 'lib/dotstub');

const qemu = program('qemu-aarch64-static') ?? program('qemu-aarch64');
const libraries = ['/', UNPACKED].map(top => join(top, 'usr/aarch64-linux-gnu')).find(path => existsSync(path));

/** Makes the tree. @returns why it cannot be had, or false */
function build(): string | false {
  const args = ['--import=tsx', 'packaging/build.ts', 'arm64', '--tree', directory.path];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  if (status === 0) return false;
  if (/npm (?:error|ERR!) (?:code |network)?(?:ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ECONNREFUSED)/.test(stderr))
    return 'npm reaches no registry';
  throw new Error(stderr);
}

const isThere = qemu !== undefined && libraries !== undefined;
const skip = isThere ? build() : 'not installed: qemu-user-static, or the libraries of arm64 (libc6-arm64-cross)';
// As bin/dotstub runs it, which looks for the loader in the place of an arm64 system.
const command = [
  ...['env', '-u', 'NODE_OPTIONS', qemu ?? '', '-L', libraries ?? ''],
  ...[join(tree, 'node'), join(tree, 'dist/cli.js')],
];

await t.test('on arm64 the package says its version, and reads a configuration', { skip }, async t => {
  t.match(await dotstub(['--version'], command), { code: 0, stdout: `${version}\n` });
  const file = join(directory.path, 'dotstub.yaml');
  writeFileSync(file, 'listen: ["127.0.0.1:5300"]\n');
  t.match(await dotstub(['check-config', file], command), { code: 0 });
  writeFileSync(file, 'lisen: ["127.0.0.1:5300"]\n');
  const { code, stdout, stderr } = await dotstub(['check-config', file], command);
  t.equal(code, 2);
  t.match(stdout + stderr, 'lisen');
});

await t.test('on arm64 it answers a question from a server over TLS, with native code', { skip }, async t => {
  const ca = authority();
  const server = await dotServer({
    identity: certificate({ common: 'x', names: ['dns.test'], issuer: ca }),
    handler: answering('www.example. 300 A 192.0.2.80'),
  });
  t.teardown(() => server.close());
  const caFile = join(directory.path, 'ca.pem');
  writeFileSync(caFile, ca.cert);
  const port = await freePort();
  const daemon = await startDotstub(
    `
listen: ["127.0.0.1:${port}"]
metrics: { listen: "off" }
upstream: { ca_file: ${caFile}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${server.port}"] }] }`,
    [],
    command,
  );
  const { text } = await ask({ address: '127.0.0.1', port }, 'www.example');
  t.match(JSON.stringify(text), '192.0.2.80');
  t.notMatch(daemon.log(), /node:dgram/, 'with the native code of koffi');
  t.match(await daemon.stop(), { code: 0 });
});
