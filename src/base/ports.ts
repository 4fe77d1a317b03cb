// The ports of protocol code: time, randomness, sockets and logging. Protocol code gets them as arguments, so that a test can
// control the clock, the random numbers and the network.

import type { FailureCode } from './outcome.js';
import type { MonoMs, WallMs } from './time.js';

/** Stops a pending timer. A late or second call does nothing. */
export type Cancel = () => void;

/** Clocks and timers. */
export interface Clock {
  /** Milliseconds since an arbitrary start, for timeouts. It never goes backwards, and stands still while the machine sleeps. */
  monotonicMs(): MonoMs;
  /** Milliseconds since 1970, for certificates and signatures, and to notice sleep. It may jump. */
  wallMs(): WallMs;
  /** Calls `then` once after `ms` milliseconds. The timer does not keep the process alive. */
  after(ms: number, then: () => void): Cancel;
}

/** Random numbers that an attacker cannot predict, as message ids need (RFC 5452 §9.2). */
export interface Random {
  /** 0 … 65535 */
  uint16(): number;
  /** 0 … n-1 */
  below(n: number): number;
}

/** The log. `words` are a sentence for people. */
export interface Log {
  debug(fields: LogFields, words: string): void;
  info(fields: LogFields, words: string): void;
  warn(fields: LogFields, words: string): void;
  error(fields: LogFields, words: string): void;
}

/** The fields of a log line. Their names become JSON keys. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** Where to open a connection, and how to protect it. */
export interface DialTarget {
  readonly address: string;
  readonly port: number;
  readonly security: Security;
  /**
   * The ALPN id that is offered over TLS (RFC 7301). `dot`, the one of DNS over TLS, if it is left out: a server that
   * refuses it is connected to without. `h2` for HTTP/2: a server that does not choose it is not used.
   */
  readonly alpn?: 'dot' | 'h2';
  /** Whether to leave out the ALPN id of DNS over TLS, because the server is known to refuse it. */
  readonly withoutAlpn?: boolean;
  /** Whether to resume no TLS session, because earlier verdicts do not hold any more. */
  readonly withoutResumption?: boolean;
}

/**
 * What protects a stream: nothing, encryption alone, or encryption with an authenticated server (RFC 8310 §5): by its
 * certificate and pins, or by TLSA records (RFC 8310 §8.2).
 */
export type Security =
  | { readonly at: 'cleartext' }
  /** `name`, if there is one, is sent as SNI. `Connected.authenticated` says whether the certificate is valid for it. */
  | { readonly at: 'encrypted'; readonly name: string | undefined }
  | {
      readonly at: 'authenticated';
      /** The authentication domain name (RFC 8310 §2), or undefined: the certificate must hold the IP address. */
      readonly name: string | undefined;
      /** SHA-256 of acceptable SubjectPublicKeyInfos, in base64; empty: no pinning. */
      readonly pins: readonly string[];
      readonly pinPolicy: PinPolicy;
      /** For a designated resolver (RFC 9462 §4.2): the address that the certificate must hold, and the name for SNI. */
      readonly designatedBy?: { readonly address: string; readonly name: string };
    }
  /** `name` is sent as SNI. The TLSA records are those of the port of `name`. */
  | { readonly at: 'dane'; readonly name: string };

/**
 * How pins and certificate authorities (PKIX) combine: both must match, one of them must, only pins count, or PKIX decides and
 * a pin mismatch is reported.
 */
export type PinPolicy = 'pin_and_pkix' | 'pin_or_pkix' | 'pin_only' | 'report_only';

/** What the handshake has shown about the server. */
export interface Connected {
  readonly authenticated: boolean;
  /** Whether a TLS session was resumed. */
  readonly resumed: boolean;
  /** E.g. `TLSv1.3`; absent in cleartext. */
  readonly protocol?: string;
  /**
   * The group of the key exchange, by its IANA name. Absent if the connection had none of its own: a TLS 1.2 session
   * that is resumed. Resumed sessions of TLS 1.3 have one (psk_dhe_ke, RFC 8446 §4.2.9; OpenSSL offers no other).
   */
  readonly group?: string;
  /** When the server's certificate expires, milliseconds since 1970. */
  readonly certificateEndsMs?: number;
  /** Whether the server refused the ALPN id of DNS over TLS, so that the connection was made without it. */
  readonly refusesAlpn?: boolean;
  /** A warning for the operator about a connection that may be used: a pin mismatch that is only reported. */
  readonly warning?: string;
}

/** A server whose handshake is over, and that must be judged by somebody who can look TLSA records up (`Security` `dane`). */
export interface UnprovedPeer {
  /** Its certificates in DER, its own first. */
  readonly chain: readonly Buffer[];
  /** OpenSSL's code for a problem with the chain; undefined: it leads to a trusted authority. */
  readonly pkixProblem: string | undefined;
  /** Sends a copy of octets at once, to ask for TLSA records. What arrives comes as `bytes`. */
  send(bytes: Buffer): void;
  /** The server may be used. @param until when the verdict ends, also for TLS sessions that are resumed */
  accept(until: WallMs): void;
  /** The server must not be used. */
  refuse(detail: string): void;
}

/** The events of a stream. Nothing is called after `closed`. */
export interface StreamEvents {
  /** Once before `connected`, if the target's security is `dane` and no earlier verdict holds. */
  unproved?(peer: UnprovedPeer): void;
  connected(info: Connected): void;
  /** Octets have arrived. Their memory is reused as soon as this call returns. */
  bytes(chunk: Buffer): void;
  /** `undefined`: the peer closed the stream in good order. Otherwise it broke or could not be opened, and `why` says why. */
  closed(why: { readonly code: FailureCode; readonly detail: string } | undefined): void;
}

/** A stream that is open or opening. */
export interface Stream {
  /**
   * Queues a copy of octets. Everything that is queued within a turn of the event loop leaves in one write.
   */
  send(bytes: Buffer): void;
  /**
   * Acknowledges received octets at the end of this turn, if the kernel can do so. Until then Nagle's algorithm may make the
   * peer wait.
   */
  acknowledge(): void;
  /** Closes in good order, after everything that is queued has left. A second call does nothing. */
  close(): void;
  /** Closes at once, and drops what is queued. A second call does nothing. */
  destroy(): void;
}

/**
 * Opens a stream. It never throws: `closed` reports errors. No event comes before it has returned. `upstream/dial` does it with
 * sockets.
 */
export type Dial = (target: DialTarget, events: StreamEvents) => Stream;

/**
 * Sends a query over UDP in cleartext and resolves to the response, or to the reason why there is none. It never
 * rejects: without a socket or a route to the address it resolves to `unreachable`.
 * @param accept whether a datagram is the response; others are ignored
 */
export type DialDatagram = (
  target: { readonly address: string; readonly port: number },
  query: Buffer,
  accept: (reply: Buffer) => boolean,
  timeoutMs: number,
) => Promise<Buffer | 'timeout' | 'unreachable'>;

/** A GET request over HTTP/1.1. */
export interface HttpRequest {
  /** The address to connect to. Names are never looked up. */
  readonly address: string;
  readonly port: number;
  /** The host of the URL, for the Host field, and over TLS for SNI and the certificate. */
  readonly host: string;
  /** The path of the URL, with its query. */
  readonly path: string;
  /** Undefined: HTTP without TLS. Otherwise the trusted roots, PEM; undefined: those of Node.js. */
  readonly tls: { readonly roots: string | undefined } | undefined;
  /** The media types that are accepted. */
  readonly accept: string;
}

/** A response, whatever its status. Redirects are not followed. */
export interface HttpResponse {
  readonly status: number;
  /** The Location field, if there is one. */
  readonly location: string | undefined;
  readonly contentType: string;
  readonly body: Buffer;
}

/** Sends a request and resolves to the response. Undefined: there was none in time, or none that is sound. It never rejects. */
export type HttpGet = (request: HttpRequest) => Promise<HttpResponse | undefined>;

/** What a store has said to a request. `refused`: the reason, in its words. */
export type StoreReply =
  { readonly at: 'octets'; readonly octets: Buffer } | { readonly at: 'refused'; readonly words: string };

/** A connection to a store that keeps octets under keys, for others as well. */
export interface SharedStore {
  /** Reads the first `mostBytes` octets under a key; none if there is nothing. */
  read(key: Buffer, mostBytes: number, take: (reply: StoreReply) => void): void;
  /** Stores octets for some seconds. The reply has none. */
  write(key: Buffer, octets: Buffer, seconds: number, take: (reply: StoreReply) => void): void;
  /** Closes the connection. Nothing is called after that. A second call does nothing. */
  close(): void;
}

/** The events of a store. Nothing is called after `closed`. */
export interface StoreEvents {
  /** It has answered a first request. */
  opened(): void;
  /** It could not be reached, or is not any more. Requests get no reply then. */
  closed(words: string): void;
}

/** Connects to a store. It never throws. No event comes before it has returned. It sets no deadlines. */
export type OpenStore = (events: StoreEvents) => SharedStore;
