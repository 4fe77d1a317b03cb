// `npm run package`: for each kind of processor an archive and a Debian package, with Node.js in them, and lists of their
// contents. The same commit, built with the same Node.js, gives the same octets.
//
//   npm run package                          all of them, into packages/
//   npm run package -- x64                   for one kind of processor
//   npm run package -- --out DIRECTORY       into DIRECTORY
//   npm run package -- x64 --tree DIRECTORY  only the files, into DIRECTORY

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { version } from '../src/version.js';
import { gzip, tar } from './archive.js';
import { debianPackage, DEBIAN_NAMES } from './deb.js';
import { writeEntries } from './entries.js';
import { ARCHITECTURES, type Architecture, runtimeFor } from './runtime.js';
import { sbom } from './sbom.js';
import { treeWith } from './tree.js';

/** The time of all files, seconds since 1970: that of the last commit. */
function timeOfSource(): number {
  const given = process.env['SOURCE_DATE_EPOCH'];
  const text = given ?? execFileSync('git', ['log', '-1', '--format=%ct'], { encoding: 'utf8' });
  if (!/^\d+\s*$/.test(text)) throw new Error(`SOURCE_DATE_EPOCH is not a number of seconds: ${text}`);
  return Number(text);
}

/** A kind of processor by any of its names. Containers name them as Debian does. */
function architectureOf(name: string): Architecture {
  const found = ARCHITECTURES.find(each => each === name || DEBIAN_NAMES[each] === name);
  if (found === undefined) throw new Error(`there is no package for ${name}, only for ${ARCHITECTURES.join(' and ')}`);
  return found;
}

function buildFor(architecture: Architecture, time: number, out: string): void {
  const runtime = runtimeFor(architecture);
  const tree = treeWith(runtime);
  const name = `dotstub-${version}-linux-${architecture}`;
  const write = (path: string, octets: Buffer | string): void => {
    writeFileSync(join(out, path), octets);
    console.log(join(out, path));
  };
  write(`${name}.tar.gz`, gzip(tar(tree, `${name}/`, time)));
  write(`dotstub_${version}_${DEBIAN_NAMES[architecture]}.deb`, debianPackage({ architecture, version, time, tree }));
  write(`${name}.cdx.json`, sbom(runtime.packages));
}

const sha256 = (octets: Buffer): string => createHash('sha256').update(octets).digest('hex');

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { out: { type: 'string', default: 'packages' }, tree: { type: 'string' } },
});
const wanted: readonly Architecture[] = positionals.length === 0 ? ARCHITECTURES : positionals.map(architectureOf);
const { out } = values;
if (values.tree === undefined) {
  mkdirSync(out, { recursive: true });
  // Packages of before, of any version.
  for (const path of readdirSync(out))
    if (/^(?:dotstub[-_].*\.(?:tar\.gz|deb|cdx\.json)|SHA256SUMS)$/.test(path)) rmSync(join(out, path));
  const time = timeOfSource();
  for (const each of wanted) buildFor(each, time, out);
  const sums = readdirSync(out)
    .filter(path => path.startsWith('dotstub'))
    .toSorted()
    .map(path => `${sha256(readFileSync(join(out, path)))}  ${path}\n`);
  writeFileSync(join(out, 'SHA256SUMS'), sums.join(''));
} else {
  const [architecture, ...others] = wanted;
  if (architecture === undefined || others.length > 0) throw new Error('--tree takes one kind of processor');
  writeEntries(values.tree, treeWith(runtimeFor(architecture)));
}
