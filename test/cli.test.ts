// The entry: what an older Node.js than is needed says, and that it can read so much.

import { readFileSync } from 'node:fs';
import { Script } from 'node:vm';

import t from 'tap';

import { dotstub } from './fixtures/program.js';

const ENTRY = new URL('../dist/cli.js', import.meta.url);

/** The program, where Node.js says that it has this version. */
const withVersion = async (node: string): ReturnType<typeof dotstub> => {
  const versions = JSON.stringify({ ...process.versions, node });
  const pretend = `Object.defineProperty(process, 'versions', { value: ${versions} })`;
  return dotstub(
    ['--version'],
    [process.execPath, `--import=data:text/javascript,${encodeURIComponent(pretend)}`, ENTRY.pathname],
  );
};

await t.test('a Node.js that is too old: one sentence that says what is needed, and exit code 1', async t => {
  const { engines } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
    engines: { node: string };
  };
  const needed = engines.node.replace('>=', '');
  const [major = 0, minor = 0] = needed.split('.').map(Number);
  for (const old of ['18.20.4', '10.24.1', `${major}.${minor - 1}.0`]) {
    const { code, stdout, stderr } = await withVersion(old);
    t.equal(code, 1, old);
    t.equal(stdout, '');
    t.match(stderr, new RegExp(`^dotstub needs Node\\.js ${needed} or newer, and \\S+ is ${old}\\. [^\\n]*\\n$`));
  }
  for (const good of [`${needed}.0`, `${major}.${minor + 1}.0`, `${major + 1}.0.0`, '100.1.0'])
    t.match(await withVersion(good), { code: 0, stderr: '' }, good);
});

await t.test('the entry is a script without imports, in the syntax of ES2018', async t => {
  const text = readFileSync(ENTRY, 'utf8');
  // Neither `import … from` nor top-level await is allowed in a script.
  t.doesNotThrow(() => new Script(text));
  t.notMatch(text, /\?\?|\?\.|\|\|=|import\.meta|node:/, 'what came later');
});
