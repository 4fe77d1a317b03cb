// Announcements of resolvers (RFC 9463), as DHCP servers send them with the files of deploy/dnr: a client gets them in a namespace of
// its own, and dotstub reads what it got.
// Debian packages: dnsmasq-base kea-dhcp4-server busybox iproute2 util-linux.

import { execFile } from 'node:child_process';

import t from 'tap';

import { missing } from '../fixtures/servers.js';

const TOOLS = ['unshare', 'nsenter', 'ip', 'busybox'];
const skipFor = (server: string): string | false =>
  process.getuid?.() === 0 ? missing(...TOOLS, server) : 'needs root for namespaces';

async function found(server: string): Promise<unknown> {
  const script = `
    set -e
    ip link set lo up
    unshare --net sleep 100 &
    there=$!
    trap 'kill $there' EXIT
    sleep 0.3
    ip link add veth0 type veth peer name veth1
    ip link set veth1 netns $there
    sysctl -qw net.ipv6.conf.veth0.accept_dad=0 2>/dev/null || true
    ip addr add 192.168.1.1/24 dev veth0
    ip addr add fd00::1/64 dev veth0 nodad
    ip link set veth0 up
    nsenter --target $there --net ip link set veth1 up
    ${process.execPath} --import=tsx test/interop/dnr.ts ${server} $there`;
  const out = await new Promise<string>(resolve => {
    execFile('unshare', ['--net', 'sh', '-c', script], { timeout: 90_000 }, (_error, stdout, stderr) =>
      resolve(stdout + stderr),
    );
  });
  const line = out.split('\n').find(each => each.startsWith('{"found'));
  if (line === undefined) throw new Error(out);
  return JSON.parse(line);
}

const FOUR = { name: 'dns.home.arpa', address: '192.168.1.2', port: 853 };
const SIX = { name: 'dns.home.arpa', address: 'fd00::2', port: 853 };

await t.test('dnsmasq announces it over DHCP and DHCPv6', { skip: skipFor('dnsmasq') }, async t => {
  t.match(await found('dnsmasq'), { found: [FOUR, SIX] });
});

await t.test('Kea announces it over DHCP', { skip: skipFor('kea-dhcp4') }, async t => {
  t.match(await found('kea-dhcp4'), { found: [FOUR] });
});
