// The contenders: dotstub and its peers. Each is a forwarder to the same DNS-over-TLS server, with the same cache size, one thread,
// no log, and no validation unless validation is compared. A peer that is not installed is left out, and the report says so.

import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { type At, ask } from '../test/fixtures/client.js';
import { freePort } from '../test/fixtures/free-port.js';
import { startDotstub } from '../test/fixtures/program.js';
import { type Bench, program, type RunningServer, start, unboundAtHome, unboundTls } from '../test/fixtures/servers.js';
import { LOAD_CPU, pin, SERVER_CPU, type Target } from './measure.js';

/** A running server to measure. */
export interface Contender extends Target {
  readonly name: string;
  stop(): Promise<unknown>;
}

/** The configuration of all contenders. */
export interface Setting {
  readonly on: Bench;
  /** The server that all forward to: DNS over TLS as dns.test on this port, plain DNS on the next one. */
  readonly upstream: At & { readonly plainPort: number };
  readonly cacheMiB: number;
  /** Trust anchors for validation; undefined: no validation. */
  readonly anchors?: readonly string[];
}

/** A kind of contender, and how to start one. */
export interface Kind {
  readonly name: string;
  /** The Debian package; undefined for dotstub. */
  readonly package: string | undefined;
  /** What it can do: cache, forward over TLS, validate. */
  readonly does: readonly ('cache' | 'tls' | 'dnssec')[];
  start(setting: Setting): Promise<Contender>;
}

/** Starts a server that answers every name below test. at once, with and without TLS. */
export async function upstream(on: Bench): Promise<Setting['upstream'] & { restart(): Promise<void> }> {
  const port = await freePort();
  const plainPort = await freePort();
  const file = join(on.path, 'upstream.conf');
  writeFileSync(
    file,
    `
server:
${unboundTls(on, port)}
  interface: 127.0.0.1@${plainPort}
  incoming-num-tcp: 100
  local-zone: test. redirect
  local-data: "test. 3600 A 192.0.2.99"
remote-control:
  control-enable: no
`,
  );
  const begun = async (): Promise<RunningServer> => {
    const running = await start(on, 'unbound', ['-d', '-c', file], port);
    await pin(running.child.pid ?? 0, LOAD_CPU);
    return running;
  };
  let server = await begun();
  const restart = async (): Promise<void> => {
    await server.stop();
    server = await begun();
  };
  return { address: '127.0.0.1', port, plainPort, restart };
}

/** The peers that take part, as names of packages with commas: some make whole rounds of minutes. Not set: all. */
export const PEERS = process.env['BENCH_PEERS']?.split(',');
/** Another build of dotstub to compare with: the path of its dist/cli.js. */
const BEFORE = process.env['BENCH_BEFORE'];
/** The builds of dotstub, and how each is started. */
export const BUILDS: readonly { readonly name: string; readonly command?: readonly string[] }[] = [
  { name: 'dotstub' },
  ...(BEFORE === undefined ? [] : [{ name: 'dotstub before', command: [process.execPath, BEFORE] }]),
];

/** dotstub with so many front threads. */
export const ours = (threads: number, { name, command }: (typeof BUILDS)[number] = { name: 'dotstub' }): Kind => ({
  name: `${name}, threads ${threads}`,
  package: undefined,
  does: ['cache', 'tls', 'dnssec'],
  async start({ on, upstream: { port: behind }, cacheMiB, anchors }) {
    const port = await freePort();
    const config = `
listen: ["127.0.0.1:${port}"]
special_names: { forward: [test] }
metrics: { listen: off }
dnssec: ${anchors === undefined ? '{ mode: off }' : `{ trust_anchors: [${anchors.map(each => JSON.stringify(each)).join(', ')}] }`}
front: { threads: ${threads} }
cache: { size: ${cacheMiB}MiB }
upstream: { ca_file: ${on.caFile}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${behind}"] }] }
`;
    const running = await startDotstub(config, [], command);
    return { name: this.name, port, pid: running.child.pid ?? 0, stop: () => running.stop() };
  },
});

/** A peer that runs in the foreground with a configuration file of its own. */
const peer = (
  name: string,
  of: string,
  does: Kind['does'],
  files: (
    setting: Setting,
    port: number,
    directory: string,
  ) => {
    readonly config: string;
    readonly args: (file: string, directory: string) => readonly string[];
  },
): Kind => ({
  name,
  package: of,
  does,
  async start(setting) {
    const port = await freePort();
    const directory = join(setting.on.path, `${of}-${port}`);
    mkdirSync(directory);
    const { config, args } = files(setting, port, directory);
    // Stubby needs the file name extension.
    const file = join(directory, 'config.yml');
    writeFileSync(file, config);
    const { child, stop } = await start(setting.on, BINARIES[of] ?? of, args(file, directory), port, directory);
    return { name, port, pid: child.pid ?? 0, stop };
  },
});
const BINARIES: Readonly<Record<string, string>> = { 'knot-resolver': 'kresd' };

/** All kinds. The ratios are relative to Unbound. */
export const KINDS: readonly Kind[] = [
  ...BUILDS.flatMap(build => [ours(1, build), ours(0, build)]),
  peer(
    'Unbound',
    'unbound',
    ['cache', 'tls', 'dnssec'],
    ({ on, upstream: { port: behind }, cacheMiB, anchors }, port) => ({
      config: `
server:
  interface: 127.0.0.1@${port}
${unboundAtHome(on)}
  num-threads: 1
  do-not-query-localhost: no
  module-config: "${anchors === undefined ? '' : 'validator '}iterator"
${(anchors ?? []).map(each => `  trust-anchor: "${each}"`).join('\n')}
  local-zone: test. nodefault
  tls-cert-bundle: "${on.caFile}"
  msg-cache-size: ${Math.ceil(cacheMiB / 3)}m
  rrset-cache-size: ${Math.ceil((2 * cacheMiB) / 3)}m
  outgoing-range: 4096
  num-queries-per-thread: 2048
  incoming-num-tcp: 100
remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-tls-upstream: yes
  forward-addr: 127.0.0.1@${behind}#dns.test
`,
      args: file => ['-d', '-c', file],
    }),
  ),
  peer(
    'Knot Resolver',
    'knot-resolver',
    ['cache', 'tls', 'dnssec'],
    ({ on, upstream: { port: behind }, cacheMiB, anchors }, port) => ({
      config: `
net.listen('127.0.0.1', ${port}, { kind = 'dns' })
net.ipv6 = false
trust_anchors.remove('.')
${(anchors ?? []).map(each => `trust_anchors.add(${JSON.stringify(each)})`).join('\n')}
policy.add(policy.all(policy.TLS_FORWARD({{'127.0.0.1@${behind}', hostname='dns.test', ca_file='${on.caFile}'}})))
cache.size = ${cacheMiB} * MB
`,
      args: (file, directory) => ['-n', '-c', file, directory],
    }),
  ),
  peer('dnsdist', 'dnsdist', ['cache', 'tls'], ({ on, upstream: { port: behind } }, port) => ({
    config: `
setLocal('127.0.0.1:${port}')
newServer({ address='127.0.0.1:${behind}', tls='openssl', subjectName='dns.test', caStore='${on.caFile}', validateCertificates=true, maxInFlight=1000 }):setUp()
getPool(''):setCache(newPacketCache(1000000, { maxTTL=86400 }))
setMaxTCPClientThreads(1)
`,
    args: file => ['--supervised', '--disable-syslog', '-C', file],
  })),
  peer('SmartDNS', 'smartdns', ['cache', 'tls'], ({ on, upstream: { port: behind } }, port, directory) => ({
    config: `
bind 127.0.0.1:${port}
bind-tcp 127.0.0.1:${port}
server-tls 127.0.0.1:${behind} -host-name dns.test -tls-host-verify dns.test
ca-file ${on.caFile}
cache-size 1000000
cache-persist no
speed-check-mode none
prefetch-domain no
serve-expired no
log-level error
log-file ${directory}/log
audit-enable no
user root
`,
    args: file => ['-f', '-c', file, '-p', '-'],
  })),
  peer('dnsmasq', 'dnsmasq', ['cache'], ({ upstream: { plainPort } }, port) => ({
    config: `
port=${port}
listen-address=127.0.0.1
bind-interfaces
no-resolv
no-hosts
server=127.0.0.1#${plainPort}
cache-size=1000000
dns-forward-max=1000
no-negcache
`,
    args: file => ['-k', '-C', file, '-u', 'root', '--pid-file='],
  })),
  peer('Stubby', 'stubby', ['tls'], ({ on, upstream: { port: behind } }, port) => ({
    config: `
resolution_type: GETDNS_RESOLUTION_STUB
dns_transport_list:
  - GETDNS_TRANSPORT_TLS
tls_authentication: GETDNS_AUTHENTICATION_REQUIRED
tls_ca_file: "${on.caFile}"
tls_query_padding_blocksize: 128
idle_timeout: 10000
listen_addresses:
  - 127.0.0.1@${port}
appdata_dir: "${on.path}"
upstream_recursive_servers:
  - address_data: 127.0.0.1
    tls_auth_name: "dns.test"
    tls_port: ${behind}
`,
    args: file => ['-C', file],
  })),
];

/** Whether a kind takes part, and its package is installed. */
export const installed = (kind: Kind): boolean =>
  kind.package === undefined ||
  (PEERS?.includes(kind.package) !== false && program(BINARIES[kind.package] ?? kind.package) !== undefined);

/** The name and the version of the Debian package. */
export function versionOf({ name, package: of }: Kind): string {
  if (of === undefined) return name;
  try {
    return `${name} ${execFileSync('dpkg-query', ['-W', '-f', '${Version}', of], { encoding: 'utf8' })}`;
  } catch {
    return name;
  }
}

/** Starts all installed contenders that can do all of `does`. */
export async function beginAll(
  setting: Setting,
  does: Kind['does'],
  warm?: (at: At, tries: number) => Promise<unknown>,
): Promise<Contender[]> {
  const contenders: Contender[] = [];
  for (const kind of KINDS.filter(each => does.every(what => each.does.includes(what)) && installed(each)))
    contenders.push(await begin(kind, setting, warm));
  return contenders;
}

const firstQuery = async (at: At, tries: number): Promise<unknown> => ask(at, `warm${tries}.test`);

/**
 * Starts a contender on the CPU for servers, and waits until it answers.
 * @param warm sends the first query, which opens the connection and is not measured
 */
export async function begin(kind: Kind, setting: Setting, warm = firstQuery): Promise<Contender> {
  return ready(await kind.start(setting), warm);
}

/** Puts a contender on the CPU for servers, and waits until it answers. */
async function ready(contender: Contender, warm: (at: At, tries: number) => Promise<unknown>): Promise<Contender> {
  await pin(contender.pid, SERVER_CPU);
  for (let tries = 0; ; tries++) {
    try {
      await warm({ address: '127.0.0.1', port: contender.port }, tries);
      return contender;
    } catch (error) {
      if (tries === 3) throw new Error(`${contender.name} does not answer`, { cause: error });
    }
  }
}

/** Compiles and starts the UDP echo in C, the floor of what a server can cost; undefined if there is no compiler. */
export async function echo(on: Bench): Promise<Contender | undefined> {
  const file = join(on.path, 'echo');
  try {
    execFileSync('cc', ['-O2', '-o', file, new URL('echo.c', import.meta.url).pathname], { stdio: 'ignore' });
  } catch {
    return undefined;
  }
  const port = await freePort();
  const child = spawn('taskset', ['-c', SERVER_CPU, file, String(port)], { stdio: 'ignore' });
  await new Promise(resolve => setTimeout(resolve, 200));
  return {
    name: 'C echo (the floor)',
    port,
    pid: child.pid ?? 0,
    stop: async () =>
      new Promise(resolve => {
        child.once('close', resolve);
        child.kill();
      }),
  };
}

/** Starts the relay on the CPU for servers, and waits until it answers. */
export const relayFloor = async (setting: Setting): Promise<Contender> =>
  ready(relay(setting, await freePort()), firstQuery);

/**
 * Starts a relay of node:dgram and node:tls, the floor of what a forwarder on Node.js can cost.
 * @param threads that do nothing
 */
export function relay({ on, upstream: { port: behind } }: Setting, port: number, threads = 0): Contender {
  const args = [port, behind, on.caFile, threads].map(String);
  const child = spawn(process.execPath, [new URL('relay.cjs', import.meta.url).pathname, ...args], {
    stdio: 'inherit',
  });
  const stop = async (): Promise<unknown> => {
    child.kill();
    return new Promise(resolve => child.once('close', resolve));
  };
  return { name: 'relay of node:tls (the floor)', port, pid: child.pid ?? 0, stop };
}
