// The system around the daemon, as its files tell.

import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import t from 'tap';

import type { Surroundings } from '../../src/base/overview.js';
import { readResolvConf } from '../../src/base/resolv-conf.js';
import { readSurroundings } from '../../src/os/surroundings.js';
import { temporaryDirectory } from '../fixtures/program.js';

function read(files: Readonly<Record<string, string>>): Omit<Surroundings, 'addresses'> {
  const directory = temporaryDirectory();
  try {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(directory.path, path)), { recursive: true });
      writeFileSync(join(directory.path, path), text);
    }
    const { addresses, ...rest } = readSurroundings(directory.path);
    t.ok(addresses.includes('127.0.0.1'));
    return rest;
  } finally {
    directory.remove();
  }
}

await t.test('a resolv.conf: resolvers in their order, and the last line with search domains', t => {
  t.same(
    readResolvConf(
      '# x\nnameserver 192.0.2.1\n nameserver fe80::1%eth0 # y\nnameserver nonsense\ndomain a.test\nsearch lan home.arpa\n',
    ),
    { nameservers: ['192.0.2.1', 'fe80::1%eth0'], search: ['lan', 'home.arpa'] },
  );
  t.same(readResolvConf('search .'), { nameservers: [], search: [] }, 'a dot means none');
  t.same(readResolvConf('search \x1b[31m lan'), { nameservers: [], search: ['lan'] }, 'nothing for a terminal');
  t.equal(readResolvConf('nameserver 192.0.2.1\n'.repeat(1000)).nameservers.length, 16);
  t.end();
});

await t.test('without any file, nothing is known', t => {
  t.same(read({}), { resolvConf: undefined, hosts: [], resolved: undefined, neighbours: [] });
  t.end();
});

await t.test('nsswitch.conf: the services, without what is done about their results', t => {
  t.match(
    read({
      'etc/nsswitch.conf':
        'passwd: files\nhosts: files mdns4_minimal [NOTFOUND=return] resolve [!UNAVAIL=return] dns # x\n',
    }),
    {
      hosts: ['files', 'mdns4_minimal', 'resolve', 'dns'],
      neighbours: ['mDNS'],
    },
  );
  t.match(read({ 'etc/nsswitch.conf': 'hosts: files wins dns' }), { neighbours: ['WINS'] });
  t.end();
});

await t.test('systemd-resolved: its servers with those of links, and whether its own get all names', t => {
  const servers = { 'run/systemd/resolve/resolv.conf': 'nameserver 127.0.0.1\nnameserver 192.168.1.1\nsearch lan\n' };
  const resolved = (files: Readonly<Record<string, string>>): unknown => read({ ...servers, ...files }).resolved;
  t.same(resolved({}), { servers: ['127.0.0.1', '192.168.1.1'], search: ['lan'], routesAll: false });
  t.match(resolved({ 'etc/systemd/resolved.conf': '[Resolve]\n#Domains=~.\n' }), { routesAll: false });
  t.match(resolved({ 'etc/systemd/resolved.conf': '[Resolve]\nDomains=lan ~.\n' }), { routesAll: true });
  const ours = { 'etc/systemd/resolved.conf.d/dotstub.conf': '[Resolve]\nDomains=~.\n' };
  t.match(resolved(ours), { routesAll: true });
  t.match(resolved({ ...ours, 'etc/systemd/resolved.conf.d/z.conf': '[Resolve]\nDomains=\n' }), { routesAll: false });
  t.match(resolved({ ...ours, 'etc/systemd/resolved.conf.d/z.conf.bak': '[Resolve]\nDomains=\n' }), {
    routesAll: true,
  });
  t.match(
    resolved({ ...ours, 'usr/lib/systemd/resolved.conf.d/dotstub.conf': '[Resolve]\nDomains=\n' }),
    { routesAll: true },
    'a file in /etc hides one of the same name',
  );
  t.end();
});

await t.test('LLMNR: its port is open, whoever opened it', t => {
  const row = (port: string): string =>
    `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n  101: 00000000:${port} 00000000:0000 07 00000000:00000000 00:00000000 00000000   101\n`;
  t.same(read({ 'proc/self/net/udp': row('14EB') }).neighbours, ['LLMNR']);
  t.same(read({ 'proc/self/net/udp6': row('14EB').replace('00000000:14EB', `${'0'.repeat(32)}:14EB`) }).neighbours, [
    'LLMNR',
  ]);
  t.same(read({ 'proc/self/net/udp': row('14E9') }).neighbours, []);
  t.end();
});
