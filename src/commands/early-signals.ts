// Handles SIGHUP and SIGUSR1 from the first moment of `dotstub run` on; signals before the daemon has started are
// remembered. Without a handler, SIGHUP ends the process, and SIGUSR1 makes Node.js open its inspector on 127.0.0.1
// port 9229, where every local user can run code in this process. This is the first import of the program, so it
// imports nothing that takes time to load.

import { close } from 'node:inspector';

/** The signals whose default action must not happen. */
export type EarlySignal = 'SIGHUP' | 'SIGUSR1';
export type SignalHandlers = Readonly<Record<EarlySignal, () => void>>;

/** Signals that have arrived and were not handled yet. */
const pending = new Set<EarlySignal>();
let handlers: SignalHandlers | undefined;

function received(signal: EarlySignal): void {
  if (signal === 'SIGUSR1') closeUnwanted();
  if (handlers === undefined) pending.add(signal);
  else handlers[signal]();
}

/** Whether the user has asked for an inspector. */
const wantsInspector = (): boolean =>
  [...process.execArgv, ...(process.env['NODE_OPTIONS'] ?? '').split(/\s+/)].some(option =>
    option.startsWith('--inspect'),
  );

/**
 * Closes an inspector that a signal has opened, if there is one. `close` of node:inspector is this function of `process`,
 * which is not documented; the module would take 3 ms of each start to load.
 */
function closeUnwanted(): void {
  if (wantsInspector()) return;
  if ('_debugEnd' in process && typeof process._debugEnd === 'function') Reflect.apply(process._debugEnd, process, []);
  else close();
}

/**
 * Node.js may have received a signal before this ran. It then opens its inspector a moment later, in another thread.
 */
const LOOK_AGAIN_MS = [10, 50, 200, 1000, 5000];

if (process.argv[2] === 'run') {
  process.on('SIGHUP', () => received('SIGHUP'));
  process.on('SIGUSR1', () => received('SIGUSR1'));
  closeUnwanted();
  setImmediate(closeUnwanted).unref();
  for (const ms of LOOK_AGAIN_MS) setTimeout(closeUnwanted, ms).unref();
}

/** Passes the signals to handlers. Signals that have arrived before are passed at once, each kind once. */
export function takeSignals(wanted: SignalHandlers): void {
  handlers = wanted;
  const waiting = [...pending];
  pending.clear();
  for (const signal of waiting) wanted[signal]();
}
