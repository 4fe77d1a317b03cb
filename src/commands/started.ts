// What is to happen once the daemon runs: its entry keeps what was compiled until then.

let then = (): void => undefined;

/** Sets what `hasStarted` calls. */
export function whenStarted(call: () => void): void {
  then = call;
}

/** The daemon runs. */
export function hasStarted(): void {
  then();
  then = (): void => undefined;
}
