// Which way a query may go, decided from the configured mode and what is known about the server (RFC 8310 §5,
// RFC 7858 §4). Pure: states in, states out.
//
//   off            cleartext only
//   opportunistic  TLS where it works, cleartext where it does not
//   encrypted      TLS only, whoever answers
//   strict         TLS only, and only with a server that proved its name

/** The privacy profile. */
export type Mode = 'off' | 'opportunistic' | 'encrypted' | 'strict';

/** What is known about TLS with one server address. */
export type Health =
  /** Not known yet. */
  | { readonly at: 'probing' }
  /** The last handshake succeeded. */
  | { readonly at: 'private' }
  /** Connecting failed `failures` times in a row; worth another try from `retryAtMs` (monotonic). */
  | { readonly at: 'failed'; readonly failures: number; readonly failedAtMs: number; readonly retryAtMs: number };

/** Where a query may go now. */
export type Path = 'tls' | 'cleartext' | 'refuse';

/** Decides the path for a query. `refuse` means: not to this server, now. */
export function pathFor(mode: Mode, health: Health, nowMs: number): Path {
  switch (mode) {
    case 'off':
      return 'cleartext';
    case 'opportunistic':
      return health.at === 'private' ? 'tls' : 'cleartext';
    case 'encrypted':
    case 'strict':
      return health.at === 'failed' && nowMs < health.retryAtMs ? 'refuse' : 'tls';
  }
}

/** Whether a TLS connection should be tried beside the query, to learn if it works. */
export function shouldProbe(mode: Mode, health: Health, nowMs: number): boolean {
  return mode === 'opportunistic'
    && (health.at === 'probing' || (health.at === 'failed' && nowMs >= health.retryAtMs));
}

/**
 * Whether a server in back-off may be tried all the same because every other one is in back-off too: once a
 * second, so that an outage ends for us within a second of ending.
 */
export const mayTryAnyway = (health: Health, nowMs: number): boolean =>
  health.at !== 'failed' || nowMs - health.failedAtMs >= TRIAL_MS;

const TRIAL_MS = 1000;
// With no cleartext to fall back to, a working server has to be found soon; with it, RFC 7858 §3.1 asks for patience.
const BACKOFF_MS: Record<Mode, readonly [first: number, most: number]> = {
  off: [0, 0],
  opportunistic: [60_000, 3_600_000],
  encrypted: [1000, 60_000],
  strict: [1000, 60_000],
};

/** The handshake succeeded. */
export const connected = (): Health => ({ at: 'private' });

/**
 * Connecting failed, or an open connection turned out dead.
 * @param spread 0 … 1, random: retries of many servers or hosts shall not fall together
 */
export function failed(mode: Mode, health: Health, nowMs: number, spread: number): Health {
  const failures = health.at === 'failed' ? health.failures + 1 : 1;
  const [first, most] = BACKOFF_MS[mode];
  const backoffMs = Math.min(most, first * 2 ** Math.min(failures - 1, 16)) * (0.8 + 0.4 * spread);
  return { at: 'failed', failures, failedAtMs: nowMs, retryAtMs: nowMs + backoffMs };
}
