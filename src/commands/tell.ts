// Commands that the running daemon carries out: sends them over the control socket, and prints the reply.

import { defaultConfig } from '../config/check.js';
import { problemReport } from '../config/load.js';
import { askDaemon, askStatus } from '../control/client.js';
import { parseArguments } from './arguments.js';
import { type Command, UsageError } from './command.js';
import { configurationOf } from './installed.js';
import { print, printJson, printProblem } from './print.js';

const OPTIONS = `Options:
  --config FILE    the daemon's configuration, for its control.socket; left out: /etc/dotstub/dotstub.yaml, if it is there
  --socket PATH    the control socket
  --json           the answer as JSON

Exit code: 0 done, 1 the daemon said no or was not reached, 2 bad usage.`;

/**
 * Makes a command that the daemon carries out. `about.details` leaves out options and exit codes, which all have in
 * common.
 * @param words how many arguments it takes; `evenWithBadFile`: if the configuration file is bad, the command is sent to
 * the default socket, so that the daemon reports the bad file; `over`: waits until what the reply tells is over;
 * `forEveryone`: every user may give it
 */
export function telling(
  about: Omit<Command, 'run'>,
  words: {
    readonly least: number;
    readonly most: number;
    readonly evenWithBadFile?: true;
    readonly over?: (data: unknown) => Promise<void>;
    readonly forEveryone?: true;
  },
): Command {
  return {
    ...about,
    details: `${about.details}\n\n${OPTIONS}`,
    async run(args) {
      const { positionals, flag, value } = parseArguments(
        args,
        { config: { type: 'string' }, socket: { type: 'string' }, json: { type: 'boolean' } },
        words.most,
      );
      if (positionals.length < words.least) throw new UsageError(`${about.name} needs more than that`);
      const file = value('config');
      const checked = configurationOf(file);
      if (!checked.ok && words.evenWithBadFile !== true) {
        printProblem(problemReport(file ?? '', checked.problems));
        return 2;
      }
      const { control } = checked.ok ? checked.config : defaultConfig();
      const ask = words.forEveryone === true ? askStatus : askDaemon;
      const reply = await ask(value('socket') ?? control.socket, { command: about.name, args: positionals });
      if (flag('json')) printJson(reply);
      else if (reply.ok) print(reply.text);
      else printProblem(`dotstub ${about.name}: ${reply.problem}`);
      if (reply.ok) await words.over?.(reply.data);
      return reply.ok ? 0 : 1;
    },
  };
}
