// Where memory is small, V8 compiles in the thread that runs the program. Its own threads compile much at once, and glibc
// keeps what each of them took: with Node.js 24 another 15 to 30 MiB within the first seconds of queries, where a process
// with 64 MiB is then ended by the kernel. V8 reads the flag as it starts, so that the program is started once more.

import { accessSync, constants } from 'node:fs';
import { totalmem } from 'node:os';

/** With more, 30 MiB are there to be had, and queries need not wait for the compiler. */
const SMALL_BYTES = 192 * (1 << 20);
/** Tells V8 to compile in the thread whose code it is. */
export const IN_PLACE = '--no-concurrent-recompilation';

/** What it uses of the process. */
export interface ThisProcess {
  readonly argv: readonly string[];
  readonly execArgv: readonly string[];
  readonly execPath: string;
  readonly env: NodeJS.ProcessEnv;
  /** Octets that a cgroup allows; 0 or a huge number: there is no limit. */
  constrainedMemory(): number;
  /** Of Node.js 22.15 and newer. V8 of older ones compiles less at once. */
  execve?(file: string, args: readonly string[], env: NodeJS.ProcessEnv): never;
}

/**
 * Starts the daemon once more, in this process, if there is little memory and V8 would compile in threads of its own. Not if
 * a service manager has opened sockets: Node.js marks all descriptors that it has inherited to be closed then.
 *
 * @param total what the machine has, octets
 */
export function compileInPlace(self: ThisProcess = process, total = totalmem()): void {
  const limit = self.constrainedMemory();
  const isSmall = Math.min(total, limit > 0 ? limit : total) <= SMALL_BYTES;
  const mustStay = self.execArgv.includes(IN_PLACE) || self.env['LISTEN_FDS'] !== undefined;
  if (!isSmall || self.argv[2] !== 'run' || mustStay) return;
  try {
    // Node.js 22 to 25 end the process if the system refuses.
    accessSync(self.execPath, constants.X_OK);
    self.execve?.(self.execPath, [self.execPath, IN_PLACE, ...self.execArgv, ...self.argv.slice(1)], self.env);
  } catch {
    // Then V8 compiles as it does elsewhere.
  }
}
