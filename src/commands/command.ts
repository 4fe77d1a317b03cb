// What a subcommand is.

/** A misuse of the command line: printed with a pointer to --help, exit code 2. */
export class UsageError extends Error {}

/** A subcommand of the program. */
export interface Command {
  readonly name: string;
  /** Behind the program's name in the usage line, e.g. `query NAME [TYPE]`. */
  readonly usage: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** The rest of --help. */
  readonly details: string;
  /** Words that may follow its name, for shells to complete. */
  readonly words?: readonly string[];
  /**
   * Carries the command out.
   * @returns the exit code: 0 fine, 1 failed, 2 bad usage or configuration
   * @throws UsageError
   */
  run(args: readonly string[]): Promise<number>;
}
