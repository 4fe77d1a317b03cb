// The house of the design, held: who may import whom, and who owns each library.

import { readdirSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { join, relative, resolve, dirname } from 'node:path';

import t from 'tap';
import ts from 'typescript';

const SRC = new URL('../src', import.meta.url).pathname;

/** For each room, the rooms it may import: the table of ARCHITECTURE.md. */
const ALLOWED: ReadonlyMap<string, readonly string[]> = tableOfRooms(
  readFileSync(join(SRC, '../ARCHITECTURE.md'), 'utf8'),
);

function tableOfRooms(text: string): ReadonlyMap<string, readonly string[]> {
  const [, table = ''] = /<!-- rooms:[^\n]*-->\n([\s\S]*?)<!-- end of rooms -->/.exec(text) ?? [];
  const rows = table.split('\n').flatMap(line => {
    const [, name, , allowed] = /^\| `(\w+)` \|(.*)\|([^|]*)\|$/.exec(line) ?? [];
    return name === undefined
      ? []
      : [
          [
            name,
            (allowed ?? '')
              .split(',')
              .map(each => each.trim())
              .filter(each => each !== ''),
          ] as const,
        ];
  });
  return new Map(rows);
}

/** Each runtime package and the one file that may import it. */
const OWNERS: Readonly<Record<string, string>> = {
  'dns-packet': 'wire/message.ts',
  'lru-cache': 'base/bounded.ts',
  yaml: 'config/check.ts',
  pino: 'observe/log.ts',
  'prom-client': 'observe/exposition.ts',
  koffi: 'os/koffi.ts',
  '@redis/client': 'os/redis-client.ts',
  uplot: 'page/page.ts',
  qr: 'commands/qr-code.ts',
};

/** Where sockets, files, real clocks and randomness may be touched. */
const OUTSIDE =
  /^(upstream\/(dial|fetch-chain|http2|plain)\.|listen\/|os\/|observe\/(log|log-file|dnstap-stream|event-loop|http)|control\/|config\/(system|load)|run\/|cli|main|start|commands\/|version|page\/page|fastpath\/(datagram-host|threads|worker|inline|outgoing|dgram))/;
const OUTSIDE_MODULES = /^node:(net|tls|dgram|fs|http|timers|child_process|worker_threads|os|perf_hooks)/;
const OUTSIDE_CALLS = /\b(setTimeout|setInterval|setImmediate|Date\.now|performance\.now|Math\.random|new Date\(\))/;
// Pure functions that happen to live in node:net.
const PURE_NET = new Set(['isIP', 'isIPv4', 'isIPv6', 'BlockList']);

const ASSIGNMENTS = new Set([
  ts.SyntaxKind.EqualsToken,
  ts.SyntaxKind.PlusEqualsToken,
  ts.SyntaxKind.MinusEqualsToken,
  ts.SyntaxKind.QuestionQuestionEqualsToken,
]);

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
    files.map(room).filter(name => !ALLOWED.has(name)),
    [],
  );
});

await t.test('rooms import only the rooms below them', async t => {
  const inside = imports.filter(({ to }) => to.endsWith('.ts'));
  t.ok(inside.length > 80, 'the imports were found');
  const wrong = inside.filter(
    ({ from, to }) => room(from) !== room(to) && !(ALLOWED.get(room(from)) ?? []).includes(room(to)),
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

await t.test('every package that the program uses is in the README with its reason', async t => {
  const readme = readFileSync(join(SRC, '../README.md'), 'utf8');
  for (const [name, owner] of Object.entries(OWNERS)) {
    t.ok(
      imports.some(({ to }) => to === name) || text(owner).includes(`('${name}')`),
      `${name} is imported, or required where it is needed`,
    );
    // The browser's part is said in words.
    if (owner.startsWith('page/')) continue;
    t.match(readme, new RegExp(`^\\| \`?${name}\`? \\|`, 'm'), `${name} is in the table`);
  }
});

await t.test('an installation consists of the bundle and of what cannot be in it', async t => {
  const manifest = JSON.parse(readFileSync(join(SRC, '../package.json'), 'utf8')) as Readonly<
    Record<'dependencies' | 'optionalDependencies' | 'devDependencies', Readonly<Record<string, string>> | undefined>
  >;
  t.equal(manifest.dependencies, undefined, 'what is bundled need not be installed');
  const optional = Object.keys(manifest.optionalDependencies ?? {});
  t.same(optional, ['koffi']);
  for (const name of Object.keys(OWNERS))
    t.ok(optional.includes(name) || manifest.devDependencies?.[name] !== undefined, `${name} is in package.json`);
  const dist = join(SRC, '../dist');
  const wanted = readdirSync(dist)
    .filter(file => file.endsWith('.js'))
    .flatMap(file => [...readFileSync(join(dist, file), 'utf8').matchAll(/\brequire\("([^"]+)"\)/g)])
    .map(([, from = '']) => from);
  t.ok(wanted.length > 50);
  t.same(
    [...new Set(wanted)].filter(from => !from.startsWith('./') && !from.startsWith('node:') && !isBuiltin(from)),
    [],
  );
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

await t.test('only config/ and the plan read a configuration', async t => {
  const readers = imports
    .filter(({ to, names }) => to === 'config/schema.ts' && names.includes('Config'))
    .map(({ from }) => from)
    .filter(from => room(from) !== 'config' && from !== 'run/plan.ts');
  t.same(readers, []);
});

/** Commands that print nothing but what this program, its user or a configuration file says. */
const OWN_WORDS = /^commands\/(print|program|completion|install|health|check-config|run)\.ts$/;

await t.test('text from elsewhere reaches a terminal through commands/print only', async t => {
  const PRINTS = /console\.\w+\(|process\.(?:stdout|stderr)\.write\((?!CLEAR\))/;
  const wrong = files.filter(file => room(file) === 'commands' && !OWN_WORDS.test(file) && PRINTS.test(text(file)));
  t.same(wrong, []);
  t.ok(PRINTS.test(text('commands/print.ts')), 'and that is found');
});

await t.test('what a reload changes lives in fields, not in variables that closures share', async t => {
  const rooms = files.filter(file => /^(run|pipeline)\//.test(file));
  t.ok(rooms.length > 10, 'the files were found');
  t.same(rooms.flatMap(sharedVariables), []);
});

/** Variables of a function that another function inside it assigns. */
function sharedVariables(file: string): string[] {
  const source = ts.createSourceFile(file, text(file), ts.ScriptTarget.ES2022, true);
  const found: string[] = [];
  const owners = new Map<string, ts.Node>();
  const functionAround = (node: ts.Node): ts.Node => {
    let at: ts.Node = node.parent;
    while (!ts.isFunctionLike(at) && !ts.isSourceFile(at)) at = at.parent;
    return at;
  };
  const visit = (node: ts.Node): void => {
    if (ts.isVariableDeclaration(node) && (ts.getCombinedNodeFlags(node) & ts.NodeFlags.Let) !== 0)
      owners.set(node.name.getText(), functionAround(node));
    const assigned = ts.isBinaryExpression(node) && ASSIGNMENTS.has(node.operatorToken.kind) ? node.left : undefined;
    if (assigned !== undefined && ts.isIdentifier(assigned)) {
      const owner = owners.get(assigned.text);
      if (owner !== undefined && functionAround(node) !== owner) found.push(`${file}: ${assigned.text}`);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return [...new Set(found)];
}
