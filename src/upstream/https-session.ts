// The port of HTTPS connections: one HTTP/2 session with one server, for POST requests with DNS messages (RFC 8484 §4.1).
// `upstream/http2` does it with node:http2; tests script it.

import type { FailureCode } from '../base/outcome.js';
import type { Cancel, Connected, DialTarget } from '../base/ports.js';

/** The port of HTTPS (RFC 8484 §3). */
export const HTTPS_PORT = 443;

/** Where a session is opened, and what is asked there. The ALPN id is always `h2`. */
export interface HttpsSessionTarget extends Omit<DialTarget, 'alpn' | 'withoutAlpn'> {
  /** The `:authority` of requests (RFC 9113 §8.3.1): the server's name or address, and the port unless it is 443. */
  readonly authority: string;
  /** The `:path` of requests, with its query component if there is one. */
  readonly path: string;
}

/**
 * The `:authority` for a host, in the form of RFC 3986 §3.2.
 * @param host a name or an address, which may have a zone
 */
export function authorityOf(host: string, port: number): string {
  // The zone of an address means something on this machine only (RFC 6874 §3).
  const name = host.includes(':') ? `[${host.replace(/%.*$/, '')}]` : host;
  return port === HTTPS_PORT ? name : `${name}:${port}`;
}

/** How a request ended, while its session goes on. */
export type HttpOutcome =
  | HttpResponse
  /** The server says that it has not processed the request: it may be sent again (RFC 9113 §8.7). */
  | { readonly at: 'unprocessed' }
  /** There is no usable response, for this reason. */
  | { readonly at: 'broken'; readonly detail: string };

/** A response. */
export interface HttpResponse {
  readonly at: 'response';
  readonly status: number;
  readonly contentType: string | undefined;
  /** Where a redirection leads. */
  readonly location: string | undefined;
  /** For how many seconds it was in a cache (RFC 9111 §5.1). */
  readonly ageSec: number;
  /** At most the size of a DNS message. Empty unless the status is 2xx. */
  readonly body: Buffer;
}

/** The events of a session. Nothing is called after `closed`, `close` or `destroy`. */
export interface HttpsSessionEvents {
  /** The server was verified as the target's `security` says. Requests can be sent from now on. */
  connected(info: Connected): void;
  /** The server has said how many requests may be under way at a time (SETTINGS_MAX_CONCURRENT_STREAMS). */
  limited(mostRequests: number): void;
  /** Octets have arrived. */
  heard(bytes: number): void;
  /** The server takes no more requests (GOAWAY). The outcomes of those that it has taken still come. */
  leaving(): void;
  /** It ended, or could not be opened. Requests under way have no outcome, and may be sent again. */
  closed(why: { readonly code: FailureCode; readonly detail: string } | undefined): void;
}

/** A session that is open or opening. */
export interface HttpsSession {
  /**
   * Sends a request. Must be called only between `connected` and `leaving`.
   * @param done called once, later than this call returns
   * @returns gives the request up: `done` is not called any more
   */
  post(message: Buffer, done: (outcome: HttpOutcome) => void): Cancel;
  /** Closes in good order. A second call does nothing. */
  close(): void;
  /** Closes at once. A second call does nothing. */
  destroy(): void;
}

/** Opens a session. It never throws: `closed` reports errors. No event comes before it has returned. */
export type DialHttps = (target: HttpsSessionTarget, events: HttpsSessionEvents) => HttpsSession;
