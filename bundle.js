// `npm run build`: bundles src/ and the packages that it uses into a few files in dist/. Without bundling, reading about two hundred
// files would take a third of the start-up time and much of the memory.

import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';

import { build } from 'esbuild';

rmSync('dist', { recursive: true, force: true });

/** Files that are loaded on demand, and share no state with the rest: a start need not read them. */
const ON_DEMAND = { 'redis-client': 'src/os/redis-client.ts', exposition: 'src/observe/exposition.ts' };

/** Modules of Node.js that the first answer does not need. Together they would take a fifth of the start. */
const LAZY = [
  ...['http', 'https', 'http2', 'child_process', 'zlib', 'fs/promises', 'perf_hooks', 'assert', 'v8'],
  ...['worker_threads', 'inspector', 'dns/promises', 'timers/promises'],
];

/**
 * A module that loads one of Node.js when something of it is used. It lists nothing of what that has in the Node.js that
 * builds: another one may have more, or less.
 */
const lazyModule = name => `let loaded;
const load = () => (loaded ??= require('node:${name}'));
const all = new Proxy({}, { get: (_, key) => (key === '__esModule' ? undefined : load()[key]) });
module.exports = Object.setPrototypeOf((...given) => load()(...given), all);
`;

const loading = {
  name: 'loading',
  setup(build) {
    build.onResolve({ filter: /^\.\/(redis-client|exposition)\.js$/ }, ({ path }) => ({ path, external: true }));
    build.onResolve({ filter: new RegExp(`^(node:)?(${LAZY.join('|')})$`) }, ({ path, namespace, importer }) => {
      // What runs in a thread needs node:worker_threads at once, and for each message.
      const isOfThread = path === 'node:worker_threads' && importer.endsWith('-worker.ts');
      if (namespace === 'lazy' || isOfThread) return { external: true };
      return { path: path.replace('node:', ''), namespace: 'lazy' };
    });
    // pino wants to know who calls it, for its transports, which are not used. V8 then looks for all ends of lines.
    build.onLoad({ filter: /\/pino\/lib\/caller\.js$/ }, () => ({ contents: 'module.exports = () => [];' }));
    // These are threads: without them the first answer needs no node:worker_threads.
    build.onLoad({ filter: /\/pino\/lib\/transport\.js$/ }, () => ({ contents: 'module.exports = () => undefined;' }));
    // Where pino asks which thread this is, only the destinations depend on it that it makes. It makes none here.
    build.onLoad({ filter: /\/pino\/lib\/tools\.js$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8').replace(
        "const { isMainThread } = require('worker_threads')",
        'const isMainThread = true',
      ),
    }));
    build.onLoad({ filter: /./, namespace: 'lazy' }, ({ path }) => ({ contents: lazyModule(path) }));
  },
};

const common = {
  outdir: 'dist',
  bundle: true,
  // Scripts, not modules: Node.js finds and links them faster, and can keep what it has compiled (src/start.ts). An
  // import of a module of Node.js would also read all that it exports, with the whole of fetch() behind node:http.
  format: 'cjs',
  platform: 'node',
  target: 'node20.19',
  // Less to read and to scan at the start. Names stay, and lines stay short, so that a stack trace says where it happened.
  minifyWhitespace: true,
  minifySyntax: true,
  lineLimit: 160,
  define: { 'import.meta.url': 'bundledUrl', performance: 'bundledClock', Buffer: 'BundledBuffer' },
  // A directive counts only where nothing stands before it. The first use of the global `performance` loads a dozen
  // modules of Node.js; only its now() is used, which is this. `process` is looked up by a function at each use.
  banner: {
    js: `'use strict'; const bundledUrl = require('node:url').pathToFileURL(__filename).href;
const { Buffer: BundledBuffer } = require('node:buffer');
const { hrtime: bundledTime } = process;
const [bundledSec] = bundledTime();
const bundledClock = { now() { const [s, ns] = bundledTime(); return (s - bundledSec) * 1e3 + ns / 1e6; } };`,
  },
  logLevel: 'warning',
  metafile: true,
  // The paths of modules are in what is built. They are the same where node_modules is a link to another place.
  preserveSymlinks: true,
};
const bundled = [
  await build({
    ...common,
    // The program behind cli.js, the threads that it starts, and the daemon, which tests run in their own process.
    entryPoints: {
      main: 'src/main.ts',
      worker: 'src/fastpath/worker.ts',
      'list-worker': 'src/run/list-worker.ts',
      'session-worker': 'src/run/session-worker.ts',
      daemon: 'src/run/daemon.ts',
    },
    // koffi has native code and is optional.
    external: ['koffi'],
    supported: { 'dynamic-import': false },
    plugins: [loading],
  }),
  await build({ ...common, entryPoints: ON_DEMAND }),
];
// start.js compiles main.js as it is: a function around it, because a copy with one would take a millisecond and 3 MB.
const main = `(function (exports, require, module, __filename, __dirname) {${readFileSync('dist/main.js', 'latin1')}\n})`;
writeFileSync('dist/main.js', main, 'latin1');
bundled.push(
  await build({
    ...common,
    entryPoints: { start: 'src/start.ts' },
    define: { ...common.define, MAIN_SUM: JSON.stringify(createHash('sha256').update(main).digest('hex')) },
  }),
);
// What is above dist/ is for modules.
writeFileSync('dist/package.json', '{ "type": "commonjs" }\n');

// The first file, which an old Node.js must be able to read: it says that a newer one is needed.
await build({
  entryPoints: { cli: 'src/cli.ts' },
  outdir: 'dist',
  format: 'cjs',
  target: 'node10',
  // Node.js 10 reads it, and only newer ones get there.
  supported: { 'dynamic-import': false },
  logLevel: 'warning',
});

// The status page: one script and one style sheet, with uPlot, which draws the charts.
const page = await build({
  entryPoints: { page: 'src/page/page.ts' },
  outdir: 'dist/page',
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  logLevel: 'warning',
  metafile: true,
});
copyFileSync('src/page/index.html', 'dist/page/index.html');

// The licences of the packages must accompany their code.
const packages = new Set(
  [...bundled, page]
    .flatMap(({ metafile }) => Object.keys(metafile.inputs))
    // The innermost, which may be in the folder of another package.
    .flatMap(path => path.match(/^.*\bnode_modules\/(?:@[^/]+\/)?[^/]+/) ?? []),
);
/** Packages that come without the text of their licence. */
const TEXTS = { '@redis/client': 'packaging/licences/redis-client.txt' };
const licences = [...packages].sort().map(path => {
  const { name, version, license } = JSON.parse(readFileSync(`${path}/package.json`, 'utf8'));
  const own = ['LICENSE', 'LICENSE.md', 'LICENCE', 'license', 'LICENSE.txt']
    .map(each => `${path}/${each}`)
    .find(existsSync);
  const file = own ?? TEXTS[name];
  if (file === undefined) throw new Error(`${path}: there is no text of its licence, which has to accompany its code`);
  return `${name} ${version} (${license})\n\n${readFileSync(file, 'utf8')}`;
});
writeFileSync('dist/LICENCES.txt', licences.join('\n----\n\n'));
