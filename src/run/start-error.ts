// Why the daemon cannot start, or cannot take a configuration over.

/** A reason, in one sentence that says what to do. */
export class StartError extends Error {
  /** @param exitCode 2 where the configuration is at fault, 1 where the system is */
  constructor(
    message: string,
    readonly exitCode: 1 | 2,
  ) {
    super(message);
  }
}
