// The Debian package: the tree below /usr, units, a configuration to begin with, and the scripts of debian/.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

import { FIRST_CONFIG, UNIT_FILES, unitFor } from '../src/commands/installation.js';
import { INSTALLED_CONFIG } from '../src/config/load.js';
import { ar, gzip, tar } from './archive.js';
import { type Entry, executable, file, foldersOf, sorted, under } from './entries.js';
import type { Architecture } from './runtime.js';
import { DOCUMENTS, PROGRAM_FOLDER } from './tree.js';

/** Kinds of processors, as Debian names them. */
export const DEBIAN_NAMES: Readonly<Record<Architecture, string>> = { x64: 'amd64', arm64: 'arm64' };

const MAINTAINER = 'dotstub maintainers <dotstub@users.noreply.github.com>';
const PROGRAM = [`/usr/${PROGRAM_FOLDER}/node`, `/usr/${PROGRAM_FOLDER}/dist/cli.js`];
const KIB = 1024;

/** What the package is made for and of. */
export interface DebianPackage {
  readonly architecture: Architecture;
  readonly version: string;
  /** Seconds since 1970. */
  readonly time: number;
  readonly tree: readonly Entry[];
}

/** Makes the package. It is not compressed with xz, as most are: that takes a minute, and a program that Node.js lacks. */
export function debianPackage(made: DebianPackage): Buffer {
  const { time } = made;
  const files = sorted(filesOf(made));
  const control = [
    file('control', controlOf(made, files)),
    file('conffiles', `${INSTALLED_CONFIG}\n`),
    file(
      'md5sums',
      files
        .filter(({ path }) => `/${path}` !== INSTALLED_CONFIG)
        .map(md5Line)
        .join(''),
    ),
    ...['postinst', 'prerm', 'postrm'].map(name => executable(name, readFileSync(`packaging/debian/${name}`))),
  ];
  return ar(
    [
      ['debian-binary', Buffer.from('2.0\n')],
      ['control.tar.gz', gzip(tar(control, './', time))],
      ['data.tar.gz', gzip(tar(files, './', time))],
    ],
    time,
  );
}

function filesOf({ tree, version, time }: DebianPackage): Entry[] {
  const changes = `dotstub (${version}) unstable; urgency=medium

  * See CHANGELOG.md in this folder.

 -- ${MAINTAINER}  ${new Date(time * 1000).toUTCString().replace('GMT', '+0000')}
`;
  return [
    ...under('usr', tree.map(inPlaceOfDebian)),
    ...UNIT_FILES.map(name =>
      file(`usr/lib/systemd/system/${name}`, unitFor(readFileSync(`systemd/${name}`, 'utf8'), PROGRAM)),
    ),
    file(INSTALLED_CONFIG.slice(1), FIRST_CONFIG),
    file(`usr/${DOCUMENTS}/changelog.gz`, gzip(Buffer.from(changes), 9)),
    file('usr/share/lintian/overrides/dotstub', readFileSync('packaging/debian/lintian-overrides')),
  ];
}

/** A file of the tree, where and as Debian's policy wants it. */
function inPlaceOfDebian(entry: Entry): Entry {
  const { path, octets } = entry;
  if (path.startsWith('share/man/')) return { ...entry, path: `${path}.gz`, octets: gzip(octets, 9) };
  if (path === `${DOCUMENTS}/LICENSE`)
    return file(
      `${DOCUMENTS}/copyright`,
      `${octets.toString()}\nOf all that came from others, LICENCES.txt has the licences.\n`,
    );
  return entry;
}

function controlOf({ architecture, version }: DebianPackage, files: readonly Entry[]): string {
  const { description, homepage } = JSON.parse(readFileSync('package.json', 'utf8')) as {
    readonly description: string;
    readonly homepage: string;
  };
  // As dpkg-gencontrol counts: files by their blocks of 1 KiB, folders as one.
  const kib = files.reduce((sum, { octets }) => sum + Math.ceil(octets.length / KIB), 0) + foldersOf(files).length + 1;
  return `Package: dotstub
Version: ${version}
Architecture: ${DEBIAN_NAMES[architecture]}
Maintainer: ${MAINTAINER}
Installed-Size: ${kib}
Depends: libc6 (>= 2.28), libgcc-s1, libstdc++6 (>= 8)
Recommends: ca-certificates, systemd
Section: net
Priority: optional
Homepage: ${homepage}
Description: ${description.replace(/^A /, '').replace(/:.*/, '')}
 dotstub takes the queries of a machine, a household or a pod on port 53, and
 asks resolvers of your choice over TLS (RFC 7858). It validates DNSSEC,
 answers from a cache, and says at any time what is private and what is not.
 .
 The package brings its own Node.js. It starts the service on the loopback
 addresses. "dotstub install" makes it the resolver of the system.
`;
}

const md5Line = ({ path, octets }: Entry): string => `${createHash('md5').update(octets).digest('hex')}  ${path}\n`;
