// `dotstub install` and `dotstub uninstall`: make dotstub the system's resolver, and undo that.

import { existsSync, lstatSync, readFileSync, readlinkSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { DNS_PORT } from '../base/port-numbers.js';
import { besideFindings } from '../control/beside.js';
import { readSurroundings } from '../os/surroundings.js';
import { parseArguments } from './arguments.js';
import { CarryingOut } from './carry-out.js';
import { type Command, UsageError } from './command.js';
import { hasPackagedUnits, installSteps, type System, uninstallSteps } from './installation.js';
import { print, printProblem } from './print.js';
import { managerOf, type Tree } from './resolv-conf.js';
import { type Step, stepText } from './steps.js';

/** This program, as the service starts it. Without /proc, Node.js knows itself by the path that it was started with. */
const PROGRAM = [realpathSync(process.execPath), fileURLToPath(new URL('cli.js', import.meta.url))];

const OPTIONS = `Options:
  --dry-run     say what would be done, and do nothing
  --root DIR    work on the system tree in DIR, which will be booted later

Exit code: 0 done, 1 a step failed, 2 bad usage.`;

export const installCommand: Command = {
  name: 'install',
  usage: 'install [--dry-run] [--no-dns | --direct] [--root DIR]',
  summary: "make it a system service, and the system's resolver",
  details: `Puts units for systemd and a first /etc/dotstub/dotstub.yaml in place, and starts the service. Then it asks for a name through
it, says by which way the answer came, and points the system at it: through systemd-resolved, resolvconf, openresolv,
connman or NetworkManager where one of them is in charge, else in /etc/resolv.conf, which DHCP clients (dhclient, dhcpcd)
leave alone from then on. If any of this fails, all is as it was before. An existing configuration stays as it is, and so
do the units of a Debian package. "dotstub uninstall" takes it all back.

  --no-dns      start the service, and leave the system's resolver as it is
  --direct      write /etc/resolv.conf also where systemd-resolved is in charge. It sends names with a search domain of the
                network to the network's own resolvers, and hides from programs what is validated. Those that go through
                nss-resolve still ask it
${OPTIONS}`,
  async run(args) {
    const { value, flag } = parseArguments(
      args,
      {
        'dry-run': { type: 'boolean' },
        'no-dns': { type: 'boolean' },
        direct: { type: 'boolean' },
        root: { type: 'string' },
      },
      0,
    );
    if (flag('no-dns') && flag('direct')) throw new UsageError('--no-dns and --direct exclude each other');
    const root = value('root');
    const hidden = root === undefined ? PROGRAM.find(path => /^\/(home|root|run\/user)\//.test(path)) : undefined;
    if (hidden !== undefined)
      throw new UsageError(
        `the service may not look into home directories, and ${hidden} is in one: install Node.js and dotstub for the whole system (npm install -g)`,
      );
    const steps = installSteps(systemAt(root), { dns: !flag('no-dns'), direct: flag('direct') });
    if (flag('dry-run')) return show(steps);
    mayChange(root);
    const carrying = new CarryingOut(root, print);
    const stopped = stopAsked();
    for (const step of steps) {
      const problem = (await carrying.step(step)) ?? stopped();
      if (problem === undefined) continue;
      const left = carrying.undo();
      printProblem(`dotstub install: ${problem}`);
      printProblem(left.length === 0 ? 'All is as it was before.' : `This could not be undone: ${left.join('; ')}`);
      return 1;
    }
    if (root === undefined && !flag('no-dns')) for (const line of besideLines(flag('direct'))) print(line);
    return 0;
  },
};

/** What leaves beside the daemon from now on, and how to close that. */
function besideLines(direct: boolean): readonly string[] {
  const listening = [{ transport: 'udp', address: '127.0.0.1', port: DNS_PORT } as const];
  return besideFindings({ surroundings: readSurroundings(), listening }).map(({ id, words, advice = '' }) => {
    const way =
      id === 'resolved_links' && !direct ? `"dotstub install --direct" makes programs ask dotstub itself` : advice;
    return `to know: ${words}; ${way}`;
  });
}

/** From now on, a signal that ends programs is only noted. The function says that one has come, if one has. */
function stopAsked(): () => string | undefined {
  const asked = { by: '' };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => (asked.by = signal));
  return () => (asked.by === '' ? undefined : `stopped by ${asked.by}`);
}

export const uninstallCommand: Command = {
  name: 'uninstall',
  usage: 'uninstall [--dry-run] [--keep-service] [--root DIR]',
  summary: 'undo what "dotstub install" has done',
  details: `The system's resolver is what it was before, the service is gone. /etc/dotstub/dotstub.yaml and /var/lib/dotstub stay.
What came with a Debian package stays, too: "apt remove dotstub" removes it.

  --keep-service  leave the service as it is: only the system does not use it as its resolver any more
${OPTIONS}`,
  async run(args) {
    const { value, flag } = parseArguments(
      args,
      { 'dry-run': { type: 'boolean' }, 'keep-service': { type: 'boolean' }, root: { type: 'string' } },
      0,
    );
    const root = value('root');
    const tree = treeAt(root);
    const keepService = flag('keep-service');
    const steps = uninstallSteps(tree, { running: root === undefined, program: PROGRAM, keepService });
    if (flag('dry-run')) return show(steps);
    mayChange(root);
    if (steps.length === 0)
      print(
        keepService || hasPackagedUnits(tree, PROGRAM)
          ? 'The system does not use dotstub as its resolver.'
          : 'Nothing of dotstub is installed here.',
      );
    const carrying = new CarryingOut(root, print);
    let failed = 0;
    // One that fails must not keep the others from being taken.
    for (const step of steps) {
      const problem = await carrying.step(step);
      if (problem === undefined) continue;
      failed = 1;
      printProblem(`dotstub uninstall: ${problem}`);
    }
    return failed;
  },
};

function show(steps: readonly Step[]): number {
  print(steps.length === 0 ? 'nothing would be done' : steps.map(step => `would ${stepText(step)}`).join('\n'));
  return 0;
}

/**
 * Makes ready for changes of the system.
 * @throws UsageError if the steps cannot be taken by this user, or on this system
 */
function mayChange(root: string | undefined): void {
  // The service and all users have to read what is written.
  process.umask(0o022);
  if (root !== undefined) return;
  if (process.getuid?.() !== 0) throw new UsageError('this takes root (sudo); --dry-run shows what would be done');
  if (!existsSync('/run/systemd/system'))
    throw new UsageError(
      'the system was not started by systemd; see "dotstub run --help" for running it in another way',
    );
}

function systemAt(root: string | undefined): System {
  const tree = treeAt(root);
  const running = root === undefined;
  return {
    tree,
    manager: managerOf(tree, running),
    running,
    program: PROGRAM,
    packaged: path => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8'),
  };
}

/** @param root undefined: the running system */
function treeAt(root: string | undefined): Tree {
  const at = (path: string): string => join(root ?? '/', path);
  const statAt = (path: string) => lstatSync(at(path), { throwIfNoEntry: false });
  return {
    link: path => (statAt(path)?.isSymbolicLink() === true ? readlinkSync(at(path)) : undefined),
    text(path) {
      // A link of another tree would lead into this one.
      if (root !== undefined && statAt(path)?.isSymbolicLink() === true) return undefined;
      return existsSync(at(path)) ? readFileSync(at(path), 'utf8') : undefined;
    },
    exists: path => statAt(path) !== undefined,
  };
}
