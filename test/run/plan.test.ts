// What a configuration comes to: the same for equal ones, and another one where anything is another, files included.

import t from 'tap';

import { OPTIONS } from '../../src/config/options.js';
import { changedOptions, type Plan } from '../../src/run/plan.js';
import { fakeFiles, planFor } from '../fixtures/plans.js';

const FILES = { '/ca': 'roots', '/cert': 'certificate', '/key': 'key', '/me': 'me', '/my-key': 'my key' };
const WITH_FILES = `
upstream:
  ca_file: /ca
  client_certificate: /me
  client_key: /my-key
  servers: [{ name: one.test, addresses: [192.0.2.1] }]
listen_tls: { addresses: ["127.0.0.1:8853"], certificate: /cert, key: /key }
`;

await t.test('two equal configurations give equal plans, however they are written', async t => {
  const one = planFor('cache: { min_ttl: 1m, size: 1MiB }\ndnssec: { negative_trust_anchors: [Corp.Example.] }');
  const two = planFor('dnssec:\n  negative_trust_anchors:\n  - corp.example\ncache: { size: 1048576, min_ttl: 60s }');
  t.same(one.resolution, two.resolution);
  t.equal(one.cacheBytes, two.cacheBytes);
  const again = planFor(WITH_FILES, fakeFiles(FILES));
  t.same(planFor(WITH_FILES, fakeFiles(FILES)), again);
  t.same(changedOptions(planFor(WITH_FILES, fakeFiles(FILES)), again), []);
});

await t.test('every option has a text, so that a change of it is noticed', async t => {
  t.same([...planFor('').texts.keys()].toSorted(), OPTIONS.map(({ path }) => path).toSorted());
});

await t.test('what files hold counts, and where it stands counts, too', async t => {
  const before = planFor(WITH_FILES, fakeFiles(FILES));
  const rows: Readonly<Record<string, string>> = {
    '/ca': 'upstream.ca_file',
    '/me': 'upstream.client_certificate',
    '/my-key': 'upstream.client_key',
    '/cert': 'listen_tls.certificate',
    '/key': 'listen_tls.key',
  };
  for (const [path, option] of Object.entries(rows)) {
    const contents = planFor(WITH_FILES, fakeFiles({ ...FILES, [path]: 'renewed' }));
    t.same(changedOptions(before, contents), [option], `${path} holds something else`);
    const moved = planFor(
      WITH_FILES.replace(new RegExp(`${path}\\b(?!-)`), '/moved'),
      fakeFiles({ ...FILES, '/moved': (FILES as Readonly<Record<string, string>>)[path] ?? '' }),
    );
    t.same(changedOptions(before, moved), [option], `${path} is somewhere else`);
  }
  t.same([...before.files].toSorted(), Object.keys(FILES).toSorted(), 'all of them are to be watched');
  t.not(before.upstream.trust, planFor(WITH_FILES, fakeFiles({ ...FILES, '/ca': 'renewed' })).upstream.trust);
  t.not(before.upstream.trust, planFor(WITH_FILES, fakeFiles({ ...FILES, '/my-key': 'renewed' })).upstream.trust);
  t.equal(before.upstream.trust, planFor(WITH_FILES, fakeFiles({ ...FILES, '/cert': 'renewed' })).upstream.trust);
});

await t.test("the system's roots count where no others are configured, and are looked for again each time", async t => {
  const before = planFor('', fakeFiles({ '/system': 'roots' }, '/system'));
  t.same(changedOptions(before, planFor('', fakeFiles({ '/system': 'more roots' }, '/system'))), ['upstream.ca_file']);
  t.same(changedOptions(before, planFor('', fakeFiles())), ['upstream.ca_file'], 'they are gone');
});

await t.test('a file that cannot be used is told with its option', async t => {
  for (const [path, words] of [
    ['/ca', 'upstream.ca_file: /ca cannot be read'],
    ['/key', 'listen_tls.key: /key cannot be read'],
    ['/my-key', 'upstream.client_key: /my-key cannot be read'],
  ] as const) {
    const left = Object.fromEntries(Object.entries(FILES).filter(([each]) => each !== path));
    t.throws(() => planFor(WITH_FILES, fakeFiles(left)), { message: words, exitCode: 2 });
  }
  t.throws(() => planFor(WITH_FILES, fakeFiles({ ...FILES, '/key': 'other' })), {
    message: 'listen_tls.key: /key cannot be used',
    exitCode: 2,
  });
});

await t.test('all files that cannot be used are told at once', async t => {
  const words = [
    'upstream.ca_file: /ca cannot be read',
    'upstream.client_certificate: /me cannot be read',
    'upstream.client_key: /my-key cannot be read',
    'listen_tls.key: /key cannot be used',
  ];
  const bad = fakeFiles({ '/cert': 'certificate', '/key': 'other' });
  t.throws(() => planFor(WITH_FILES, bad), { message: words.join('\n'), exitCode: 2 });
});

await t.test('special-use names that are forwarded have no chain of trust, so they count as unsigned', t => {
  const { resolution } = planFor(
    'special_names: { forward: [test] }\ndnssec: { negative_trust_anchors: [corp.example] }',
  );
  t.same(resolution.negativeAnchors, ['\x04corp\x07example\0', '\x04test\0']);
  t.end();
});

await t.test('records that cannot be used are told with their place', t => {
  t.throws(() => planFor('local: { records: ["a.lan. A 1.2.3.4", "a.lan. A x"] }'), {
    message: /^local\.records\[1\]: "x" is not data of type A/,
  });
  t.throws(() => planFor('local: { leases: [{ domain: lan }] }'), { message: /has no file/ });
  t.end();
});

await t.test('the mode is worked out once: strict with servers, opportunistic with those of the system', async t => {
  t.match(planFor('').upstream, { mode: 'opportunistic', servers: 'system', bootstrap: 'system' });
  t.match(planFor('upstream: { servers: [{ name: one.test, addresses: [192.0.2.1] }] }').upstream, { mode: 'strict' });
  t.match(planFor('upstream: { mode: off }').upstream, { mode: 'off', servers: 'system' });
});

await t.test(
  'dnssec.mode left out: require with servers, prefer with those of the system; a reload sees that',
  async t => {
    const listed = planFor('upstream: { servers: [{ name: one.test, addresses: [192.0.2.1] }] }');
    const system = planFor('');
    t.equal(listed.resolution.dnssec, 'require');
    t.equal(system.resolution.dnssec, 'prefer');
    t.equal(planFor('dnssec: { mode: require }').resolution.dnssec, 'require', 'what is written counts');
    t.ok(changedOptions(system, listed).includes('dnssec.mode'));
    const written = planFor('dnssec: { mode: prefer }');
    t.notOk(changedOptions(system, written).includes('dnssec.mode'), 'the same in other words');
  },
);

const KEY = Buffer.alloc(32, 1).toString('base64');
const sharing = (more = ''): string =>
  `cache: { shared: { url: "redis://[::1]", key_file: /shared.key, password_file: /password } }\n${more}`;

await t.test('the store that replicas share: its address, its secrets, and what answers depend on', t => {
  const files = fakeFiles({ '/shared.key': `${KEY}\n`, '/password': 'open sesame\n' });
  const { shared, files: read } = planFor(sharing(), files);
  t.match(shared, {
    store: { at: { address: '::1', port: 6379 }, database: 0, password: 'open sesame' },
    timeoutMs: 20,
    key: Buffer.alloc(32, 1),
  });
  t.strictSame(read, ['/shared.key', '/password'], 'a change of them is followed');
  t.equal(planFor('').shared, undefined);
  for (const same of ['log: { level: debug }', 'access: { snoop: [127.0.0.1] }'])
    t.equal(planFor(sharing(same), files).shared?.settings, shared?.settings, same);
  for (const other of [
    'dnssec: { mode: off }',
    'dnssec: { negative_trust_anchors: [corp.example] }',
    'upstream: { mode: off }',
    'upstream: { servers: [{ name: one.test, addresses: [192.0.2.1] }] }',
  ])
    t.not(planFor(sharing(other), files).shared?.settings, shared?.settings, other);
  t.end();
});

await t.test('secrets that are none are refused, all at once', t => {
  const bad = fakeFiles({ '/shared.key': 'too short', '/password': '\n' });
  const key = 'a key; expected: 32 octets in base64, as "openssl rand -base64 32" prints them';
  t.throws(() => planFor(sharing(), bad), {
    message: [
      `cache.shared.key_file: /shared.key does not hold ${key}`,
      'cache.shared.password_file: /password does not hold a password; expected: one line of text',
    ].join('\n'),
  });
  t.end();
});

await t.test('a group keeps the number of its set of routes over reloads, and nobody else gets it', t => {
  const file = (named: readonly string[], all: readonly string[] = named): string =>
    [
      'clients:',
      ...all.map((name, i) => `  - { name: ${name}, networks: [10.0.${i}.0/24] }`),
      'routes:',
      ...named.map(name => `  - { zones: [corp.test], resolvers: [192.0.2.1], clients: [${name}] }`),
    ].join('\n');
  const setsOf = ({ lists, routes }: Plan): unknown => [
    lists.groups.map(each => each.routes),
    routes.map(({ only }) => [...(only ?? [])]),
  ];
  const first = planFor(file(['a', 'b']));
  t.same(setsOf(first), [
    [2, 3],
    [[2], [3]],
  ]);
  const second = planFor(file(['c', 'b'], ['a', 'b', 'c']), fakeFiles(), first);
  t.same(setsOf(second), [
    [0, 3, 4],
    [[4], [3]],
  ]);
  t.not(second.snapshot.settings, planFor(file(['c', 'b'], ['a', 'b', 'c'])).snapshot.settings, 'keys are others');
  const third = planFor(file(['a', 'd']), fakeFiles(), second);
  t.same(setsOf(third), [
    [2, 5],
    [[2], [5]],
  ]);
  const many = (letter: string): readonly string[] => Array.from({ length: 15 }, (_, i) => `${letter}${i}`);
  const full = planFor(file(many('m')), fakeFiles(), third);
  const other = planFor(file(many('n')), fakeFiles(), full);
  const sets = [full, other].map(({ lists }) => lists.groups.map(each => each.routes));
  t.same(
    sets[0],
    Array.from({ length: 15 }, (_, i) => 6 + i),
  );
  t.equal(new Set(sets.flat()).size, 30, 'when all were given, those that were given up first are taken');
  t.end();
});
