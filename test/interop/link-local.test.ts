// Resolvers and listeners at link-local addresses, as routers announce them. The program runs in separate namespaces with a link of
// its own.
// Debian packages: iproute2 util-linux.

import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import t, { type Test } from 'tap';

import { temporaryDirectory } from '../fixtures/program.js';
import { missing } from '../fixtures/servers.js';

const skip = process.getuid?.() === 0 ? missing('unshare', 'ip') : 'needs root for namespaces';

/** Runs a situation of link-local.ts and returns its findings. */
async function situation(t: Test, name: string): Promise<Record<string, unknown>> {
  const directory = temporaryDirectory();
  t.teardown(() => directory.remove());
  const resolvConf = join(directory.path, 'resolv.conf');
  writeFileSync(resolvConf, 'nameserver fe80::53%veth0\n');
  const script = `
    set -e
    ip link set lo up
    ip link add veth0 type veth peer name veth1
    ip link set veth0 up
    ip link set veth1 up
    ip addr add fe80::1/64 dev veth0 nodad
    ip addr add fe80::53/64 dev veth1 nodad
    ip addr add fe80::54/64 dev veth1 nodad
    mount --bind ${resolvConf} /etc/resolv.conf
    exec ${process.execPath} --import=tsx test/interop/link-local.ts "${name}"`;
  const out = await new Promise<string>(resolve => {
    execFile('unshare', ['--mount', '--net', 'sh', '-c', script], { timeout: 90_000 }, (_error, stdout, stderr) =>
      resolve(stdout + stderr),
    );
  });
  const line = out.split('\n').find(each => each.startsWith('{"'));
  if (line === undefined) throw new Error(out);
  return JSON.parse(line) as Record<string, unknown>;
}

const OVER_TLS = { answer: { rcode: 'NOERROR', protocol: 'dot' }, overTls: true };

await t.test('the default configuration speaks TLS with a link-local resolver of resolv.conf', { skip }, async t => {
  t.match(await situation(t, 'the default configuration, own certificate'), OVER_TLS);
});

await t.test(
  'a resolver that designates its own link-local address is reached in its zone, and proved',
  { skip },
  async t => {
    const found = await situation(t, 'the default configuration, designated');
    t.match(found, OVER_TLS);
    t.match(found['log'], /designates fe80::54%veth0/);
    t.match(found['log'], /identity proved/);
  },
);

for (const name of ['strict, by address', 'strict, no name', 'strict, name looked up'])
  await t.test(`link-local servers: ${name}`, { skip }, async t => {
    const found = await situation(t, name);
    t.match(found, OVER_TLS);
    t.match(found['log'], /identity proved/);
    t.notMatch(found['inCleartext'], [/wild/]);
  });

await t.test('a route to a link-local resolver', { skip }, async t => {
  t.match(await situation(t, 'a route'), { answer: { rcode: 'NOERROR' }, overTls: false });
});

for (const name of [
  'listeners',
  'listeners, wildcard',
  'listeners, a thread',
  'listeners, wildcard, a thread',
  'listeners, dgram',
  'listeners, dgram, wildcard',
])
  await t.test(`clients at link-local addresses are answered: ${name}`, { skip }, async t => {
    const answered = { rcode: 'NOERROR' };
    t.match(await situation(t, name), { udp: answered, cached: answered, tcp: answered });
  });
