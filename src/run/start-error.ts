// Errors that keep the daemon from starting, or from taking over a configuration.

import { listenText } from '../os/listen-address.js';

/** An option that cannot come into force. */
export interface OptionProblem {
  /** The option to correct; empty: none. */
  readonly path: string;
  readonly words: string;
}

/** The reason, in one sentence that says what to do. */
export class StartError extends Error {
  /**
   * @param exitCode 2: the configuration is at fault; 1: the system is
   * @param problems what it consists of, where several options are at fault
   * @param lacks what this process lacks, if that is the reason: the right to listen on a port
   */
  constructor(
    message: string,
    readonly exitCode: 1 | 2,
    readonly problems: readonly OptionProblem[] = [{ path: '', words: message }],
    readonly lacks?: 'right',
  ) {
    super(message);
  }

  /** The error of options of the configuration. */
  static ofOptions(problems: readonly OptionProblem[]): StartError {
    return new StartError(problems.map(({ path, words }) => `${path}: ${words}`).join('\n'), 2, problems);
  }
}

/**
 * Waits until a listener is open.
 * @param option the option with the address @throws StartError, in place of the system's error
 */
export async function listening<T>(what: string, option: string, open: () => T | Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (error) {
    if (!isBindError(error)) throw error;
    throw bindError(what, option, error);
  }
}

/** Allocates the memory of an option. @throws StartError, in place of the engine's error */
export function allocated<T>(option: string, bytes: number, allocate: () => T): T {
  try {
    return allocate();
  } catch (error) {
    // V8 has no other error for an allocation that fails.
    if (!(error instanceof RangeError)) throw error;
    const size = `${Math.ceil(bytes / (1 << 20))} MiB`;
    throw new StartError(`${option}: this process gets no ${size} of memory (${error.message}): set a smaller size`, 1);
  }
}

type BindError = Error & { readonly code: string; readonly address?: string; readonly port?: number };

const isBindError = (error: unknown): error is BindError =>
  error instanceof Error && 'code' in error && typeof error.code === 'string';

function bindError(what: string, option: string, { code, address, port, message }: BindError): StartError {
  const at = address === undefined ? option : `${listenText({ address, port: port ?? 0 })} (${what})`;
  switch (code) {
    case 'EADDRINUSE':
      return new StartError(
        `${at} is in use by another program: stop that one, or choose another address in ${option}`,
        1,
      );
    case 'EACCES': {
      const right = 'ports below 1024 take root or CAP_NET_BIND_SERVICE';
      return new StartError(
        `${at} needs a right that this user does not have: ${right}; or choose another port in ${option}`,
        1,
        undefined,
        'right',
      );
    }
    case 'EMFILE':
    case 'ENFILE':
      return new StartError(`${at}: ${message}: allow more open files (LimitNOFILE=, ulimit -n)`, 1);
    default:
      return new StartError(`${at}: ${message} (${option})`, 1);
  }
}
