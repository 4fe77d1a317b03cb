// Decides which path a query may take, from the configured mode and what is known about the server (RFC 8310 §5,
// RFC 7858 §4). The states are those of Android's Private DNS, with ways back that Android lacks. Pure.
//
//   off            cleartext only
//   opportunistic  TLS if it works, else cleartext
//   encrypted      TLS only, with any server that answers
//   strict         TLS only, and only with an authenticated server
//
//             ┌────────────────────── network changed ───────────────────────┐
//             ▼                                                              │
//          probing ──passed──▶ private ──failed──▶ suspect ──3 tries──▶ failed (back-off)
//             │                   ▲                   │                    │
//             └──failed──▶ failed └──────passed───────┴───────passed───────┘
//
// `suspect` exists in opportunistic mode only. In the other two modes, which cannot use cleartext in the meantime,
// `private` becomes `failed` at once. While cleartext is refused (downgrade.ts), every failure leads to `suspect`, and no
// number of them to `failed`. The end of an outage leads from both back to `probing` (Endpoint.retrySoon).

import type { Mode } from '../base/overview.js';
import { monoAfter, type MonoMs } from '../base/time.js';

/** What is known about TLS with one server address. */
export type Health =
  /** Nothing yet on this network. */
  | { readonly at: 'probing' }
  /** It works. */
  | { readonly at: 'private' }
  /** It worked until now. There were `errors` in a row; it is tried again from `retryAtMs`. */
  | { readonly at: 'suspect'; readonly errors: number; readonly retryAtMs: MonoMs }
  /** Connecting failed `failures` times in a row; it is tried again from `retryAtMs`. */
  | { readonly at: 'failed'; readonly failures: number; readonly failedAtMs: MonoMs; readonly retryAtMs: MonoMs };

/** Where a query may go now. `refuse`: not to this server now. */
export type Path = 'tls' | 'cleartext' | 'refuse';

/**
 * Decides the path for a query.
 * @param held whether cleartext is refused (downgrade.ts)
 */
export function pathFor(mode: Mode, health: Health, nowMs: MonoMs, held: boolean): Path {
  switch (mode) {
    case 'off':
      return 'cleartext';
    case 'opportunistic':
      if (health.at === 'private') return 'tls';
      return held ? unlessInBackOff(health, nowMs) : 'cleartext';
    case 'encrypted':
    case 'strict':
      return unlessInBackOff(health, nowMs);
  }
}

const unlessInBackOff = (health: Health, nowMs: MonoMs): Path =>
  health.at === 'failed' && nowMs < health.retryAtMs ? 'refuse' : 'tls';

/** Whether to connect beside the queries: the server was never tried, or may work again. */
export function isDue(mode: Mode, health: Health, nowMs: MonoMs): boolean {
  if (mode === 'off' || health.at === 'private') return false;
  return health.at === 'probing' || nowMs >= health.retryAtMs;
}

/**
 * Whether a server in back-off may be tried because all others are in back-off, too: once a second, so that we notice
 * the end of an outage within a second.
 */
export const mayTryAnyway = (health: Health, nowMs: MonoMs): boolean =>
  health.at !== 'failed' || nowMs - health.failedAtMs >= TRIAL_MS;

const TRIAL_MS = 1000;
// Without a cleartext fallback, a working server must be found soon. With one, RFC 7858 §3.1 asks for longer pauses.
const BACKOFF_MS: Record<Mode, readonly [first: number, most: number]> = {
  off: [0, 0],
  opportunistic: [60_000, 3_600_000],
  encrypted: [1000, 60_000],
  strict: [1000, 60_000],
};
const SUSPECT = {
  /**
   * After this many errors in a row (the first, and retries after 1, 2 and 4 s), a server that worked counts as failed.
   */
  errors: 4,
  retryMs: 1000,
  longestRetryMs: 8000,
} as const;

/** The facts about a failure that the state machine uses. */
export interface FailedAt {
  readonly nowMs: MonoMs;
  /** A random number from 0 to 1, so that the retries of many servers or hosts do not come at the same time. */
  readonly spread: number;
  /** Whether cleartext is refused: then TLS is tried again soon. */
  readonly held: boolean;
}

/** TLS works: the handshake succeeded, or in opportunistic mode the probe was answered. */
export const passed = (): Health => ({ at: 'private' });

/** Connecting failed, an open connection was dead, or the answer to the probe was missing or too slow. */
export function failed(mode: Mode, health: Health, { nowMs, spread, held }: FailedAt): Health {
  if (mode === 'opportunistic' && (held || health.at === 'private' || health.at === 'suspect')) {
    const errors = health.at === 'suspect' ? health.errors + 1 : 1;
    if (held || errors < SUSPECT.errors) {
      return {
        at: 'suspect',
        errors,
        retryAtMs: monoAfter(nowMs, Math.min(SUSPECT.longestRetryMs, SUSPECT.retryMs * 2 ** (errors - 1))),
      };
    }
  }
  const failures = health.at === 'failed' ? health.failures + 1 : 1;
  const [first, most] = BACKOFF_MS[mode];
  const backoffMs = Math.min(most, first * 2 ** Math.min(failures - 1, 16)) * (0.8 + 0.4 * spread);
  return { at: 'failed', failures, failedAtMs: nowMs, retryAtMs: monoAfter(nowMs, backoffMs) };
}

/**
 * Whether TLS is fast enough to be preferred to cleartext (the gate of Android 11 and later).
 * @param plainMs the round-trip time in cleartext; undefined: unknown, or not answered
 */
export const quickEnough = (tlsMs: number, plainMs: number | undefined): boolean =>
  plainMs === undefined || tlsMs < LATENCY_FACTOR * plainMs + LATENCY_OFFSET_MS;

const LATENCY_FACTOR = 3;
const LATENCY_OFFSET_MS = 100;
