// Trouble with networks: blocked ports, other resolvers, no network, a suspended machine. The program runs in separate namespaces,
// where firewall and addresses can be changed without effect on the host.
// Debian packages: iptables iproute2 util-linux.

import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import t, { type Test } from 'tap';

import { temporaryDirectory } from '../fixtures/program.js';
import { missing } from '../fixtures/servers.js';

const skip = process.getuid?.() === 0 ? missing('unshare', 'ip', 'iptables') : 'needs root for namespaces';

interface Answer {
  readonly rcode: string;
  readonly protocol: string;
  readonly ms: number;
}

/** Runs a situation of networks.ts and returns its findings. */
async function situation(t: Test, name: string): Promise<Record<string, unknown>> {
  const directory = temporaryDirectory();
  t.teardown(() => directory.remove());
  const resolvConf = join(directory.path, 'resolv.conf');
  writeFileSync(resolvConf, 'nameserver 127.0.0.2\n');
  const script = `
    set -e
    ip link set lo up
    ip link add veth0 type veth peer name veth1
    ip link set veth0 up
    mount --bind ${resolvConf} /etc/resolv.conf
    mount -t tmpfs none /run
    exec ${process.execPath} --import=tsx test/interop/networks.ts "${name}" ${resolvConf}`;
  const out = await new Promise<string>(resolve => {
    execFile('unshare', ['--mount', '--net', 'sh', '-c', script], { timeout: 90_000 }, (_error, stdout, stderr) =>
      resolve(stdout + stderr),
    );
  });
  const line = out.split('\n').find(each => each.startsWith('{'));
  if (line === undefined) throw new Error(out);
  return JSON.parse(line) as Record<string, unknown>;
}

await t.test(
  'B17 row 9: strict mode with port 853 blocked sends no name in cleartext, and answers within 2 s of the end of the block',
  { skip },
  async t => {
    const found = await situation(t, 'strict, 853 blocked');
    t.match(found['before'], { rcode: 'NOERROR', protocol: 'dot' });
    t.same(found['inCleartext'], []);
    t.ok(Number(found['failed']) > 50, `${String(found['failed'])} of ${String(found['asked'])} failed meanwhile`);
    t.ok(Number(found['backAfterMs']) < 2000, `back after ${String(found['backAfterMs'])} ms`);
  },
);

await t.test(
  'B17 row 10: opportunistic mode with port 853 blocked uses cleartext at once, and TLS again after the next network change',
  { skip },
  async t => {
    const found = await situation(t, 'opportunistic, 853 blocked then opened');
    t.match(found['blocked'], { rcode: 'NOERROR', protocol: 'udp' });
    t.ok((found['blocked'] as Answer).ms < 500, 'at once');
    t.match(found['opened'], { rcode: 'NOERROR', protocol: 'dot' });
  },
);

await t.test(
  'opportunistic mode with one private server: 10,000 queries, a tenth slow, failing or dead, and none in cleartext',
  { skip },
  async t => {
    const found = await situation(t, 'opportunistic, one private server of two');
    t.same(found['inCleartext'], []);
    t.same(found['answers'], {
      'dead SERVFAIL': 334,
      'fail SERVFAIL': 333,
      'good NOERROR': 9000,
      'slow NOERROR': 333,
    });
  },
);

await t.test('three addresses that swallow packets: 100 of 100 queries under every policy', { skip }, async t => {
  const { found } = await situation(t, 'three addresses swallow packets');
  for (const [policy, [answered, worstMs]] of Object.entries(found as Record<string, readonly [number, number]>)) {
    t.equal(answered, 100, policy);
    t.ok(worstMs < 2000, `${policy}: ${worstMs} ms at most`);
  }
});

await t.test('after an outage of everything, TLS is back within seconds', { skip }, async t => {
  const found = await situation(t, 'opportunistic, everything down for a while');
  t.match(found['before'], { rcode: 'NOERROR', protocol: 'dot' });
  t.ok(Number(found['overTlsAfterMs']) < 5000, `after ${String(found['overTlsAfterMs'])} ms`);
});

await t.test(
  'strict mode with https: port 853 blocked, the next answer comes over HTTPS within 3 s, and no packet goes to port 53',
  { skip },
  async t => {
    const found = await situation(t, 'strict with https, 853 blocked');
    t.comment(JSON.stringify(found));
    t.match(found['before'], { rcode: 'NOERROR', protocol: 'dot' });
    t.ok(Number(found['firstMs']) < 3000, `first answer after ${String(found['firstMs'])} ms`);
    t.same(found['answers'], ['NOERROR https'], 'no query failed');
    t.ok(Number(found['asked']) > 100 && Number(found['https']) >= Number(found['asked']));
    t.same(found['packets'], [0, 0]);
    t.same(found['inCleartext'], []);
    t.ok(Number(found['backAfterMs']) < 60_000, `back over TLS after ${String(found['backAfterMs'])} ms`);
    t.equal((found['log'] as string[]).length, 2, 'a line for each change');
  },
);

await t.test('another resolver of the system is used without a restart', { skip }, async t => {
  const found = await situation(t, 'the system gets another resolver');
  t.match(found['before'], { rcode: 'NOERROR', protocol: 'dot' });
  t.match(found['first'], { rcode: 'NOERROR' });
  t.ok(Number(found['firstWasAsked']) > 0, 'the first query after the change goes to the new resolver');
  t.match(found['after'], { rcode: 'NOERROR', protocol: 'dot' }, 'soon over TLS');
  t.same([found['oldWasAsked'], found['inCleartext']], [0, 0]);
});

await t.test(
  'B17 row 5: after a freeze that cut its connections, the first query takes less than a second more than a handshake',
  { skip },
  async t => {
    const found = await situation(t, 'frozen');
    t.match(found['after'], { rcode: 'NOERROR', protocol: 'dot' });
    t.ok((found['after'] as Answer).ms < 1500, `${(found['after'] as Answer).ms} ms`);
  },
);

await t.test(
  'B17 row 8: strict mode without a network at start gives SERVFAIL after 4.2 s, and recovers by itself',
  { skip },
  async t => {
    const found = await situation(t, 'started without a network');
    const without = found['without'] as Answer;
    t.equal(without.rcode, 'SERVFAIL');
    t.ok(without.ms > 3800 && without.ms < 4600, `${without.ms} ms`);
    t.ok(Number(found['backAfterMs']) < 2000, `back after ${String(found['backAfterMs'])} ms`);
    t.same(found['inCleartext'], []);
  },
);

await t.test(
  "a captive portal: while the window is open its names reach the network's resolver, and no other name does",
  { skip },
  async t => {
    const found = await situation(t, 'a portal');
    t.match(found, { before: 'SERVFAIL', listed: 'NOERROR', own: 'NOERROR', other: 'SERVFAIL', after: 'SERVFAIL' });
    t.same(found['inCleartext'], ['captive.apple.com.', 'login.hotel.example.']);
  },
);

await t.test(
  "a captive portal that is detected: the window opens for the listed names and the portal's page, and closes",
  { skip },
  async t => {
    const found = await situation(t, 'a portal that is detected');
    const page = 'http://login.hotel.example/?%3Cscript%3E';
    t.match(found, {
      status: { by: 'detected', url: page },
      listed: 'NOERROR',
      page: 'NOERROR',
      other: 'SERVFAIL',
      after: { rcode: 'NOERROR', protocol: 'dot' },
    });
    t.same(found['inCleartext'], ['probe.example.', 'captive.apple.com.', 'login.hotel.example.']);
    t.same(found['inCleartextAfter'], []);
    t.ok(Number(found['openedAfterMs']) < 5000, `open after ${String(found['openedAfterMs'])} ms`);
    t.ok(Number(found['closedAfterMs']) < 20_000, `closed after ${String(found['closedAfterMs'])} ms`);
    t.match(found['log'], `its page is ${page}`);
  },
);

await t.test(
  'an announced resolver that proves its name gets all names, and one that does not gets none',
  { skip },
  async t => {
    const found = await situation(t, 'an announced resolver');
    t.same([found['overTls'], found['inCleartext']], [50, 0]);
    t.match(found['upstreams'], [
      { upstream: 'dns.test', address: '192.0.2.200', origin: 'announced', authenticated: true, path: 'tls' },
      { upstream: '127.0.0.2', origin: 'system', authenticated: false },
    ]);
    // It has the address of a server that was proved a moment ago, so for half a minute no name goes in cleartext.
    t.match(found['wrongName'], { rcode: 'SERVFAIL' });
    t.same([found['wrongNameServed'], found['wrongNameInCleartext']], [0, 0]);
    t.match(found['log'], 'the network announces resolvers with DNS over TLS: other.test (192.0.2.200 port 853)');
  },
);
