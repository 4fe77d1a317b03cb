// `dotstub check-config FILE`

import { realpathSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

import type { Finding } from '../base/overview.js';
import { type Problem, problemText } from '../config/check.js';
import { type Leak, leaks } from '../config/leaks.js';
import { loadConfig, problemReport } from '../config/load.js';
import { configFile } from '../config/render.js';
import { besideFindings } from '../control/beside.js';
import { readSurroundings } from '../os/surroundings.js';
import { systemFiles } from '../run/files.js';
import { planProblems } from '../run/configuration.js';
import type { PlanFiles } from '../run/plan-files.js';
import { parseArguments } from './arguments.js';
import { type Command, UsageError } from './command.js';
import { print, printJson, printProblem } from './print.js';

export const checkConfigCommand: Command = {
  name: 'check-config',
  usage: 'check-config FILE [--leaks] [--json]',
  summary: 'say what is wrong with a configuration file, or print what it comes to',
  details: `Checks FILE without starting anything: everything that keeps "dotstub run" from starting with it, also in the
certificates and keys that it names. Each problem is printed with file, line, column, option, the value found, and what
is allowed. A good file is answered with the effective configuration: presets and defaults filled in. Warnings, such as
for an option that does nothing beside the others, go to standard error.

Options:
  --leaks   print instead every way by which this configuration lets a name leave unencrypted, or to someone unproved, and
            what leaves beside the daemon on this machine: other resolvers, systemd-resolved, questions to neighbours
  --json    print problems or configuration as JSON (durations in ms, sizes in bytes)

Exit code: 0 the file is good, 2 it is not.`,
  // eslint-disable-next-line @typescript-eslint/require-await -- commands are asynchronous, this one has nothing to wait for
  async run(args) {
    const {
      positionals: [file],
      flag,
    } = parseArguments(args, { json: { type: 'boolean' }, leaks: { type: 'boolean' } }, 1);
    if (file === undefined) throw new UsageError('check-config needs a FILE');
    const checked = loadConfig(file);
    const named: NamedFile[] = [];
    const problems = checked.ok ? planProblems(checked, noting(named)) : checked.problems;
    const data = (about: object): void => printJson({ file, ...about }, 2);
    if (!checked.ok || problems.length > 0) {
      if (flag('json')) data({ ok: false, problems });
      else printProblem(problemReport(file, problems));
      return 2;
    }
    const { config, placeOf } = checked;
    const forRoot = process.getuid?.() === 0 ? named.flatMap(rootOnly) : [];
    const warnings = [...checked.warnings, ...forRoot.map(each => ({ ...each, ...placeOf(each.path) }))];
    if (!flag('json')) for (const each of warnings) printProblem(warningText(file, each));
    if (flag('leaks')) {
      const found = leaks(config);
      const listening = config.listen.map(at => ({ transport: 'udp', ...at }) as const);
      const beside = besideFindings({ surroundings: readSurroundings(), listening });
      if (flag('json')) data({ ok: true, warnings, leaks: found, beside });
      else print([...leakLines(found), ...beside.map(besideLine)].join('\n'));
      return 0;
    }
    if (flag('json')) {
      data({ ok: true, warnings, config });
      return 0;
    }
    process.stdout.write(configFile(config));
    return 0;
  },
};

/** A warning, in the form that compilers use. */
const warningText = (file: string, problem: Problem): string =>
  problemText(file, { ...problem, path: `warning: ${problem.path}` });

/** A file that the configuration names. */
interface NamedFile {
  readonly path: string;
  readonly option: string;
}

/** The files of this machine; those that are read are noted. */
const noting = (named: NamedFile[]): PlanFiles => {
  const noted =
    (read: PlanFiles['read']): PlanFiles['read'] =>
    (path, option) => {
      const contents = read(path, option);
      named.push({ path, option });
      return contents;
    };
  return { ...systemFiles, read: noted(systemFiles.read), readSecret: noted(systemFiles.readSecret) };
};

/** Permissions of others: to read a file, and to pass through a directory. */
const OTHERS_READ = 0o004;
const OTHERS_PASS = 0o001;

/** Root reads every file. The service has an account of its own, which may not be able to. */
function rootOnly({ path, option }: NamedFile): Problem[] {
  const real = realpathSync(path);
  const parents: string[] = [];
  for (let at = dirname(real); at !== dirname(at); at = dirname(at)) parents.push(at);
  const closed = [
    ...((statSync(real).mode & OTHERS_READ) === 0 ? [real] : []),
    ...parents.filter(each => (statSync(each).mode & OTHERS_PASS) === 0),
  ];
  if (closed.length === 0) return [];
  const words = `a daemon that does not run as root may not be able to read ${path}, because ${closed.join(' and ')} is closed to others`;
  return [{ path: option, words }];
}

const leakLines = (found: readonly Leak[]): readonly string[] =>
  found.length === 0
    ? ['Nothing leaves unencrypted, and nothing goes to a server that has not proved itself.']
    : found.map(({ path, names, words }) => `${path}: ${names}: ${words}`);

const besideLine = ({ words, advice }: Finding): string =>
  `this machine: ${words}${advice === undefined ? '' : ` (${advice})`}`;
