// The system calls that Node.js has no functions for.

import type { Log } from '../base/ports.js';
import { type Libc, loadLibc } from '../os/libc.js';
import type { Plan } from './plan.js';

/** Loads the system calls. If that fails, one log line says what is slower. */
export function systemCallsFor({ listeners: { io } }: Plan, log: Log): Libc | undefined {
  const libc = loadLibc();
  if (!('unavailable' in libc)) return libc;
  // node:dgram needs no system calls, except for sockets of a service manager; a reload may need more.
  if (io === 'dgram') return undefined;
  const why = `system calls are not available (${libc.unavailable})`;
  log.warn({ reason: libc.unavailable }, `UDP runs over node:dgram on the main thread, slower: ${why}`);
  return undefined;
}
