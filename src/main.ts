// The program behind its entry. Signals first: all else takes longer to load, and is only then imported.

import './commands/early-signals.js';

import { whenStarted } from './commands/started.js';

/**
 * Runs the program to its end.
 * @param started called some seconds after the start of the daemon, and once more after its first questions if these came later
 */
export async function main(started: () => void): Promise<void> {
  whenStarted(started);
  const { program } = await import('./commands/program.js');
  // Timers and sockets that are still there have nothing left to do.
  process.exit(await program(process.argv.slice(2)));
}
