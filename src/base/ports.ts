// What protocol code may not reach for by itself: time, chance, sockets and reporting. Each arrives as an
// argument, so that a test can hold the clock, choose the dice, and play the network.

import type { FailureCode } from './outcome.js';
import type { MonoMs, WallMs } from './time.js';

/** Stops a pending timer; calling it late or twice does nothing. */
export type Cancel = () => void;

/** Time. Two clocks, because they answer different questions. */
export interface Clock {
  /** Milliseconds since an arbitrary start, never backwards: for timeouts. Stands still while the machine sleeps. */
  monotonicMs(): MonoMs;
  /** Milliseconds since 1970: for certificates and signatures, and to notice sleep. May jump. */
  wallMs(): WallMs;
  /** Calls `then` once after `ms`; does not keep the process alive. */
  after(ms: number, then: () => void): Cancel;
}

/** Chance, good enough for message ids (RFC 5452 §9.2). */
export interface Random {
  /** 0 … 65535 */
  uint16(): number;
  /** 0 … n-1 */
  below(n: number): number;
}

/** One event that an operator may want to read. Fields are flat; names end up as JSON keys. */
export interface Log {
  debug(fields: LogFields, words: string): void;
  info(fields: LogFields, words: string): void;
  warn(fields: LogFields, words: string): void;
  error(fields: LogFields, words: string): void;
}
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** Where and how to open a connection. */
export interface DialTarget {
  readonly address: string;
  readonly port: number;
  readonly security: Security;
  /** The server is known to refuse the ALPN id of DNS over TLS: it is not offered. */
  readonly withoutAlpn?: boolean;
}

/** What protects a stream: nothing, encryption alone, or encryption with a proven peer (RFC 8310 §5). */
export type Security =
  | { readonly at: 'cleartext' }
  /** `name`, where there is one, is sent as SNI, and whether it is proved is found out and told. */
  | { readonly at: 'encrypted'; readonly name: string | undefined }
  | {
      readonly at: 'authenticated';
      /** The authentication domain name (RFC 8310 §2), or undefined: the certificate must hold the IP address. */
      readonly name: string | undefined;
      /** SHA-256 of acceptable SubjectPublicKeyInfos, base64; empty: no pinning. */
      readonly pins: readonly string[];
      readonly pinPolicy: PinPolicy;
      /** Of a designated resolver (RFC 9462 §4.2): the address that the certificate must hold, and the name for SNI. */
      readonly designatedBy?: { readonly address: string; readonly name: string };
    };

/**
 * What pins are worth beside the certificate authorities (PKIX): both must agree, either will do, pins alone count, or
 * the authorities decide and a mismatch is reported.
 */
export type PinPolicy = 'pin_and_pkix' | 'pin_or_pkix' | 'pin_only' | 'report_only';

/** What was found out about the peer while connecting. */
export interface Connected {
  readonly authenticated: boolean;
  readonly resumed: boolean;
  /** E.g. `TLSv1.3`; absent in cleartext. */
  readonly protocol?: string;
  /** When the server's certificate expires, milliseconds since 1970. */
  readonly certificateEndsMs?: number;
  /** The server refused the ALPN id of DNS over TLS, and the connection was made without. */
  readonly refusesAlpn?: boolean;
  /** What an operator should look at, though the connection may be used: pins that are only reported. */
  readonly warning?: string;
}

/** What a stream tells its owner. After `closed` nothing more is called. */
export interface StreamEvents {
  connected(info: Connected): void;
  /** What came; the memory is used again as soon as this returns. */
  bytes(chunk: Buffer): void;
  /** `undefined`: the peer closed in good order; else why it broke, or never came to be. */
  closed(why: { readonly code: FailureCode; readonly detail: string } | undefined): void;
}

/** An open (or opening) stream. */
export interface Stream {
  /** Queues bytes; all that is queued within a turn of the event loop leaves in one write. */
  send(bytes: Buffer): void;
  /** Has what came acknowledged at once, where the kernel can be told: the peer may hold back more until then (Nagle). */
  acknowledge(): void;
  /** Closes in good order: what was queued still leaves. May be called twice. */
  close(): void;
  /** Cuts. May be called twice. */
  destroy(): void;
}

/**
 * Opens streams. Never throws: what goes wrong is told by `closed`. No event comes before it has returned. `upstream/dial`
 * does it with sockets.
 */
export type Dial = (target: DialTarget, events: StreamEvents) => Stream;

/**
 * One question and answer over UDP in cleartext. Resolves to the reply, or to why there was none. Never rejects: a system
 * that has no socket or no way to the address is `unreachable`.
 */
export type DialDatagram = (
  target: { readonly address: string; readonly port: number },
  query: Buffer,
  accept: (reply: Buffer) => boolean,
  timeoutMs: number,
) => Promise<Buffer | 'timeout' | 'unreachable'>;
