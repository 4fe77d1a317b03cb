// Common clients against the program, with a few zones behind it on 127.0.0.1. Debian packages: bind9-dnsutils knot-dnsutils
// ldnsutils dnsperf python3. glibc's stub resolver is tested through getent and Python in mount and network namespaces of their
// own, where resolv.conf names the daemon on port 53.

import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import t from 'tap';

import { certificate } from '../fixtures/certificates.js';
import { answering } from '../fixtures/daemon.js';
import { dotServer } from '../fixtures/dot-server.js';
import { freePort } from '../fixtures/free-port.js';
import { startDotstub } from '../fixtures/program.js';
import { bench, missing, nsd, program, unbound } from '../fixtures/servers.js';

async function run(name: string, ...args: string[]): Promise<{ code: number | null; out: string }> {
  return new Promise(resolve => {
    const child = execFile(
      program(name) ?? name,
      args,
      { timeout: 120_000, maxBuffer: 1 << 24 },
      (_error, stdout, stderr) => resolve({ code: child.exitCode, out: stdout + stderr }),
    );
  });
}

const on = bench(t);
const port = await freePort();
const tlsPort = await freePort();
const server = await dotServer({
  identity: certificate({ common: 'x', names: ['dns.test'], issuer: on.ca }),
  handler: answering(),
});
on.onEnd(async () => server.close());
const daemon = await startDotstub(`
listen: ["127.0.0.1:${port}"]
special_names: { forward: [test] }
listen_tls: { addresses: ["127.0.0.1:${tlsPort}"], certificate: ${on.certFile}, key: ${on.keyFile} }
metrics: { listen: off }
access: { nsid: resolver-1 }
upstream: { ca_file: ${on.caFile}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${server.port}"] }] }
`);
on.onEnd(async () => void (await daemon.stop()));

await t.test('dig', { skip: missing('dig') }, async t => {
  const dig = async (...args: string[]): Promise<string> =>
    (await run('dig', '@127.0.0.1', '-p', String(port), ...args)).out;
  t.match(
    await dig('www.example'),
    /status: NOERROR.*\n;; flags: qr rd ra; QUERY: 1, ANSWER: 1[\s\S]*www\.example\.\s+\d+\s+IN\s+A\s+192\.0\.2\.80/,
  );
  t.match(await dig('nobody.example'), /status: NXDOMAIN[\s\S]*SOA/);
  t.match(await dig('big.example', 'TXT'), /Truncated, retrying in TCP mode[\s\S]*ANSWER: 1/);
  t.match(await dig('+tcp', 'www.example', 'AAAA'), /2001:db8::80/);
  t.match(await dig('+noedns', 'www.example'), /ADDITIONAL: 0/);
  t.match(await dig('+nocookie', '+edns=1', '+noednsnegotiation', 'www.example'), /status: BADVERS/);
  t.match(await dig('+opcode=notify', 'www.example'), /status: NOTIMP/);
  t.match(await dig('example', 'AXFR'), /Transfer failed|NOTIMP/);
  t.match(await dig('-c', 'CH', 'version.bind', 'TXT'), /status: REFUSED/);
  t.match(await dig('+norecurse', 'www.example'), /status: REFUSED[\s\S]*EDE: 18/);
  t.match(await dig('www.example', 'ANY'), /HINFO\s+"RFC8482" ""/);
  t.match(await dig('strange.example', 'TYPE65280'), /TYPE65280\s+\\# 4 0A000001/);
});

await t.test('kdig, over UDP, TCP and TLS', { skip: missing('kdig') }, async t => {
  const kdig = async (at: number, ...args: string[]): Promise<string> =>
    (await run('kdig', '@127.0.0.1', '-p', String(at), ...args)).out;
  t.match(await kdig(port, 'www.example'), /status: NOERROR[\s\S]*192\.0\.2\.80/);
  t.match(await kdig(port, '+tcp', '+keepopen', 'www.example', 'alias.example'), /192\.0\.2\.80[\s\S]*CNAME/);
  const IDENTITY = /NSID:[^\n]*resolver-1/;
  const plain = await kdig(port, 'www.example');
  t.match(plain, /ANSWER SECTION/);
  t.notMatch(plain, IDENTITY, 'a client that does not ask is not told which server this is');
  for (const more of [[], ['+tcp'], ['+norec'], ['nobody.example']])
    t.match(await kdig(port, '+nsid', 'www.example', ...more), IDENTITY, more.join(' '));
  t.match(await kdig(port, '+nsid', '-c', 'CH', '-t', 'TXT', 'id.server'), /status: REFUSED/);
  const tls = await kdig(tlsPort, '+tls', `+tls-ca=${on.caFile}`, '+tls-hostname=dns.test', '+padding', 'www.example');
  t.match(tls, /TLS session \(TLS1\.3\)[\s\S]*192\.0\.2\.80[\s\S]*Received 468 B/, 'padded to 468 octets');
});

await t.test('drill', { skip: missing('drill') }, async t => {
  t.match(
    (await run('drill', '-p', String(port), 'www.example', '@127.0.0.1')).out,
    /rcode: NOERROR[\s\S]*192\.0\.2\.80/,
  );
  t.match((await run('drill', '-t', '-p', String(port), 'big.example', '@127.0.0.1', 'TXT')).out, /ANSWER: 1/);
});

await t.test(
  'dnsperf: no query is lost of 10,000 names and the same from cache, 200 outstanding, through a real Unbound',
  { skip: missing('dnsperf', 'unbound', 'nsd') },
  async t => {
    const upstream = await unbound(on, await nsd(on));
    const at = await freePort();
    const tested = await startDotstub(`
listen: ["127.0.0.1:${at}"]
special_names: { forward: [test] }
metrics: { listen: off }
upstream: { ca_file: ${on.caFile}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${upstream.port}"] }] }
`);
    on.onEnd(async () => void (await tested.stop()));
    const names = join(on.path, 'names');
    writeFileSync(names, Array.from({ length: 10_000 }, (_, i) => `n${i}.wild.test A\n`).join(''));
    for (const pass of ['misses', 'hits']) {
      const { out } = await run(
        'dnsperf',
        '-s',
        '127.0.0.1',
        '-p',
        String(at),
        '-d',
        names,
        '-n',
        '1',
        '-q',
        '200',
        '-t',
        '5',
      );
      t.match(out, /Queries completed:\s+10000 \(100\.00%\)\n\s+Queries lost:\s+0 /, pass);
      t.match(out, /Response codes:\s+NOERROR 10000 \(100\.00%\)/, pass);
    }
  },
);

const namespaces = process.getuid?.() === 0 ? missing('unshare', 'getent', 'ip') : 'needs root for namespaces';
await t.test(
  'glibc: getent and Python resolve names through the daemon in resolv.conf',
  { skip: namespaces },
  async t => {
    const resolvConf = join(on.path, 'resolv.conf');
    writeFileSync(resolvConf, 'nameserver 127.0.0.1\noptions edns0\n');
    const nsswitch = join(on.path, 'nsswitch.conf');
    writeFileSync(nsswitch, 'hosts: dns\n');
    const script = `
    set -e
    ip link set lo up
    # getent asks with AI_ADDRCONFIG: there has to be an address of each family that is not loopback.
    ip address add 192.0.2.200/32 dev lo
    ip address add 2001:db8::200/128 dev lo
    touch /etc/nsswitch.conf
    mount --bind ${resolvConf} /etc/resolv.conf
    mount --bind ${nsswitch} /etc/nsswitch.conf
    exec ${process.execPath} --import=tsx test/interop/namespaced.ts sh -ec '
      getent ahostsv4 www.example
      getent ahosts alias.example
      getent hosts nobody.example || echo "getent: not found, $?"
      python3 -c "
import socket
print(sorted({a[4][0] for a in socket.getaddrinfo(\\"www.example\\", 443)}))
try: socket.getaddrinfo(\\"nobody.example\\", 443)
except socket.gaierror as e: print(\\"python:\\", e.errno == socket.EAI_NONAME)
"'`;
    const { code, out } = await run('unshare', '--mount', '--net', 'sh', '-c', script);
    t.equal(code, 0, out);
    t.match(out, /192\.0\.2\.80\s+STREAM www\.example/);
    t.match(out, /STREAM www\.example\n/);
    t.match(out, /getent: not found, 2/);
    t.match(out, /\['192\.0\.2\.80', '2001:db8::80'\]\npython: True/);
  },
);

await t.test(
  "run PROVIDER: strict, its address from the system's resolver, and no other name in cleartext",
  { skip: namespaces },
  async t => {
    const resolvConf = join(on.path, 'resolv-provider.conf');
    writeFileSync(resolvConf, 'nameserver 127.0.0.2\n');
    const { code, out } = await run(
      'unshare',
      '--mount',
      '--net',
      'sh',
      '-c',
      `
    ip link set lo up
    mount --bind ${resolvConf} /etc/resolv.conf
    exec ${process.execPath} --import=tsx test/interop/provider.ts`,
    );
    t.equal(code, 0, out);
    t.match(out, /answer: 192\.0\.2\.80 from source=upstream&upstream=dns\.test&protocol=dot/);
    t.match(out, /with the server gone: SERVFAIL/);
    t.match(out, /in cleartext: dns\.test\. A, dns\.test\. AAAA\n/);
  },
);
