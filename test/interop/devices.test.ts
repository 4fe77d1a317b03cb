// Groups of clients by hardware address, and access for the machine's own networks, with devices on a real link. Debian packages: iproute2 util-linux bind9-dnsutils.

import { execFile } from 'node:child_process';

import t from 'tap';

import { missing } from '../fixtures/servers.js';

const skip = process.getuid?.() === 0 ? missing('unshare', 'nsenter', 'ip', 'dig') : 'needs root for namespaces';

for (const front of ['{ threads: 1 }', '{ threads: 0 }', '{ threads: 0, io: dgram }'])
  await t.test(`a device is in its group whatever its address is: ${front}`, { skip }, async t => {
    const args = ['--net', process.execPath, '--import=tsx', 'test/interop/devices.ts', front];
    const out = await new Promise<string>(resolve => {
      execFile('unshare', args, { timeout: 60_000 }, (_error, stdout, stderr) => resolve(stdout + stderr));
    });
    const line = out.split('\n').find(each => each.startsWith('{"'));
    if (line === undefined) throw new Error(out);
    const all = (rcode: string): readonly string[] => [rcode, rcode, rcode];
    t.match(JSON.parse(line), {
      kid: all('NXDOMAIN'),
      'kid, awake': ['NXDOMAIN'],
      'kid, over IPv6, awake': ['NXDOMAIN'],
      'kid, another address': all('NXDOMAIN'),
      other: all('NOERROR'),
      'other, over IPv6': all('NOERROR'),
      'kid, over IPv6': all('NXDOMAIN'),
      'other, where the kid was': all('NOERROR'),
      'from elsewhere': all('REFUSED'),
      'on a new network': all('NOERROR'),
      'when it is gone': all('REFUSED'),
    });
  });
