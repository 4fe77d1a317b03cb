// How many connections there is room for, computed from the limit of open files at the start.

import type { Log } from '../base/ports.js';
import { isSystemError } from '../base/system-error.js';
import { type ConnectionCaps, connectionCaps, forThreads, openFiles } from '../os/limits.js';
import { expand } from '../os/listen-address.js';
import type { ListenersPlan } from './plan.js';
import { StartError } from './start-error.js';

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

/**
 * Checks that there is room for the front threads that a reload brings. If they take what connections were promised at
 * the start, one log line says so.
 * @param more how many more than now @throws StartError, if there is no room for them
 */
export function checkRoomFor(more: number, connections: Capacity, log: Log): void {
  if (more <= 0) return;
  const { limit = Infinity, open } = openFiles();
  const needed = forThreads(more);
  const left = limit - open - needed;
  const path = 'front.threads';
  const words = `${more} more threads take ${needed} files that are open, of ${limit} that may be (RLIMIT_NOFILE)`;
  const toDo = 'allow more (LimitNOFILE=, ulimit -n)';
  if (left < 0) throw StartError.ofOptions([{ path, words: `${words}, and ${open} are open: ${toDo}` }]);
  const { tcp, tls, https, http, control, upstream } = connections;
  const promised = tcp + tls + https + http + control + upstream;
  if (left >= promised) return;
  const fewer = `connections are refused when ${left} are open, and not ${promised}, until a restart divides what is left`;
  log.warn({ left, promised }, `${path}: ${words}: ${fewer}; ${toDo}`);
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
