// Decides over which transport a server is asked privately: DNS over TLS, or HTTPS while port 853 cannot be reached.
// Pure.
//
//   dot ──port 853 cannot be reached──▶ https ──an answer over port 853──▶ dot
//    ▲                                    │
//    └─ HTTPS failed too, the network changed, or the machine slept
//
// 853 stands for the configured port. A server that has no DNS over TLS stays at `https_only`.
//
// Every failure to reach the server on port 853 counts, also a certificate that does not prove its identity: a company's
// gateway that intercepts port 853 is not the server, and the server itself was not reached. Asking it over HTTPS is
// safe, because there it must prove the same identity, with the same pins, before any name is sent (RFC 8310 §5: strict
// privacy is about what a connection proves, not about its port).

import { failure, type Failure, type FailureCode } from '../base/outcome.js';
import { monoAfter, type MonoMs } from '../base/time.js';

/** The transports over which a server is asked privately. */
export type PrivateProtocol = 'dot' | 'https';

/** The transport for the next query. */
export type Choice =
  | { readonly at: 'dot' }
  /** Port 853 could not be reached, for the reason `why`. It was tried `probes` times since. */
  | { readonly at: 'https'; readonly why: Failure; readonly probes: number; readonly probeAtMs: MonoMs }
  /** The server has no DNS over TLS (a designated resolver, RFC 9462). */
  | { readonly at: 'https_only' };

/** The choice before anything is known, and on another network. */
export const DOT: Choice = { at: 'dot' };

/**
 * If no connection over TLS is ready after this long, one over HTTPS is opened beside it. HTTPS needs as many round
 * trips from then on, so it is faster only where port 853 is blocked.
 */
export const PATIENCE_MS = 500;

/** Port 853 is tried again after 1 s, then after twice as long each time. */
const FIRST_PROBE_MS = 1000;
const LONGEST_PROBE_MS = 30_000;

/** Whether a failure means that the server was not reached over TLS. */
export function isUnreachable(code: FailureCode): boolean {
  switch (code) {
    case 'connect':
    case 'connect_timeout':
    case 'tls_alert':
    case 'tls_verify':
    case 'closed':
    case 'timeout':
      return true;
    default:
      // E.g. `slow`: it was reached.
      return false;
  }
}

/** Whether a failure is what a network that blocks port 853 looks like. */
export const couldBeBlocked = (code: FailureCode): boolean =>
  code === 'connect' || code === 'connect_timeout' || code === 'tls_alert' || code === 'closed';

/** Port 853 cannot be reached. */
export const toHttps = (why: Failure, nowMs: MonoMs): Extract<Choice, { at: 'https' }> => ({
  at: 'https',
  why,
  probes: 0,
  probeAtMs: monoAfter(nowMs, FIRST_PROBE_MS),
});

/** Port 853 is being tried again. */
export const probing = (choice: Extract<Choice, { at: 'https' }>, nowMs: MonoMs): Extract<Choice, { at: 'https' }> => ({
  ...choice,
  probes: choice.probes + 1,
  probeAtMs: monoAfter(nowMs, Math.min(LONGEST_PROBE_MS, FIRST_PROBE_MS * 2 ** Math.min(choice.probes + 1, 16))),
});

/** Neither transport reaches the server. */
export const bothFailed = (dot: Failure, https: Failure): Failure =>
  failure(
    dot.code,
    [dot.detail, `over HTTPS: ${https.detail ?? https.code}`].filter(each => each !== undefined).join('; '),
  );
