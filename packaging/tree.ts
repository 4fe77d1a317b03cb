// The tree of a package, as it is below the folder of the archive, and below /usr.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { type Entry, executable, file, folder, under } from './entries.js';
import type { Runtime } from './runtime.js';

/** Where the program is: dist/, Node.js, and what "dotstub install" puts in place. */
export const PROGRAM_FOLDER = 'lib/dotstub';
/** Where its documents are. */
export const DOCUMENTS = 'share/doc/dotstub';

/** Makes the tree from what `npm run build` has made. */
export function treeWith({ files, loader, licences }: Runtime): Entry[] {
  const launcher = readFileSync('packaging/dotstub', 'utf8').replaceAll('@LOADER@', loader);
  return [
    executable('bin/dotstub', launcher),
    ...under(PROGRAM_FOLDER, [
      ...files,
      ...folder('dist', 'dist').flatMap(inPackage),
      ...folder('systemd', 'systemd'),
      ...folder('deploy/install', 'deploy/install'),
      file('package.json', readFileSync('package.json')),
    ]),
    ...under('share', [
      file('man/man8/dotstub.8', readFileSync('man/dotstub.8')),
      file('man/man5/dotstub.yaml.5', readFileSync('man/dotstub.yaml.5')),
      file('bash-completion/completions/dotstub', completion('bash')),
      file('zsh/vendor-completions/_dotstub', completion('zsh')),
      file('fish/vendor_completions.d/dotstub.fish', completion('fish')),
    ]),
    ...under(DOCUMENTS, [
      ...['README.md', 'CHANGELOG.md', 'SECURITY.md'].map(name => file(name, readFileSync(name))),
      ...folder('docs', 'docs'),
      ...folder('config', 'config'),
      ...folder('deploy', 'deploy').filter(({ path }) => !path.startsWith('deploy/install/')),
      file('LICENSE', readFileSync('LICENSE')),
      file('LICENCES.txt', [readFileSync(join('dist', 'LICENCES.txt'), 'utf8'), ...licences].join('\n----\n\n')),
    ]),
  ];
}

/** A file of the build. Only the Node.js beside it runs its entry, whatever Node.js the system has. */
function inPackage(entry: Entry): Entry[] {
  // The licences have their place, and what Node.js has compiled is of this machine.
  if (['dist/LICENCES.txt', 'dist/main.compiled'].includes(entry.path)) return [];
  if (entry.path !== 'dist/cli.js') return [entry];
  return [file(entry.path, entry.octets.toString().replace(/^#!.*\n/, ''))];
}

const completion = (shell: string): Buffer => execFileSync(process.execPath, ['dist/cli.js', 'completion', shell]);
