// What is to happen some seconds after the start: the entry keeps what was compiled until then.

let then = (): void => undefined;

/** Sets what `hasStarted` calls. */
export function whenStarted(call: () => void): void {
  then = call;
}

/** The daemon has started, or has answered its first questions, which may be much later. */
export function hasStarted(): void {
  then();
}
