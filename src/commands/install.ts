// `dotstub install` and `dotstub uninstall`: make dotstub the system's resolver, and undo that.

import { spawnSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { answers } from './alive.js';
import { parseArguments } from './arguments.js';
import { type Command, UsageError } from './command.js';
import { installSteps, MARK, type Step, stepText, type System, uninstallSteps } from './installation.js';

const OPTIONS = `Options:
  --dry-run     say what would be done, and do nothing
  --root DIR    work on the system tree in DIR, which will be booted later

Exit code: 0 done, 1 a step failed, 2 bad usage.`;

export const installCommand: Command = {
  name: 'install',
  usage: 'install [--dry-run] [--no-dns] [--root DIR]',
  summary: "make it a system service, and the system's resolver",
  details: `Puts units for systemd and a first /etc/dotstub/dotstub.yaml in place, starts the service, and once that answers points the
system at it: through systemd-resolved or NetworkManager where one of them is in charge, else in /etc/resolv.conf. An
existing configuration stays as it is. "dotstub uninstall" takes it all back.

  --no-dns      start the service, and leave the system's resolver as it is
${OPTIONS}`,
  async run(args) {
    const { value, flag } = parseArguments(
      args,
      { 'dry-run': { type: 'boolean' }, 'no-dns': { type: 'boolean' }, root: { type: 'string' } },
      0,
    );
    const root = value('root');
    const program = [process.execPath, fileURLToPath(new URL('cli.js', import.meta.url))];
    const hidden = root === undefined ? program.find(path => /^\/(home|root|run\/user)\//.test(path)) : undefined;
    if (hidden !== undefined)
      throw new UsageError(
        `the service may not look into home directories, and ${hidden} is in one: install Node.js and dotstub for the whole system (npm install -g)`,
      );
    const steps = installSteps(systemAt(root, program), { dns: !flag('no-dns') });
    return carryOut(steps, root, flag('dry-run'));
  },
};

export const uninstallCommand: Command = {
  name: 'uninstall',
  usage: 'uninstall [--dry-run] [--root DIR]',
  summary: 'undo what "dotstub install" has done',
  details: `The system's resolver is what it was before, the service is gone. /etc/dotstub/dotstub.yaml and /var/lib/dotstub stay.

${OPTIONS}`,
  async run(args) {
    const { value, flag } = parseArguments(args, { 'dry-run': { type: 'boolean' }, root: { type: 'string' } }, 0);
    const root = value('root');
    const at = (path: string): string => join(root ?? '/', path);
    const isOurs = (path: string): boolean => existsSync(at(path)) && readFileSync(at(path), 'utf8').startsWith(MARK);
    return carryOut(
      uninstallSteps(root === undefined, path => linkExists(at(path)), isOurs),
      root,
      flag('dry-run'),
    );
  },
};

function systemAt(root: string | undefined, program: readonly string[]): System {
  const at = (path: string): string => join(root ?? '/', path);
  const link = linkAt(at('/etc/resolv.conf'));
  return {
    resolvConf:
      link?.includes('systemd/resolve') === true
        ? 'resolved'
        : existsSync(at('/etc/NetworkManager')) && (root !== undefined || existsSync('/run/NetworkManager'))
          ? 'network-manager'
          : 'file',
    running: root === undefined,
    program,
    packaged: name => readFileSync(new URL(`../systemd/${name}`, import.meta.url), 'utf8'),
  };
}

async function carryOut(steps: readonly Step[], root: string | undefined, dryRun: boolean): Promise<number> {
  if (dryRun) {
    console.log(steps.length === 0 ? NOT_INSTALLED : steps.map(step => `would ${stepText(step)}`).join('\n'));
    return 0;
  }
  if (root === undefined && process.getuid?.() !== 0)
    throw new UsageError('this takes root (sudo); --dry-run shows what would be done');
  if (root === undefined && !existsSync('/run/systemd/system'))
    throw new UsageError(
      'the system was not started by systemd; see "dotstub run --help" for running it in another way',
    );
  if (steps.length === 0) console.log(NOT_INSTALLED);
  for (const step of steps) {
    console.log(stepText(step));
    const problem = await carryOutOne(step, root);
    if (problem === undefined) continue;
    console.error(`dotstub: ${problem}\nNothing more was done; "dotstub uninstall" takes back what was.`);
    return 1;
  }
  return 0;
}

const NOT_INSTALLED = 'dotstub is not installed here: there is nothing to do';

/** How often the daemon is queried, a second apart, until it answers: it starts slowly on a small machine. */
const ASK_TRIES = 10;

/**
 * Carries out one step.
 * @returns the problem; undefined: it is done
 */
async function carryOutOne(step: Step, root: string | undefined): Promise<string | undefined> {
  const at = (path: string): string => join(root ?? '/', path);
  try {
    switch (step.does) {
      case 'write':
        if (step.keep === true && existsSync(at(step.path))) return undefined;
        mkdirSync(dirname(at(step.path)), { recursive: true });
        // A link is replaced, not followed: its target belongs to another program.
        rmSync(at(step.path), { force: true });
        writeFileSync(at(step.path), step.text, { mode: 0o644 });
        return undefined;
      case 'remove':
        rmSync(at(step.path), { force: true });
        return undefined;
      case 'save':
        // A second installation must not save the file that the first one has written.
        if (!linkExists(at(step.to)) && linkExists(at(step.path))) renameSync(at(step.path), at(step.to));
        return undefined;
      case 'restore':
        renameSync(at(step.from), at(step.path));
        return undefined;
      case 'run': {
        const [program = '', ...args] =
          root === undefined ? step.command : [step.command[0] ?? '', `--root=${root}`, ...step.command.slice(1)];
        const { status, error } = spawnSync(program, args, { stdio: ['ignore', 'inherit', 'inherit'] });
        return status === 0 || step.mayFail === true
          ? undefined
          : `${step.command.join(' ')} ${error === undefined ? `ended with ${status ?? 'a signal'}; journalctl -u dotstub may say why` : `could not be run: ${error.message}`}`;
      }
      case 'ask':
        return (await answers({ address: '127.0.0.1', port: 53 }, ASK_TRIES))
          ? undefined
          : 'dotstub does not answer on 127.0.0.1 port 53; journalctl -u dotstub may say why';
    }
  } catch (error) {
    return `${stepText(step)}: ${error instanceof Error ? error.message : String(error)}`;
  }
}

const linkExists = (path: string): boolean => lstatSync(path, { throwIfNoEntry: false }) !== undefined;

const linkAt = (path: string): string | undefined =>
  lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true ? readlinkSync(path) : undefined;
