// How many connections are possible: RLIMIT_NOFILE, read once at the start and divided among their kinds.

import { readdirSync, readFileSync } from 'node:fs';

/** How many connections may be open at the same time, by purpose. */
export interface ConnectionCaps {
  /** Sessions of clients over TCP, */
  readonly tcp: number;
  /** over TLS, */
  readonly tls: number;
  /** and over HTTPS. */
  readonly https: number;
  /** Connections of browsers and Prometheus. */
  readonly http: number;
  readonly control: number;
  /** Set aside for connections to servers, which have bounds of their own (four to each address). */
  readonly upstream: number;
}

/** The most that is ever needed besides sessions. */
const OTHERS = { http: 64, control: 16, upstream: 128 };

/** The most that is ever needed. @param sessions of clients over each transport (access.sessions) */
export const mostCaps = (sessions: number): ConnectionCaps => ({
  ...{ tcp: sessions, tls: sessions, https: sessions },
  ...OTHERS,
});
/** The fewest that work, whatever the limit. */
const LEAST_CAPS: ConnectionCaps = { tcp: 2, tls: 2, https: 2, http: 1, control: 1, upstream: 2 };
/**
 * Descriptors for everything else: files that are read, watched and written, sockets of UDP listeners and their
 * duplicates during a reload, and the event loop of each thread.
 */
const RESERVED = 16;
const RESERVED_PER_THREAD = 12;
const RESERVED_PER_LISTENER = 3;

/** How many descriptors threads beside the main thread have: their event loops and sockets. */
export const forThreads = (threads: number): number => RESERVED_PER_THREAD * threads;

/** The facts that the caps are computed from. */
export interface OpenFiles {
  /** RLIMIT_NOFILE, the soft limit in force; undefined: none, or not known. */
  readonly limit: number | undefined;
  /** How many are open now. */
  readonly open: number;
}

/** Reads both. At its start, Node.js raises the soft limit to the hard one. */
export function openFiles(): OpenFiles {
  try {
    const [, soft] = /^Max open files +(\S+)/m.exec(readFileSync('/proc/self/limits', 'latin1')) ?? [];
    const limit = Number(soft);
    return { limit: Number.isInteger(limit) ? limit : undefined, open: readdirSync('/proc/self/fd').length };
  } catch {
    // Not Linux, or /proc cannot be read.
    return { limit: undefined, open: 0 };
  }
}

/**
 * Divides the descriptors.
 * @param threads beside the main thread
 * @param listeners addresses that are listened on, for each transport
 * @param sessions the most sessions of clients that are wanted over each transport
 * @returns `spare`: how many are left over; `words` if there are fewer than needed: a sentence for the log
 */
export function connectionCaps(
  { limit, open }: OpenFiles,
  threads: number,
  listeners: number,
  sessions: number,
): { readonly caps: ConnectionCaps; readonly spare: number; readonly words: string | undefined } {
  const most = mostCaps(sessions);
  if (limit === undefined) return { caps: most, spare: Infinity, words: undefined };
  const wanted = 3 * sessions + OTHERS.http + OTHERS.control + OTHERS.upstream;
  const fixed = open + RESERVED + forThreads(threads) + RESERVED_PER_LISTENER * listeners;
  const left = limit - fixed;
  if (left >= wanted) return { caps: most, spare: left - wanted, words: undefined };
  const share = (of: keyof ConnectionCaps): number =>
    Math.max(LEAST_CAPS[of], Math.floor((most[of] * Math.max(0, left)) / wanted));
  const [http, control] = [share('http'), share('control')];
  // Without servers no query is answered, so they get more than their share if there are few descriptors.
  const upstream = Math.max(share('upstream'), Math.min(8, Math.floor(left / 3)));
  const forClients = Math.max(LEAST_CAPS.tcp, Math.floor((left - http - control - upstream) / 3));
  const [tcp, tls, https] = [forClients, forClients, forClients];
  return {
    caps: { tcp, tls, https, http, control, upstream },
    spare: 0,
    words:
      `at most ${limit} files may be open (RLIMIT_NOFILE): ${tcp} sessions of clients over TCP in place of ${sessions}, ${tls} over TLS and ${https} over HTTPS in place of as many, ` +
      `${http} HTTP and ${control} control connections, and room for ${upstream} connections to servers; for all, allow ${fixed + wanted} (LimitNOFILE=, ulimit -n)`,
  };
}
