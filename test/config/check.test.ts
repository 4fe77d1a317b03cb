// The check of a configuration file (config/check), and the resolvers of the system (config/system).

import { type NetworkInterfaceInfo } from 'node:os';
import { readdirSync, readFileSync } from 'node:fs';

import fc from 'fast-check';
import t from 'tap';

import { checkConfig, defaultConfig, problemText } from '../../src/config/check.js';
import { modeOf } from '../../src/config/combinations.js';
import { configFile, exampleFile } from '../../src/config/render.js';
import { nameservers, systemResolvers, withUsableZone } from '../../src/config/system.js';

const BROKEN = new URL('broken/', import.meta.url);
const broken = readdirSync(BROKEN)
  .filter(file => file.endsWith('.yaml'))
  .sort();

const good = (text: string) => {
  const checked = checkConfig(text);
  if (!checked.ok) throw new Error(checked.problems.map(problem => problemText('file', problem)).join('\n'));
  return checked;
};

await t.test('the problem with each broken file has its place, path, value and what is allowed', t => {
  const expected = readFileSync(new URL('expected.txt', BROKEN), 'utf8').trimEnd().split('\n');
  t.ok(broken.length >= 30);
  for (const file of broken) {
    const checked = checkConfig(readFileSync(new URL(file, BROKEN), 'utf8'));
    if (checked.ok) {
      t.fail(`${file} was accepted`);
      continue;
    }
    t.same(
      checked.problems.map(problem => problemText(file, problem)),
      expected.filter(line => line.startsWith(`${file}:`)),
      file,
    );
    for (const { path, words } of checked.problems) {
      if (/not-yaml|tab-indent/.test(file)) continue;
      t.match(words, /llowed|must hold/, `${file} says what is allowed`);
      t.ok(path !== '' || file === 'root-list.yaml', `${file} names the path`);
    }
  }
  t.end();
});

await t.test('an empty file is the defaults', t => {
  t.same(good('').config, defaultConfig());
  t.match(good('').config, {
    listen: [
      { address: '127.0.0.1', port: 5300 },
      { address: '::1', port: 5300 },
    ],
    cache: { size: 16 * 1024 ** 2, max_ttl: 86_400_000, stale_client_timeout: 1800 },
    metrics: { listen: { address: '127.0.0.1', port: 9153 } },
  });
  t.ok(Object.isFrozen(defaultConfig().cache), 'frozen');
  t.end();
});

await t.test('the complete example of the design is accepted', t => {
  const { config, notBuilt } = good(readFileSync(new URL('design.yaml', import.meta.url), 'utf8'));
  t.match(config.upstream, {
    mode: 'strict',
    servers: [{ name: 'dns.quad9.net', addresses: [{ address: '9.9.9.9' }, { address: '2620:fe::fe' }] }],
  });
  t.ok(
    notBuilt.includes('dns64.prefix') && notBuilt.includes('cache.persist'),
    'options without effect are named',
  );
  t.notOk(notBuilt.includes('cache.size'));
  t.end();
});

await t.test('a preset changes defaults, and a value in the file overrides it', t => {
  t.match(good('preset: router\nupstream: { servers: [{ addresses: [192.0.2.1] }] }').config, {
    cache: { size: 4 * 1024 ** 2, serve_stale: 3 * 86_400_000, persist: false },
    access: { rate_limit: 200 },
  });
  t.match(good('preset: laptop\ncache: { size: 1MiB }').config, {
    listen: [{ port: 53 }, { port: 53 }],
    cache: { size: 1024 ** 2 },
  });
  t.same(good('preset: sidecar\nupstream: { mode: opportunistic }').config.listen, [
    { address: '127.0.0.1', port: 53 },
  ]);
  t.end();
});

await t.test('a mode that is left out follows from the servers', t => {
  t.equal(modeOf(good('').config), 'opportunistic');
  t.equal(modeOf(good('upstream: { servers: [{ addresses: [192.0.2.1] }] }').config), 'strict');
  t.equal(modeOf(good('upstream: { mode: "off" }').config), 'off');
  t.end();
});

await t.test('durations and sizes take units or bare numbers', t => {
  const { cache } = good('cache: { size: 131072, min_ttl: 5, max_ttl: 1.5h, negative_max_ttl: 0 }').config;
  t.match(cache, { size: 131072, min_ttl: 5000, max_ttl: 5_400_000, negative_max_ttl: 0 });
  t.end();
});

await t.test('JSON is YAML', t => {
  t.equal(good('{"cache":{"size":"1MiB"}}').config.cache.size, 1024 ** 2);
  t.end();
});

await t.test('aliases work, and nested ones that grow exponentially are refused', t => {
  t.match(good('access:\n  allow: &a [10.0.0.0/8]\n  snoop: *a').config.access.snoop, [
    { address: '10.0.0.0', prefix: 8 },
  ]);
  const bomb = [
    'a: &a [x,x,x,x,x,x,x,x,x]',
    ...'bcdefghi'
      .split('')
      .map((key, i) => `${key}: &${key} [${Array.from({ length: 9 }, () => `*${'abcdefgh'[i] ?? ''}`).join(',')}]`),
    'listen: *i',
  ].join('\n');
  const startedAt = Date.now();
  t.notOk(checkConfig(bomb).ok);
  t.ok(Date.now() - startedAt < 5000);
  t.end();
});

await t.test('a configuration that is written out reads as the same configuration', t => {
  for (const text of [
    '',
    'preset: router\nupstream: { servers: [{ name: dns.example, addresses: ["[2001:db8::1]:8853"], pins: ["sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="] }] }',
  ]) {
    const { config } = good(text);
    t.same(good(configFile(config)).config, config);
  }
  t.same(good(exampleFile()).config, defaultConfig(), 'the example file holds the defaults');
  t.end();
});

await t.test('any text gives a result, never an exception', t => {
  const words = fc.constantFrom(
    'cache:',
    'upstream:',
    '  size: ',
    'listen',
    '- ',
    '[',
    ']',
    '{',
    '}',
    ': ',
    '\n',
    '&a',
    '*a',
    '"',
    '1MiB',
    '!!binary',
    '? ',
    '| ',
    '\t',
    '#',
    '---\n',
    '...',
  );
  fc.assert(
    fc.property(fc.array(fc.oneof(words, fc.string({ maxLength: 5 })), { maxLength: 30 }), parts => {
      const checked = checkConfig(parts.join(''));
      return checked.ok || checked.problems.length > 0;
    }),
    { numRuns: 2000 },
  );
  t.end();
});

await t.test('the nameserver lines of resolv.conf(5) are read', t => {
  t.same(
    nameservers(
      '# c\nnameserver 192.0.2.1\n nameserver\t2001:db8::1 # x\nnameserver fe80::1%eth0\nnameserver nonsense\nsearch x\n',
    ),
    ['192.0.2.1', '2001:db8::1', 'fe80::1%eth0'],
  );
  t.end();
});

await t.test('zones of link-local resolvers are given in the form that Node.js takes', t => {
  const on = (address: string, scopeid: number): NetworkInterfaceInfo => ({
    address,
    scopeid,
    netmask: '',
    family: 'IPv6',
    mac: '',
    internal: false,
    cidr: null,
  });
  const interfaces = () => ({ eth0: [on('2001:db8::1', 0), on('fe80::1', 2)], wg_home: [on('fe80::2', 7)] });
  const form = (address: string): string => withUsableZone(address, interfaces);
  t.equal(form('fe80::53%eth0'), 'fe80::53%eth0');
  t.equal(form('fe80::53%2'), 'fe80::53%eth0', 'Node.js 20 takes no index');
  t.equal(form('fe80::53%wg_home'), 'fe80::53%7', 'Node.js takes no such name');
  t.equal(form('fe80::53%gone'), 'fe80::53%gone');
  t.equal(form('192.0.2.1'), '192.0.2.1');
  t.end();
});

await t.test('servers behind a local stub are found, and our own listeners are left out', t => {
  const files: Record<string, string> = {
    '/etc/resolv.conf': 'nameserver 127.0.0.53\n',
    '/run/systemd/resolve/resolv.conf': 'nameserver 192.0.2.1\nnameserver 127.0.0.1\n',
  };
  const read = (path: string): string => {
    const text = files[path];
    if (text === undefined) throw new Error('ENOENT');
    return text;
  };
  t.same(
    systemResolvers(address => address === '127.0.0.1', read),
    ['192.0.2.1'],
  );
  files['/etc/resolv.conf'] = 'nameserver 127.0.0.1\nnameserver 192.0.2.9\n';
  t.same(
    systemResolvers(address => address === '127.0.0.1', read),
    ['192.0.2.1', '192.0.2.9'],
  );
  // The copy from the installation may be of another network. It counts only if no other file has servers.
  files['/etc/dotstub/resolv.conf.before'] = 'nameserver 198.51.100.1\n';
  t.same(
    systemResolvers(address => address === '127.0.0.1', read),
    ['192.0.2.1', '192.0.2.9'],
  );
  delete files['/run/systemd/resolve/resolv.conf'];
  files['/run/NetworkManager/no-stub-resolv.conf'] = 'nameserver 203.0.113.1\n';
  files['/etc/resolv.conf'] = 'nameserver 127.0.0.1\n';
  t.same(
    systemResolvers(address => address === '127.0.0.1', read),
    ['203.0.113.1'],
  );
  files['/run/NetworkManager/no-stub-resolv.conf'] = '# Generated by NetworkManager\n';
  t.same(
    systemResolvers(address => address === '127.0.0.1', read),
    [],
    'a network without resolvers: the router of the day of installation is not one of it',
  );
  delete files['/run/NetworkManager/no-stub-resolv.conf'];
  t.same(
    systemResolvers(address => address === '127.0.0.1', read),
    ['198.51.100.1'],
  );
  t.same(
    systemResolvers(
      () => false,
      () => {
        throw new Error('ENOENT');
      },
    ),
    [],
  );
  t.end();
});
