// When an answer is refreshed although it has not expired. The cache and the packet cache must agree on it.

/** The share of its TTL at the end of which an answer is refreshed if somebody asks for it, */
const LAST_PART = 0.1;
/** unless its TTL is shorter than this: it would be fetched more often than it is asked for. */
const LEAST_REFRESHED_SEC = 10;

/** When, on the age clock, an answer is so near its end that it is refreshed if somebody asks for it. */
export const refreshedFrom = (storedAt: number, ttlSec: number): number =>
  ttlSec < LEAST_REFRESHED_SEC ? Infinity : storedAt + ttlSec * (1 - LAST_PART);
