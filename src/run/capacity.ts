// How many connections there is room for, computed from the limit of open files at the start.

import type { Log } from '../base/ports.js';
import { type ConnectionCaps, connectionCaps, openFiles } from '../os/limits.js';
import type { ListenersPlan } from './plan.js';

/** The most queries that may wait for an answer. */
export const MAX_INFLIGHT = 2000;

/** The connections that there is room for. If there are fewer than needed, one log line says so. */
export function capsFor({ threads, addresses, tlsAddresses }: ListenersPlan, log: Log): ConnectionCaps {
  const { caps, words } = connectionCaps(openFiles(), threads, addresses.length + tlsAddresses.length);
  if (words !== undefined) log.warn({ ...caps }, words);
  return caps;
}
