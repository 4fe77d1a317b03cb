// `npm run build`: src/ and the packages it uses become a few files in dist/. Finding and reading some two hundred files
// one by one is a third of the time that the program would take to start, and a good part of its memory.

import { copyFileSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';

import { build } from 'esbuild';

rmSync('dist', { recursive: true, force: true });
const { metafile } = await build({
  // The program, the thread that it starts, and the daemon for tests that run it in their own process.
  entryPoints: { cli: 'src/cli.ts', worker: 'src/fastpath/worker.ts', daemon: 'src/run/daemon.ts' },
  outdir: 'dist',
  chunkNames: 'part-[hash]',
  bundle: true,
  // What is loaded when it is first needed (commands, a scrape) stays in files of its own.
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  // It has machine code, and may be absent.
  external: ['koffi'],
  // For packages that are CommonJS inside.
  banner: {
    js: "import { createRequire as bundledRequire } from 'node:module'; const require = bundledRequire(import.meta.url);",
  },
  logLevel: 'warning',
  metafile: true,
});

// The status page: one script and one style sheet, with the library that draws.
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

// The packages' licences ask to travel with their code.
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
