// How much there is room for: connections, measured against the limit of open files at the start.

import type { Log } from '../base/ports.js';
import { type ConnectionCaps, connectionCaps, openFiles } from '../os/limits.js';
import type { ListenersPlan } from './plan.js';

/** Queries that may wait for an answer at one time. */
export const MAX_INFLIGHT = 2000;

/** The connections that there is room for. Where that is less than is wanted, one line says so. */
export function capsFor({ threads, addresses, tlsAddresses }: ListenersPlan, log: Log): ConnectionCaps {
  const { caps, words } = connectionCaps(openFiles(), threads, addresses.length + tlsAddresses.length);
  if (words !== undefined) log.warn({ ...caps }, words);
  return caps;
}
