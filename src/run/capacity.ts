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
  /** The front threads that were counted with, */
  readonly threads: number;
  /** and the files that may be open beside all of these. */
  readonly spare: number;
}

/** A line for the log. */
interface LogLine {
  readonly fields: { readonly left: number; readonly promised: number };
  readonly words: string;
}

/** The connections that there is room for. If there are fewer than needed, one log line says so. */
export function capsFor({ threads, addresses, tlsAddresses, https, sessions }: ListenersPlan, log: Log): Capacity {
  const secured = [tlsAddresses.length, https.addresses.length];
  const streams = secured.reduce((all, each) => all + each);
  const listeners = (threads > 0 ? addresses.length : onTheirOwn(addresses)) + streams;
  // With front threads, sessions over TLS and over HTTPS have a thread each (run/session-threads). A reload may be the
  // first that has any.
  const all = threads + secured.filter(each => each > 0).length;
  const { caps, spare, words } = connectionCaps(openFiles(), all, listeners, sessions.most);
  if (words !== undefined) log.warn({ ...caps }, words);
  return { ...caps, perClient: sessions.perClient, threads, spare };
}

/**
 * Checks that there is room for the front threads that a reload brings.
 * @returns undefined, or a line for the log once they are there: they take what connections were promised at the start
 * @throws StartError, if there is no room for them
 */
export function checkRoomFor(before: number, threads: number, connections: Capacity): LogLine | undefined {
  if (threads <= before) return undefined;
  const { limit = Infinity, open } = openFiles();
  const path = 'front.threads';
  const taking = (more: number): string =>
    `${more} more ${more === 1 ? 'thread takes' : 'threads take'} ${forThreads(more)} files that are open, of ${limit} that may be (RLIMIT_NOFILE)`;
  const toDo = 'allow more (LimitNOFILE=, ulimit -n)';
  const needed = threads - before;
  if (open + forThreads(needed) > limit)
    throw StartError.ofOptions([{ path, words: `${taking(needed)}, and ${open} are open: ${toDo}` }]);
  // As it was divided at the start: connections that are open now are among those that were promised.
  const { tcp, tls, https, http, control, upstream, spare } = connections;
  const more = threads - connections.threads;
  const lacking = forThreads(more) - spare;
  if (lacking <= 0) return undefined;
  const promised = tcp + tls + https + http + control + upstream;
  const left = promised - lacking;
  const fewer = `connections are refused when ${left} are open, and not ${promised}, until a restart divides what is left`;
  return { fields: { left, promised }, words: `${path}: ${taking(more)}: ${fewer}; ${toDo}` };
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
