// Which way a query may go, decided from the configured mode and what is known about the server (RFC 8310 §5,
// RFC 7858 §4; the states are those of Android's Private DNS, with ways back that Android lacks). Pure: states in,
// states out.
//
//   off            cleartext only
//   opportunistic  TLS where it works, cleartext where it does not
//   encrypted      TLS only, with any server that answers
//   strict         TLS only, and only with a server that proved its name
//
//             ┌────────────────────── network changed ───────────────────────┐
//             ▼                                                              │
//          probing ──passed──▶ private ──failed──▶ suspect ──3 tries──▶ failed (back-off)
//             │                   ▲                   │                    │
//             └──failed──▶ failed └──────passed───────┴───────passed───────┘
//
// `suspect` exists in opportunistic mode only: the other two have no cleartext to fall back to meanwhile.

import type { Mode } from '../base/overview.js';
import { monoAfter, type MonoMs } from '../base/time.js';

/** What is known about TLS with one server address. */
export type Health =
  /** Nothing yet, on this network. */
  | { readonly at: 'probing' }
  /** It works. */
  | { readonly at: 'private' }
  /** It worked until just now. There were `errors` in a row since `sinceMs`; it is tried again from `retryAtMs`. */
  | { readonly at: 'suspect'; readonly errors: number; readonly sinceMs: MonoMs; readonly retryAtMs: MonoMs }
  /** Connecting failed `failures` times in a row; it is tried again from `retryAtMs`. */
  | { readonly at: 'failed'; readonly failures: number; readonly failedAtMs: MonoMs; readonly retryAtMs: MonoMs };

/** Where a query may go now. */
export type Path = 'tls' | 'cleartext' | 'refuse';

/**
 * Decides the path for a query. `refuse` means: not to this server, now.
 * @param proved whether this server has proved its name on this network before. Then a failure may be an attacker's
 *   work, and cleartext has to wait until it has lasted.
 */
export function pathFor(mode: Mode, health: Health, nowMs: MonoMs, proved: boolean): Path {
  switch (mode) {
    case 'off':
      return 'cleartext';
    case 'opportunistic':
      if (health.at === 'private') return 'tls';
      return proved && health.at !== 'failed' ? 'tls' : 'cleartext';
    case 'encrypted':
    case 'strict':
      return health.at === 'failed' && nowMs < health.retryAtMs ? 'refuse' : 'tls';
  }
}

/** Whether to find out now, beside the queries that go in cleartext, if TLS works. */
export function shouldProbe(mode: Mode, health: Health, nowMs: MonoMs): boolean {
  return (
    mode === 'opportunistic' &&
    (health.at === 'probing' || ((health.at === 'failed' || health.at === 'suspect') && nowMs >= health.retryAtMs))
  );
}

/**
 * Whether a server in back-off may be tried all the same because every other one is in back-off too: once a
 * second, so that an outage ends for us within a second of ending.
 */
export const mayTryAnyway = (health: Health, nowMs: MonoMs): boolean =>
  health.at !== 'failed' || nowMs - health.failedAtMs >= TRIAL_MS;

const TRIAL_MS = 1000;
// With no cleartext to fall back to, a working server has to be found soon; with it, RFC 7858 §3.1 asks for patience.
const BACKOFF_MS: Record<Mode, readonly [first: number, most: number]> = {
  off: [0, 0],
  opportunistic: [60_000, 3_600_000],
  encrypted: [1000, 60_000],
  strict: [1000, 60_000],
};
/** After so many errors in a row (the first, and tries after 1, 2 and 4 s) a server that worked counts as failed. */
const SUSPECT_ERRORS = 4;
/** And one that has proved its name on this network only when the errors have lasted for so long. */
const PROVED_MS = 30_000;
const SUSPECT_RETRY_MS = 1000;
const SUSPECT_RETRY_MOST_MS = 8000;

/** What the state machine looks at when something failed. */
export interface FailedAt {
  readonly nowMs: MonoMs;
  /** 0 … 1, random: so that the retries of many servers or hosts do not all come at once. */
  readonly spread: number;
  readonly proved: boolean;
}

/** TLS showed that it works: the handshake succeeded, or in opportunistic mode the probe was answered. */
export const passed = (): Health => ({ at: 'private' });

/** Connecting failed, an open connection turned out dead, or the probe was not answered well. */
export function failed(mode: Mode, health: Health, { nowMs, spread, proved }: FailedAt): Health {
  if (
    mode === 'opportunistic' &&
    (health.at === 'private' || health.at === 'suspect' || (proved && health.at === 'probing'))
  ) {
    const errors = health.at === 'suspect' ? health.errors + 1 : 1;
    const sinceMs = health.at === 'suspect' ? health.sinceMs : nowMs;
    if (errors < SUSPECT_ERRORS || (proved && nowMs - sinceMs < PROVED_MS)) {
      return {
        at: 'suspect',
        errors,
        sinceMs,
        retryAtMs: monoAfter(nowMs, Math.min(SUSPECT_RETRY_MOST_MS, SUSPECT_RETRY_MS * 2 ** (errors - 1))),
      };
    }
  }
  const failures = health.at === 'failed' ? health.failures + 1 : 1;
  const [first, most] = BACKOFF_MS[mode];
  const backoffMs = Math.min(most, first * 2 ** Math.min(failures - 1, 16)) * (0.8 + 0.4 * spread);
  return { at: 'failed', failures, failedAtMs: nowMs, retryAtMs: monoAfter(nowMs, backoffMs) };
}

/**
 * Whether TLS is quick enough to be preferred to cleartext (the gate of Android 11 and later).
 * @param plainMs what a query takes in cleartext; undefined: unknown, or not answered
 */
export const quickEnough = (tlsMs: number, plainMs: number | undefined): boolean =>
  plainMs === undefined || tlsMs < LATENCY_FACTOR * plainMs + LATENCY_OFFSET_MS;

const LATENCY_FACTOR = 3;
const LATENCY_OFFSET_MS = 100;
