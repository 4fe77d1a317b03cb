// `dotstub check-config FILE`

import type { Finding } from '../base/overview.js';
import { type Leak, leaks } from '../config/leaks.js';
import { configFile } from '../config/render.js';
import { besideFindings } from '../control/beside.js';
import { readSurroundings } from '../os/surroundings.js';
import { parseArguments } from './arguments.js';
import { type Command, UsageError } from './command.js';
import { loadConfig, problemReport } from '../config/load.js';

export const checkConfigCommand: Command = {
  name: 'check-config',
  usage: 'check-config FILE [--leaks] [--json]',
  summary: 'say what is wrong with a configuration file, or print what it comes to',
  details: `Checks FILE without starting anything. Each problem is printed with file, line, column, option, the value found,
and what is allowed. A good file is answered with the effective configuration: presets and defaults filled in.

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
    if (!checked.ok) {
      if (flag('json')) console.log(JSON.stringify({ ok: false, file, problems: checked.problems }, undefined, 2));
      else console.error(problemReport(file, checked.problems));
      return 2;
    }
    if (flag('leaks')) {
      const found = leaks(checked.config);
      const listening = checked.config.listen.map(at => ({ transport: 'udp', ...at }) as const);
      const beside = besideFindings({ surroundings: readSurroundings(), listening });
      if (flag('json')) console.log(JSON.stringify({ ok: true, file, leaks: found, beside }, undefined, 2));
      else console.log([...leakLines(found), ...beside.map(besideLine)].join('\n'));
      return 0;
    }
    if (flag('json')) {
      console.log(JSON.stringify({ ok: true, file, notBuilt: checked.notBuilt, config: checked.config }, undefined, 2));
      return 0;
    }
    for (const path of checked.notBuilt) console.log(`# ${path} is not built yet: checked, without effect`);
    process.stdout.write(configFile(checked.config));
    return 0;
  },
};

const leakLines = (found: readonly Leak[]): readonly string[] =>
  found.length === 0
    ? ['Nothing leaves unencrypted, and nothing goes to a server that has not proved itself.']
    : found.map(({ path, names, words }) => `${path}: ${names}: ${words}`);

const besideLine = ({ words, advice }: Finding): string =>
  `this machine: ${words}${advice === undefined ? '' : ` (${advice})`}`;
