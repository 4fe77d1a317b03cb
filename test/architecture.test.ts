// The house of the design, held: who may import whom, and who owns each library.

import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve, dirname } from 'node:path';

import t from 'tap';

const SRC = new URL('../src', import.meta.url).pathname;

/** For each room, the rooms it may import; a type-only import of `config` is open to all. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  base: [],
  config: ['base'],
  observe: ['base'],
  os: ['base'],
  wire: ['base'],
  cache: ['base', 'wire'],
  dnssec: ['base', 'wire'],
  policy: ['base', 'wire'],
  upstream: ['base', 'wire'],
  pipeline: ['base', 'wire', 'cache', 'dnssec', 'policy', 'upstream'],
  front: ['base', 'wire', 'cache', 'dnssec', 'policy', 'upstream', 'pipeline', 'os'],
  listen: ['base', 'wire', 'pipeline', 'front', 'os'],
  control: ['base', 'wire', 'dnssec', 'policy', 'upstream', 'pipeline', 'front'],
  trust: ['base', 'config', 'wire', 'dnssec', 'pipeline', 'control', 'upstream', 'files'],
  notes: ['base', 'config', 'observe', 'wire'],
  daemon: [
    'notes',
    'base',
    'config',
    'observe',
    'os',
    'wire',
    'cache',
    'dnssec',
    'policy',
    'upstream',
    'pipeline',
    'front',
    'listen',
    'control',
    'files',
    'trust',
  ],
  files: ['base', 'config'],
  version: [],
  commands: ['base', 'config', 'observe', 'os', 'wire', 'upstream', 'listen', 'control', 'daemon', 'files', 'version'],
  cli: ['commands', 'version'],
  page: ['base'],
};

/** Each runtime package and the one file that may import it. */
const OWNERS: Readonly<Record<string, string>> = {
  'dns-packet': 'wire/message.ts',
  'lru-cache': 'base/bounded.ts',
  yaml: 'config/check.ts',
  pino: 'observe/log.ts',
  'prom-client': 'observe/exposition.ts',
  koffi: 'os/libc.ts',
  uplot: 'page/page.ts',
};

/** Where sockets, files, real clocks and randomness may be touched. */
const OUTSIDE =
  /^(upstream\/(dial|fetch-chain|plain)\.|listen\/|os\/|observe\/(log|log-file|dnstap-stream|http)|control\/|config\/system|daemon|notes|files|cli|commands\/|version|page\/page|front\/(host|worker|inline|outgoing))/;
const OUTSIDE_MODULES = /^node:(net|tls|dgram|fs|http|timers|child_process|worker_threads|os|perf_hooks)/;
const OUTSIDE_CALLS = /\b(setTimeout|setInterval|setImmediate|Date\.now|performance\.now|Math\.random|new Date\(\))/;
// Pure functions that happen to live in node:net.
const PURE_NET = new Set(['isIP', 'isIPv4', 'isIPv6', 'BlockList']);

interface Import {
  readonly from: string;
  readonly to: string;
  readonly typeOnly: boolean;
  readonly names: readonly string[];
}

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter(file => file.endsWith('.ts'))
  .sort();
const text = (file: string): string => readFileSync(join(SRC, file), 'utf8');
const room = (file: string): string => file.split('/')[0]?.replace(/\.ts$/, '') ?? '';

function importsOf(file: string): Import[] {
  const found = text(file).matchAll(/^(?:import|export)\s+(type\s+)?(?:([^;]*?)\s+from\s+)?'([^']+)';/gms);
  return [...found].map(([, typeOnly, names = '', to = '']) => ({
    from: file,
    to: to.startsWith('.') ? relative(SRC, resolve(SRC, dirname(file), to)).replace(/\.js$/, '.ts') : to,
    typeOnly: typeOnly !== undefined,
    names: names
      .replace(/[{}\s]/g, '')
      .split(',')
      .filter(name => name !== '' && !name.startsWith('type')),
  }));
}
const imports = files.flatMap(importsOf);

await t.test('every file is in a room that the house has', async t => {
  t.ok(files.length > 30, 'the files were found');
  t.same(
    files.map(room).filter(name => !(name in ALLOWED)),
    [],
  );
});

await t.test('rooms import only the rooms below them', async t => {
  const inside = imports.filter(({ to }) => to.endsWith('.ts'));
  t.ok(inside.length > 80, 'the imports were found');
  const wrong = inside.filter(
    ({ from, to, typeOnly }) =>
      room(from) !== room(to) &&
      !(ALLOWED[room(from)] ?? []).includes(room(to)) &&
      !(typeOnly && room(to) === 'config'),
  );
  t.same(
    wrong.map(({ from, to }) => `${from} imports ${to}`),
    [],
  );
});

await t.test('each package has one importer', async t => {
  const wrong = imports
    .filter(({ to }) => !/\.(ts|css)$/.test(to) && !to.startsWith('node:'))
    .filter(({ from, to }) => OWNERS[to] !== from);
  t.same(
    wrong.map(({ from, to }) => `${from} imports ${to}`),
    [],
  );
});

await t.test('every runtime dependency is used, and is in the README with its reason', async t => {
  const manifest = JSON.parse(readFileSync(join(SRC, '../package.json'), 'utf8')) as Record<
    'dependencies' | 'optionalDependencies',
    Record<string, string>
  >;
  const dependencies = { ...manifest.dependencies, ...manifest.optionalDependencies };
  const readme = readFileSync(join(SRC, '../README.md'), 'utf8');
  for (const name of Object.keys(dependencies)) {
    t.ok(
      imports.some(({ to }) => to === name) || text(OWNERS[name] ?? '').includes(`('${name}')`),
      `${name} is imported, or required where it is needed`,
    );
    t.match(readme, new RegExp(`^\\| \`?${name}\`? \\|`, 'm'), `${name} is in the table`);
  }
});

await t.test('protocol code touches no sockets, files, clocks or dice', async t => {
  const wrong = imports.filter(
    ({ from, to, names }) =>
      !OUTSIDE.test(from) &&
      OUTSIDE_MODULES.test(to) &&
      !(to === 'node:net' && names.every(name => PURE_NET.has(name))),
  );
  t.same(
    wrong.map(({ from, to }) => `${from} imports ${to}`),
    [],
  );
  const calls = files
    .filter(file => !OUTSIDE.test(file))
    .filter(file => OUTSIDE_CALLS.test(text(file).replace(/\/\/.*|\/\*[\s\S]*?\*\//g, '')));
  t.same(calls, []);
});

await t.test('no barrels, no utils, no default exports', async t => {
  t.same(
    files.filter(file => /(^|\/)(index|utils?|helpers?|common|misc)\.ts$/.test(file)),
    [],
  );
  t.same(
    files.filter(file => /^export \* from|^export default/m.test(text(file))),
    [],
  );
});

await t.test('every file opens with what it is', async t => {
  t.same(
    files.filter(file => !/^(#!.*\n)?\/\/ \S/.test(text(file))),
    [],
  );
});

await t.test('every exported function, class and interface has a docstring', async t => {
  const bare = files.flatMap(file =>
    [...text(file).matchAll(/(^|\n)([^\n]*)\nexport (?:async )?(?:function|class|interface) (\w+)/g)]
      .filter(([, , before = '']) => !/\*\/\s*$/.test(before))
      .map(([, , , name]) => `${file}: ${name ?? ''}`),
  );
  t.same(bare, []);
});
