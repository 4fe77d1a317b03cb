// Handles uncaught errors. System errors are logged, and the daemon goes on. A broken invariant ends the process with
// its stack, in every thread.

import { writeSync } from 'node:fs';

import type { Log } from '../base/ports.js';
import { isSystemError } from '../base/system-error.js';

/** The parts that it uses. */
export interface ProcessErrorParts {
  readonly log: Log;
  /** Called for each system error with its code, such as `EMFILE`. */
  readonly counted?: (code: string) => void;
  /** Ends the process; `process.exit` except in tests. */
  readonly exit?: (code: number) => void;
}

const STDERR = 2;

/**
 * Handles uncaught errors for the life of the process.
 * @returns a function that stops this
 */
export function handleProcessErrors({
  log,
  counted,
  exit = code => process.exit(code),
}: ProcessErrorParts): () => void {
  let ending = false;
  /** How often each code has occurred; the system has about a hundred codes. */
  const seen = new Map<string, number>();
  const handle = (error: unknown, origin: NodeJS.UncaughtExceptionOrigin): void => {
    if (isSystemError(error)) {
      const { code = 'unknown', syscall } = error;
      counted?.(code);
      const times = (seen.get(code) ?? 0) + 1;
      seen.set(code, times);
      // Logged again after ten times as many: it may occur with every connection.
      if (!Number.isInteger(Math.log10(times))) return;
      log.error(
        { code, syscall, times, stack: error.stack },
        `a failure of the system that nothing expected: ${error.message}`,
      );
      return;
    }
    // A second error while the first is being written.
    if (ending) return;
    ending = true;
    const stack = stackOf(error);
    try {
      log.error(
        { origin, stack },
        `dotstub is broken and ends: ${error instanceof Error ? error.message : String(error)}`,
      );
    } finally {
      // The log may go to a pipe, which may be written too late. Standard error is written now.
      writeNow(`dotstub is broken and ends (${origin}):\n${stack}\n`);
      flush(() => exit(1));
    }
  };
  process.on('uncaughtException', handle);
  // Without this, Node.js raises rejections as uncaught exceptions, with other words if they are not errors.
  const rejected = (reason: unknown): void => handle(reason, 'unhandledRejection');
  process.on('unhandledRejection', rejected);
  return () => {
    process.off('uncaughtException', handle);
    process.off('unhandledRejection', rejected);
  };
}

/** The stack of an error, and the stacks of its causes. */
function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { stack = error.message, cause } = error;
  return cause === undefined ? stack : `${stack}\ncaused by ${stackOf(cause)}`;
}

function writeNow(text: string): void {
  try {
    writeSync(STDERR, text);
  } catch {
    // Standard error cannot be written; the log must do.
  }
}

const FLUSH_MS = 1000;

/** Calls `then` when the log is written, or after a second if it is not read. */
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
