// The program: finds the subcommand of the arguments, and runs it.

import { version } from '../version.js';
import { COMMANDS } from './all.js';
import { UsageError } from './command.js';

async function programHelp(): Promise<string> {
  const commands = await Promise.all(Object.values(COMMANDS).map(async load => load()));
  return `dotstub ${version}: a DNS-over-TLS stub resolver

Usage:
${commands.map(({ usage, summary }) => `  dotstub ${usage}\n      ${summary}`).join('\n')}

  dotstub COMMAND --help    more about a command
  dotstub --version         the version
`;
}

const isHelp = (arg: string): boolean => arg === '--help' || arg === '-h';

/** Runs a subcommand. @returns the exit code of the program */
export async function program([name, ...args]: readonly string[]): Promise<number> {
  if (name === undefined || isHelp(name) || name === 'help') {
    (name === undefined ? process.stderr : process.stdout).write(await programHelp());
    return name === undefined ? 2 : 0;
  }
  if (name === '--version' || name === '-V') {
    console.log(version);
    return 0;
  }
  const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (load === undefined) {
    console.error(
      `dotstub: there is no command ${JSON.stringify(name)}; there are: ${Object.keys(COMMANDS).join(', ')} (dotstub --help)`,
    );
    return 2;
  }
  const command = await load();
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
