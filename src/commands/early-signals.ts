// Handlers for SIGHUP and SIGUSR1 from the first moment of `dotstub run` on; what comes before the daemon is there is remembered.
// Without a handler SIGHUP ends the process, and SIGUSR1 has Node.js open its inspector on 127.0.0.1 port 9229, where every local
// user can run code as this process. Imports nothing that takes time to load: it is the first import of the program.

import { close as closeInspector, url as inspectorUrl } from 'node:inspector';

/** The signals that must not meet their default. */
export type EarlySignal = 'SIGHUP' | 'SIGUSR1';
export type SignalHandlers = Readonly<Record<EarlySignal, () => void>>;

/** What came and was not handled yet. */
const pending = new Set<EarlySignal>();
let handlers: SignalHandlers | undefined;

function received(signal: EarlySignal): void {
  if (signal === 'SIGUSR1') closeUnwanted();
  if (handlers === undefined) pending.add(signal);
  else handlers[signal]();
}

/** Whether the person who started this wants an inspector. */
const wantsInspector = (): boolean =>
  [...process.execArgv, ...(process.env['NODE_OPTIONS'] ?? '').split(/\s+/)].some(option =>
    option.startsWith('--inspect'),
  );

/** Closes an inspector that a signal has opened. */
function closeUnwanted(): void {
  if (inspectorUrl() !== undefined && !wantsInspector()) closeInspector();
}

/** Node.js may have taken a signal before this ran, and opens its inspector a moment later, in a thread of its own. */
const LOOK_AGAIN_MS = [10, 50, 200, 1000, 5000];

if (process.argv[2] === 'run') {
  process.on('SIGHUP', () => received('SIGHUP'));
  process.on('SIGUSR1', () => received('SIGUSR1'));
  closeUnwanted();
  setImmediate(closeUnwanted).unref();
  for (const ms of LOOK_AGAIN_MS) setTimeout(closeUnwanted, ms).unref();
}

/** Hands the signals over, those that have come already at once, each kind once. */
export function takeSignals(wanted: SignalHandlers): void {
  handlers = wanted;
  const waiting = [...pending];
  pending.clear();
  for (const signal of waiting) wanted[signal]();
}
