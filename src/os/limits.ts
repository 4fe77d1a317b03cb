// How many connections there is room for: RLIMIT_NOFILE, read once at start, and shared out.

import { readdirSync, readFileSync } from 'node:fs';

/** Connections that may be open at one time, by what they are for. */
export interface ConnectionCaps {
  /** Sessions of clients over TCP and TLS. */
  readonly sessions: number;
  /** Connections of browsers and Prometheus. */
  readonly http: number;
  readonly control: number;
  /** Connections to servers. */
  readonly upstream: number;
}

/** As many as are ever wanted. */
export const MAX_CAPS: ConnectionCaps = { sessions: 1000, http: 64, control: 16, upstream: 128 };
/** What works somehow, whatever the limit. */
const LEAST_CAPS: ConnectionCaps = { sessions: 2, http: 1, control: 1, upstream: 2 };
/**
 * Descriptors for all else: files that are read, watched and written, sockets of UDP listeners and their duplicates while a
 * reload exchanges them, and for each thread what its event loop takes.
 */
const RESERVED = 16;
const RESERVED_PER_THREAD = 12;
const RESERVED_PER_LISTENER = 3;

/** What the caps are measured against. */
export interface OpenFiles {
  /** RLIMIT_NOFILE, the soft limit in force; undefined: none, or not known. */
  readonly limit: number | undefined;
  /** Open now. */
  readonly open: number;
}

/** Reads both. Node.js has raised the soft limit to the hard one when it started. */
export function openFiles(): OpenFiles {
  try {
    const [, soft] = /^Max open files +(\S+)/m.exec(readFileSync('/proc/self/limits', 'latin1')) ?? [];
    const limit = Number(soft);
    return { limit: Number.isInteger(limit) ? limit : undefined, open: readdirSync('/proc/self/fd').length };
  } catch {
    // Not Linux, or /proc is closed to us.
    return { limit: undefined, open: 0 };
  }
}

/**
 * Shares the descriptors out.
 * @param threads front threads
 * @param listeners addresses that are listened on, for each transport
 * @returns `words` where there are too few for all that is wanted: a sentence for the log
 */
export function connectionCaps(
  { limit, open }: OpenFiles,
  threads: number,
  listeners: number,
): { readonly caps: ConnectionCaps; readonly words: string | undefined } {
  if (limit === undefined) return { caps: MAX_CAPS, words: undefined };
  const wanted = MAX_CAPS.sessions + MAX_CAPS.http + MAX_CAPS.control + MAX_CAPS.upstream;
  const fixed = open + RESERVED + RESERVED_PER_THREAD * threads + RESERVED_PER_LISTENER * listeners;
  const left = limit - fixed;
  if (left >= wanted) return { caps: MAX_CAPS, words: undefined };
  const share = (of: keyof ConnectionCaps): number =>
    Math.max(LEAST_CAPS[of], Math.floor((MAX_CAPS[of] * Math.max(0, left)) / wanted));
  const [http, control] = [share('http'), share('control')];
  // Without servers nothing is answered: they come first, with more than their share where there is little.
  const upstream = Math.max(share('upstream'), Math.min(8, Math.floor(left / 3)));
  const sessions = Math.max(LEAST_CAPS.sessions, Math.min(MAX_CAPS.sessions, left - http - control - upstream));
  return {
    caps: { sessions, http, control, upstream },
    words:
      `at most ${limit} files may be open (RLIMIT_NOFILE): ${sessions} sessions of clients in place of ${MAX_CAPS.sessions}, ` +
      `${http} HTTP, ${control} control and ${upstream} upstream connections; for all, allow ${fixed + wanted} (LimitNOFILE=, ulimit -n)`,
  };
}
