// How long a connection to a server may be idle. Servers close idle connections after a time of their own, and rarely say
// when. We close a little earlier, so that no query is sent on a connection that the server is about to close.

/** What was learned about one server. */
export interface IdleLimit {
  /** Milliseconds. */
  readonly limitMs: number;
  /** How many connections were used again after they had been idle for a good part of the limit. */
  readonly reuses: number;
  /** The server's own value (RFC 7828), if it sent one. */
  readonly saidMs: number | undefined;
}

/** The limit before anything was learned. Public resolvers close after about 10 s. */
export const FIRST_LIMIT: IdleLimit = { limitMs: 8000, reuses: 0, saidMs: undefined };
const LEAST_MS = 1000;
const MOST_MS = 30_000;
const STEP_MS = 1000;
const REUSES_TO_GROW = 20;

/** After the last query, connections are kept open by queries of our own for this long. */
export const KEEP_WARM_MS = 60_000;

/** The limit in force; never above the server's own value. */
export const idleMs = ({ limitMs, saidMs }: IdleLimit): number =>
  Math.max(LEAST_MS, Math.min(limitMs, saidMs === undefined ? Infinity : saidMs - STEP_MS));

/** The limit after the server has closed a connection in good order that was idle for this long. */
export const closedAfter = (limit: IdleLimit, ms: number): IdleLimit =>
  ms >= limit.limitMs ? limit : { ...limit, limitMs: Math.max(LEAST_MS, ms - STEP_MS), reuses: 0 };

/** The limit after a connection was idle for this long and then answered. */
export function reusedAfter(limit: IdleLimit, ms: number): IdleLimit {
  if (ms < limit.limitMs / 2) return limit;
  if (limit.reuses + 1 < REUSES_TO_GROW) return { ...limit, reuses: limit.reuses + 1 };
  return { ...limit, limitMs: Math.min(MOST_MS, limit.limitMs + STEP_MS), reuses: 0 };
}

/** The limit after the server has sent its own value (RFC 7828 §3.2.2). */
export const said = (limit: IdleLimit, ms: number): IdleLimit =>
  limit.saidMs === ms ? limit : { ...limit, saidMs: ms };
