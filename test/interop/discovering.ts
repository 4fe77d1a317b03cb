// Runs in a namespace (see discovery.test.ts). dotstub serves 192.168.77.1 in cleartext and over TLS, and others are told
// only that address. It prints its findings as JSON.

import { execFile, execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';

import { authority, certificate } from '../fixtures/certificates.js';
import { tryAsk } from '../fixtures/client.js';
import { answering } from '../fixtures/daemon.js';
import { dotServer } from '../fixtures/dot-server.js';
import { dotstub, type RunningProgram, startDotstub, temporaryDirectory } from '../fixtures/program.js';
import { program } from '../fixtures/servers.js';

const [client = 'kdig'] = process.argv.slice(2);
const ADDRESS = '192.168.77.1';
/** Not the default one, which clients try by themselves. */
const PORT = 8853;
const NAME = 'dns.home.test';
/** Whoever must not come over TLS is not waited for that long. */
const PATIENCE_MS = client.includes('unverified') ? 5000 : 20_000;

const directory = temporaryDirectory();
const file = (name: string, text: string): string => {
  const path = join(directory.path, name);
  writeFileSync(path, text);
  return path;
};
const ca = authority();
const caFile = file('ca.pem', ca.cert);
// The same authority for the servers beyond.
const server = await dotServer({
  identity: certificate({ common: 'x', names: ['dns.test'], issuer: ca }),
  handler: answering(),
});
const ips = client.includes('unverified') ? ['192.168.77.9'] : [ADDRESS];
const own = certificate({ common: 'x', names: [NAME], ips, issuer: ca });
const first: RunningProgram = await startDotstub(`
listen: ["${ADDRESS}:53"]
listen_tls: { addresses: ["${ADDRESS}:${PORT}"], certificate: ${file('cert.pem', own.cert)}, key: ${file('key.pem', own.key)} }
state_directory: ${directory.path}
dnssec: { mode: off }
control: { socket: ${join(directory.path, 'first.sock')} }
upstream: { ca_file: ${caFile}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${server.port}"] }] }
`);

/** How many questions have reached the first daemon over TLS. */
async function overTls(): Promise<number> {
  const { stdout } = await dotstub(['metrics', '--socket', join(directory.path, 'first.sock')]);
  const lines = stdout.split('\n').filter(line => /^dotstub_queries_total\{.*proto="(?:tls|dot)"/.test(line));
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

/** Asks new names until some of them arrive over TLS. */
async function arrivesOverTls(at: { address: string; port: number }): Promise<{ rcode: string; tls: boolean }> {
  const until = performance.now() + PATIENCE_MS;
  for (let i = 0; ; i++) {
    const before = await overTls();
    const told = await tryAsk(at, `n${i}.example`);
    const tls = (await overTls()) > before;
    if ((tls && told !== undefined) || performance.now() > until) return { rcode: told?.text.rcode ?? 'silence', tls };
    await sleep(200);
  }
}

async function withDotstub(): Promise<unknown> {
  // It knows the address from resolv.conf and nothing else.
  execFileSync('mount', ['--bind', file('resolv.conf', `nameserver ${ADDRESS}\n`), '/etc/resolv.conf']);
  const second = await startDotstub(`
listen: ["127.0.0.1:5398"]
metrics: { listen: off }
state_directory: ${directory.path}
dnssec: { mode: off }
control: { socket: ${join(directory.path, 'second.sock')} }
upstream: { ca_file: ${caFile} }
`);
  const arrived = await arrivesOverTls({ address: '127.0.0.1', port: 5398 });
  const { stdout } = await dotstub(['upstreams', '--json', '--socket', join(directory.path, 'second.sock')]);
  const upstreams = JSON.parse(stdout) as unknown;
  await second.stop();
  return { ...arrived, upstreams };
}

const run = promisify(execFile);
const kdig = async (...args: string[]): Promise<string> =>
  (await run('kdig', [`@${ADDRESS}`, '+timeout=3', ...args])).stdout;

async function withKdig(): Promise<unknown> {
  const hint = await kdig('+short', '_dns.resolver.arpa', 'TYPE64');
  const tls = await kdig('-p', String(PORT), '+tls', `+tls-ca=${caFile}`, `+tls-hostname=${NAME}`, 'www.example');
  return { hint, whole: await kdig('_dns.resolver.arpa', 'TYPE64'), tls };
}

/**
 * systemd-resolved is told the address, the port and the name: 252 discovers nothing. It needs its user, a directory of its own in
 * /run, and no D-Bus.
 */
async function withResolved(): Promise<unknown> {
  const resolved = program('systemd-resolved') ?? '';
  for (const at of ['/run', '/etc/systemd']) execFileSync('mount', ['-t', 'tmpfs', 'none', at]);
  mkdirSync('/run/systemd');
  // It asks nobody while the loopback interface is the only one.
  execFileSync('ip', ['link', 'add', 'veth0', 'type', 'veth', 'peer', 'name', 'veth1']);
  execFileSync('ip', ['addr', 'add', '192.168.78.1/24', 'dev', 'veth0']);
  for (const name of ['veth0', 'veth1']) execFileSync('ip', ['link', 'set', name, 'up']);
  const user = 'systemd-resolve';
  const add = (path: string, line: string): void => {
    const before = readFileSync(path, 'utf8');
    if (!before.includes(user)) execFileSync('mount', ['--bind', file(basename(path), `${before}${line}\n`), path]);
  };
  add('/etc/passwd', `${user}:x:64999:64999::/:/usr/sbin/nologin`);
  add('/etc/group', `${user}:x:64999:`);
  // It reads them as that user.
  chmodSync(directory.path, 0o755);
  const settings = (name: string): string => `[Resolve]
DNS=${ADDRESS}:${PORT}#${name}
FallbackDNS=
Domains=~.
DNSOverTLS=yes
DNSSEC=no
Cache=no
LLMNR=no
MulticastDNS=no
`;
  /** What it answers when it knows its server by this name. */
  const under = async (name: string): Promise<string> => {
    writeFileSync('/etc/systemd/resolved.conf', settings(name));
    const child = spawn(resolved, [], { env: { ...process.env, SSL_CERT_FILE: caFile }, stdio: 'inherit' });
    const asked = async (name: string): Promise<string> =>
      run('kdig', ['@127.0.0.53', '+timeout=6', '+retry=0', name]).then(
        ({ stdout }) => stdout,
        () => 'silence',
      );
    try {
      // It knows that one itself.
      for (let i = 0; i < 20 && !(await asked('localhost')).includes('127.0.0.1'); i++) await sleep(500);
      return `${await asked('localhost')} ${await asked('www.example')}`;
    } finally {
      const ended = new Promise(resolve => child.once('close', resolve));
      child.kill();
      await ended;
    }
  };
  const good = await under(NAME);
  const tls = await overTls();
  const bad = await under('other.test');
  return { good, tls, bad, after: await overTls() };
}

const found = client.startsWith('dotstub')
  ? await withDotstub()
  : client === 'resolved'
    ? await withResolved()
    : await withKdig();
console.log(JSON.stringify({ found }));
await first.stop();
await server.close();
directory.remove();
process.exit();
