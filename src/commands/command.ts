// The type of a subcommand.

/** A wrong use of the command line: printed with a reference to --help, exit code 2. */
export class UsageError extends Error {}

/** A subcommand of the program. */
export interface Command {
  readonly name: string;
  /** The usage after the program's name, for example `query NAME [TYPE]`. */
  readonly usage: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** The rest of --help. */
  readonly details: string;
  /** Words that may follow its name, for completion in shells. */
  readonly words?: readonly string[];
  /**
   * Runs the command.
   * @returns the exit code: 0 fine, 1 failed, 2 bad usage or configuration @throws UsageError
   */
  run(args: readonly string[]): Promise<number>;
}
