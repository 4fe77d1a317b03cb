#!/usr/bin/env node
// argv -> subcommand -> exit code.

import { UsageError, type Command } from './commands/command.js';
import { checkConfigCommand } from './commands/check-config.js';
import { queryCommand } from './commands/query.js';
import { runCommand } from './commands/run.js';
import { version } from './version.js';

const COMMANDS: readonly Command[] = [runCommand, checkConfigCommand, queryCommand];

const PROGRAM_HELP = `dotstub ${version}: a DNS-over-TLS stub resolver

Usage:
${COMMANDS.map(({ usage, summary }) => `  dotstub ${usage}\n      ${summary}`).join('\n')}

  dotstub COMMAND --help    more about a command
  dotstub --version         the version
`;

const isHelp = (arg: string): boolean => arg === '--help' || arg === '-h';

async function main([name, ...args]: readonly string[]): Promise<number> {
  if (name === undefined || isHelp(name) || name === 'help') {
    (name === undefined ? process.stderr : process.stdout).write(PROGRAM_HELP);
    return name === undefined ? 2 : 0;
  }
  if (name === '--version' || name === '-V') {
    console.log(version);
    return 0;
  }
  const command = COMMANDS.find(each => each.name === name);
  if (command === undefined) {
    console.error(`dotstub: there is no command ${JSON.stringify(name)}; there are: ${COMMANDS.map(each => each.name).join(', ')} (dotstub --help)`);
    return 2;
  }
  if (args.some(isHelp)) {
    console.log(`Usage: dotstub ${command.usage}\n\n${command.details}`);
    return 0;
  }
  try {
    return await command.run(args);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`dotstub ${command.name}: ${error.message}\nUsage: dotstub ${command.usage}`);
    return 2;
  }
}

// Timers and sockets that are still there have nothing left to do.
process.exit(await main(process.argv.slice(2)));
