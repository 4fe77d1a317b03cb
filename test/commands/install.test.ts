// "dotstub install" and "uninstall": on trees of every kind of system, and the hooks that they leave there. What needs a
// booted system is in test/booted.

import { execFileSync, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { existsSync, lstatSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import t, { type Test } from 'tap';

import { CarryingOut, withBlock } from '../../src/commands/carry-out.js';
import { installSteps, type System, uninstallSteps, UNIT_FILES, unitFor } from '../../src/commands/installation.js';
import { managerOf, resolvConfFor, type Tree } from '../../src/commands/resolv-conf.js';
import { BLOCK, type Step } from '../../src/commands/steps.js';
import { listening, loopbackHolders } from '../../src/os/port-holder.js';
import { dotstub, PROGRAM, temporaryDirectory } from '../fixtures/program.js';
import { type Files, readTree, SYSTEMS, writeTree } from '../fixtures/system-tree.js';

const packaged = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

/** A tree in a directory of its own, as the running system. */
function rootOf(t: Pick<Test, 'teardown'>, files: Files): { readonly root: string; readonly tree: Tree } {
  const { path: root, remove } = temporaryDirectory();
  t.teardown(remove);
  writeTree(root, files);
  const at = (path: string): string => join(root, path);
  /** Links of the tree stay in it. */
  const real = (path: string): string => {
    const target = linkAt(path);
    return target === undefined ? path : target.startsWith('/') ? target : join('/etc', target);
  };
  const linkAt = (path: string): string | undefined =>
    lstatSync(at(path), { throwIfNoEntry: false })?.isSymbolicLink() === true ? readlinkSync(at(path)) : undefined;
  return {
    root,
    tree: {
      link: linkAt,
      text: path => (existsSync(at(real(path))) ? readFileSync(at(real(path)), 'utf8') : undefined),
      exists: path => lstatSync(at(path), { throwIfNoEntry: false }) !== undefined,
    },
  };
}

const AS_STARTED = ['/usr/bin/node', '/usr/lib/node_modules/dotstub/dist/cli.js'];
const UNDOING = { running: true, program: AS_STARTED };

const systemOf = (tree: Tree): System => ({
  tree,
  manager: managerOf(tree, true),
  running: true,
  program: AS_STARTED,
  packaged,
});

/** Steps that a tree alone can take. */
const onFiles = (steps: readonly Step[]): Step[] =>
  steps.filter(({ does }) => !['run', 'free', 'ask', 'prove', 'resolve'].includes(does));

async function takeAll(t: Test, root: string, steps: readonly Step[]): Promise<CarryingOut> {
  const carrying = new CarryingOut(root, () => undefined);
  for (const step of steps) t.equal(await carrying.step(step), undefined, step.does);
  return carrying;
}

/** Of what was there before, and of the configuration, which stays. */
const withoutOurs = (files: Files): Files =>
  Object.fromEntries(
    Object.entries(files).filter(([path, text]) => !path.startsWith('/etc/dotstub') && text !== 'directory'),
  );

await t.test('each kind of system is known by its resolv.conf', async t => {
  for (const [name, [manager, files]] of Object.entries(SYSTEMS)) {
    const { tree } = rootOf(t, files);
    t.equal(managerOf(tree, true), manager, name);
  }
});

await t.test('installed and uninstalled, every system is as it was', async t => {
  for (const [name, [, files]] of Object.entries(SYSTEMS)) {
    const { root, tree } = rootOf(t, files);
    const before = readTree(root);
    await takeAll(t, root, onFiles(installSteps(systemOf(tree), { dns: true })));
    t.notSame(readTree(root), before, name);
    await takeAll(t, root, onFiles(uninstallSteps(tree, UNDOING)));
    t.same(withoutOurs(readTree(root)), withoutOurs(before), `${name}: uninstalled`);
    t.same(
      Object.keys(readTree(root)).filter(path => /^\/etc\/systemd\/.*\.d$/.test(path)),
      [],
      `${name}: no directory is left that was made for a file`,
    );
    t.same(uninstallSteps(tree, UNDOING), [], `${name}: a second time there is nothing to do`);
  }
});

await t.test('--direct: programs ask dotstub themselves where systemd-resolved would for them', async t => {
  const [, files] = SYSTEMS['systemd-resolved'] ?? ['file', {}];
  const { root, tree } = rootOf(t, files);
  const before = readTree(root);
  await takeAll(t, root, onFiles(installSteps(systemOf(tree), { dns: true })));
  t.equal(tree.link('/etc/resolv.conf'), '../run/systemd/resolve/stub-resolv.conf', 'left out: it stays');
  await takeAll(t, root, onFiles(installSteps(systemOf(tree), { dns: true, direct: true })));
  t.match(tree.text('/etc/resolv.conf'), '\nnameserver 127.0.0.1\n');
  t.match(tree.text('/etc/systemd/resolved.conf.d/dotstub.conf'), '\nDNS=127.0.0.1\n');
  await takeAll(t, root, onFiles(uninstallSteps(tree, UNDOING)));
  t.same(withoutOurs(readTree(root)), withoutOurs(before));
  t.match(await dotstub(['install', '--dry-run', '--no-dns', '--direct']), { code: 2, stderr: /exclude each other/ });
});

await t.test('whichever step fails, every system is as it was, to the last directory', async t => {
  for (const [name, [, files]] of Object.entries(SYSTEMS)) {
    const { root, tree } = rootOf(t, files);
    const before = readTree(root);
    const steps = onFiles(installSteps(systemOf(tree), { dns: true }));
    for (let taken = 1; taken <= steps.length; taken++) {
      const carrying = await takeAll(t, root, steps.slice(0, taken));
      t.equal(await carrying.step({ does: 'run', command: ['false'], why: 'it fails' }), 'false ended with 1');
      t.same(carrying.undo(), []);
      t.same(readTree(root), before, `${name}: ${taken} steps`);
    }
  }
});

await t.test('a second installation that fails leaves the first one as it was', async t => {
  for (const [name, [, files]] of Object.entries(SYSTEMS)) {
    const { root, tree } = rootOf(t, files);
    await takeAll(t, root, onFiles(installSteps(systemOf(tree), { dns: true })));
    const before = readTree(root);
    const again = installSteps(systemOf(tree), { dns: true });
    const carrying = await takeAll(t, root, onFiles(again));
    t.same(carrying.undo(), []);
    t.same(readTree(root), before, name);
  }
});

await t.test('what was run is undone before the files are back, and what reads them is told afterwards', async t => {
  const { root } = rootOf(t, { '/etc/a': 'before\n' });
  const log = join(root, 'log');
  const note = (word: string): readonly string[] => ['sh', '-c', `echo "${word} $(cat '${root}/etc/a')" >>'${log}'`];
  const carrying = new CarryingOut(undefined, () => undefined);
  const steps: readonly Step[] = [
    { does: 'write', path: join(root, 'etc/a'), text: 'after\n', why: '' },
    { does: 'run', command: note('read'), why: '', undo: 'again' },
    { does: 'run', command: note('start'), why: '', undo: note('stop') },
  ];
  for (const step of steps) t.equal(await carrying.step(step), undefined);
  t.same(carrying.undo(), []);
  t.equal(readFileSync(log, 'utf8'), 'read after\nstart after\nstop after\nread before\n');
});

await t.test('our resolv.conf: whom to ask, and all that the one before said but that', t => {
  const text = resolvConfFor(
    '# c\nnameserver 192.0.2.1\n search a.example  b.example\noptions ndots:2 trust-ad\noptions rotate\nsortlist 192.0.2.0\n',
  );
  t.match(text, /^# Written by "dotstub install"/);
  t.same(text.split('\n').slice(1), [
    'nameserver 127.0.0.1',
    'options ndots:2 trust-ad rotate edns0',
    'search a.example  b.example',
    'sortlist 192.0.2.0',
    '',
  ]);
  t.equal(resolvConfFor(text), text, 'the same again');
  t.match(resolvConfFor(''), /^options edns0 trust-ad$/m);
  t.end();
});

await t.test('a link that is relative leads to the same file from where it is kept', async t => {
  const [, files] = SYSTEMS['a link to somewhere'] ?? ['file', {}];
  const { root, tree } = rootOf(t, files);
  await takeAll(t, root, onFiles(installSteps(systemOf(tree), { dns: true })));
  t.match(readFileSync(join(root, 'etc/dotstub/resolv.conf.before'), 'utf8'), 'nameserver 192.0.2.53');
  await takeAll(t, root, onFiles(uninstallSteps(tree, UNDOING)));
  t.equal(readlinkSync(join(root, 'etc/resolv.conf')), '../run/other/resolv.conf');
});

await t.test('uninstalled on another network: the resolvers that DHCP names there', async t => {
  const [, files] = SYSTEMS['dhclient'] ?? ['file', {}];
  const { root, tree } = rootOf(t, files);
  await takeAll(t, root, onFiles(installSteps(systemOf(tree), { dns: true })));
  writeTree(root, { '/run/dotstub-network/resolv.conf': 'nameserver 198.51.100.1\n' });
  await takeAll(t, root, onFiles(uninstallSteps(tree, UNDOING)));
  t.equal(readFileSync(join(root, 'etc/resolv.conf'), 'utf8'), 'nameserver 198.51.100.1\n');
  t.notOk(existsSync(join(root, 'etc/dotstub/resolv.conf.before')));
});

await t.test('units of a Debian package stay, and only its own program leaves them alone', async t => {
  const [, files] = SYSTEMS['dhclient'] ?? ['file', {}];
  const packaged = '/usr/lib/systemd/system/dotstub.service';
  const { root, tree } = rootOf(t, {
    ...files,
    [packaged]: `[Service]\nExecStart=${AS_STARTED.join(' ')} run --config /etc/dotstub/dotstub.yaml\n`,
    '/etc/systemd/system/sockets.target.wants/dotstub.socket': '',
  });
  const before = readTree(root);
  const steps = installSteps(systemOf(tree), { dns: true });
  t.notMatch(JSON.stringify(steps), /"path":"\/etc\/systemd\/system\//, 'nothing hides them');
  const commands = (of: readonly Step[]): string[] =>
    of.flatMap(step => (step.does === 'run' ? step.command.slice(0, 2).join(' ') : []));
  t.same(commands(steps), ['systemctl daemon-reload', 'systemctl enable', 'systemctl restart']);
  const others = installSteps({ ...systemOf(tree), program: ['/usr/local/bin/node', '/opt/cli.js'] }, { dns: true });
  t.match(JSON.stringify(others), '"path":"/etc/systemd/system/dotstub.service"');

  await takeAll(t, root, onFiles(steps));
  const undoing = uninstallSteps(tree, { ...UNDOING, keepService: true });
  t.same(commands(undoing), [], '--keep-service: it runs on');
  t.same(commands(uninstallSteps(tree, UNDOING)), ['systemctl disable'], 'without: it is stopped');
  await takeAll(t, root, onFiles(undoing));
  t.same(withoutOurs(readTree(root)), withoutOurs(before));
  t.same(uninstallSteps(tree, { ...UNDOING, keepService: true }), []);
  const { tree: alone } = rootOf(t, {
    [packaged]: tree.text(packaged) ?? '',
    '/etc/systemd/system/multi-user.target.wants/dotstub.service': '',
  });
  t.same(commands(uninstallSteps(alone, UNDOING)), ['systemctl disable'], 'also where its socket is disabled');
});

await t.test('installed by a package, it takes the place of what npm or the archive had installed', async t => {
  const [, files] = SYSTEMS['dhclient'] ?? ['file', {}];
  const unit = (program: string): string => `[Service]\nExecStart=${program} run --config /etc/dotstub/dotstub.yaml\n`;
  const own = '/etc/systemd/system/dotstub.service';
  const earlier = { [own]: unit('/opt/node /opt/cli.js'), '/etc/systemd/system/dotstub.socket': '[Socket]\n' };
  const packaged = { ...files, '/usr/lib/systemd/system/dotstub.service': unit(AS_STARTED.join(' ')) };
  const { root, tree } = rootOf(t, { ...packaged, ...earlier });
  const before = readTree(root);
  const steps = installSteps(systemOf(tree), { dns: false });
  const disabling = steps.find(step => step.does === 'run' && step.command[1] === 'disable');
  t.match(disabling, { command: ['systemctl', 'disable', 'dotstub.service', 'dotstub.socket'] });
  const carrying = await takeAll(t, root, onFiles(steps));
  for (const path of Object.keys(earlier)) t.notOk(tree.exists(path), path);
  t.same(carrying.undo(), []);
  t.same(readTree(root), before, 'and is there again if a later step fails');

  const { tree: edited } = rootOf(t, { ...packaged, [own]: `${unit(AS_STARTED.join(' '))}Nice=5\n` });
  t.notMatch(JSON.stringify(installSteps(systemOf(edited), { dns: false })), own, 'the unit of an administrator stays');
});

const noSystemctl = spawnSync('systemctl', ['--version']).status !== 0 && 'systemctl is missing';

// The links of units that are enabled.
const SOCKET = 'sockets.target.wants/dotstub.socket';
const TLS = 'sockets.target.wants/dotstub-tls.socket';
const HTTPS = 'sockets.target.wants/dotstub-https.socket';
const SERVICE = 'multi-user.target.wants/dotstub.service';

for (const [before, after] of [
  [
    [SOCKET, TLS, HTTPS, SERVICE],
    [SOCKET, TLS, HTTPS, SERVICE],
  ],
  [
    [SOCKET, TLS],
    [SOCKET, TLS, SERVICE],
  ],
  [[HTTPS], [SOCKET, HTTPS, SERVICE]],
  [[], [SOCKET, SERVICE]],
] as const)
  await t.test(
    `a package that takes its place enables what was enabled, and if it fails exactly that: ${before.join(' ')}`,
    { skip: noSystemctl },
    async t => {
      const units = (directory: string, program: readonly string[]): [path: string, text: string][] =>
        UNIT_FILES.map(name => [`${directory}/${name}`, unitFor(packaged(`systemd/${name}`), program)]);
      const own = '/etc/systemd/system';
      const linksTo = (directory: string, links: readonly string[]): Files =>
        Object.fromEntries(links.map(link => [`${own}/${link}`, `->${directory}/${link.replace(/.*\//, '')}`]));
      const { root, tree } = rootOf(t, {
        '/etc/resolv.conf': 'nameserver 192.0.2.53\n',
        ...Object.fromEntries(units('/usr/lib/systemd/system', AS_STARTED)),
        ...Object.fromEntries(units(own, ['/opt/node', '/opt/cli.js'])),
        ...linksTo(own, before),
      });
      const was = readTree(root);
      const links = (): Files => Object.fromEntries(Object.entries(readTree(root)).filter(([, to]) => to[0] === '-'));
      const carrying = await takeAll(t, root, installSteps({ ...systemOf(tree), running: false }, { dns: false }));
      const made = links();
      t.same(Object.keys(made).sort(), Object.keys(linksTo(own, after)).sort());
      for (const [link, to] of Object.entries(made)) t.match(to, /\/lib\/systemd\/system\//, link);
      t.same(carrying.undo(), []);
      t.same(readTree(root), was);
    },
  );

await t.test('whichever units ran before run again after a failure, and no others', async t => {
  const { root, tree } = rootOf(t, {});
  const log = join(root, 'log');
  const systemctl = join(root, 'systemctl');
  for (const running of [[], ['dotstub.service'], ['dotstub.socket'], ['dotstub.service', 'dotstub.socket']]) {
    writeFileSync(
      systemctl,
      `#!/bin/sh
if [ "$1" = is-active ]; then
  case ' ${running.join(' ')} ' in *" $2 "*) echo activating;; *) echo inactive; exit 3;; esac
else echo "$@" >>'${log}'; fi
`,
      { mode: 0o755 },
    );
    writeFileSync(log, '');
    const carrying = new CarryingOut(undefined, () => undefined);
    const starting = installSteps(systemOf(tree), { dns: false }).find(
      step => step.does === 'run' && step.command[1] === 'restart',
    );
    if (starting?.does !== 'run') throw new Error('nothing is started');
    t.equal(await carrying.step({ ...starting, command: [systemctl, ...starting.command.slice(1)] }), undefined);
    t.same(carrying.undo(), []);
    const both = ['dotstub.socket', 'dotstub.service'];
    const stopped = both.filter(unit => !running.includes(unit));
    const again = both.filter(unit => running.includes(unit));
    t.same(readFileSync(log, 'utf8').trim().split('\n'), [
      'restart dotstub.socket dotstub.service',
      ...(stopped.length > 0 ? [`stop ${stopped.join(' ')}`] : []),
      ...(again.length > 0 ? [`restart ${again.join(' ')}`] : []),
    ]);
  }
});

await t.test('a resolv.conf that somebody else has written since stays', async t => {
  const [, files] = SYSTEMS['dhclient'] ?? ['file', {}];
  const { root, tree } = rootOf(t, files);
  await takeAll(t, root, onFiles(installSteps(systemOf(tree), { dns: true })));
  writeFileSync(join(root, 'etc/resolv.conf'), '# Generated by a VPN\nnameserver 198.51.100.2\n');
  await takeAll(t, root, onFiles(uninstallSteps(tree, UNDOING)));
  t.match(readFileSync(join(root, 'etc/resolv.conf'), 'utf8'), 'VPN');
});

await t.test('lines in a file of somebody else: once, at its end, and out again', t => {
  const block = `${BLOCK.first}\na\nb\n${BLOCK.last}\n`;
  t.equal(withBlock('', 'a\nb'), block);
  t.equal(withBlock('theirs', 'a\nb'), `theirs\n${block}`);
  t.equal(withBlock(`theirs\n${block}more\n`, 'c'), `theirs\nmore\n${block.replace('a\nb', 'c')}`);
  t.equal(withBlock(withBlock('theirs\n', 'a'), undefined), 'theirs\n');
  t.equal(withBlock(`${BLOCK.first}\nno end`, undefined), `${BLOCK.first}\nno end`, 'a block without an end stays');
  t.end();
});

await t.test('install --root: files and links for the next boot, and back', async t => {
  const [, files] = SYSTEMS['dhclient'] ?? ['file', {}];
  const { root } = rootOf(t, files);
  const before = readTree(root);
  const shown = await dotstub(['install', '--dry-run', '--root', root]);
  t.match(shown, { code: 0, stdout: /would keep \/etc\/resolv\.conf as \/etc\/dotstub\/resolv\.conf\.before/ });
  t.notMatch(shown.stdout, /daemon-reload|restart|would ask/, 'nothing runs in a tree');
  t.same(readTree(root), before, 'nothing was done');
  t.notMatch((await dotstub(['install', '--dry-run', '--root', root, '--no-dns'])).stdout, 'resolv.conf');
  t.match(await dotstub(['uninstall', '--root', root]), { code: 0, stderr: '', stdout: /Nothing of dotstub/ });
  if (spawnSync('systemctl', ['--version']).status !== 0) {
    t.comment('systemctl is missing');
    return;
  }
  t.match(await dotstub(['install', '--root', root]), { code: 0, stderr: '' });
  t.match(readFileSync(join(root, 'etc/resolv.conf'), 'utf8'), 'nameserver 127.0.0.1\n');
  t.ok(readlinkSync(join(root, 'etc/systemd/system/sockets.target.wants/dotstub.socket')));
  t.match(await dotstub(['uninstall', '--root', root]), { code: 0, stderr: '' });
  t.same(withoutOurs(readTree(root)), withoutOurs(before));
});

await t.test('what is written can be read by all, whatever the umask of root', async t => {
  const { root } = rootOf(t, { '/etc/resolv.conf': 'nameserver 192.0.2.53\n' });
  const shell = ['sh', '-c', 'umask 077; exec "$@"', 'sh', ...PROGRAM];
  await dotstub(['install', '--root', root], shell);
  const modes = ['etc/dotstub', 'etc/dotstub/dotstub.yaml', 'etc/systemd/system', 'etc/systemd/system/dotstub.socket'];
  t.same(
    modes.map(path => (lstatSync(join(root, path)).mode & 0o777).toString(8)),
    ['755', '644', '755', '644'],
  );
});

await t.test('a copy that was left over is no way back', async t => {
  const [, files] = SYSTEMS['a file that nobody writes'] ?? ['file', {}];
  const { root, tree } = rootOf(t, { ...files, '/etc/dotstub/resolv.conf.before': 'nameserver 198.51.100.9\n' });
  const before = tree.text('/etc/resolv.conf');
  await takeAll(t, root, onFiles(installSteps(systemOf(tree), { dns: true })));
  await takeAll(t, root, onFiles(uninstallSteps(tree, UNDOING)));
  t.equal(tree.text('/etc/resolv.conf'), before);
});

await t.test('install --root with a configuration that is bad: what is wrong, and all as before', async t => {
  const { root } = rootOf(t, { '/etc/resolv.conf': '', '/etc/dotstub/dotstub.yaml': 'nonsense: 1\n' });
  const before = readTree(root);
  const { code, stderr } = await dotstub(['install', '--root', root]);
  t.equal(code, 1);
  t.match(stderr, /dotstub\.yaml:1:1: nonsense: no such option[\s\S]*All is as it was before\.\n$/);
  t.same(readTree(root), before);
});

/** Runs a hook on a tree, with the variables that a DHCP client gives it. */
function runHook(root: string, text: string, run: string, variables: Readonly<Record<string, string>>): void {
  const at = (path: string): string => `${root}${path}`;
  const script = text
    .replaceAll('/etc/resolv.conf', at('/etc/resolv.conf'))
    .replaceAll('/run/dotstub-network', at('/run/dotstub-network'));
  execFileSync('sh', ['-euc', `set +u\n${script}\n${run}`], { env: { PATH: process.env['PATH'], ...variables } });
}

const OURS = resolvConfFor('search old.example\noptions rotate\nnameserver 192.0.2.53\n');

await t.test('the hook of dhclient: resolvers go to dotstub, the search list to programs', async t => {
  const hook = packaged('deploy/install/dhclient');
  const { root } = rootOf(t, { '/etc/resolv.conf': OURS, '/run/x': '' });
  const renew = (variables: Readonly<Record<string, string>>): void =>
    runHook(root, hook, 'make_resolv_conf', { interface: 'eth0', ...variables });
  const network = (): string => readFileSync(join(root, 'run/dotstub-network/resolv.conf'), 'utf8');
  const programs = (): string => readFileSync(join(root, 'etc/resolv.conf'), 'utf8');
  renew({ new_domain_name_servers: '192.0.2.1 192.0.2.2', new_domain_name: 'lan' });
  t.equal(network(), 'search lan\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n');
  t.equal(programs(), OURS.replace('old.example', 'lan'));
  renew({ new_domain_name_servers: '192.0.2.3', new_domain_name: 'lan', new_domain_search: 'a.example b.example' });
  t.equal(programs(), OURS.replace('old.example', 'a.example b.example'));
  renew({ new_dhcp6_name_servers: 'FE80::1 2001:db8::1' });
  t.equal(network(), 'nameserver FE80::1%eth0\nnameserver 2001:db8::1\n');
  t.equal(programs(), OURS.replace('old.example', 'a.example b.example'), 'no search list: it stays');
  renew({ new_domain_name: '$(touch hacked)`touch hacked`;x', new_domain_name_servers: '192.0.2.4' });
  t.match(programs(), 'search $(touch hacked)`touch hacked`;x');
  t.notOk(existsSync('hacked'));
});

await t.test('the hook of dhcpcd: a record for each interface, the search list to programs', async t => {
  const hook = packaged('deploy/install/dhcpcd');
  const { root } = rootOf(t, { '/etc/resolv.conf': OURS, '/state/x': '' });
  const record = join(root, 'state/resolv.conf/eth0.dhcp');
  const tell = (text: string, ...args: string[]): void =>
    // As dhcpcd's own hook 20-resolv.conf does.
    runHook(root, hook, `printf %s "$text" | "$resolvconf" ${args.join(' ')}`, {
      state_dir: join(root, 'state'),
      text,
    });
  tell('domain lan\nsearch lan\nnameserver 192.0.2.1\n', '-a', 'eth0.dhcp');
  t.equal(readFileSync(record, 'utf8'), 'domain lan\nsearch lan\nnameserver 192.0.2.1\n');
  t.equal(readFileSync(join(root, 'etc/resolv.conf'), 'utf8'), OURS.replace('old.example', 'lan'));
  tell('', '-C', 'eth0.*');
  t.ok(existsSync(record));
  tell('', '-d', 'eth0.dhcp', '-f');
  t.notOk(existsSync(record));
});

await t.test('the hook of NetworkManager: the search list that it keeps', async t => {
  const kept = '/run/NetworkManager/no-stub-resolv.conf';
  const { root } = rootOf(t, { '/etc/resolv.conf': OURS, [kept]: '# c\nsearch lan\nnameserver 192.0.2.1\n' });
  const hook = packaged('deploy/install/network-manager');
  const run = (): string => {
    runHook(root, hook.replaceAll('/run/NetworkManager', `${root}/run/NetworkManager`), '', {});
    return readFileSync(join(root, 'etc/resolv.conf'), 'utf8');
  };
  t.equal(run(), OURS.replace('old.example', 'lan'));
  t.equal(run(), OURS.replace('old.example', 'lan'), 'the same again');
  writeFileSync(join(root, kept), 'nameserver 192.0.2.1\n');
  t.equal(run(), OURS.replace('search old.example\n', ''), 'a network without one');
  writeFileSync(join(root, 'etc/resolv.conf'), '# Generated by a VPN\n');
  t.equal(run(), '# Generated by a VPN\n');
});

await t.test('hooks do nothing while /etc/resolv.conf is of somebody else', async t => {
  const { root } = rootOf(t, { '/etc/resolv.conf': '# Generated by a VPN\n' });
  for (const [name, run] of [
    ['dhclient', '! command -v make_resolv_conf >/dev/null'],
    ['dhcpcd', '[ -z "$resolvconf" ]'],
  ] as const)
    t.doesNotThrow(() => runHook(root, packaged(`deploy/install/${name}`), run, {}), name);
});

await t.test('who has port 53: the program and its process', async t => {
  const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
  100: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000 0
  101: 0100007F:1035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0000 0
  102: 0202A8C0:0035 0102A8C0:0035 01 00000000:00000000 00:00000000 00000000     0        0 4713 2 0000 0\n`;
  t.same(listening(table, 53, '07'), [{ address: '0100007F', inode: '4711' }]);
  t.same(listening('', 53, '07'), []);
  const socket = createSocket('udp4');
  await new Promise<void>(resolve => socket.bind(0, '127.0.0.1', resolve));
  const { port } = socket.address();
  t.match(loopbackHolders(port), [{ pid: process.pid, name: /./ }]);
  await new Promise<void>(resolve => socket.close(resolve));
  t.equal(loopbackHolders(port), undefined);
});
