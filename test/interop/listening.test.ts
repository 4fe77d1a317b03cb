// Listeners on a machine whose addresses come, go, and are not ready. The program runs in separate namespaces with a link of its own.
// Debian packages: iproute2 util-linux python3.

import { execFile } from 'node:child_process';
import { realpathSync } from 'node:fs';

import t, { type Test } from 'tap';

import { temporaryDirectory } from '../fixtures/program.js';
import { missing } from '../fixtures/servers.js';

const skip = process.getuid?.() === 0 ? missing('unshare', 'ip', 'python3') : 'needs root for namespaces';

/** The package koffi, and the packages with its native code. */
const KOFFI = ['koffi', '@koromix'].map(each =>
  realpathSync(new URL(`../../node_modules/${each}`, import.meta.url).pathname),
);

/** Runs a situation of listening.ts and returns its findings. */
async function situation(t: Test, name: string, host: string): Promise<Record<string, unknown>> {
  const directory = temporaryDirectory();
  t.teardown(() => directory.remove());
  const script = `
    set -e
    ip link set lo up
    ip link add veth0 type veth peer name veth1
    ip link set veth0 up
    ip link set veth1 up
    ip addr add 192.168.7.1/24 dev veth0
    ${host === 'no system calls' ? KOFFI.map(each => `mount --bind ${directory.path} ${each}`).join('\n') : ''}
    exec ${process.execPath} --import=tsx test/interop/listening.ts "${name}" "${host}"`;
  const out = await new Promise<string>(resolve => {
    execFile('unshare', ['--mount', '--net', 'sh', '-c', script], { timeout: 90_000 }, (_error, stdout, stderr) =>
      resolve(stdout + stderr),
    );
  });
  const line = out.split('\n').find(each => each.startsWith('{"') && each.includes('"ended"'));
  if (line === undefined) throw new Error(out);
  const found = JSON.parse(line) as Record<string, unknown>;
  t.equal(found['ended'], 0, 'it stops as it should');
  return found;
}

/** The ways in which UDP is served. */
const HOSTS = ['batches', 'a thread', 'dgram', 'no system calls'] as const;
/** The kernel's messages are read at once, and without system calls there is a look each second: with room for a busy machine. */
const SOON_MS = 4000;
const SERVED = { udp: true, tcp: true, tls: true, http: true };

/** Whether something came within a time, ms. */
const came = (t: Test, ms: unknown, withinMs: number, what: string): void =>
  void t.ok(typeof ms === 'number' && ms >= 0 && ms <= withinMs, `${what}: after ${String(ms)} ms`);

for (const host of HOSTS) {
  await t.test(`${host}: a wildcard starts beside addresses that are not ready`, { skip }, async t => {
    const found = await situation(t, 'not ready', host);
    t.match(found, { four: true, tentative: true });
    came(t, found['failed'], 5000, 'another machine has fd00::6');
    came(t, found['six'], SOON_MS, 'fd00::5 is served once it may be used');
    t.notMatch(found['health'], /fd00::|192\.168/, 'nobody has written these addresses');
    t.notMatch(found['log'], /in use by another program|not an address|correct listen/);
    const listening = found['listening'] as string[];
    t.same(listening.length, new Set(listening).size, 'each once');
    t.notMatch(listening.join(' '), /fd00::/, 'those that are not ready are not told as served');
  });

  await t.test(`${host}: addresses that come are served soon, also again`, { skip }, async t => {
    const found = await situation(t, 'come and go', host);
    came(t, found['four'], SOON_MS, 'a new IPv4 address');
    came(t, found['six'], SOON_MS, 'a new IPv6 address');
    came(t, found['listed'], SOON_MS, 'the status says so');
    came(t, found['unlisted'] ?? 0, SOON_MS, 'a gone one is not told as served');
    came(t, found['again'], SOON_MS, 'it comes again');
    t.equal(found['lost elsewhere'], 0, 'at other addresses no query is lost');
    if (host !== 'no system calls') t.equal(found['without carrier'], true, 'without a carrier');
  });

  await t.test(`${host}: an address that is written and not there yet is served once it comes`, { skip }, async t => {
    const found = await situation(t, 'ahead', host);
    t.match(found, { meanwhile: true, health: /listen: 192\.168\.9\.1:5300 is served once it is an address of this/ });
    const ahead = host !== 'no system calls';
    t.match(found, { 'udp ahead': ahead, 'tcp ahead': ahead }, 'it is bound (IP_FREEBIND)');
    t.match(found['health'], /metrics\.listen: 192\.168\.9\.1:9153/);
    t.match(found['health'], /listen_tls\.addresses: 192\.168\.9\.1:8530/);
    t.match(
      found['log'],
      /listen: \[fd00::9\]:5300 is served once it is an address of this machine, which it is not now/,
    );
    t.notMatch((found['listening'] as string[]).join(' '), /192\.168\.9\.1|fd00/, 'it is not told as served');
    came(t, found['came'], SOON_MS, 'UDP, TCP, TLS and HTTP');
    came(t, found['six'], SOON_MS, 'IPv6');
    came(t, found['healed'], SOON_MS, 'health');
  });

  await t.test(`${host}: link-local listeners, also after their interface came again`, { skip }, async t => {
    const found = await situation(t, 'link-local', host);
    t.match(found, { here: SERVED, there: SERVED });
    came(t, found['gone'], SOON_MS, 'health names it while there is no interface');
    came(t, found['again'], SOON_MS + 2000, 'UDP, TCP, TLS and HTTP again');
  });

  await t.test(`${host}: a link-local listener waits for its interface`, { skip }, async t => {
    const found = await situation(t, 'no interface yet', host);
    t.match(found, { meanwhile: true, health: /\[fe80::1%br\w+\]:5300 is served once there is an interface br/ });
    came(t, found['came'], SOON_MS + 2000, 'UDP, TCP, TLS and HTTP');
  });

  await t.test(`${host}: what the kernel has no IPv6 for waits`, { skip }, async t => {
    const found = await situation(t, 'no IPv6', host);
    t.match(found, { four: true, health: /listen: \[::1\]:5300 is served once it is an address of this machine/ });
  });
}

for (const host of ['batches', 'dgram', 'no system calls'])
  await t.test(`${host}: of a wildcard, an address that another program uses waits`, { skip }, async t => {
    const found = await situation(t, 'in use', host);
    const words =
      /listen: 192\.168\.7\.1:5300, one of those that 0\.0\.0\.0 stands for, is not served over UDP: another/;
    t.match(found, { others: true, health: words });
    came(t, found['free'], 9000, 'it is tried again');
  });

await t.test('the watchdog is fed when the first listen address has gone', { skip }, async t => {
  const found = await situation(t, 'watchdog', 'batches');
  came(t, found['before'], 5000, 'before');
  came(t, found['after'], 8000, 'after');
});
