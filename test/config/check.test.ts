// The check of a configuration file (config/check), and the resolvers of the system (config/system).

import { type NetworkInterfaceInfo } from 'node:os';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname } from 'node:path';

import fc from 'fast-check';
import t from 'tap';

import { checkConfig, defaultConfig, problemText } from '../../src/config/check.js';
import { modeOf } from '../../src/config/combinations.js';
import { configFile, exampleFile } from '../../src/config/render.js';
import {
  nameservers,
  type SystemFiles,
  systemNetwork,
  systemResolvers,
  withUsableZone,
} from '../../src/config/system.js';

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

await t.test('listen addresses are in canonical form, with any name that an interface may have', t => {
  t.same(
    good('listen: ["[FE80:0::1%br_lan]:53", "[fe80::1%eth0.7]:53", "[0:0::1]:53", "127.0.0.1:53"]').config.listen,
    [
      { address: 'fe80::1%br_lan', port: 53 },
      { address: 'fe80::1%eth0.7', port: 53 },
      { address: '::1', port: 53 },
      { address: '127.0.0.1', port: 53 },
    ],
  );
  t.same(good('listen: ["0.0.0.0:53", "[::]:53"]').config.listen.length, 2, 'both families');
  t.same(good('listen: ["0.0.0.0:53", "127.0.0.1:54"]').config.listen.length, 2, 'another port');
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
  const { config } = good(readFileSync(new URL('design.yaml', import.meta.url), 'utf8'));
  t.match(config.upstream, {
    mode: 'strict',
    servers: [{ name: 'dns.quad9.net', addresses: [{ address: '9.9.9.9' }, { address: '2620:fe::fe' }] }],
  });
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

const UPSTREAM = 'upstream: { servers: [{ name: dns.test, addresses: [192.0.2.1, 192.0.2.2]';
/** Files whose option does nothing, with the path of that option; and the same with what makes it do something. */
const IDLE: readonly (readonly [file: string, path: string, busy: string])[] = [
  [
    `${UPSTREAM} }], bootstrap: [192.0.2.9] }`,
    'upstream.bootstrap',
    'upstream: { servers: [{ name: a.test }], bootstrap: [192.0.2.9] }',
  ],
  [
    'upstream: { servers: [{ addresses: [192.0.2.1] }], policy: random }',
    'upstream.policy',
    `${UPSTREAM} }], policy: random }`,
  ],
  [
    'upstream: { mode: off, ca_file: /ca }',
    'upstream.ca_file',
    'upstream: { mode: off, ca_file: /ca }\nportal: { detect: "http://a.test/" }',
  ],
  [
    'upstream: { mode: off, client_certificate: /c, client_key: /k }',
    'upstream.client_certificate upstream.client_key',
    'upstream: { client_certificate: /c, client_key: /k }',
  ],
  [`${UPSTREAM}, port: 8853 }], mode: off }`, 'upstream.servers[0].port', `${UPSTREAM}, port: 8853 }] }`],
  [
    'upstream: { servers: [{ addresses: ["192.0.2.1:8853"], port: 853 }] }',
    'upstream.servers[0].port',
    'upstream: { servers: [{ addresses: ["192.0.2.1:8853", 192.0.2.2], port: 853 }] }',
  ],
  [
    'upstream: { mode: off, servers: [{ addresses: [192.0.2.2, "192.0.2.1:5353"] }] }',
    'upstream.servers[0].addresses[1]',
    'upstream: { servers: [{ addresses: [192.0.2.2, "192.0.2.1:5353"] }] }',
  ],
  [`${UPSTREAM}, pin_policy: report_only }] }`, 'upstream.servers[0].pin_policy', `${UPSTREAM} }] }`],
  [
    'routes: [{ zones: [a.test], resolvers: [192.0.2.1] }, { zones: [b.test, A.test.], resolvers: [192.0.2.2] }]',
    'routes[1].zones[1]',
    'routes: [{ zones: [a.test], resolvers: [192.0.2.1] }, { zones: [b.a.test], resolvers: [192.0.2.2] }]',
  ],
  [
    'clients: [{ name: a, networks: [10.0.0.0/8] }, { name: b, networks: [10.1.0.0/16] }]\nroutes: [{ zones: [a.test], resolvers: [192.0.2.1], clients: [a, b] }, { zones: [a.test], resolvers: [192.0.2.2], clients: [b] }]',
    'routes[1].zones[0]',
    'clients: [{ name: a, networks: [10.0.0.0/8] }, { name: b, networks: [10.1.0.0/16] }]\nroutes: [{ zones: [a.test], resolvers: [192.0.2.1], clients: [a] }, { zones: [a.test], resolvers: [192.0.2.2], clients: [b] }, { zones: [a.test], resolvers: [192.0.2.3] }]',
  ],
  [
    'dnssec: { mode: off, ntp_names: [a.test], negative_trust_anchors: [b.test] }',
    'dnssec.ntp_names dnssec.negative_trust_anchors',
    'dnssec: { ntp_names: [a.test], negative_trust_anchors: [b.test] }',
  ],
  [
    'dnssec: { mode: trust_ad, sha1: validate, max_nsec3_iterations: 9 }',
    'dnssec.sha1 dnssec.max_nsec3_iterations',
    `dnssec: { mode: trust_ad, sha1: validate, max_nsec3_iterations: 9 }\n${UPSTREAM}, dane: true }] }`,
  ],
  [
    'listen_tls: { certificate: /c, key: /k }',
    'listen_tls.certificate listen_tls.key',
    'listen_tls: { addresses: ["127.0.0.1:853"], certificate: /c, key: /k }',
  ],
  [
    'listen_https: { path: /q, certificate: /c, key: /k, proxies: [192.0.2.1] }',
    'listen_https.certificate listen_https.key listen_https.proxies',
    'listen_https: { addresses: ["127.0.0.1:443"], path: /q, certificate: /c, key: /k, proxies: [192.0.2.1] }',
  ],
  [
    'listen_tls: { certificate: /c, key: /k }\nlisten_https: { addresses: ["127.0.0.1:443"], certificate: /d, key: /l }',
    'listen_tls.certificate listen_tls.key',
    'listen_tls: { certificate: /c, key: /k }\nlisten_https: { addresses: ["127.0.0.1:443"] }',
  ],
  [
    'dns64: { prefix: "64:ff9b::/96", discover: true }',
    'dns64.discover',
    'dns64: { discover: true, exclude: ["2001:db8::/32"] }',
  ],
  ['front: { io: dgram, threads: 2 }', 'front.threads', 'front: { threads: 2 }'],
  ['log: { query_file: /q }', 'log.query_file', 'log: { query_file: /q, queries: full }'],
  [
    'upstream: { mode: off, ca_file: /ca }\nroutes: [{ zones: [a], resolvers: [192.0.2.1], name: b.c }]',
    'upstream.ca_file routes[0].name',
    'upstream: { mode: off, ca_file: /ca }\nroutes: [{ zones: [a], resolvers: [192.0.2.1], mode: strict, name: b.c }]',
  ],
  [
    'upstream: { mode: off, ca_file: /ca }\nlists: [{ name: a, sources: [/a] }]',
    'upstream.ca_file',
    'upstream: { mode: off, ca_file: /ca }\nlists: [{ name: a, sources: ["https://a.b/c"] }]',
  ],
  [
    'routes: [{ zones: [a], resolvers: [192.0.2.1] }, { zones: [a], resolvers: [192.0.2.2], schedule: "08:00-18:00" }]',
    'routes[1].zones[0]',
    'routes: [{ zones: [a], resolvers: [192.0.2.1], schedule: "08:00-18:00" }, { zones: [a], resolvers: [192.0.2.2] }]',
  ],
  [
    'access: { allow: [10.0.0.0/8], snoop: ["::1", 10.1.0.0/16] }',
    'access.snoop[0]',
    'access: { allow: ["fd00:1::/32"], snoop: ["fd00::/8"] }',
  ],
];

await t.test('options that do nothing beside the others are told with their place, and are allowed', t => {
  for (const [file, paths, busy] of IDLE) {
    const { warnings } = good(file);
    t.same(warnings.map(({ path }) => path).toSorted(), paths.split(' ').toSorted(), file);
    for (const { words, line, column } of warnings) {
      t.match(words, /^has no effect: /);
      t.ok((line ?? 0) > 0 && (column ?? 0) > 1, 'with its place');
    }
    t.same(good(busy).warnings, [], busy);
  }
  for (const preset of ['laptop', 'router', 'sidecar'])
    t.same(good(`preset: ${preset}\n${UPSTREAM} }] }`).warnings, [], 'a preset is not the fault of its user');
  t.same(good(exampleFile()).warnings, [], 'nor is the example');
  t.end();
});

await t.test('a network is taken without host bits, and as IPv4 where it is written as IPv4-mapped', t => {
  const { config, warnings } = good(
    'access: { allow: [192.168.1.5/24, 10.0.0.0/8, "fd00::1/8", "::ffff:10.0.0.0/104", 192.0.2.1, "::/0", "2001:DB8::/32", local] }',
  );
  t.same(
    config.access.allow.map(each => (each === 'local' ? each : `${each.address}/${each.prefix}`)),
    ['192.168.1.0/24', '10.0.0.0/8', 'fd00::/8', '10.0.0.0/8', '192.0.2.1/32', '::/0', '2001:db8::/32', 'local'],
  );
  t.same(
    warnings.map(({ path, words }) => `${path}: ${words}`),
    [
      'access.allow[0]: 192.168.1.5/24 has bits set after its prefix, and is taken as 192.168.1.0/24',
      'access.allow[2]: fd00::1/8 has bits set after its prefix, and is taken as fd00::/8',
      'access.allow[3]: ::ffff:10.0.0.0/104 is written as IPv4-mapped, and is taken as 10.0.0.0/8',
    ],
  );
  t.end();
});

await t.test('what is suggested is never the opposite, nor a guess', t => {
  const suggested = (file: string): string | undefined => {
    const checked = checkConfig(file);
    return checked.ok ? 'taken' : /did you mean (\S+)\?/.exec(checked.problems[0]?.words ?? '')?.[1];
  };
  for (const yes of ['on', 'yes', 'true', '"true"', 'ON', 'enabled'])
    for (const option of ['upstream: { mode', 'dnssec: { mode', 'log: { queries'])
      t.equal(suggested(`${option}: ${yes} }`), undefined, `${option}: ${yes}`);
  t.equal(suggested('dnssec: { sha1: secure }'), undefined, 'insecure is the opposite');
  t.equal(suggested('cache: { mix_ttl: 5s }'), undefined, 'min_ttl and max_ttl are as near');
  for (const [file, word] of [
    ['log: { queries: of }', 'off'],
    ['dnssec: { mode: false }', 'off'],
    ['dnssec: { mode: Require }', 'require'],
    ['upstream: { mode: oportunistik }', 'opportunistic'],
    ['upstream: { servers: [{ pin: [] }] }', 'pins'],
  ] as const)
    t.equal(suggested(file), word, file);
  t.end();
});

await t.test('a trust anchor has the name of a zone', t => {
  const digest = 'E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D';
  const anchor = (owner: string): boolean =>
    checkConfig(`dnssec: { trust_anchors: ["${owner} DS 20326 8 2 ${digest}"] }`).ok;
  for (const owner of ['.', 'example', 'Sub.Example.']) t.ok(anchor(owner), owner);
  for (const owner of ['a..b', '..', 'ex/ample']) t.notOk(anchor(owner), `${owner}: it would count for the root`);
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

await t.test('search domains are those of the files whose servers are used, and of no other network', t => {
  const files: Record<string, string> = { '/etc/resolv.conf': 'nameserver 192.0.2.1\nsearch branch.example lan\n' };
  const tree = treeOf(files);
  const search = (): readonly string[] => systemNetwork(address => address === '127.0.0.1', tree).search;
  t.same(search(), ['branch.example', 'lan']);
  files['/etc/resolv.conf'] = 'nameserver 127.0.0.1\nsearch branch.example\n';
  t.same(search(), [], 'beside this daemon they are those of the day of installation');
  files['/etc/dotstub/resolv.conf.before'] = 'nameserver 192.0.2.1\nsearch branch.example\n';
  t.same(search(), [], 'and so are those of the copy');
  files['/run/systemd/resolve/resolv.conf'] = 'nameserver 192.0.2.9\nsearch home.example\n';
  t.same(search(), ['home.example']);
  t.end();
});

await t.test('servers behind a local stub are found, and our own listeners are left out', t => {
  const files: Record<string, string> = {
    '/etc/resolv.conf': 'nameserver 127.0.0.53\n',
    '/run/systemd/resolve/resolv.conf': 'nameserver 192.0.2.1\nnameserver 127.0.0.1\n',
  };
  const tree = treeOf(files);
  t.same(
    systemResolvers(address => address === '127.0.0.1', tree),
    ['192.0.2.1'],
  );
  files['/etc/resolv.conf'] = 'nameserver 127.0.0.1\nnameserver 192.0.2.9\n';
  t.same(
    systemResolvers(address => address === '127.0.0.1', tree),
    ['192.0.2.1', '192.0.2.9'],
  );
  // The copy from the installation may be of another network. It counts only if no other file has servers.
  files['/etc/dotstub/resolv.conf.before'] = 'nameserver 198.51.100.1\n';
  t.same(
    systemResolvers(address => address === '127.0.0.1', tree),
    ['192.0.2.1', '192.0.2.9'],
  );
  delete files['/run/systemd/resolve/resolv.conf'];
  files['/run/NetworkManager/no-stub-resolv.conf'] = 'nameserver 203.0.113.1\n';
  files['/etc/resolv.conf'] = 'nameserver 127.0.0.1\n';
  t.same(
    systemResolvers(address => address === '127.0.0.1', tree),
    ['203.0.113.1'],
  );
  files['/run/NetworkManager/no-stub-resolv.conf'] = '# Generated by NetworkManager\n';
  t.same(
    systemResolvers(address => address === '127.0.0.1', tree),
    [],
    'a network without resolvers: the router of the day of installation is not one of it',
  );
  delete files['/run/NetworkManager/no-stub-resolv.conf'];
  t.same(
    systemResolvers(address => address === '127.0.0.1', tree),
    ['198.51.100.1'],
  );
  t.same(
    systemResolvers(() => false, treeOf({})),
    [],
  );
  t.end();
});

await t.test('servers of each interface, as resolvconf, openresolv, dhcpcd and our hook keep them', t => {
  const ours = (address: string): boolean => address.startsWith('127.');
  const found = (files: Record<string, string>): string[] =>
    systemResolvers(ours, treeOf({ '/etc/resolv.conf': 'nameserver 127.0.0.1\n', ...files }));
  const before = { '/etc/dotstub/resolv.conf.before': 'nameserver 198.51.100.1\n' };
  for (const directory of [
    '/run/resolvconf/interface',
    '/run/resolvconf/interfaces',
    '/run/dhcpcd/hook-state/resolv.conf',
  ]) {
    const records = {
      [`${directory}/lo.dotstub`]: 'nameserver 127.0.0.1\n',
      [`${directory}/eth0.dhclient`]: 'domain lan\nnameserver 192.0.2.1\n',
      [`${directory}/wlan0.dhclient`]: 'nameserver 192.0.2.2\nnameserver 192.0.2.1\n',
    };
    t.same(found({ ...before, ...records }), ['192.0.2.1', '192.0.2.2'], directory);
    const gone = { [`${directory}/eth0.dhclient`]: '# none\n' };
    t.same(found({ ...before, ...gone }), [], 'an interface without resolvers');
    const only = { [`${directory}/lo.dotstub`]: 'nameserver 127.0.0.1\n' };
    t.same(found({ ...before, ...only }), ['198.51.100.1'], 'no interface: nobody keeps track');
  }
  t.same(found({ ...before, '/run/dotstub-network/resolv.conf': 'nameserver 192.0.2.3\n' }), ['192.0.2.3']);
  t.same(found({ ...before, '/run/connman/resolv.conf': 'nameserver 192.0.2.4\n' }), ['192.0.2.4']);
  const many = Object.fromEntries(
    Array.from({ length: 100 }, (_, i) => [`/run/resolvconf/interface/if${i}`, `nameserver 192.0.2.${i}\n`]),
  );
  t.equal(found(many).length, 8, 'bounded');
  t.end();
});

/** A tree of files in memory. */
function treeOf(files: Readonly<Record<string, string>>): SystemFiles {
  return {
    read(path) {
      const text = files[path];
      if (text === undefined) throw new Error('ENOENT');
      return text;
    },
    list(path) {
      const names = Object.keys(files).filter(file => dirname(file) === path);
      if (names.length === 0) throw new Error('ENOENT');
      return names.map(file => basename(file));
    },
  };
}
