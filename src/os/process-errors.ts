// What nobody has caught: failures of the system are logged, and the daemon goes on; a broken invariant ends the process with
// its stack, on every path and in every thread.

import { writeSync } from 'node:fs';

import type { Log } from '../base/ports.js';
import { isSystemError } from './system-error.js';

/** What it works with. */
export interface ProcessErrorParts {
  readonly log: Log;
  /** Called for each failure of the system, with its code such as `EMFILE`. */
  readonly counted?: (code: string) => void;
  /** Ends the process; `process.exit` but in tests. */
  readonly exit?: (code: number) => void;
}

const STDERR = 2;

/**
 * Takes over what nobody catches, for the life of the process.
 * @returns how to give it back
 */
export function handleProcessErrors({
  log,
  counted,
  exit = code => process.exit(code),
}: ProcessErrorParts): () => void {
  let ending = false;
  /** How often each code has come; the system has about a hundred. */
  const seen = new Map<string, number>();
  const handle = (error: unknown, origin: NodeJS.UncaughtExceptionOrigin): void => {
    if (isSystemError(error)) {
      const { code = 'unknown', syscall } = error;
      counted?.(code);
      const times = (seen.get(code) ?? 0) + 1;
      seen.set(code, times);
      // Said again whenever it has become ten times as many: it may come with every connection.
      if (!Number.isInteger(Math.log10(times))) return;
      log.error(
        { code, syscall, times, stack: error.stack },
        `a failure of the system that nothing expected: ${error.message}`,
      );
      return;
    }
    // A second one, while the first is being written.
    if (ending) return;
    ending = true;
    const stack = stackOf(error);
    try {
      log.error(
        { origin, stack },
        `dotstub is broken and ends: ${error instanceof Error ? error.message : String(error)}`,
      );
    } finally {
      // The log may go to a pipe, which is written later than this process lives. Standard error is written now.
      writeNow(`dotstub is broken and ends (${origin}):\n${stack}\n`);
      flush(() => exit(1));
    }
  };
  process.on('uncaughtException', handle);
  // Without it Node.js raises them as uncaught exceptions with this origin, in its own words where they are no errors.
  const rejected = (reason: unknown): void => handle(reason, 'unhandledRejection');
  process.on('unhandledRejection', rejected);
  return () => {
    process.off('uncaughtException', handle);
    process.off('unhandledRejection', rejected);
  };
}

/** The stack, and those of what caused it. */
function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { stack = error.message, cause } = error;
  return cause === undefined ? stack : `${stack}\ncaused by ${stackOf(cause)}`;
}

function writeNow(text: string): void {
  try {
    writeSync(STDERR, text);
  } catch {
    // Nobody reads it; then the log has to do.
  }
}

const FLUSH_MS = 1000;

/** Ends when the log is written, or after a second, where nobody reads it. */
function flush(then: () => void): void {
  const timer = setTimeout(then, FLUSH_MS);
  try {
    process.stdout.write('', () => {
      clearTimeout(timer);
      then();
    });
  } catch {
    // The timer ends the process.
  }
}
