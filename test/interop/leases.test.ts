// Leases as dnsmasq writes them: its clients get addresses from it in separate namespaces, and dotstub reads its file.
// Debian packages: dnsmasq-base iproute2 util-linux.

import { execFile } from 'node:child_process';

import t from 'tap';

import { missing } from '../fixtures/servers.js';

const skip = process.getuid?.() === 0 ? missing('unshare', 'nsenter', 'ip', 'dnsmasq') : 'needs root for namespaces';

await t.test(
  'a device that gets its address from dnsmasq has its name here, both ways, until it leaves',
  { skip },
  async t => {
    // The clients are at the other end of a link.
    const script = `
    set -e
    ip link set lo up
    unshare --net sleep 100 &
    there=$!
    trap 'kill $there' EXIT
    sleep 0.3
    ip link add veth0 type veth peer name veth1
    ip link set veth1 netns $there
    ip addr add 192.168.77.1/24 dev veth0
    ip link set veth0 up
    nsenter --target $there --net ip addr add 192.168.77.200/24 dev veth1
    nsenter --target $there --net ip link set veth1 up
    ${process.execPath} --import=tsx test/interop/leases.ts $there`;
    const out = await new Promise<string>(resolve => {
      execFile('unshare', ['--net', 'sh', '-c', script], { timeout: 90_000 }, (_error, stdout, stderr) =>
        resolve(stdout + stderr),
      );
    });
    const line = out.split('\n').find(each => each.startsWith('{"'));
    if (line === undefined) throw new Error(out);
    t.match(JSON.parse(line), {
      named: 'NOERROR 192.168.77.20',
      reverse: 'NOERROR nas.lan.',
      hostile: ['NXDOMAIN', 'NXDOMAIN'],
      left: 'NXDOMAIN',
      problems: 0,
    });
  },
);
