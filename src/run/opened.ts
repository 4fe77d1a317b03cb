// The parts that are open. They are closed in reverse order: at the end, and if the start fails.

/** The parts that are open. */
export class Opened {
  private readonly closers: (() => void | Promise<void>)[] = [];
  private closed: Promise<void> | undefined;

  /** Notes a part that has to be closed; returns it. */
  add<T extends { close(): void | Promise<void> }>(part: T): T {
    this.closers.push(() => part.close());
    return part;
  }

  /** Closes all parts, the last one first. May be called twice. If one fails, the others are closed all the same. */
  async close(): Promise<void> {
    return (this.closed ??= this.closeAll());
  }

  private async closeAll(): Promise<void> {
    const problems: unknown[] = [];
    for (let close = this.closers.pop(); close !== undefined; close = this.closers.pop()) {
      try {
        await close();
      } catch (error) {
        problems.push(error);
      }
    }
    if (problems.length > 0) throw new AggregateError(problems, 'parts could not be closed');
  }
}
