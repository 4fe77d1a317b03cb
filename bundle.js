// `npm run build`: bundles src/ and the packages that it uses into a few files in dist/. Without bundling, reading about two hundred
// files would take a third of the start-up time and much of the memory.

import { copyFileSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';

import { build } from 'esbuild';

rmSync('dist', { recursive: true, force: true });
const { metafile } = await build({
  // The program behind cli.js, the threads that it starts, and the daemon, which tests run in their own process.
  entryPoints: {
    main: 'src/main.ts',
    worker: 'src/fastpath/worker.ts',
    'list-worker': 'src/run/list-worker.ts',
    'session-worker': 'src/run/session-worker.ts',
    daemon: 'src/run/daemon.ts',
  },
  outdir: 'dist',
  chunkNames: 'part-[hash]',
  bundle: true,
  // Code that is loaded on demand (commands, metrics) stays in separate files.
  splitting: true,
  // Less to read and to scan at the start. Names stay, and lines stay short, so that a stack trace says where it happened.
  minifyWhitespace: true,
  minifySyntax: true,
  lineLimit: 160,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  // koffi has native code and is optional.
  external: ['koffi'],
  // Bundled CommonJS packages call require.
  banner: {
    js: "import { createRequire as bundledRequire } from 'node:module'; const require = bundledRequire(import.meta.url);",
  },
  logLevel: 'warning',
  metafile: true,
});

// The first file, which an old Node.js must be able to read: it says that a newer one is needed.
await build({
  entryPoints: { cli: 'src/cli.ts' },
  outdir: 'dist',
  target: 'node10',
  // Node.js 10 reads it, and only newer ones get there.
  supported: { 'dynamic-import': true },
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
  [...Object.keys(metafile.inputs), ...Object.keys(page.metafile.inputs)].flatMap(
    path => path.match(/^node_modules\/(?:@[^/]+\/)?[^/]+/) ?? [],
  ),
);
const licences = [...packages].sort().map(path => {
  const file = ['LICENSE', 'LICENSE.md', 'LICENCE', 'license', 'LICENSE.txt']
    .map(name => `${path}/${name}`)
    .find(existsSync);
  const { name, version, license } = JSON.parse(readFileSync(`${path}/package.json`, 'utf8'));
  return `${name} ${version} (${license})\n\n${file === undefined ? '' : readFileSync(file, 'utf8')}`;
});
writeFileSync('dist/LICENCES.txt', licences.join('\n----\n\n'));
