// The list of what is in a package, in CycloneDX: npm's own, of the packages that are in the bundle or beside it.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** What of npm's list is used. */
interface Component {
  readonly 'bom-ref': string;
  readonly [key: string]: unknown;
}
interface Bom {
  readonly $schema: string;
  readonly bomFormat: string;
  readonly specVersion: string;
  readonly metadata: { readonly component: Component };
  readonly components: readonly Component[];
}

/**
 * Lists the bundled packages, and those that are brought along. Without a time and a number of its own, because it is the same
 * for the same contents.
 * @param beside packages that are not in the bundle, as `name@version`
 * @throws Error if a package is not in a lock file
 */
export function sbom(beside: readonly string[]): string {
  const own = npmSbom('.');
  const known = new Map(
    [...own.components, ...npmSbom('packaging/runtime').components].map(each => [each['bom-ref'], each]),
  );
  const components = [...bundledPackages(), ...beside].toSorted().map(name => {
    const component = known.get(name);
    if (component === undefined) throw new Error(`no lock file has ${name}`);
    // Needed for building dotstub, by npm's account; the package has it in it.
    return { ...component, scope: 'required', properties: [] };
  });
  const { component } = own.metadata;
  const root = component['bom-ref'];
  const list = {
    $schema: own.$schema,
    bomFormat: own.bomFormat,
    specVersion: own.specVersion,
    version: 1,
    metadata: { component: { ...component, type: 'application', name: 'dotstub' } },
    components,
    dependencies: [{ ref: root, dependsOn: components.map(each => each['bom-ref']) }],
  };
  return `${JSON.stringify(list, undefined, 2)}\n`;
}

/** The packages of which esbuild has put code into the bundle, as `name@version`. */
function bundledPackages(): string[] {
  return readFileSync('dist/LICENCES.txt', 'utf8')
    .split('\n----\n\n')
    .map(text => {
      const [, name, version] = /^(\S+) (\S+) \(.+\)\n/.exec(text) ?? [];
      if (name === undefined || version === undefined) throw new Error(`dist/LICENCES.txt: ${text.slice(0, 80)}`);
      return `${name}@${version}`;
    });
}

const npmSbom = (folder: string): Bom =>
  JSON.parse(
    execFileSync('npm', ['sbom', '--sbom-format', 'cyclonedx', '--package-lock-only'], {
      cwd: folder,
      encoding: 'utf8',
      maxBuffer: 1 << 26,
    }),
  ) as Bom;
