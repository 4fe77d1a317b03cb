// `dotstub portal`: the captive portal window of the running daemon.

import { checkConfig } from '../config/check.js';
import { askDaemon } from '../control/client.js';
import { parseArguments } from './arguments.js';
import { type Command, UsageError } from './command.js';
import { loadConfig, problemReport } from './load.js';

export const portalCommand: Command = {
  name: 'portal',
  usage: 'portal start [DURATION] [NAME...] | stop | status',
  summary: "let a network's sign-in page be reached",
  details: `Some networks let nothing through before you have visited a page of theirs. "portal start" opens a window of DURATION
(5m) in which the names of portal.names, and each NAME (the page's own), go to the network's resolvers in cleartext. All
other names keep their mode. The window closes by itself.

Options:
  --config FILE    the daemon's configuration, for its control.socket
  --socket PATH    the control socket
  --json           the answer as JSON

Exit code: 0 done, 1 the daemon said no or was not reached, 2 bad usage.`,
  async run(args) {
    const { positionals, flag, value } = parseArguments(args, { config: { type: 'string' }, socket: { type: 'string' }, json: { type: 'boolean' } }, 66);
    if (positionals.length === 0) throw new UsageError('portal needs start, stop or status');
    const file = value('config');
    const checked = file === undefined ? checkConfig('') : loadConfig(file);
    if (!checked.ok) {
      console.error(problemReport(file ?? '', checked.problems));
      return 2;
    }
    const reply = await askDaemon(value('socket') ?? checked.config.control.socket, { command: 'portal', args: positionals });
    if (flag('json')) console.log(JSON.stringify(reply));
    else if (reply.ok) console.log(reply.text);
    else console.error(`dotstub portal: ${reply.problem}`);
    return reply.ok ? 0 : 1;
  },
};
