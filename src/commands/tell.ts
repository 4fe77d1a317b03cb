// Commands that the running daemon carries out: sends them over the control socket, and prints the reply.

import { checkConfig, defaultConfig } from '../config/check.js';
import { askDaemon } from '../control/client.js';
import { type Options, parseArguments } from './arguments.js';
import { type Command, UsageError } from './command.js';
import { loadConfig, problemReport } from '../config/load.js';

const OPTIONS = `Options:
  --config FILE    the daemon's configuration, for its control.socket
  --socket PATH    the control socket
  --json           the answer as JSON

Exit code: 0 done, 1 the daemon said no or was not reached, 2 bad usage.`;

/**
 * Makes a command that the daemon carries out. `about.details` leaves out options and exit codes, which all have in
 * common.
 * @param words how many arguments it takes; `evenWithBadFile`: if the configuration file is bad, the command is sent to
 * the default socket, so that the daemon reports the bad file; `options`: options that are sent with the words
 */
export function telling(
  about: Omit<Command, 'run'>,
  words: {
    readonly least: number;
    readonly most: number;
    readonly evenWithBadFile?: true;
    readonly options?: Options;
  },
): Command {
  return {
    ...about,
    details: `${about.details}\n\n${OPTIONS}`,
    async run(line) {
      const { positionals, flag, value } = parseArguments(
        line,
        { ...words.options, config: { type: 'string' }, socket: { type: 'string' }, json: { type: 'boolean' } },
        words.most,
      );
      if (positionals.length < words.least) throw new UsageError(`${about.name} needs more than that`);
      const file = value('config');
      const checked = file === undefined ? checkConfig('') : loadConfig(file);
      if (!checked.ok && words.evenWithBadFile !== true) {
        console.error(problemReport(file ?? '', checked.problems));
        return 2;
      }
      const { control } = checked.ok ? checked.config : defaultConfig();
      const given = Object.keys(words.options ?? {}).flatMap(name => {
        const text = value(name);
        return text !== undefined ? [`--${name}`, text] : flag(name) ? [`--${name}`] : [];
      });
      const args = [...positionals, ...given];
      const reply = await askDaemon(value('socket') ?? control.socket, { command: about.name, args });
      if (flag('json')) console.log(JSON.stringify(reply));
      else if (reply.ok) console.log(reply.text);
      else console.error(`dotstub ${about.name}: ${reply.problem}`);
      return reply.ok ? 0 : 1;
    },
  };
}
