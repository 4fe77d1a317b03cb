// What the packages bring along for one kind of processor: Node.js, and the native code of koffi. npm fetches both, and refuses
// what is not as package-lock.json and runtime/package-lock.json say.

import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { loaderOf, stripped } from './elf.js';
import { type Entry, executable, file } from './entries.js';

/** Kinds of processors, as Node.js names them. */
export const ARCHITECTURES = ['x64', 'arm64'] as const;
export type Architecture = (typeof ARCHITECTURES)[number];

/** What is brought along. */
export interface Runtime {
  /** `node`, and `node_modules/`. */
  readonly files: readonly Entry[];
  /** The loader of the system that `node` needs: that of glibc. */
  readonly loader: string;
  /** The packages, as `name@version`. */
  readonly packages: readonly string[];
  /** Their licences. */
  readonly licences: readonly string[];
}

/** Fetches it. @throws Error if npm cannot, or if a package is not the one that was pinned */
export function runtimeFor(architecture: Architecture): Runtime {
  return withPackages('packaging/runtime', architecture, runtime =>
    withPackages('.', architecture, modules => {
      const node = join(runtime, `node-linux-${architecture}`);
      const program = readFileSync(join(node, 'bin/node'));
      const native = `@koromix/koffi-linux-${architecture}`;
      // Its other native code is for musl, its other sources are for those who compile it.
      const needed = [
        'koffi/package.json',
        'koffi/LICENSE.txt',
        'koffi/index.cjs',
        'koffi/src/koffi/index.cjs',
        'koffi/src/koffi/src/static.cjs',
        `${native}/package.json`,
        `${native}/index.js`,
        `${native}/linux_${architecture}/koffi.node`,
      ];
      const packages = [node, join(modules, 'koffi'), join(modules, native)].map(manifestOf);
      return {
        files: [
          executable('node', stripped(program)),
          ...needed.map(path => file(join('node_modules', path), readFileSync(join(modules, path)))),
        ],
        loader: loaderOf(program),
        packages: packages.map(({ name, version }) => `${name}@${version}`),
        licences: [join(node, 'LICENSE'), join(modules, 'koffi/LICENSE.txt')].map(
          (path, i) =>
            `${packages[i]?.name ?? ''} ${packages[i]?.version ?? ''} (${packages[i]?.license ?? ''})\n\n${readFileSync(path, 'utf8')}`,
        ),
      };
    }),
  );
}

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly license: string;
}
const manifestOf = (folder: string): Manifest =>
  JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;

/** Installs what a lock file pins, for a kind of processor, for as long as `use` needs it. */
function withPackages<T>(from: string, architecture: Architecture, use: (modules: string) => T): T {
  const at = mkdtempSync(join(tmpdir(), 'dotstub-package-'));
  try {
    for (const each of ['package.json', 'package-lock.json']) copyFileSync(join(from, each), join(at, each));
    const options = ['--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
    execFileSync('npm', ['ci', ...options, '--os=linux', `--cpu=${architecture}`, '--libc=glibc'], {
      cwd: at,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    return use(join(at, 'node_modules'));
  } finally {
    rmSync(at, { recursive: true, force: true });
  }
}
