// The program behind its entry. Signals first: all else takes a third of a second to load, and is only then imported.

import './commands/early-signals.js';

const { program } = await import('./commands/program.js');
// Timers and sockets that are still there have nothing left to do.
process.exit(await program(process.argv.slice(2)));
