// How many connections there is room for, computed from the limit of open files at the start.

import type { Log } from '../base/ports.js';
import { isSystemError } from '../base/system-error.js';
import { type ConnectionCaps, connectionCaps, openFiles } from '../os/limits.js';
import { expand } from '../os/listen-address.js';
import type { ListenersPlan } from './plan.js';

/** The most queries that may wait for an answer. */
export const MAX_INFLIGHT = 2000;

/** How many connections there may be. */
export interface Capacity extends ConnectionCaps {
  /** Of one client over each transport; 0: as many as one may have. */
  readonly perClient: number;
}

/** The connections that there is room for. If there are fewer than needed, one log line says so. */
export function capsFor({ threads, addresses, tlsAddresses, https, sessions }: ListenersPlan, log: Log): Capacity {
  const secured = [tlsAddresses.length, https.addresses.length];
  const streams = secured.reduce((all, each) => all + each);
  const listeners = (threads > 0 ? addresses.length : onTheirOwn(addresses)) + streams;
  // With front threads, sessions over TLS and over HTTPS have a thread each (run/session-threads). A reload may be the
  // first that has any.
  const all = threads + secured.filter(each => each > 0).length;
  const { caps, words } = connectionCaps(openFiles(), all, listeners, sessions.most);
  if (words !== undefined) log.warn({ ...caps }, words);
  return { ...caps, perClient: sessions.perClient };
}

/** How many addresses have a UDP socket of their own without front threads: each one that a wildcard stands for. */
function onTheirOwn(addresses: ListenersPlan['addresses']): number {
  try {
    return addresses.flatMap(expand).length;
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return addresses.length;
  }
}
